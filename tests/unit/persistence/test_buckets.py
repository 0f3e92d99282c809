"""Points into buckets: with numpy and without, what looking at each point would say."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.servers.track import serving
from track.errors import InvalidQuery, RPCCallFailure
from track.persistence import get_protocol
from track.persistence.buckets import (
    Buckets,
    Curve,
    Found,
    Question,
    arrays,
    asking,
    bucketed,
    in_turns,
    joined,
    plain,
)
from track.persistence.protocol import Protocol
from track.persistence.server import calls
from track.structure import Trial
from track.testing.bucketing import AXES, Logged, assert_alike, expected, size_of

ENGINES = [arrays, plain]
numbers = st.one_of(
    st.floats(),
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, -(2**60), 10**400, True, 0.0, -0.0, 1.7e308, -1.7e308, 5e-324]),
)
steps = st.one_of(st.integers(-5, 20), st.floats(), st.text(max_size=2), st.sampled_from([2**53 + 1, 2**70, False]))
times = st.one_of(st.just(0.0), st.floats(1.0e9, 2.0e9))


@st.composite
def logged(draw: st.DrawFn, size: int = 40) -> Logged:
    """Return the points of two metrics of a trial: with rising steps, with any, or with none."""
    rows, others = draw(_rows(size)), draw(_rows(size))
    return Logged(rows, others, draw(st.sampled_from([0.0, 0.9e9])))


@st.composite
def _rows(draw: st.DrawFn, size: int) -> list[tuple[Any, Any, float]]:
    values = draw(st.lists(numbers, max_size=size))
    count = len(values)
    kinds = [st.lists(steps, min_size=count, max_size=count, unique=True), st.just(list(range(count)))]
    chosen = draw(st.one_of(*kinds))
    return list(zip(chosen, values, draw(st.lists(times, min_size=count, max_size=count)), strict=True))


def found_of(one: Logged) -> Found:
    """Return what a backend would have read."""
    columns, others = (Curve(*map(list, zip(*rows, strict=True))) if rows else None for rows in (one.rows, one.others))
    return Found(columns or Curve([], [], []), others, one.started)


def asked(question: Question, trials: Sequence[Logged], engine: ModuleType = arrays) -> Buckets:
    """Return the buckets of trials that are named 0, 1, 2, ..."""
    read = {str(number): found_of(one) for number, one in enumerate(trials)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "engine", lambda: engine)
        return bucketed(question, list(read), lambda uids: ((uid, read[uid]) for uid in uids))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("x", AXES)
@given(
    trials=st.lists(logged(), max_size=3),
    buckets=st.integers(1, 9),
    ends=st.tuples(*[st.one_of(st.none(), st.floats(-9, 9))] * 2),
    smoothing=st.sampled_from([None, 0.0, 1e-9, 0.6, 0.999, 1 - 1e-12]),
)
def test_buckets_are_what_the_points_say(
    engine: ModuleType,
    x: str,
    trials: list[Logged],
    buckets: int,
    ends: tuple[float | None, float | None],
    smoothing: float | None,
) -> None:
    """Of any points, along each x, on any grid, smoothed or not; and no point is lost."""
    start, end = ends
    if start is not None and end is not None and start >= end:
        start = None

    found = asked(Question("loss", buckets, x, start, end, smoothing), trials, engine)

    edges = list(map(float, found.edges))
    assert len(edges) == buckets + 1
    assert edges == sorted(edges)
    assert edges[0] == start or start is None
    assert edges[-1] == end or end is None
    assert found.uids == [str(number) for number, one in enumerate(trials) if one.rows]
    for uid, one in found.items():
        known = trials[int(uid)]
        assert_alike(one, expected(known, edges, x, smoothing), size_of(known) if smoothing else 0.0)
        planes = (one.count, one.nan, one.plus_inf, one.minus_inf)
        assert sum(int(count) for plane in planes for count in plane) + one.unplaced + one.outside == len(known.rows)
        if start is None and end is None and x != "relative":
            assert one.outside == 0


@pytest.mark.parametrize("engine", ENGINES)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30),
    weight=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([5e-324, 1 - 2**-53])),
)
@example([1.7e308] * 30, 1 - 2**-53)
@example([1.7e308, -1.7e308] * 15, 0.5)
def test_smoothed_values_are_among_those_before(engine: Any, values: list[float], weight: float) -> None:
    """A mean is between the least and the greatest value so far, so what is constant stays so, whatever the weight."""
    given_values = arrays.doubles(values) if engine is arrays else values

    found = list(map(float, engine.smoothed(given_values, weight)))

    assert len(found) == len(values)
    for place, value in enumerate(found):
        assert min(values[: place + 1]) <= value <= max(values[: place + 1])
    assert found[:1] == values[:1]


@pytest.mark.parametrize("weight", [1e-300, 1e-3, 0.6, 0.99, 0.9999, 1 - 1e-9, 1 - 2**-53])
def test_long_series_are_smoothed_alike(weight: float) -> None:
    """Over many blocks, with numpy and without, the same means; also of constants, and after a spike."""
    size = 100_000
    values = [math.sin(place / 50) + (1e6 if place == 40_000 else 0.0) for place in range(size)]

    blocks = arrays.smoothed(arrays.doubles(values), weight).tolist()

    assert blocks == pytest.approx(plain.smoothed(values, weight), rel=1e-9, abs=1e-9)
    assert set(arrays.smoothed(arrays.doubles([0.1] * size), weight).tolist()) == {0.1}
    assert set(plain.smoothed([0.1] * size, weight)) == {0.1}


@pytest.mark.parametrize("engine", ENGINES)
def test_points_that_are_too_many_to_keep_are_read_again(monkeypatch: pytest.MonkeyPatch, engine: ModuleType) -> None:
    """Where the grid ends is known once all were read; then those that were not kept are read once more."""
    monkeypatch.setattr(asking, "_KEPT", 700)
    monkeypatch.setattr(asking, "engine", lambda: engine)
    trials = {str(number): Logged([(step, step / 7, 1.0) for step in range(9 * number, 30)]) for number in range(4)}
    read: list[Sequence[str]] = []

    def reading(uids: Sequence[str]) -> Any:
        read.append(list(uids))
        # One is gone the second time.
        return [(uid, found_of(trials[uid])) for uid in uids if uid != "2" or len(read) == 1]

    found = bucketed(Question("loss", 4), list(trials), reading)

    assert len(read) == 2
    assert "2" in read[1]
    assert found.uids == ["0", "1", "3"]
    for uid in found:
        assert_alike(found[uid], expected(trials[uid], list(map(float, found.edges)), "step"))


@pytest.mark.parametrize("engine", ENGINES)
@given(trials=st.lists(logged(size=9), max_size=3), buckets=st.integers(1, 5))
def test_buckets_travel_as_they_are(engine: ModuleType, trials: list[Logged], buckets: int) -> None:
    """Bytes give the same planes, with their types, in fewer bytes where nothing is counted."""
    found = asked(Question("loss", buckets), trials, engine)

    again = Buckets.from_bytes(found.to_bytes())

    assert (again.uids, again.low, again.high) == (found.uids, found.low, found.high)
    assert list(again.edges) == list(found.edges)
    for uid in found:
        assert_alike(again[uid], found[uid])
        assert list(map(repr, map(float, again[uid].mean))) == list(map(repr, map(float, found[uid].mean)))


def test_bytes_that_are_no_buckets_are_refused() -> None:
    """What was cut short, or says something else than it has, is an error and no buckets of something else."""
    whole = asked(Question("loss", 3), [Logged([(0, 1.0, 1.0)])]).to_bytes()

    for wrong in (b"", b"{}\n", whole[:-1], whole + b"\0", whole.replace(b'"mean"', b'"nean"'), b"[" * 100_000):
        with pytest.raises(ValueError, match="no buckets"):
            Buckets.from_bytes(wrong)


def test_parts_are_one_answer() -> None:
    """Trials that were asked for some after others, on one grid, are as if asked for together."""
    trials = [Logged([(step, step / number, 1.0) for step in range(9 * number)]) for number in (1, 2, 3)]
    question = Question("loss", 4, "step", 0.0, 20.0)
    whole = asked(question, trials)

    parts = [asked(question, trials[:2]), asked(question, trials[2:])]
    parts[1] = Buckets.from_bytes(parts[1].to_bytes().replace(b'["0"]', b'["2"]'))

    assert joined(parts).to_bytes() == whole.to_bytes()


def test_most_is_refused_by_one_clear_error() -> None:
    """More trials times buckets than one answer has are refused before anything is read."""
    with pytest.raises(InvalidQuery, match="2,000,000"):
        bucketed(Question("loss", 1000), [str(number) for number in range(2001)], lambda _: pytest.fail("it was read"))


def test_without_numpy_buckets_are_arrays_of_the_standard_library() -> None:
    """Where numpy is not installed they are the same, in arrays of the standard library."""
    program = """
import sys
sys.modules["numpy"] = None
from track.persistence import get_protocol
from track.structure import Trial
store = get_protocol("ephemeral:")
trial = store.new_trial(Trial(parameters={}))
for step in range(10):
    store.log_trial_metrics(trial, step=step, loss=step / 2)
found = store.fetch_buckets([trial.uid], "loss", 2, smoothing=0.5)
again = type(found).from_bytes(found.to_bytes())
print(type(found.mean[0]).__name__, list(found.count[0]), list(again.count[0]), list(again.edges))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[0] == "array [5, 5] [5, 5] [0.0, 4.5, 9.0]"
    assert array("q", [5, 5]).tolist() == [5, 5]


# some after others, and over a connection


def _asking(trials: dict[str, Logged], asked_for: list[Sequence[str]]) -> Any:
    def ask(uids: Sequence[str], question: Question) -> Buckets:
        asked_for.append(uids)
        return bucketed(question, list(uids), lambda chosen: ((uid, found_of(trials[uid])) for uid in chosen))

    return ask


STEPS = {
    "within the first": lambda number: range(number, 40),
    "further and further": lambda number: range(9 - number, 40 + number),
    "without points first": lambda number: range(number // 3, number // 3 * 20),
    "nowhere": lambda number: ["no number"] * (number > 2),
}


@pytest.mark.parametrize("steps_of", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("ends", [(None, None), (3.0, None), (3.0, 20.0)])
def test_trials_in_turns_are_one_answer(ends: tuple[float | None, float | None], steps_of: Any) -> None:
    """Asked for some after others, between which others have a turn, they are what one call returns."""
    trials = {str(number): Logged([(step, number / 7, 1.0) for step in steps_of(number)]) for number in range(9)}
    question = Question("loss", 5, "step", *ends, 0.5)
    asked_for: list[Sequence[str]] = []

    *turns, found = in_turns(question, list(trials), _asking(trials, asked_for), 60.0)

    assert found is not None
    assert turns == [None] * len(asked_for)
    assert len(asked_for) > 2
    assert found.to_bytes() == asked(question, list(trials.values())).to_bytes()


def test_trials_on_one_grid_are_asked_for_once() -> None:
    """Where all begin and end as the first one does, none is asked for where that is; else each is asked once more."""
    alike = {str(number): Logged([(step, 1.0, 1.0) for step in range(9)]) for number in range(50)}
    counts = []
    for trials in (alike, alike | {"longer": Logged([(99, 1.0, 1.0)])}):
        asked_for: list[Sequence[str]] = []
        list(in_turns(Question("loss", 5), list(trials), _asking(trials, asked_for), 60.0))
        counts.append(sum(map(len, asked_for)) / len(trials))

    assert counts == [1.0, 2.0]


def test_trials_that_take_too_long_are_refused() -> None:
    """A question that keeps others waiting for long ends with an error that says how far it came."""
    trials = {str(number): Logged([(0, 1.0, 1.0)]) for number in range(9)}

    with pytest.raises(InvalidQuery, match="time is up after 1;"):
        list(in_turns(Question("loss", 5), list(trials), _asking(trials, []), 0.0))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
    """Give a client of a server."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    with serving("ephemeral:") as port:
        client = get_protocol(f"socket://127.0.0.1:{port}")
        yield client
        client.close()


def test_server_of_before_is_asked_for_points(served: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not know of buckets gives points, of which the client makes them."""
    trial = _trial(served, 30)
    known = served.fetch_buckets([trial.uid], "loss", 4, smoothing=0.5)
    monkeypatch.delitem(calls.CALLS, "fetch_buckets")

    found = served.fetch_buckets([trial.uid], "loss", 4, smoothing=0.5)

    assert found.to_bytes() == known.to_bytes()


def test_server_makes_the_buckets(served: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points do not travel: the answer is as large as the buckets are, whatever was logged."""
    trial = _trial(served, 2000)
    monkeypatch.setattr(calls, "to_line", lambda *_: pytest.fail("points were sent"))

    found = served.fetch_buckets([trial.uid], "loss", 4)

    assert list(found[trial.uid].count) == [500, 500, 500, 500]
    assert len(found.to_bytes()) < 600


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"uids": 3, "name": "loss", "buckets": 2}', b"[" * 5000, b'{"uids": [], "more": 1}', b"\xff"]
)
def test_questions_that_are_none_are_refused(served: Any, line: bytes) -> None:
    """Whatever a client sends in place of a question, it is told so, and the server goes on."""
    with pytest.raises(RPCCallFailure, match="refused"):
        served.remote.link.call("fetch_buckets", {}, line)

    assert served.fetch_buckets([], "loss", 1).uids == []


@pytest.mark.parametrize(("trials", "buckets"), [(1, 10**9), (21, 100_000)])
def test_server_refuses_what_is_too_large(served: Any, trials: int, buckets: int) -> None:
    """A client of one's own, too, is told what one answer has at most."""
    uids = [f"{number}_0" for number in range(trials)]
    line = json.dumps({"uids": uids, "name": "loss", "buckets": buckets})

    with pytest.raises(InvalidQuery):
        served.remote.link.call("fetch_buckets", {}, line.encode())


def _trial(store: Protocol, steps: int) -> Trial:
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    for step in range(steps):
        store.log_trial_metrics(trial, step=step, loss=step / 7)
    return trial
