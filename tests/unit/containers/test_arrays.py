"""Points as arrays of numpy: what they say, and that nobody who logs meanwhile is stopped."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track import TrackClient
from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.arrays import Runs, extremes
from track.containers.series import Points, Series
from track.errors import MissingExtra

numpy = pytest.importorskip("numpy")

NUMBERS = st.one_of(st.floats(), st.integers(), st.booleans(), st.integers(min_value=2**63))
STEPS = st.one_of(
    st.integers(-3, 9), st.integers(), st.floats(), st.booleans(), st.text(max_size=2), st.tuples(st.integers(0, 2))
)


def _series(*points: tuple[Any, Any]) -> Series:
    series = Series()
    for at, (step, value) in enumerate(points, 1):
        series.append(step, value, float(at))
    return series


@given(st.lists(st.tuples(STEPS, NUMBERS), max_size=40))
def test_arrays_say_what_the_mapping_says(points: list[tuple[Any, Any]]) -> None:
    """Steps, values and times are those of the rows, in their order, equal to the last bit."""
    series = _series(*points)
    rows = series.rows()

    steps, values, times = series.to_numpy(times=True)

    # A NaN is its text: as a step it equals no other.
    assert [str(step) if step != step else step for step in steps.tolist()] == [
        str(step) if step != step else step for step, _, _ in rows
    ]
    assert [value if value == value else None for value in values.tolist()] == [
        value if value == value else None for _, value, _ in rows
    ]
    assert times.tolist() == [at for _, _, at in rows]


@given(st.lists(st.integers(0, 30), max_size=60))
def test_steps_logged_again_are_found_without_sorting_and_with_it(steps: list[int]) -> None:
    """Steps that lie close together and far apart give the same order and the same last values."""
    near = _series(*((step, float(place)) for place, step in enumerate(steps)))
    far = _series(*((step * 10**12, float(place)) for place, step in enumerate(steps)))

    assert near.to_numpy()[1].tolist() == far.to_numpy()[1].tolist() == list(near.values())
    assert (near.to_numpy()[0] * 10**12).tolist() == far.to_numpy()[0].tolist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5], "float64"),
        ([1, 2], "int64"),
        ([0.5, 1], "float64"),
        ([1, 0.5], "float64"),
        ([1, True], "int64"),
        ([True, False], "bool"),
        ([0.5, 2**53 + 1], "object"),
        ([2**53 + 1, 0.5], "object"),
        ([1, 2**70], "float64"),
        ([1, 2**70 + 1], "object"),
        ([], "float64"),
    ],
    ids=str,
)
def test_type_is_the_one_that_says_all_values(values: list[Any], kind: str) -> None:
    """Objects are only where no number of eight bytes is exact."""
    series = _series(*enumerate(values))
    plain = TimeSeriesAggregator()
    for value in values:
        plain.append(value)

    assert str(series.to_numpy()[1].dtype) == kind
    assert str(plain.to_numpy()[1].dtype) == kind


def test_values_without_steps_are_numbered() -> None:
    """A sequence has the steps 0, 1, 2, ..., and its times."""
    cost = TimeSeriesAggregator()
    cost.append_at(3, 10.0)
    cost.append_at(2, 11.0)

    steps, values, times = cost.to_numpy(times=True)

    assert (steps.tolist(), values.tolist(), times.tolist()) == ([0, 1], [3, 2], [10.0, 11.0])


def test_late_points_are_where_they_belong() -> None:
    """Points that arrive late stand at their time, as in the mapping."""
    series = Series()
    for step, at in ((0, 1.0), (2, 3.0), (1, 2.0)):
        series.append(step, float(step), at)

    assert series.to_numpy(times=True)[2].tolist() == [1.0, 2.0, 3.0]


def test_nothing_is_copied() -> None:
    """The arrays are what the series holds, twice the same memory, and read-only."""
    series = _series(*((step, float(step)) for step in range(100))).view()

    first, second = series.to_numpy()[1], series.to_numpy()[1]

    assert numpy.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


@pytest.mark.parametrize("value", [1.0, 7, True, 2**70])
def test_who_logs_is_not_stopped_by_an_array(value: Any) -> None:
    """A value of any type is appended while somebody holds the arrays, which stay as they are."""
    series = _series((0, 0.5), (1, 1.5))
    held = series.to_numpy(times=True)

    series.append(2, value, 9.0)
    series.append(3, 2.5, 10.0)

    assert [array.tolist() for array in held] == [[0, 1], [0.5, 1.5], [1.0, 2.0]]
    assert list(series.items()) == [(0, 0.5), (1, 1.5), (2, value), (3, 2.5)]


def test_arrays_while_another_thread_logs() -> None:
    """A reader who takes arrays all the time and keeps them sees whole points only, and the writer logs them all."""
    trial = TrackClient("ephemeral:").new_trial(parameters={})
    trial.log_metrics(step=0, loss=0.0)
    failures: list[BaseException] = []

    def log() -> None:
        try:
            for step in range(1, 5_000):
                trial.log_metrics(step=step, loss=float(step))
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=log)
    writer.start()
    held = [trial.trial.metrics["loss"].to_numpy(times=True)]
    while writer.is_alive():
        held.append(trial.trial.metrics["loss"].to_numpy(times=True))
    writer.join()

    assert failures == []
    assert all(steps.tolist() == values.tolist() == list(range(len(at))) for steps, values, at in held)
    assert trial.trial.metrics["loss"].to_numpy()[0].tolist() == list(range(5_000))


def test_arrays_need_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numpy the message says what to install."""
    monkeypatch.setitem(sys.modules, "numpy", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[numpy\]"'):
        _series((0, 1.0)).to_numpy()


@pytest.mark.parametrize("has_numpy", [True, False])
@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0, 3.0), (1, float("nan")), (2, 1.0), (0, 2.0)], (1.0, 2.0)),
        ([(0, 3), (1, 1)], (1, 3)),
        ([(0, float("inf")), (1, 2**70 + 1)], (2**70 + 1, float("inf"))),
        ([(0, float("nan"))], (None, None)),
        ([], (None, None)),
    ],
    ids=str,
)
def test_extremes_leave_out_what_was_replaced_and_nan(
    points: list[tuple[Any, Any]], expected: Any, has_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least and greatest are those of the values that count, with numpy and without."""
    series, plain = _series(*points), TimeSeriesAggregator()
    for value in series.values():
        plain.append(value)
    if not has_numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)

    assert extremes(series) == extremes(plain) == expected


# while others log


@pytest.mark.parametrize("moment", ["settle", "_tail", "view", "columns"])
def test_arrays_are_of_one_moment(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Whenever another thread logs while arrays are made, steps, values and times are those of the same points."""
    series = Series()
    for step in range(5):
        series.append(step, step / 2, at=1.0 + step)
    kept = series.to_numpy()
    unchanged = getattr(Points, moment)

    def interrupted(points: Points, *args: Any) -> Any:
        found = unchanged(points, *args)
        size = len(series.points)
        Points.append(series.points, size, size / 2, 1.0 + size)
        return found

    monkeypatch.setattr(Points, moment, interrupted)
    steps, values, times = series.to_numpy(times=True)

    size = len(steps)
    assert size >= 5
    assert (steps.tolist(), values.tolist()) == (list(range(size)), [step / 2 for step in range(size)])
    assert times.tolist() == [1.0 + step for step in range(size)]
    assert kept[0].tolist() == list(range(5))


def test_columns_of_a_view_do_not_grow() -> None:
    """What a view has as data is what it had when it was made, whatever is logged until its columns are looked at."""
    points = Points(stepped=True)
    for step in range(5):
        points.append(step, step / 2, 1.0 + step)

    columns = points.view().columns()
    points.append(5, 2.5, 6.0)

    assert [len(column) for column in columns if column is not None] == [5, 5, 5]


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=6),
    st.lists(st.integers(-50, 300), min_size=1, max_size=20),
)
def test_runs_are_found_as_in_their_array(stride: int, pieces: list[tuple[int, int]], numbers: list[int]) -> None:
    """How many of the numbers of runs are below others is what an array of them says."""
    numpy = pytest.importorskip("numpy")
    first, runs, places = -7, [], [0]
    for size, gap in pieces:
        runs.append(("run", first, stride))
        places.append(places[-1] + size)
        first += (size - 1) * stride + gap
    found = Runs(runs, places)
    array = numpy.asarray(found)
    assert found.is_rising
    assert found.ends == (array[0], array[-1])
    assert len(found) == len(array)
    assert (array[1:] > array[:-1]).all()
    assert found.below(numpy.array(numbers)).tolist() == numpy.searchsorted(array, numbers, "left").tolist()
