"""Points from a position on: only what is new is read, and what is void is known after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from track.containers.series import Series
from track.events import MetricsLogged
from track.persistence import get_protocol
from track.persistence.contract.points import from_line, to_line
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.protocol import Protocol
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial


def _with_trial(store: Protocol) -> Trial:
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    return trial


def test_follower_of_a_database_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes back with the next position reads no row again, of a metric of any kind of numbers."""
    store = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    trial = _with_trial(store)
    for step in range(50):
        store.log_trial_metrics(trial, step=step, loss=step / 4, count=step)
        store.log_trial_metrics(trial, cost=0.0)
    store.fetch_points(trial.uid)
    store.log_trial_metrics(trial, step=50, loss=1.0, count=7)
    rows: list[Any] = []
    read = store.database.rows
    monkeypatch.setattr(store.database, "rows", lambda *given: rows.extend(found := read(*given)) or found)

    points = store.fetch_points(trial.uid, ["loss", "count", "cost"], 50)

    assert {name: found[:2] for name, found in points.items()} == {
        "loss": ([50], [1.0]),
        "count": ([50], [7]),
        "cost": ([], []),
    }
    # One of the trial, one of each metric, and the new ones.
    assert len(rows) < 10


def test_late_points_are_counted_after_a_fold(tmp_path: Path) -> None:
    """That a point came late is known to who reads the snapshot, where the points are in their order."""
    uri = f"file:{tmp_path}/runs.json"
    store = get_protocol(uri)
    trial = _with_trial(store)
    for at in (5.0, 7.0, 6.0, 8.0):
        store.apply(MetricsLogged(trial.uid, {"loss": at}, at, int(at)))
    before = store.fetch_points(trial.uid)["loss"]
    store.commit()
    store.close()

    again = get_protocol(uri)

    assert again.fetch_points(trial.uid)["loss"] == before
    assert before.steps == [5, 6, 7, 8]
    assert before.generation != "0.0.0"
    again.apply(MetricsLogged(trial.uid, {"loss": 1.0}, 5.5, 1))
    assert again.fetch_points(trial.uid)["loss"].generation != before.generation


def test_backend_that_knows_nothing_compares() -> None:
    """By default a generation stays while points are only added, and is another one once earlier ones differ."""
    store = EphemeralProtocol()
    trial = _with_trial(store)
    generations = []
    for step, value in ((0, 0.5), (1, 0.4), (2, 0.3), (1, 9.0), (3, 0.2)):
        store.log_trial_metrics(trial, step=step, loss=value)
        generations.append(Protocol.fetch_points(store, trial.uid, since=step)["loss"].generation)

    assert [generations.index(one) for one in generations] == [0, 0, 0, 3, 3]


def test_rising_steps_are_looked_at_once() -> None:
    """The columns of a long metric are cut, whatever the stride; one step logged again makes rows of it."""
    series = Series()
    for number in range(1000):
        series.append(number * 7, float(number), at=1.0 + number)

    assert series.since(998) == ([6986, 6993], [998.0, 999.0], [999.0, 1000.0], 0)
    series.append(7000, 5.0, at=2000.0)
    assert series.since(1000) == ([7000], [5.0], [2000.0], 0)
    series.append(6993, 6.0, at=2001.0)
    assert series.since(999) == ([6993, 7000], [6.0, 5.0], [2001.0, 2000.0], 1)
    series.append(7007, 5.0, at=2002.0)
    assert series.since(1001)[3] == 1


def test_points_on_their_way_stay_what_they_are() -> None:
    """Steps of any kind and numbers of any size come back from a line of JSON."""
    store = EphemeralProtocol()
    trial = _with_trial(store)
    for step, value in ((0, float("inf")), ("end", 2**70), ((1, 2), -0.0), (2.5, True)):
        store.log_trial_metrics(trial, step=step, loss=value)
    points = store.fetch_points(trial.uid)["loss"]

    assert from_line(to_line("loss", points)) == ("loss", points)
    assert repr(from_line(to_line("loss", points))) == repr(("loss", points))
