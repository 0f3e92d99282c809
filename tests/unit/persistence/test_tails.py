"""The last points of a metric are in the JSON file of a large store while more may come, and in a chunk after that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from track.persistence.local import FileProtocol
from track.persistence.state import placing
from track.structure import Status, Trial

_SOME = 300


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store of few points be a large one."""
    monkeypatch.setattr(placing, "FROM", _SOME)


def _log(store: FileProtocol, trial: Trial, first: int, end: int) -> None:
    for step in range(first, end):
        store.log_trial_metrics(trial, step=step, loss=step / 2)
        store.log_trial_metrics(trial, seen=float(step))


def _stored(path: Path) -> tuple[Trial, dict[str, Any]]:
    """Return the trial as a new process finds it, and of each metric the sizes of its chunks, and of its tail."""
    store = FileProtocol(f"file:{path}")
    (trial,) = store.fetch_trials()
    sizes = {}
    for name, container in trial.metrics.items():
        stored = container.points.stored
        sizes[name] = [chunk.named.points for chunk in stored.chunks] if stored else [], container.points.tail
    store.close()
    return trial, sizes


@pytest.mark.parametrize("status", [Status.Completed, Status.Exception, Status.Interrupted])
def test_trial_that_has_ended_leaves_no_points_in_the_json(tmp_path: Path, status: Status) -> None:
    """Whatever its end was: who opens the store reads no lists of numbers."""
    path = tmp_path / "report.json"
    store = FileProtocol(f"file:{path}")
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    store.set_trial_status(trial, Status.Running)
    _log(store, trial, 0, 4 * _SOME)
    store.commit()
    _log(store, trial, 4 * _SOME, 4 * _SOME + 100)
    store.commit()
    assert [tail for _, tail in _stored(path)[1].values()] == [100, 100]

    store.set_trial_status(trial, status)
    store.commit()

    found, sizes = _stored(path)
    assert list(sizes.values()) == [([4 * _SOME, 100], 0)] * 2
    assert dict(found.metrics["loss"]) == {step: step / 2 for step in range(4 * _SOME + 100)}
    assert list(found.metrics["seen"]) == list(range(4 * _SOME + 100))


def test_what_is_added_to_an_ended_trial_goes_on_in_chunks(tmp_path: Path) -> None:
    """From 64 points on; fewer wait in the JSON file for more. ``track gc`` makes one of those that are short."""
    path = tmp_path / "report.json"
    store = FileProtocol(f"file:{path}")
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    store.set_trial_status(trial, Status.Completed)
    _log(store, trial, 0, _SOME)
    store.commit()

    for end, sizes in ((363, ([_SOME], 63)), (364, ([_SOME, 64], 0)), (464, ([_SOME, 64, 100], 0))):
        _log(store, trial, len(_stored(path)[0].metrics["loss"]), end)
        store.commit()
        found, there = _stored(path)
        assert list(there.values()) == [sizes] * 2
        assert dict(found.metrics["loss"]) == {step: step / 2 for step in range(end)}

    store.atomically(store.store.save_afresh)

    found, there = _stored(path)
    assert list(there.values()) == [([464], 0)] * 2
    assert dict(found.metrics["loss"]) == {step: step / 2 for step in range(464)}
