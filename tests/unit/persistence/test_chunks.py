"""Points of a database in chunks: few rows for slow loggers, and what versions before have stored is read."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.aggregators.aggregator import MinAggregator, StatAggregator
from track.briefs import Brief, brief_of
from track.containers.packing import MOST
from track.events import FieldsMerged, MetricsLogged, TimeLogged, TrialCreated
from track.persistence.sql.measured import Known
from track.persistence.sql.rows import MIGRATIONS
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial

UID = "aa_0"


def _store(folder: Path) -> SqliteProtocol:
    return SqliteProtocol(f"sqlite:{folder}/runs.db")


def _rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "runs.db")) as connection:
        return connection.execute(sql).fetchall()


def _events(steps: range, name: str = "loss") -> list[MetricsLogged]:
    return [MetricsLogged(UID, {name: step / 2}, 1e9 + step, step) for step in steps]


# rows


@given(st.lists(st.integers(1, 3_000) | st.integers(1, 20), max_size=60))
def test_rows_that_are_small_become_larger_ones(sizes: list[int]) -> None:
    """Whatever the batches, what is to be one row is the end of what is stored, few rows are small, none too large."""
    known, rows, first = Known(), {}, 0
    for size in sizes:
        begin = known.place(first, size)
        merged = {number: rows.pop(number) for number in list(rows) if number >= begin}
        assert begin == min(merged, default=first)
        rows[begin] = sum(merged.values()) + size
        assert not merged or rows[begin] <= MOST
        first += size
        assert sum(count for _, count, _ in known.runs) <= 45
        assert [number for number, _, _ in known.runs if number not in rows] == []

    assert sum(rows.values()) == sum(sizes)


def test_slow_logger_leaves_few_rows(tmp_path: Path) -> None:
    """1,000 points in a batch each are some rows, and each was written a few times."""
    known, written = Known(), 0
    for number in range(5_000):
        written += number + 1 - known.place(number, 1)

    assert written < 4 * 5_000

    store = _store(tmp_path)
    store.apply(TrialCreated("aa", 0, 1.0))
    for event in _events(range(300)):
        store.apply(event)
    (found,) = _store(tmp_path).fetch_trials()

    assert len(_rows(tmp_path, "SELECT seq FROM chunks")) < 40
    assert found.metrics["loss"] == {step: step / 2 for step in range(300)}
    assert found.metrics["loss"].points.times() == [1e9 + step for step in range(300)]


def test_reader_sees_the_points_there_were_when_rows_became_one(tmp_path: Path) -> None:
    """A trial that was fetched before shows what it had then, though a row now holds more; so does who reads on."""
    store, reader = _store(tmp_path), _store(tmp_path)
    store.apply(TrialCreated("aa", 0, 1.0))
    found, read = [], []
    for event in _events(range(40)):
        store.apply(event)
        found.append(reader.fetch_trials()[0])
        read += reader.fetch_points(UID, ["loss"], len(read))["loss"].steps

    assert [list(trial.metrics["loss"]) for trial in found] == [list(range(size)) for size in range(1, 41)]
    assert read == list(range(40))


# versions before


def _old_tables(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "runs.db", isolation_level=None)) as connection:
        for step in MIGRATIONS[:3]:
            for statement in step:
                connection.execute(statement)
        connection.execute("CREATE TABLE format (id BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL)")
        connection.execute("INSERT INTO format VALUES (1, 3)")
        document = (
            '{"dtype":"trial","uid":"aa_0","revision":0,"hash":"aa","parameters":{},"metadata":{"_update_count":4,'
            '"_last_change":4.0},"metrics":{},"chronos":{},"status":{"name":"CreatedGroup","value":0},"latest":4.0}'
        )
        columns = "uid, position, hash, revision, points, document, changed"
        connection.execute(f"INSERT INTO trials ({columns}) VALUES ('aa_0', 1, 'aa', 0, 5, ?, 1)", (document,))
        connection.executemany(
            "INSERT INTO series VALUES (1, ?, ?, ?, ?, ?)",
            [
                ('"loss"', "metrics", None, 0.25, 1),
                ('"cost"', "metrics", '["series"]', None, 0),
                ('"run"', "times", '["sum"]', 2.0, 0),
            ],
        )
        nan = '{"value":{"dtype":"float","value":"nan"}}'
        connection.executemany(
            "INSERT INTO metrics VALUES (1, ?, ?, ?, ?, ?, ?)",
            [
                ('"loss"', 0, 0, 0.5, 1.0, None),
                ('"cost"', 1, None, None, 1.0, nan),
                ('"loss"', 2, None, 0.25, 2.0, '{"step":"end"}'),
                ('"cost"', 3, None, 3.0, 4.0, '{"value":3}'),
            ],
        )
        connection.execute("INSERT INTO times VALUES (1, '\"run\"', 4, 2.0, 4.0, NULL)")


def _shown(trial: Trial) -> dict[str, Any]:
    return {
        "loss": dict(trial.metrics["loss"]),
        "cost": repr(trial.metrics["cost"].val),
        "run": trial.chronos["run"].val,
    }


def test_tables_of_a_version_before_are_read_as_they_are(tmp_path: Path) -> None:
    """Who only reads changes no table, and sees all points, what they come to, and those from a position on."""
    _old_tables(tmp_path)
    store = _store(tmp_path)

    (found,) = store.brief_trials()

    assert found.metrics.briefs()["loss"] == Brief(0.25, "end", 0.25, "end", 0.5, 0, 2)
    assert _shown(found) == {"loss": {0: 0.5, "end": 0.25}, "cost": "[nan, 3]", "run": 2.0}
    assert list(found.metrics) == ["loss", "cost"]
    assert store.fetch_points(UID, ["loss"], 1)["loss"].steps == ["end"]
    assert store.columns_of("loss", [UID])[UID] == {0: 0.5, "end": 0.25}
    assert _rows(tmp_path, "SELECT version FROM format") == [(3,)]


def test_points_follow_those_of_a_version_before(tmp_path: Path) -> None:
    """New points stand behind the rows that were there, which stay; a late one does not hide the last."""
    _old_tables(tmp_path)
    store, reader = _store(tmp_path), _store(tmp_path)
    reader.fetch_trials()
    store.apply(MetricsLogged(UID, {"loss": 8.0}, 1.5, 7))
    late = [trial.uid for trial in reader.fetch_trials({"metrics.loss": 0.25})]
    store.apply(MetricsLogged(UID, {"loss": 9.0, "new": 1.0}, 5.0, 8))

    (found,) = reader.fetch_trials()

    assert late == [UID]
    assert dict(found.metrics["loss"]) == {0: 0.5, 7: 8.0, "end": 0.25, 8: 9.0}
    assert found.metrics.briefs() == {name: brief_of(one) for name, one in found.metrics.items()}
    assert _shown(found)["cost"] == "[nan, 3]"
    assert store.columns_of("loss", [UID], times=True)[UID].rows() == found.metrics["loss"].rows()
    assert len(_rows(tmp_path, "SELECT * FROM metrics")) == 4
    assert [trial.uid for trial in store.fetch_trials({"metrics.loss": 9.0})] == [UID]


def test_older_version_that_still_runs_is_not_passed_over(tmp_path: Path) -> None:
    """A process that connected before goes on with rows of a point: they stand where they were logged."""
    store = _store(tmp_path)
    store.apply(TrialCreated("aa", 0, 1.0), *_events(range(2)))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("INSERT INTO metrics VALUES (1, '\"loss\"', 2, 2, 7.0, 1e9 + 2, NULL)")
        connection.execute("UPDATE trials SET points = 3")
        connection.commit()
    between = store.fetch_trials()[0].metrics.briefs()["loss"]
    store.apply(*_events(range(3, 5)))

    (found,) = store.fetch_trials()

    assert between == Brief(7.0, 2, 0.0, 0, 7.0, 2, 3)
    assert list(found.metrics["loss"].items()) == [(0, 0.0), (1, 0.5), (2, 7.0), (3, 1.5), (4, 2.0)]
    assert found.metrics.briefs() == {"loss": Brief(2.0, 4, 0.0, 0, 7.0, 2, 5)}
    assert store.fetch_points(UID, since=1)["loss"].values == [0.5, 7.0, 1.5, 2.0]


# one metric of many trials


def test_columns_of_many_trials_are_what_each_has(tmp_path: Path) -> None:
    """One metric of many trials is read in few statements, and is what each trial says."""
    store = _store(tmp_path)
    kinds: list[list[Any]] = [
        [(step, step / 2, 1e9 + step) for step in range(5_000)],
        [(0, 1.0, 3.0), (1, 2.0, 4.0), (0, 5.0, 5.0)],
        [(0, 1.0, 3.0), (1, 2.0, 2.0)],
        [(None, math.inf, 1.0), (None, 3, 2.0)],
        [],
    ]
    for number, points in enumerate(kinds):
        store.apply(TrialCreated(f"{number}", 0, 1.0))
        store.apply(*(MetricsLogged(f"{number}_0", {"loss": value}, at, step) for step, value, at in points))
    store.apply(TrialCreated("8", 0, 1.0), MetricsLogged("8_0", {"loss": 3.0}, 1.0, None, ["min"]))
    store.apply(TrialCreated("9", 0, 1.0), *(MetricsLogged("9_0", {"loss": 1.0 * n}, 2.0, n) for n in range(3)))
    store.apply(FieldsMerged("trial", "9_0", "metadata", {"_resumes": [1, 3.0]}, 3.0, ["series"]))
    trials = {trial.uid: trial for trial in store.fetch_trials()}
    asked: list[str] = []
    execute = store.database.driver.execute
    store.database.driver.execute = lambda *given: asked.append(given[1]) or execute(*given)  # type: ignore[method-assign, func-returns-value]

    found = store.columns_of("loss", [*trials, "none_0"])

    assert repr(found) == repr({uid: trial.metrics["loss"] for uid, trial in trials.items() if "loss" in trial.metrics})
    assert found["1_0"].points.values() == [1.0, 2.0, 5.0]
    assert len([sql for sql in asked if sql.startswith("SELECT")]) < 20
    assert store.columns_of("loss", ["0_0"], times=True)["0_0"].points.times() == [at for _, _, at in kinds[0]]


# what metrics come to


@pytest.mark.parametrize(
    ("logged", "is_known"),
    [
        ([(0, 1.0, 1.0), (1, 0.5, 2.0), (5, 2, 2.0)], True),
        ([(0, math.nan, 1.0), (1, math.nan, 1.0)], True),
        ([(0, math.nan, 1.0), (1, -1.0, 1.0), (2, math.inf, 1.0)], True),
        ([(None, 1.0, 1.0), (None, True, 2.0), (None, 0.0, 2.0)], True),
        ([(0, 1.0, 1.0), (1, 0.5, 2.0), (0, 0.25, 3.0)], False),
        ([(0, 1.0, 5.0), (1, 0.5, 2.0)], False),
        ([(0, 1.0, 1.0), (0.5, 0.5, 2.0)], False),
        ([(None, 1.0, 1.0), (3, 0.5, 2.0)], False),
        ([(3, 1.0, 1.0), (None, 0.5, 2.0)], False),
        ([(0, 1.0, 1.0), (1, "text", 2.0)], False),
    ],
)
@pytest.mark.parametrize("is_one_batch", [True, False])
def test_brief_is_stored_where_it_is_known(
    tmp_path: Path, logged: list[Any], is_known: bool, is_one_batch: bool
) -> None:
    """What a metric comes to is what its points say, and where no step was logged again none is decoded for it."""
    store = _store(tmp_path)
    store.apply(TrialCreated("aa", 0, 1.0))
    events = [MetricsLogged(UID, {"loss": value}, at, step) for step, value, at in logged]
    for batch in [events] if is_one_batch else [[event] for event in events]:
        store.apply(*batch)
    (whole,) = store.fetch_trials()
    wanted = brief_of(whole.metrics["loss"])
    if is_known:
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
            connection.execute("DELETE FROM chunks")
            connection.commit()

    brief = _store(tmp_path).brief_trials()[0].metrics.briefs()["loss"]

    # As text: NaN equals no NaN; as doubles: arrays of numpy have one type.
    assert list(map(_as_double, msgspec.structs.astuple(brief))) == list(
        map(_as_double, msgspec.structs.astuple(wanted))
    )


def _as_double(value: Any) -> str:
    return repr(float(value)) if isinstance(value, (int, float)) else repr(value)


def test_aggregators_are_stored_with_the_trial(tmp_path: Path) -> None:
    """What keeps no points is read without any, times and metrics alike."""
    store = _store(tmp_path)
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    for value in (3.0, 1.0, 2.0):
        store.log_trial_metrics(trial, aggregator=MinAggregator.lazy(), best=value)
        store.log_trial_metrics(trial, aggregator=StatAggregator.lazy(0), speed=value)
        store.apply(TimeLogged(trial.uid, "epoch", value, 1.0, ["sum"]))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("DELETE FROM chunks")
        connection.commit()

    (found,) = _store(tmp_path).fetch_trials()

    assert (found.metrics["best"].val, found.metrics["speed"].avg, found.chronos["epoch"].val) == (1.0, 2.0, 6.0)
