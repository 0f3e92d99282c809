"""Runs that are copied from store to store are the runs that they were."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.servers.track import serving
from track import CustomStatus, Trial
from track.aggregators.aggregator import RingAggregator, StatAggregator, ValueAggregator
from track.cli import copy, main
from track.events import Event
from track.metrics import container_to_plain
from track.persistence import get_protocol
from track.persistence.local import FileProtocol
from track.persistence.query import ALSO_DELETED
from track.serialization import to_json
from track.structure import Project, TrialGroup
from track.testing.model import answers
from track.testing.strategies import event_lists

_counter = itertools.count()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills and what belongs to servers in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))


@pytest.mark.parametrize("whole", [50_000, 1], ids=["whole", "in columns"])
@settings(max_examples=10)
@given(events=event_lists())
def test_any_runs_come_back_from_a_database_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int, events: list[Event]
) -> None:
    """From a file to SQLite and back to a file: every answer is the same, and deleted runs are there as such."""
    monkeypatch.setattr(copy, "_WHOLE", whole)
    folder = tmp_path / str(next(_counter))
    uris = [f"file:{folder}/first.json", f"sqlite:{folder}/runs.db", f"file:{folder}/last.json"]
    FileProtocol(uris[0]).apply(*events)

    for source, target in itertools.pairwise(uris):
        assert main(["copy", source, target, "--running"]) == 0

    stored = [_answers(uri) for uri in uris]
    assert stored[1:] == [stored[0]] * 2
    assert [main(["copy", source, target, "--running"]) for source, target in itertools.pairwise(uris)] == [0, 0]
    assert [_answers(uri) for uri in uris] == stored


def _answers(uri: str) -> Any:
    """Return what a store answers, of deleted runs too."""
    protocol = get_protocol(uri)
    known = answers(protocol)
    deleted = [to_json(trial) for trial in protocol.fetch_trials({"deleted": True})]
    protocol.close()
    for plain in (plain for trial in deleted for plain in trial["metrics"].values()):
        # How many points came late: they have been put where they belong.
        plain.pop("late", None)
    # As text: what is not a number does not equal itself.
    return known, json.dumps(deleted, sort_keys=True)


def _everything(uri: str) -> None:
    """Fill a store with what is hard to carry."""
    protocol = get_protocol(uri)
    protocol.new_project(Project(name="digits", description="of people", metadata={"a.b": 1}, tags={"team": "a"}))
    groups = [TrialGroup(name=name, project_id="digits", metadata={"why": name}) for name in ("idea", "ablation")]
    made = [protocol.new_trial_group(group) for group in groups]
    facts: Any = {"version": "v1", "description": "d", "parameters": {"lr": 0.1, "opt": {"k": (1, 2)}}}
    trial: Any = protocol.new_trial(Trial(name="first", project_id="digits", **facts))
    for group in made:
        protocol.add_group_trial(group, trial)
    protocol.log_trial_start(trial)
    for step, loss in enumerate([0.5, math.nan, math.inf, 2**70, 1, True]):
        protocol.log_trial_metrics(trial, step=step, loss=loss)
    for step in ("a", (1, 2), 0.5):
        protocol.log_trial_metrics(trial, step=step, odd=1.0)
    for speed in (3.0, 4.0, 8.0):
        protocol.log_trial_metrics(trial, all=speed)
        protocol.log_trial_metrics(trial, aggregator=StatAggregator.lazy(0), stat=speed)
        protocol.log_trial_metrics(trial, aggregator=RingAggregator.lazy(2, "d"), ring=speed)
        protocol.log_trial_metrics(trial, aggregator=ValueAggregator.lazy(), value=speed)
        protocol.log_trial_chrono_start(trial, "batch", StatAggregator.lazy(1))
        protocol.log_trial_chrono_finish(trial, "batch", None, None, None)
    protocol.log_trial_metadata(trial, gpu="V100", raw=b"\0\xff", nothing=None)
    protocol.log_trial_metadata(trial, aggregator=RingAggregator.lazy(2, "d"), kept=1.0)
    protocol.add_trial_tags(trial, paper="v2")
    protocol.log_trial_artifact(trial, "data", "s3://bucket/data.csv", "etag:1", 3)
    protocol.log_trial_artifact(trial, "plot", "s3://bucket/plot.png", step=(1, "a"), media={"size": [640, 480]})
    protocol.log_trial_series(trial, "series", [0.5, 2**70, True], range(3), [1e8, 2e8, 3e8])
    protocol.log_trial_finish(trial, ValueError, ValueError("no"), None)
    protocol.set_trial_status(trial, CustomStatus("pruned", 303), "by hand")
    protocol.new_trial(Trial(parameters={"lr": 0.2}, project_id="digits"))
    mistake: Any = protocol.new_trial(Trial(name="mistake", parameters={"lr": 0.3}, project_id="digits"))
    protocol.add_group_trial(made[0], mistake)
    protocol.delete_trial(mistake)
    protocol.log_trial_metrics(mistake, loss=1.0)
    protocol.close()


def _all_of(uri: str) -> Any:
    """Return everything that is stored of trials, with the state of each aggregator."""
    protocol = get_protocol(uri)
    trials = [to_json(trial) for trial in protocol.fetch_trials(ALSO_DELETED)]
    groups = [to_json(group) for group in protocol.fetch_groups()]
    owners = protocol.fetch_projects()
    projects = [(owner.uid, owner.name, owner.description, owner.metadata, owner.tags) for owner in owners]
    protocol.close()
    return trials, groups, projects


@pytest.mark.network
@pytest.mark.parametrize("whole", [50_000, 1], ids=["whole", "in columns"])
@pytest.mark.parametrize("kind", ["file", "sqlite", "cockroach", "mongodb", "socket"])
def test_everything_comes_back_from_every_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, whole: int
) -> None:
    """Odd numbers and steps, statistics, errors, times, files and members are what they were, there and back."""
    monkeypatch.setattr(copy, "_WHOLE", whole)
    first, last = f"file:{tmp_path}/first.json", f"file:{tmp_path}/last.json"
    _everything(first)

    if kind == "socket":
        with serving("ephemeral:") as port:
            middle = f"socket://127.0.0.1:{port}"
            codes = [main(["copy", first, middle]), main(["copy", middle, last])]
            stored = _all_of(middle)
    else:
        names = {"cockroach": "sql_uri", "mongodb": "mongo_uri"}
        middle = request.getfixturevalue(names[kind]) if kind in names else f"{kind}:{tmp_path}/middle"
        codes = [main(["copy", first, middle]), main(["copy", middle, last])]
        stored = _all_of(middle)

    assert codes == [0, 0]
    assert stored == _all_of(first)
    assert _all_of(last) == _all_of(first)


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_run_goes_on_in_its_new_store(tmp_path: Path, scheme: str) -> None:
    """What is logged to a copy joins what was measured before: a statistic goes on with its state."""
    _everything(f"file:{tmp_path}/first.json")
    copy = f"{scheme}:{tmp_path}/copy"
    main(["copy", f"file:{tmp_path}/first.json", copy])
    both = [get_protocol(uri) for uri in (f"file:{tmp_path}/first.json", copy)]

    for protocol in both:
        trial = protocol.fetch_trials({"name": "first"})[0]
        protocol.log_trial_metrics(trial, step=7, loss=0.25)
        protocol.log_trial_metrics(trial, stat=5.0, all=5.0, ring=5.0)
        protocol.flush()

    plain = [
        {name: trial.metrics[name].val for name in ("all", "ring")}
        | {"stat": container_to_plain(trial.metrics["stat"])}
        for trial in (protocol.fetch_trials({"name": "first"})[0] for protocol in both)
    ]
    assert plain[0] == plain[1]
    assert plain[1]["stat"]["current_count"] == 4
