"""What metrics come to is read without their points, where it is stored beside them."""

from __future__ import annotations

import json
from pathlib import Path

import track
from track.briefs import Brief
from track.persistence import get_protocol
from track.persistence.state import State, read_snapshot
from track.structure import Trial


def _stored(path: Path) -> Trial:
    store = get_protocol(f"file:{path}")
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    for step in range(3):
        store.log_trial_metrics(trial, step=step, loss=step / 2)
    store.commit()
    store.close()
    return trial


def test_snapshot_is_listed_without_its_points(tmp_path: Path) -> None:
    """Of a saved file no point is decoded for briefs."""
    _stored(tmp_path / "runs.json")
    state = State()
    read_snapshot(str(tmp_path / "runs.json"), state)

    found = next(state.find_trials())

    assert found.metrics.briefs() == {"loss": Brief(1.0, 2, 0.0, 0, 1.0, 2, 3)}
    assert not found.metrics.is_loaded


def test_brief_of_before_the_last_change_is_not_believed(tmp_path: Path) -> None:
    """An older version keeps the field as it was when it saves what was logged since: then the points say it."""
    path = tmp_path / "runs.json"
    _stored(path)
    document = json.loads(path.read_text())
    trial = document["trials"][0] if "trials" in document else document["projects"][0]["trials"][0]
    for column, value in (("step", 3), ("value", -1.0), ("at", trial["metrics"]["loss"]["at"][-1])):
        trial["metrics"]["loss"][column].append(value)
    trial["metadata"]["_update_count"] += 1
    path.write_text(json.dumps(document))

    assert track.fetch(f"file:{path}")[0].metrics.briefs() == {"loss": Brief(-1.0, 3, -1.0, 3, 1.0, 2, 4)}
