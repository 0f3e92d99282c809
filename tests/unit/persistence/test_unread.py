"""Trials of a store that nobody has looked at: they cost little, and are like all others when somebody does."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.events import FieldsMerged, StatusChanged, TimeLogged
from track.persistence.local import FileProtocol
from track.persistence.state import State, placing, read_snapshot
from track.persistence.state.outside import points_files
from track.persistence.state.unread import UnreadTrial
from track.serialization import trial_to_document
from track.structure import CustomStatus, Status, Trial

_TRIALS = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with five trials, of which one has a status of its own."""
    path = tmp_path / "report.json"
    client = TrackClient(f"file:{path}")
    client.set_project(name="p")
    for number in range(_TRIALS):
        with client.new_trial(force=True, parameters={"number": number}) as trial:
            trial.log_metrics(step=0, loss=number / 2)
    trial.set_status(CustomStatus("odd", 42))
    client.save()
    trial.protocol.close()
    return path


def _unread(store: FileProtocol) -> int:
    return sum(type(trial) is UnreadTrial for trial in store.storage._trials.values())


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, uid: store.fetch_projects(),
        lambda store, uid: store.has(Trial, uid),
        lambda store, uid: store.revisions(uid.partition("_")[0]),
        lambda store, uid: store.changes(),
        lambda store, uid: store.new_trial(Trial(parameters={"number": "another"}, project_id="p")),
        lambda store, uid: store.commit(),
    ],
    ids=["projects", "has", "revisions", "changes", "new trial", "save"],
)
def test_what_indexes_know_reads_no_trial(path: Path, ask: Callable[[FileProtocol, str], Any]) -> None:
    """A process that begins a trial in a store of many pays for few of them."""
    store = FileProtocol(f"file:{path}")
    uid = next(iter(store.storage._trials))

    ask(store, uid)

    assert _unread(store) == _TRIALS


def test_snapshot_of_before_there_were_counts_is_counted_once(path: Path) -> None:
    """Its trials are read for the first save, and not for the one after it."""
    document = json.loads(path.read_text())
    del document["changes"]["points"]
    path.write_text(json.dumps(document))
    for expected in (0, _TRIALS):
        store = FileProtocol(f"file:{path}")
        store.commit()
        assert _unread(store) == expected
        store.close()


def test_points_of_trials_that_nobody_has_read_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points leave the JSON file when there are many in all, whichever trial they are of and whoever has looked."""
    monkeypatch.setattr(placing, "FROM", _TRIALS + 1)
    store = FileProtocol(f"file:{path}")
    store.commit()
    assert not points_files(str(path))
    trial = store.storage._trials[next(iter(store.storage._trials))]

    store.log_trial_metrics(trial, step=1, loss=7.0)
    store.commit()

    assert points_files(str(path))


def test_query_reads_what_may_match(path: Path) -> None:
    """One trial for its uid, and those of a status for it; all for what no index knows."""
    store = FileProtocol(f"file:{path}")
    uid = next(iter(store.storage._trials))

    (found,) = store.fetch_trials({"uid": uid})
    assert (type(found), found.parameters, _unread(store)) == (Trial, {"number": 0}, _TRIALS - 1)
    (odd,) = store.fetch_trials({"status": "odd"})
    assert (odd.parameters, odd.status, _unread(store)) == ({"number": 4}, CustomStatus("odd", 42), _TRIALS - 2)
    assert [trial.parameters["number"] for trial in store.fetch_trials({"parameters.number": {"$gt": 1}})] == [2, 3, 4]
    assert _unread(store) == 0


def test_unread_trial_that_changes_is_read_first(path: Path) -> None:
    """What an event changes is changed in what is stored of the trial, and saved with the others."""
    store = FileProtocol(f"file:{path}")
    trial = Trial(parameters={"number": 2}, project_id="p")
    trial.hash = next(one.hash for one in FileProtocol(f"file:{path}").fetch_trials({"parameters.number": 2}))

    store.log_trial_metrics(trial, step=1, loss=7.0)
    store.set_trial_status(trial, "pruned")
    store.commit()

    (found,) = FileProtocol(f"file:{path}").fetch_trials({"uid": trial.uid})
    assert found.metrics["loss"] == {0: 1.0, 1: 7.0}
    assert str(found.status) == "pruned"
    assert [one.parameters["number"] for one in store.fetch_trials()] == list(range(_TRIALS))
    assert [one.status for one in store.fetch_trials({"status": Status.Completed})] == [Status.Completed] * 3


def test_fields_of_a_newer_version_are_kept_of_trials_that_nobody_has_read(path: Path) -> None:
    """They are saved as they were, whether or not the trial was looked at."""
    document = json.loads(path.read_text())
    for trial in document["projects"][0]["trials"]:
        trial["new"] = {"of": trial["order"]}
    path.write_text(json.dumps(document))
    store = FileProtocol(f"file:{path}")
    (trial,) = store.fetch_trials({"parameters.number": 3})
    store.add_trial_tags(trial, good=True)

    store.commit()
    store.close()

    stored = json.loads(path.read_text())["projects"][0]["trials"]
    assert [one["new"] for one in stored] == [{"of": one["order"]} for one in stored]


def test_assignment_to_an_unread_trial_stays(path: Path) -> None:
    """What is set is not replaced by what is read later."""
    store = FileProtocol(f"file:{path}")
    trial = next(iter(store.storage._trials.values()))

    trial.name = "new"

    assert (trial.name, type(trial), trial.parameters) == ("new", Trial, {"number": 0})


_STATUSES: list[Any] = [Status.Running, Status.Completed, Status.Exception, Status.Broken, CustomStatus("requeue", 2)]


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """Return a file with three trials that nobody has begun."""
    path = tmp_path / "waiting.json"
    store = FileProtocol(f"file:{path}")
    for number in range(3):
        trial = store.new_trial(Trial(parameters={"number": number}))
        assert trial is not None
        store.log_trial_metadata(trial, overrides={"number": number})
    store.commit()
    store.close()
    return path


def _happens(uids: list[str], chance: random.Random) -> Iterator[FieldsMerged | StatusChanged | TimeLogged]:
    """Yield what processes may say of trials, in order and out of order, of attempts that are over and that begin."""
    at = time.time()
    for _ in range(chance.randrange(1, 25)):
        at += chance.choice([1.0, 1.0, 0.0, -2.5])
        uid, attempt = chance.choice(uids), chance.choice([1, 1, 1, 2, None])
        status = chance.choice(_STATUSES)
        process: dict[str, Any] | None = {"host": "away", "pid": chance.randrange(2), "started": "x"}
        match chance.randrange(6):
            case 0:
                yield TimeLogged(uid, "runtime", chance.random(), at, ["sum"], attempt)
            case 1:
                yield FieldsMerged("trial", uid, "metadata", {"meta": {"a": [at, None]}}, at, attempt=attempt)
            case 2:
                yield FieldsMerged("trial", uid, chance.choice(["tags", "deleted"]), {"deleted": True}, at)
            case _:
                said = process if chance.random() < 0.85 else None
                error = chance.choice([None, None, "it is odd"])
                yield StatusChanged(uid, (status.name, status.value), at, error, said, attempt)


@pytest.mark.parametrize("seed", range(60))
def test_what_happens_to_unread_trials_is_what_happens_to_others(waiting: Path, seed: int) -> None:
    """Their status, who runs them, and all else once they are read: as of trials that were read before it happened."""
    unread, others, chance = State(), State(), random.Random(seed)
    read_snapshot(str(waiting), unread)
    read_snapshot(str(waiting), others)
    assert all(trial.name is None for trial in others._trials.values())

    for event in _happens(list(unread._trials), chance):
        for state in (unread, others):
            state.apply((event,))
        statuses = [{uid: trial.status for uid, trial in state._trials.items()} for state in (unread, others)]
        uid = event.uid if isinstance(event, FieldsMerged) else event.trial
        seen = [(one.processes, one.latest, one.attempt) for one in (unread._trials[uid], others._trials[uid])]
        assert (statuses[0], seen[0]) == (statuses[1], seen[1])
        query = {"status": {"$in": ["running", "requeue", "broken"]}}
        if chance.random() < 0.1:
            assert [one.uid for one in unread.find_trials(query)] == [one.uid for one in others.find_trials(query)]
    assert (unread.count, unread.marks, unread.changed) == (others.count, others.marks, others.changed)
    for uid, trial in others._trials.items():
        assert trial_to_document(unread._trials[uid]) == trial_to_document(trial)


def test_who_waits_for_a_trial_reads_none_that_others_run(waiting: Path) -> None:
    """A worker among many pays for the trials that it takes: what others run, and have run, stays unread."""
    state = State()
    read_snapshot(str(waiting), state)
    first, second, _ = state._trials
    away = {"host": "away", "pid": 1, "started": "x", "reserved": True}

    state.apply([
        StatusChanged(first, ("Running", 101), time.time(), None, away, 1),
        FieldsMerged("trial", first, "metadata", {"meta": {"a": 1}}, time.time(), attempt=1),
    ])  # fmt: skip
    found = next(state.find_trials({"status": {"$in": ["createdgroup", "broken"]}}))
    state.apply((StatusChanged(first, ("Completed", 302), time.time(), None, away, 1),))

    assert found.uid == second
    assert type(state._trials[first]) is UnreadTrial
    assert next(state.find_trials({"status": "completed"})).metadata["meta"] == {"a": 1}
