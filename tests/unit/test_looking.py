"""Looking at what was measured: sequences, mappings and JSON; short texts at any size; tables for notebooks."""

from __future__ import annotations

import json
import math
import pickle
import re
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from track import CustomStatus, Project, TrackClient, Trial, TrialGroup, Trials
from track.aggregators.aggregator import (
    MaxAggregator,
    RingAggregator,
    StatAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from track.containers.lazy import LazySet
from track.containers.ring import RingBuffer
from track.containers.series import Points, Series
from track.em.containers import Params
from track.errors import InvalidCall
from track.metrics import Metrics, metrics_to_plain
from track.shown import cut, listed, shown, text_of
from track.table import trial_html, trials_html
from track.utils.out import write_out


@pytest.fixture
def trial() -> Trial:
    """Give a stored trial with metrics of every kind."""
    log = TrackClient("ephemeral:").new_trial(name="first", parameters={"opt": {"lr": 0.1}})
    with log:
        for value in (3.0, 2.0, math.nan):
            log.log_metrics(cost=value)
            log.log_metrics({"speed": value}, aggregator=StatAggregator.lazy(0))
            log.log_metrics({"best": 10**5000}, aggregator=MaxAggregator.lazy())
        for step in (0, "warm-up", (1, 2), 0.5):
            log.log_metrics({"loss": 0.5}, step=step)
        log.log_metrics(last=RingAggregator is None, aggregator=RingAggregator.lazy(2, "d"))
    return log.trial


# containers


def test_stepless_metric_is_a_sequence(trial: Trial) -> None:
    """It compares with lists, has a length, and is iterated over, indexed and cut."""
    cost = trial.metrics["cost"]
    again = TimeSeriesAggregator()
    for value in cost:
        again.append(value)

    assert (len(cost), cost[0], cost[1], list(cost)[:2], cost[:2], cost[-2:-1]) == (
        3,
        3.0,
        2.0,
        [3.0, 2.0],
        [3.0, 2.0],
        [2.0],
    )
    assert cost[:2] == [3.0, 2.0]
    assert (2.0 in cost, cost.index(2.0), bool(cost), bool(TimeSeriesAggregator())) == (True, 1, True, False)
    assert (again == [3.0, 2.0], again == (3.0, 2.0), again == 3) == (False, False, False)
    with pytest.raises(IndexError):
        _ = cost[3]


def test_sequences_are_equal_by_their_values() -> None:
    """As lists are."""
    series = [TimeSeriesAggregator() for _ in range(2)]
    for one in series:
        one.append(1.0)

    assert series[0] == series[1] == [1.0]
    series[1].append(2.0)
    assert series[0] != series[1]


def test_metrics_are_json(trial: Trial) -> None:
    """What was measured is plain Python that `json.dumps` takes, and so is what `track.to_json` gives of anything."""
    measured = trial.metrics.to_dict()

    assert measured["loss"] == {0: 0.5, "warm-up": 0.5, "(1, 2)": 0.5, 0.5: 0.5}
    assert (measured["cost"][:2], measured["best"], measured["last"]) == ([3.0, 2.0], hex(10**5000), [0.0])
    assert measured["speed"]["count"] == 3
    json.loads(json.dumps(measured))
    for value in (
        trial,
        trial.metrics,
        trial.metrics["loss"],
        trial.metrics["cost"],
        Trials([trial]),
        {"a": {1, b"x"}},
    ):
        for short in (False, True):
            json.loads(json.dumps(track.to_json(value, short=short), allow_nan=False))


def test_mapping_of_metrics(caplog: pytest.LogCaptureFixture) -> None:
    """Metrics are given in a mapping, by keywords, or both; with a step, an aggregator, or neither."""
    client = TrackClient("ephemeral:")
    log = client.new_trial(parameters={})

    log.log_metrics({"val/loss": 0.5}, step=1)
    log.log_metrics({"val/loss": 0.25, "metrics": 1}, step=2, acc=0.5)
    client.log_metrics({"cost": 1.0})
    log.log_metrics({"best": 1.0}, aggregator=MaxAggregator.lazy())
    log.log_metrics(3, acc=0.75)
    log.log_metrics(None, MaxAggregator.lazy(), best=0.5)
    log.log_metrics({})

    assert log.trial.metrics.to_dict() == {
        "val/loss": {1: 0.5, 2: 0.25}, "acc": {2: 0.5, 3: 0.75}, "metrics": {2: 1}, "cost": [1.0], "best": 1.0
    }  # fmt: skip
    assert not caplog.records


@pytest.mark.parametrize("name", ["step", "aggregator"])
def test_metric_cannot_be_called_as_an_argument(name: str) -> None:
    """The message says how to give the step."""
    log = TrackClient("ephemeral:").new_trial(parameters={})

    with pytest.raises(
        InvalidCall, match=re.escape(f"a metric cannot be called {name!r}: write log_metrics(values, step=3)")
    ):
        log.log_metrics({name: 1.0})


@pytest.mark.parametrize("scheme", ["ephemeral:", "file://a.json", "sqlite://a.db"])
def test_ignored_steps_are_said_once(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step given to an aggregated metric is left out; one warning names the metric."""
    monkeypatch.chdir(tmp_path)
    name = f"best{scheme}"
    with TrackClient(scheme).new_trial(parameters={}) as log:
        log.log_metrics({name: 0.5}, aggregator=MaxAggregator.lazy())
        for step in range(3):
            log.log_metrics({name: 0.9, "lr": 0.1}, step=step)

    assert log.trial.metrics.to_dict() == {name: 0.9, "lr": dict.fromkeys(range(3), 0.1)}
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"metric {name!r} has an aggregator (max), so it has no steps: they are ignored"]


def test_state_of_an_unknown_aggregator_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A program that does not have the class shows the state as it is stored, and saves it as it was."""
    state = {"dtype": "somebody's", "value": 3}
    metrics = Metrics(lambda: {"odd": state, "loss": [1.0]})

    metrics.log_values({"odd": 1.0, "loss": 2.0}, None, None, 1.0)

    assert metrics_to_plain(metrics)["odd"] == state
    assert metrics["loss"] == [1.0, 2.0]
    assert "'odd' cannot be decoded" in caplog.text


# texts


def _long_series(size: int) -> Series:
    return Series(Points.from_lists([step * 2 for step in range(size)], [0.5] * size, [1.0] * size))


def _long_values(size: int) -> TimeSeriesAggregator:
    values = TimeSeriesAggregator()
    values.points = Points.from_lists(None, [0.5] * size, [1.0] * size)
    return values


def _ring(size: int) -> RingAggregator:
    ring = RingAggregator(size, "d")
    ring._ring.array[:], ring._ring.count = ring._ring.array, size + 3
    return ring


def _metrics(size: int) -> Metrics:
    metrics = Metrics()
    metrics.update({f"m{number}": _long_series(size) for number in range(20)})
    return metrics


_MAKERS: dict[str, Callable[[int], Any]] = {
    "series": _long_series,
    "values": _long_values,
    "ring": _ring,
    "buffer": lambda size: _ring(size)._ring,
    "stat": lambda size: StatAggregator(0),
    "value": lambda size: ValueAggregator(["x" * 50] * size),
    "text value": lambda size: ValueAggregator("x" * size),
    "metrics": _metrics,
    "stored metrics": lambda size: Metrics(lambda: {"loss": [1.0] * size}),
    "stored set": lambda size: LazySet(lambda: map(str, range(size))),
    "trial": lambda size: Trial("ab" * 32, name="n" * 1000, parameters={"x": [1] * size}, metrics=_metrics(size)),
    "trial without a hash": lambda size: Trial(parameters={"x": [1] * size}),
    "group": lambda size: TrialGroup(name="n" * 1000, project_id="p" * 1000, trials=set(map(str, range(size)))),
    "project": lambda size: Project(name="n" * 1000, trials=set(map(str, range(size)))),  # type: ignore[arg-type]
    "trials": lambda size: Trials([Trial("ab", name="n" * 1000)] * size),
    "status": lambda size: CustomStatus("s" * size, 1),
    "parameters": lambda size: Params(lambda: None, {f"x{n}" * 100: [n] * 100 for n in range(size // 1000)}),
    "logger": lambda size: TrackClient("ephemeral:").new_trial(name="n" * size, parameters={}),
    "client": lambda size: _client(size),  # noqa: PLW0108 - it is defined below
}


def _client(size: int) -> TrackClient:
    client = TrackClient("ephemeral:")
    client.protocol.uri = f"file:/{'x' * size}"  # type: ignore[attr-defined]
    client.set_project(name="p" * size)
    client.set_group(name="g" * size)
    client.new_trial(name="t" * size)
    return client


@pytest.mark.parametrize("make", _MAKERS.values(), ids=_MAKERS)
def test_repr_is_short_and_costs_the_same_at_any_size(make: Callable[[int], Any]) -> None:
    """Under 300 characters, in well under a hundredth of a second, for a hundred thousand as for ten."""
    small, large = make(10), make(100_000)

    seconds = min(timeit.repeat(lambda: repr(large), number=1, repeat=5))

    assert seconds < 0.01
    assert (len(repr(small)) < 300, len(repr(large)) < 300) == (True, True)


def test_repr_of_many_shows_both_ends() -> None:
    """The first three, the last, and how many there are; a few are shown as they are."""
    assert repr(_long_series(92)) == "{0: 0.5, 2: 0.5, 4: 0.5, ... 182: 0.5 (92 points)}"
    assert repr(_long_values(92)) == "ts<[0.5, 0.5, 0.5, ... 0.5 (92 values)]>"
    assert repr(_long_series(2)) == "{0: 0.5, 2: 0.5}"
    assert repr(RingBuffer(2, "d")) == "RingBuffer([], size=2)"
    assert repr(Trial("abcdef" * 9, 3, name="first")) == "<Trial 'first' (abcdefabcdef..._3), createdgroup>"
    assert repr(Trials([Trial("ab", name=name) for name in "abcd"])).endswith(", ... (4 trials)]")


def test_repr_does_not_fix_a_hash() -> None:
    """A trial that is only looked at may still get its parameters."""
    unfinished = Trial(name="first")

    repr(unfinished)

    assert unfinished._hash is None


class _NoText:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (shown({"b": 1, "a": [2] * 20}), "{'b': 1, 'a': [2, 2, 2, 2, 2, 2, 2, 2, ...]}"),
        (shown(10**5000), "<an integer of 16610 bits>"),
        (shown("x" * 1000, 20), "'xxxxxxxxxxxxxxxx..."),
        (text_of(_NoText()), "<_NoText: its text failed with RuntimeError>"),
        (cut("abcdef", 5), "ab..."),
        (listed(lambda place: "x" * 100, 5, "texts"), f"{', '.join(['x' * 100] * 3)}, ... {'x' * 100} (5 texts)"),
    ],
)
def test_short_texts(text: str, expected: str) -> None:
    """The beginning of a value, in its own order, whatever it is and does."""
    assert text == expected


def test_short_text_of_what_cannot_be_asked() -> None:
    """It says what it is."""
    assert shown(_NoText()).startswith("<_NoText ")


# notebooks

_HOSTILE = "<script>alert('x')</script>"


def test_table_of_a_trial_is_escaped_and_complete(trial: Trial) -> None:
    """Every text is shown as it is, nothing runs, nothing is fetched, and the metrics say how many there are."""
    trial.name, trial.parameters = _HOSTILE, {_HOSTILE: _HOSTILE}
    trial.errors = [_HOSTILE]

    html = trial._repr_html_()

    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#x27;x&#x27;)") == 4
    assert "<td>nan (last of 3)</td>" in html or "<td>None (last of 3)</td>" in html
    assert not re.search(r"<(script|link|img|style|iframe)|https?:|on\w+=", html)


def test_client_and_logger_show_their_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the trial as it is stored; before there is one, and when its store is away, the plain text."""
    client = TrackClient("ephemeral:")
    before = client._repr_html_()
    log = client.new_trial(name="first")
    waiting = log._repr_html_()
    is_pending = log.is_pending
    log.log_arguments(lr=0.125)
    shown_html = (client._repr_html_(), log._repr_html_())
    monkeypatch.setattr(log.protocol, "refresh", lambda trial: 1 / 0)

    away = log._repr_html_()

    assert before == "<pre>TrackClient(&#x27;ephemeral:&#x27;)</pre>"
    assert (is_pending, "first" in waiting) == (True, True)
    assert all("<td>0.125</td>" in html for html in shown_html)
    assert away.startswith("<pre>&lt;TrialLogger of ")


def test_table_of_trials_has_a_row_each() -> None:
    """Of the first twenty, with nested parameters and last values; it says what is left out."""
    many = [Trial(f"{n:02}", name=f"<{n}>", parameters={"opt": {"lr": n}}, metrics=Metrics()) for n in range(30)]
    many[0].metrics["loss"] = _long_series(92)
    many[1].parameters = {f"p{n}": n for n in range(20)}

    html = Trials(many)._repr_html_()

    assert (html.count("<tr>"), html.count("<th>")) == (21, 12)
    assert "30 trials, the first 20 of them; 12 more columns are left out" in html
    assert "<th>opt.lr</th>" in html
    assert "&lt;19&gt;" in html
    assert "&lt;20&gt;" not in html
    assert trials_html([]) == ("<table><caption>0 trials</caption><thead><tr></tr></thead><tbody></tbody></table>")
    assert trial_html(many[0]).count("0.5 at 182 (92 steps)") == 1


# lists of trials


def test_part_of_trials_is_trials() -> None:
    """A slice, a sum and a copy have the same methods; they can be pickled."""
    trials = Trials([Trial("ab"), Trial("cd")])

    parts = [trials[:1], trials + trials, trials.copy(), pickle.loads(pickle.dumps(trials))]

    assert [(type(part), len(part)) for part in parts] == [(Trials, 1), (Trials, 4), (Trials, 2), (Trials, 2)]
    assert type(trials[0]) is Trial


@pytest.mark.parametrize("scheme", ["file://a.json", "sqlite://a.db"])
def test_groups_and_projects_go_by_name(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query names them as the program did, and a summary shows the group's name, the date and the run time."""
    monkeypatch.chdir(tmp_path)
    client = TrackClient(scheme)
    client.set_project(name="digits")
    for group in ("ablation", "baseline"):
        client.set_group(name=group, force=True)
        with client.new_trial(parameters={"opt": {"lr": 0.1}, "of": group}):
            pass
    client.protocol.flush()

    found = {
        str(query): len(track.fetch(scheme, query))
        for query in (
            {"group": "ablation"},
            {"group_id": "ablation"},
            {"group": {"$in": ["ablation", "baseline"]}, "project": "digits"},
            {"group": "nothing"},
            {"group_id": None},
        )
    }
    summary = track.fetch(scheme)[:1].summary()

    assert list(found.values()) == [1, 1, 2, 0, 0]
    assert summary["group"].tolist() == ["ablation"]
    assert summary["parameters.opt.lr"].tolist() == [0.1]
    assert summary["runtime"].iloc[0] >= 0
    assert summary["started"].iloc[0].year >= 2024


# standard output


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_text_is_written_in_any_encoding(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the output's encoding lacks is escaped."""
    with open(tmp_path / "out", "w", encoding=encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("before ")
        write_out("a \u00b1 \u4e2d\n")

    assert (tmp_path / "out").read_text(encoding) == "before a \u00b1 \u4e2d\n".encode(
        encoding, "backslashreplace"
    ).decode(encoding)


@pytest.mark.parametrize("kind", ["none", "closed", "full"])
@pytest.mark.parametrize("style", ["json", "table"])
def test_report_without_a_standard_output(
    kind: str, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing can be printed, nothing is raised, and nothing is left to fail at the exit; what fails is said."""
    log = TrackClient("ephemeral:").new_trial(parameters={"sign": "\u00b1"})
    path = "/dev/full" if kind == "full" else tmp_path / "out"
    out = None if kind == "none" else open(path, "w", encoding="ascii")  # noqa: SIM115 - closed below
    if out is not None and kind == "closed":
        out.close()
    monkeypatch.setattr(sys, "stdout", out)

    log.report(style=style)

    monkeypatch.undo()
    if out is not None:
        out.close()
    assert ("characters are not printed" in caplog.text) == (kind != "none")
