"""Reading what is stored: trials by query, metrics as data frames."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import track
from track import TrackClient, Trials, fetch, to_arrow, to_pandas
from track.aggregators.aggregator import (
    MaxAggregator,
    RingAggregator,
    StatAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from track.errors import InvalidCall, InvalidQuery, MissingExtra, NotFound, UnknownBackend
from track.events import MetricsLogged, encode
from track.persistence.delivery.spill import Spill
from track.persistence.sqlite import SqliteProtocol
from track.structure import CustomStatus, Trial


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Give the URI of a store with two trials."""
    client = TrackClient(f"file:{tmp_path}/runs.json")
    for lr in (0.1, 0.01):
        log = client.new_trial(force=True, name=f"lr-{lr}", parameters={"lr": lr})
        with log:
            for step in range(2):
                log.log_metrics(step=step, loss=lr * (step + 1))
            log.log_metrics(cost=1.0)
    client.protocol.close()
    return f"file:{tmp_path}/runs.json"


def _trial(**metrics: Any) -> Trial:
    log = TrackClient("ephemeral:").new_trial(parameters={})
    for name, points in metrics.items():
        for step, value in points:
            log.log_metrics(step=step, **{name: value})
    return log.trial


# trials


def test_fetch_gives_the_trials_that_match(store: str) -> None:
    """Trials by query, oldest first; all of them without one."""
    assert [trial.parameters["lr"] for trial in fetch(store)] == [0.1, 0.01]
    assert [trial.name for trial in fetch(store, {"parameters.lr": {"$lte": 0.01}, "status": "completed"})] == [
        "lr-0.01"
    ]
    assert isinstance(track.fetch(store), Trials)


@pytest.mark.parametrize("scheme", ["file", "FILE", "sqlite", "pickled", "pickleddb"])
def test_missing_file_is_an_error(scheme: str, tmp_path: Path) -> None:
    """Reading a store that is not there names the file, and creates neither it nor its folder."""
    with pytest.raises(NotFound, match=rf"there is no store at {scheme}:.*nowhere: no file /.*nowhere"):
        fetch(f"{scheme}:{tmp_path}/deep/nowhere")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("query", [{"colour": 1}, {"name": {"$like": 1}}])
def test_mistake_in_a_query_is_said(store: str, query: Any) -> None:
    """A query is checked before anything is read."""
    with pytest.raises(InvalidQuery, match=r"colour|like"):
        fetch(store, query)


def test_unknown_store_is_said() -> None:
    """A store nobody knows is an error."""
    with pytest.raises(UnknownBackend, match="did you mean 'file:'"):
        fetch("fiel:runs.json")


def test_events_left_behind_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a killed process had no time to deliver is not shown, and one warning says how to send it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    uri = f"sqlite://{tmp_path}/runs.db"
    trial = SqliteProtocol(uri).new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    silent = fetch(uri)
    spill = Spill(uri)
    spill.open()
    spill.journal.append(encode(MetricsLogged(trial.uid, {"loss": 0.5}, at=1.0)))
    during = [fetch(uri), caplog.text]
    spill.close(len)

    found = fetch(uri)

    assert silent == found == [trial]
    assert during == [[trial], ""]
    assert [record.getMessage() for record in caplog.records] == [
        f"1 events of processes that are gone are not in {uri} yet: `python -m track sync` sends them"
    ]


# data frames


def test_one_trial_is_a_frame_of_steps() -> None:
    """A column a metric, a row a step; what was not logged at a step is missing."""
    frame = to_pandas(_trial(loss=[(0, 1.0), (1, 0.5)], acc=[(1, 0.8)]))

    assert (list(frame.columns), list(frame.index), frame.index.name) == (["loss", "acc"], [0, 1], "step")
    assert frame["loss"].tolist() == [1.0, 0.5]
    assert frame["acc"].isna().tolist() == [True, False]


def test_step_logged_again_has_one_row() -> None:
    """The last value of a step counts."""
    assert to_pandas(_trial(loss=[(0, 1.0), (1, 0.5), (0, 0.7)]))["loss"].to_dict() == {0: 0.7, 1: 0.5}


def test_values_without_steps_are_numbered() -> None:
    """A series is numbered from 0, a ring too, a single value is one row."""
    log = TrackClient("ephemeral:").new_trial(parameters={})
    for value in range(3):
        log.log_metrics(cost=value)
        log.log_metrics(aggregator=RingAggregator.lazy(2, "q"), ring=value)
        log.log_metrics(aggregator=ValueAggregator.lazy(), last=value)

    frame = log.to_pandas()

    assert frame["cost"].tolist() == [0, 1, 2]
    assert frame["ring"].dropna().tolist() == [1, 2]
    assert frame["last"].dropna().tolist() == [2]


@pytest.mark.parametrize("steps", [[0.5, 1.5], ["a", "b"], [(0, 1), (0, 2)], [0, "a"], [math.inf, 0.5]], ids=str)
def test_steps_of_any_kind_are_rows(steps: list[Any]) -> None:
    """Any step is a row."""
    frame = to_pandas(_trial(loss=[(step, 1.0) for step in steps], acc=[(step, 2.0) for step in steps]))

    assert frame["loss"].tolist() == [1.0, 1.0]
    assert sorted(map(str, frame.index)) == sorted(map(str, steps))


@pytest.mark.parametrize("steps", [["end", 1], [(1, 2), 1], [None], ["a", (1, 2)]], ids=str)
def test_steps_of_any_kind_are_rows_of_a_metric_beside_another(steps: list[Any]) -> None:
    """A metric at the step "end" stands beside one that counts, in the order in which steps came; so do their times."""
    trial = _trial(loss=[(1, 1.0), (2, 2.0)], acc=[(step, 3.0) for step in steps], last=[("end", 4.0)])

    frame = to_pandas(trial, times=True)
    several = to_pandas([trial])

    known = [0] if steps == [None] else steps
    assert list(frame.index) == list(dict.fromkeys([1, 2, *known, "end"]))
    assert frame["loss"].dropna().tolist() == [1.0, 2.0]
    assert frame["acc"].dropna().tolist() == [3.0] * len(steps)
    assert frame["loss.time"].notna().sum() == 2
    assert len(several) == len(frame)


def test_trials_of_one_uid_from_two_stores_are_both_in_a_frame() -> None:
    """One configuration that ran on two machines has one uid: no row of either is lost."""
    frame = to_pandas([_trial(loss=[(0, 1.0)]), _trial(loss=[(0, 2.0), (1, 3.0)])])

    assert frame["loss"].tolist() == [1.0, 2.0, 3.0]
    assert len(set(frame.index.get_level_values("trial"))) == 1


def test_some_metrics_only() -> None:
    """Metrics may be chosen; a trial that lacks one that others have has no column for it."""
    trial, other = _trial(loss=[(0, 1.0)], acc=[(0, 0.5)]), copy.copy(_trial(speed=[(0, 3.0)]))
    other.hash = "another"

    assert list(to_pandas(trial, "acc").columns) == ["acc"]
    assert list(to_pandas([trial, other], "acc", "speed").columns) == ["acc", "speed"]


def test_uri_is_no_trial() -> None:
    """Who gives a store in place of trials is told how to read it."""
    with pytest.raises(InvalidCall, match=r"write track.fetch\('file:runs.json'\).to_pandas"):
        to_pandas("file:runs.json")  # type: ignore[arg-type]


def test_list_of_metrics_is_said() -> None:
    """Names are given one after the other; a list is a mistake that says so."""
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    trial.log_metrics(step=1, loss=0.5)

    with pytest.raises(InvalidCall, match=r"write to_pandas\('loss', 'acc'\)"):
        to_pandas(trial.trial, ["loss"])  # type: ignore[arg-type]


def test_unknown_metric_is_an_error() -> None:
    """A metric that no trial has is named, with the one that is meant or those there are."""
    log = TrackClient("ephemeral:").new_trial(parameters={})
    log.log_metrics(step=0, loss=1.0, acc=0.5)

    with pytest.raises(NotFound, match=r"no metric 'los' was logged; did you mean 'loss'\?"):
        log.to_pandas("los")
    with pytest.raises(NotFound, match="no metric 'speed' was logged; there are: acc, loss"):
        to_pandas([log.trial, Trial("ab")], "loss", "speed")


def test_metric_of_a_trial_that_has_logged_nothing_yet(store: str) -> None:
    """A reader may be there before the first number."""
    assert len(to_pandas([Trial("ab")], "loss")) == 0
    assert len(to_pandas(Trial("ab"), "loss")) == 0


def test_status_that_nobody_has_is_said(store: str, caplog: pytest.LogCaptureFixture) -> None:
    """A word that is no status of the library and of no trial is one warning; a status of one's own is none."""
    client = TrackClient(store)
    for trial in client.protocol.fetch_trials()[:1]:
        client.protocol.set_trial_status(trial, CustomStatus("waiting", 42))

    silent = [fetch(store, {"status": "waiting", "name": "x"}), fetch(store, {"status": "suspended"}), caplog.text]
    found = fetch(store, {"status": "forgotten"})

    assert silent == [[], [], ""]
    assert found == []
    assert [record.getMessage() for record in caplog.records] == [
        "no trial has the status 'forgotten'; those of the library are running, interrupted, exception, broken, "
        "suspended, completed"
    ]


def test_several_trials_are_told_apart(store: str) -> None:
    """The index is the trial and the step."""
    trials = fetch(store)

    frame = trials.to_pandas("loss")

    assert frame.index.names == ["trial", "step"]
    assert frame.loc[trials[1].uid, "loss"].tolist() == [0.01, 0.02]
    assert len(frame) == 4


@pytest.mark.parametrize("trials", [[], [Trial("ab")]], ids=["no trial", "no metric"])
def test_nothing_is_an_empty_frame(trials: list[Trial]) -> None:
    """Without trials or without metrics there are no rows."""
    assert len(to_pandas(trials)) == 0


def test_summary_has_a_row_a_trial(store: str) -> None:
    """Name, revision, status, parameters, and the last, least and greatest values, by uid."""
    trials = fetch(store)

    summary = trials.summary()

    assert list(summary.index) == [trial.uid for trial in trials]
    assert list(summary.columns) == [
        *("name", "revision", "status", "group", "started", "runtime"),
        *("parameters.lr", "metrics.loss", "metrics.loss.min", "metrics.loss.max"),
        *("metrics.cost", "metrics.cost.min", "metrics.cost.max"),
    ]
    assert summary["metrics.loss"].tolist() == summary["metrics.loss.max"].tolist() == [0.2, 0.02]
    assert summary["metrics.loss.min"].tolist() == [0.1, 0.01]
    assert set(summary["status"]) == {"completed"}


def test_summary_of_what_is_nested_replaced_and_no_number() -> None:
    """Nested tags and parameters are dotted; a replaced value and a NaN are neither least nor greatest."""
    log = TrackClient("ephemeral:").new_trial(parameters={"opt": {"lr": 0.1}}, tags={"team": {"lead": "ada"}})
    for step, loss in ((0, -9.0), (1, math.nan), (2, 0.5), (0, 0.7)):
        log.log_metrics(step=step, loss=loss)
    log.log_metrics(aggregator=StatAggregator.lazy(0), speed=2.0)
    log.log_metrics(aggregator=MaxAggregator.lazy(), best=3.0)
    log.log_metrics(step=0, **{"loss.min": 42.0})

    row = Trials([log.trial]).summary().iloc[0].to_dict()

    measured = {name: value for name, value in row.items() if name.startswith("metrics.")}
    assert (row["tags.team.lead"], row["parameters.opt.lr"]) == ("ada", 0.1)
    assert measured == {
        "metrics.loss": 0.7,
        "metrics.loss.max": 0.7,
        "metrics.speed": 2.0,
        "metrics.speed.min": 2.0,
        "metrics.speed.max": 2.0,
        "metrics.best": 3.0,
        "metrics.best.max": 3.0,
        "metrics.loss.min": 42.0,
        "metrics.loss.min.min": 42.0,
        "metrics.loss.min.max": 42.0,
    }


def test_frame_with_times(store: str) -> None:
    """Each metric is followed by the time of its values, in UTC, which is missing where it is not known."""
    trial = fetch(store)[0]
    trial.metrics["old"] = TimeSeriesAggregator()
    trial.metrics["old"].append(1.0)

    frame = to_pandas(trial, "loss", "old", times=True)

    assert list(frame.columns) == ["loss", "loss.time", "old", "old.time"]
    seconds = [moment.timestamp() for moment in frame["loss.time"]]
    assert seconds == pytest.approx(trial.metrics["loss"].points.times(), abs=1e-6)
    assert frame["old.time"].isna().all()


def test_no_point_is_looked_at(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames and the summary are made of whole columns: no list of a metric's values is made."""
    trials = fetch(store)
    trials[0].metrics["loss"].to_numpy()
    monkeypatch.setattr("track.containers.columns.Column.tolist", lambda *_: pytest.fail("a list was made"))

    frame, summary = to_pandas(trials[0], times=True), trials[:1].summary()

    assert (len(frame), summary["metrics.loss.max"].tolist()) == (2, [0.2])


# tables of Arrow


def test_table_has_a_row_a_point(store: str) -> None:
    """Trial, metric, step and value of each point, and when it was logged."""
    pytest.importorskip("pyarrow")
    trials = fetch(store)

    table = trials.to_arrow(times=True)

    rows = table.to_pylist()
    assert [(row["trial"], row["metric"], row["step"], row["value"]) for row in rows] == [
        (trial.uid, name, step, value)
        for trial in trials
        for name, points in (("loss", [(0, 1), (1, 2)]), ("cost", [(0, None)]))
        for step, times_lr in points
        for value in [1.0 if times_lr is None else trial.parameters["lr"] * times_lr]
    ]
    assert rows[0]["time"].timestamp() == pytest.approx(trials[0].metrics["loss"].points.times()[0], abs=1e-6)


def test_integer_that_is_too_large_for_a_double_is_infinite_in_arrow() -> None:
    """Beside other numbers it is a double, as those are."""
    pytest.importorskip("pyarrow")

    table = to_arrow(_trial(loss=[(0, 0.5), (1, 10**400), (2, -(10**5000))]))

    assert table["value"].to_pylist() == [0.5, math.inf, -math.inf]


@pytest.mark.parametrize(
    ("steps", "values", "kinds"),
    [
        ([0, 1], [1, 2], ["int64", "int64"]),
        ([0, 0.5], [1, 2.5], ["double", "double"]),
        ([0, "a"], [1.5, 2**53 + 1], ["string", "double"]),
        ([(0, 1), (0, 2)], [True, False], ["string", "bool"]),
    ],
    ids=str,
)
def test_table_has_one_type_a_column(steps: list[Any], values: list[Any], kinds: list[str]) -> None:
    """Steps and values have the narrowest type that says all of them."""
    pytest.importorskip("pyarrow")

    table = to_arrow(_trial(loss=list(zip(steps, values, strict=True))))

    assert [str(table.schema.field(name).type) for name in ("step", "value")] == kinds
    assert table.num_rows == 2


@pytest.mark.parametrize("trials", [[], [Trial("ab")], Trial("ab")], ids=["no trial", "no metric", "one"])
def test_nothing_is_an_empty_table(trials: Any) -> None:
    """Without trials or without metrics there are no rows, and all columns."""
    pytest.importorskip("pyarrow")

    table = to_arrow(trials, times=True)

    assert (table.num_rows, table.column_names) == (0, ["trial", "metric", "step", "value", "time"])


def test_tables_of_arrow_need_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the message says what to install; a metric that nobody has is said first."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[pyarrow\]"'):
        to_arrow(Trial("ab"))
    with pytest.raises(NotFound, match="no metric 'los' was logged; did you mean 'loss'"):
        to_arrow(_trial(loss=[(0, 1.0)]), "los")
    with pytest.raises(InvalidCall, match=r"write track.fetch\('file:runs.json'\).to_arrow"):
        to_arrow("file:runs.json")  # type: ignore[arg-type]


def test_frames_need_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas the message says what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[pandas\]"'):
        to_pandas(Trial("ab"))
