"""Facts by their time, whatever the order in which they arrive."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from track.events import Event, FieldsMerged, MetricsLogged, StatusChanged, TrialCreated, decode
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.local import FileProtocol
from track.persistence.sqlite import SqliteProtocol
from track.persistence.state import Liveness, make_trial, update
from track.persistence.state.order import newer
from track.structure import Project, Status, Trial

UID = "ab_0"
CREATED = TrialCreated("ab", 0, at=1.0, parameters={"lr": 0.1})


def _status(at: float, name: str, code: int, pid: int | None = None, error: str | None = None) -> StatusChanged:
    process = None if pid is None else {"host": "elsewhere", "pid": pid, "started": pid}
    return StatusChanged(UID, (name, code), at, error, process, None if pid is None else 1)


LIVES: dict[str, tuple[str, list[Event]]] = {
    "two ranks, one fails": (
        "exception",
        [
            _status(2.0, "Running", 101, 1),
            _status(3.0, "Running", 101, 2),
            _status(4.0, "Exception", 202, 1, "ValueError: no"),
            _status(5.0, "Completed", 302, 2),
        ],
    ),
    "pruned by the program": (
        "pruned",
        [
            _status(2.0, "submitted", 2),
            _status(3.0, "Running", 101, 1),
            _status(4.0, "pruned", 303),
            _status(5.0, "Completed", 302, 1),
        ],
    ),
    "a phase of one's own": (
        "warming",
        [_status(2.0, "Running", 101, 1), _status(3.0, "Running", 101, 2), _status(4.0, "warming", 150)],
    ),
}


def _is_told_in_order(events: tuple[Event, ...]) -> bool:
    """Return whether what each process says of itself arrives as it says it; the program may be heard anywhere."""
    own: dict[Any, list[float]] = {}
    for event in events:
        if isinstance(event, StatusChanged) and event.process is not None:
            own.setdefault(event.process["pid"], []).append(event.at)
    return all(times == sorted(times) for times in own.values())


@pytest.mark.parametrize("life", LIVES)
def test_status_is_the_same_in_whatever_order_it_arrives(life: str) -> None:
    """A life of a trial is told by its times, whichever of its processes is heard first: status, begin, end, errors."""
    wanted, events = LIVES[life]
    seen = []
    for order in filter(_is_told_in_order, itertools.permutations(events)):
        trial = make_trial(CREATED)
        for event in order:
            update(trial, event)
        times = {name: trial.timestamps.get(name) for name in ("started", "finished")}
        seen.append((str(trial.status), trial.is_set, trial.errors, trial.processes, trial.process, times))

    assert str(seen[0][0]) == wanted
    assert all(other == seen[0] for other in seen)


def test_fields_and_points_are_the_same_in_whatever_order_they_arrive() -> None:
    """Of what has a time of its own, nothing depends on when it arrives."""
    events: list[Event] = []
    for number in range(40):
        at = 2.0 + number
        events.append(MetricsLogged(UID, {"loss": float(number)}, at, number % 7))
        events.append(MetricsLogged(UID, {"cost": float(number)}, at))
        events.append(FieldsMerged("trial", UID, "metadata", {f"k{number % 3}": number, "note": number}, at))
        events.append(StatusChanged(UID, ("Running", 101), at, f"error {number}"))
    chance, seen = random.Random(7), []

    for _ in range(10):
        trial = make_trial(CREATED)
        for event in events:
            update(trial, event)
        loss, cost, metadata = trial.metrics["loss"], trial.metrics["cost"], dict(trial.metadata)
        # It says what came last.
        del metadata["_last_change"]
        seen.append((list(loss.items()), loss.rows(), loss.last(), cost.val, cost.last(), metadata, trial.errors))
        chance.shuffle(events)

    assert all(other == seen[0] for other in seen)


def test_newest_counts_name_by_name() -> None:
    """What nothing is known of is older than anything; of one time, the one that comes last counts."""
    moments: dict[str, dict[str, float]] = {}

    chosen = [newer(moments, "tags", {"a": at, "b": at} if at > 5 else {"a": at}, at) for at in (5.0, 5.0, 7.0, 6.0)]

    assert chosen == [{"a": 5.0}, {"a": 5.0}, {"a": 7.0, "b": 7.0}, {}]
    assert moments == {"tags": {"a": 7.0, "b": 7.0}}


@pytest.mark.parametrize(("ahead", "status"), [(0.0, Status.Running), (10**8, Status.Broken)], ids=["", "wrong clock"])
def test_what_arrives_late_is_no_silence(ahead: float, status: Status) -> None:
    """A trial is heard of until its latest event, though an older one came last; a clock wrong by years is none."""
    trial = make_trial(CREATED)
    for at in (10_000.0 + ahead, 5_000.0):
        update(trial, _status(at, "Running", 101, 1))

    shown = Liveness(timeout=900, clock=lambda: 10_500.0).shown_status(trial, {})

    assert (shown, trial.latest) == (status, 10_000.0 + ahead)


# stores of before


def _without_moments(path: Path) -> None:
    """Make of a snapshot what earlier versions wrote."""
    plain = json.loads(path.read_text())
    for trial in plain["projects"][0]["trials"]:
        trial.pop("moments")
        trial.pop("latest")
    path.write_text(json.dumps(plain))


def test_snapshot_of_before_opens_and_anything_is_newer(tmp_path: Path) -> None:
    """In a file without times of its fields whatever comes is newer; its points stay as they were stored."""
    path = tmp_path / "runs.json"
    protocol = FileProtocol(f"file:{path}")
    protocol.new_project(Project(name="p"))
    protocol.apply(msgspec.structs.replace(CREATED, project_id="p"))
    for at in (10.0, 30.0, 20.0):
        protocol.apply(MetricsLogged(UID, {"loss": at}, at, 0), FieldsMerged("trial", UID, "tags", {"a": at}, at))
    protocol.commit()
    protocol.close()
    _without_moments(path)
    # As it was stored: in the order of arrival.
    plain = json.loads(path.read_text())
    points = plain["projects"][0]["trials"][0]["metrics"]["loss"]
    points |= {"value": [10.0, 30.0, 20.0], "at": [10.0, 30.0, 20.0]}
    path.write_text(json.dumps(plain))

    again = FileProtocol(f"file:{path}")
    again.apply(FieldsMerged("trial", UID, "tags", {"a": "whatever comes"}, 5.0))

    (found,) = again.fetch_trials()
    assert (found.tags, dict(found.metrics["loss"])) == ({"a": "whatever comes"}, {0: 20.0})


def test_database_of_before_opens_and_anything_is_newer(tmp_path: Path) -> None:
    """A database whose documents have no times takes what comes, and orders what comes from then on."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    protocol.apply(CREATED, FieldsMerged("trial", UID, "tags", {"a": 1}, 20.0))
    (document,) = protocol.database.transaction(lambda: protocol.database.rows("SELECT document FROM trials"))[0]
    old = {name: value for name, value in json.loads(document).items() if name != "moments"}
    write = "UPDATE trials SET document = ?"
    protocol.database.transaction(lambda: protocol.database.rows(write, json.dumps(old)))

    for value, at in ((2, 10.0), (3, 5.0)):
        protocol.apply(FieldsMerged("trial", UID, "tags", {"a": value}, at))

    assert protocol.fetch_trials()[0].tags == {"a": 2}


def test_event_of_before_has_no_times() -> None:
    """A line of an earlier version is a trial whose fields anything replaces."""
    event: Any = decode(b'{"event":"trial_created","hash":"ab","revision":0,"at":1.0}')

    assert make_trial(event).moments == {}


# clocks


def test_times_follow_the_last_change_of_an_opened_trial() -> None:
    """What is logged to a trial of a machine whose clock is fast is not before what is known of it."""
    protocol = EphemeralProtocol()
    trial = protocol.new_trial(Trial("ab"))
    assert trial is not None
    ahead = protocol.clock() + 120
    protocol.apply(MetricsLogged(UID, {"loss": 1.0}, ahead, 0))

    protocol.get_trial(trial)
    protocol.log_trial_metrics(trial, step=0, loss=2.0)

    assert dict(protocol.fetch_trials()[0].metrics["loss"]) == {0: 2.0}


def test_clock_that_is_far_ahead_is_not_followed() -> None:
    """A clock that is wrong by years does not put what is logged from now on into that year."""
    protocol = EphemeralProtocol()
    trial = protocol.new_trial(Trial("ab"))
    assert trial is not None
    protocol.apply(FieldsMerged("trial", UID, "tags", {"a": 1}, protocol.clock() + 10**8))

    (found,) = protocol.get_trial(trial)
    protocol.add_trial_tags(found, a=2)
    protocol.log_trial_metrics(found, step=0, loss=2.0)

    (found,) = protocol.fetch_trials()
    assert found.tags == {"a": 2}
    assert found.metrics["loss"].rows()[0][2] < protocol.clock() + 60


# what it costs a database


def test_no_points_are_looked_through_however_many_come_late(tmp_path: Path) -> None:
    """To know whether a late point is the last one, no stored point is read."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    protocol.apply(CREATED)
    rows, asked = protocol.database.rows, []
    protocol.database.rows = lambda sql, *values: (  # type: ignore[method-assign]
        asked.append(sql) if "FROM chunks" in sql or "FROM metrics" in sql else None,
        rows(sql, *values),
    )[1]

    for at in (10.0, 20.0, 30.0):
        protocol.apply(MetricsLogged(UID, {"loss": at}, at, 0))
    for at in (15.0, 40.0, 25.0):
        protocol.apply(MetricsLogged(UID, {"loss": at}, at, 0))

    assert asked == []
    assert [len(protocol.fetch_trials({"metrics.loss": value})) for value in (25.0, 40.0)] == [0, 1]
