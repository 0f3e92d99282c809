"""Columns of steps, values and times, and the mapping people see."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.containers.series import Column, Points, Series, hashable

VALUES = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.just(2**63), st.just(-(2**63))
)


def _series(*points: tuple[Any, Any]) -> Series:
    series = Series()
    for at, (step, value) in enumerate(points):
        series.append(step, value, float(at))
    return series


# columns


@given(st.lists(VALUES, max_size=60))
def test_column_gives_back_what_it_was_given(values: list[Any]) -> None:
    """Any mixture of values comes back, with types, in order, by position and as a whole."""
    column = Column(values)

    assert repr(column.tolist()) == repr(values)
    assert repr([column[position] for position in range(len(column))]) == repr(values)
    assert repr(column.tolist(3)) == repr(values[:3])


@given(st.lists(VALUES, max_size=60), st.lists(VALUES, max_size=60))
def test_view_of_a_column_stays(first: list[Any], later: list[Any]) -> None:
    """A view shows what was there, whatever is appended later."""
    column = Column(first)
    view = column.view()

    for value in later:
        column.append(value)

    assert repr(view.tolist(len(first))) == repr(first)


@pytest.mark.parametrize("count", [3, 10_000])
@pytest.mark.parametrize("kind", [float, int])
def test_column_survives_json(kind: type, count: int) -> None:
    """Short columns are lists, long ones are packed; both come back exactly, odd values too."""
    values: list[Any] = [kind(position) for position in range(count)]
    values[1] = 2**70
    values[2] = math.nan

    back = Column.from_plain(json.loads(json.dumps(Column(values).to_plain(), allow_nan=False)))

    assert repr(back.tolist()) == repr(values)


def test_long_column_is_packed() -> None:
    """From 10,000 values on, eight bytes each in base64."""
    plain = Column([0.5] * 10_000).to_plain()

    assert (plain["dtype"], plain["typecode"], len(plain["base64"])) == ("packed", "d", 106_668)


# points


def test_points_without_steps() -> None:
    """A series without steps has values and times."""
    points = Points(stepped=False)
    points.append(None, 1.0, 10.0)

    assert (points.steps(), points.values(), points.times(), len(points)) == ([], [1.0], [10.0], 1)


def test_points_survive_json() -> None:
    """Steps, values and times come back; a tuple step is a tuple again."""
    points = Points(stepped=True)
    for step in (1, 2, 3, (1, (2, 3)), "warm-up", 0.5, 7):
        points.append(step, math.inf, 1.5)

    back = Points.from_plain(json.loads(json.dumps(points.to_plain(), allow_nan=False)))

    assert (back.steps(), back.values(), back.times()) == (points.steps(), points.values(), points.times())


def test_tagged_value_is_restored() -> None:
    """A value that JSON could not say arrives as its tag, and is kept as the value."""
    points = Points(stepped=False)
    points.append(None, {"dtype": "float", "value": "inf"}, 1.0)

    assert points.values() == [math.inf]


# the mapping


def test_last_value_of_a_step_counts() -> None:
    """A step logged again has the new value in its old place; every point is kept."""
    loss = _series((0, 0.9), (1, 0.5), (0, 0.8))

    assert list(loss.items()) == [(0, 0.8), (1, 0.5)]
    assert loss.points.values() == [0.9, 0.5, 0.8]
    assert (loss.last(), len(loss), 1 in loss, 2 in loss) == (0.8, 2, True, False)


def test_steps_in_any_order() -> None:
    """Steps stay in the order in which they first appeared."""
    assert list(_series((5, 1.0), (-1, 2.0), (0.5, 3.0))) == [5, -1, 0.5]


@pytest.mark.parametrize(
    ("steps", "following"),
    [([], 0), ([4], 5), ([4, 2], 5), (["warm-up", 0.5], 0), ([-7], -6), ([2**70], 2**70 + 1)],
)
def test_value_without_a_step_follows_the_largest(steps: list[Any], following: int) -> None:
    """A value without a step takes the integer after the largest integer step, 0 at first."""
    series = _series(*((step, 0.0) for step in steps))

    series.append(None, 1.0, at=0.0)
    series.append(None, 2.0, at=0.0)

    assert list(series)[-2:] == [following, following + 1]


def test_step_given_later_moves_what_follows() -> None:
    """Steps and values without a step may alternate."""
    series = _series((None, 0.0), (9, 0.0), (None, 0.0), (3, 0.0), (None, 0.0))

    assert list(series) == [0, 9, 10, 3, 11]


def test_rows_have_times() -> None:
    """A row is a step, its value, and when that was logged."""
    assert _series((0, 0.9), (1, 0.5), (0, 0.8)).rows() == [(0, 0.8, 2.0), (1, 0.5, 1.0)]


def test_view_of_a_series_stays() -> None:
    """A view does not grow, and a reader may look at either first."""
    series = _series((0, 1.0))
    view = series.view()
    series.append(1, 2.0, at=1.0)

    assert (dict(view), dict(series)) == ({0: 1.0}, {0: 1.0, 1: 2.0})
    assert (view.last(), repr(series)) == (1.0, "{0: 1.0, 1: 2.0}")


def test_missing_step_is_a_key_error() -> None:
    """A series is a mapping."""
    with pytest.raises(KeyError, match="7"):
        _ = _series((0, 1.0))[7]
    assert (Series().last(), Series().get(0)) == (None, None)


@pytest.mark.parametrize(("step", "key"), [([1, [2]], (1, (2,))), (1, 1), ("a", "a"), ([], ())])
def test_step_as_a_key(step: Any, key: Any) -> None:
    """JSON's lists are tuples, at any depth."""
    assert hashable(step) == key


@pytest.mark.parametrize(
    ("steps", "found"), [([3, 4, 5], True), ([3, 5], False), ([3, True], False), ([3.0, 4.0], True)]
)
def test_lookup_is_that_of_a_dictionary(steps: list, found: bool) -> None:
    """Steps that count up by one need no index, and are looked up as in a dictionary all the same."""
    series = Series()
    for step in steps:
        series.append(step, float(step), at=0.0)

    expected = {step: float(step) for step in steps}

    assert (4.0 in series) is found
    assert [series.get(key) for key in (3, 3.0, 4, 5, 1, 0.5, "3", None)] == [
        expected.get(key) for key in (3, 3.0, 4, 5, 1, 0.5, "3", None)
    ]
    assert repr(series) == repr(expected)


def test_run_that_ends_gets_an_index() -> None:
    """Steps that counted up by one and then repeat are still found, the last value of each."""
    series = Series()
    for step in (0, 1, 2):
        series.append(step, float(step), at=0.0)
    before = len(series)

    series.append(1, 9.0, at=1.0)

    assert (before, dict(series)) == (3, {0: 0.0, 1: 9.0, 2: 2.0})


# points that come late


def _late() -> Series:
    """Return a series in which the second point came last."""
    series = Series()
    for step, value, at in ((0, 1.0, 1.0), (1, 3.0, 3.0), (1, 2.0, 2.0)):
        series.append(step, value, at)
    return series


def test_late_point_is_put_where_it_belongs() -> None:
    """A point that comes after later ones does not count as the last of its step, or of all."""
    series = _late()

    assert (list(series.items()), series.last()) == ([(0, 1.0), (1, 3.0)], 3.0)
    assert (series.points.values(), series.points.times()) == ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


def test_index_follows_what_came_late() -> None:
    """A series that was looked at, and gets late and later points in turn, is right each time."""
    series, seen = Series(), []

    for step, at in ((0, 10.0), (1, 20.0), (0, 5.0), (1, 30.0), (2, 1.0), (1, 25.0)):
        series.append(step, at, at)
        seen.append(dict(series))

    assert seen[-1] == {2: 1.0, 0: 10.0, 1: 30.0}
    assert list(series) == [2, 0, 1]
    assert seen[2] == {0: 10.0, 1: 20.0}


def test_points_of_one_time_are_in_the_order_they_came() -> None:
    """The order is stable, and a point whose time is not known stays behind the one before it."""
    points = Points(stepped=False)
    for value, at in ((1.0, 5.0), (2.0, 5.0), (3.0, 0.0), (4.0, 9.0), (5.0, 5.0)):
        points.append(None, value, at)

    assert points.values() == [1.0, 2.0, 3.0, 5.0, 4.0]


def test_view_is_not_sorted_under_its_reader() -> None:
    """What was read before a late point came, and after, stays as it was when the points are sorted."""
    series = Series()
    series.append(0, 2.0, at=2.0)
    before = series.view()
    series.append(1, 1.0, at=1.0)
    between = series.view()
    series.append(2, 1.5, at=1.5)

    shown = [list(view.items()) for view in (series, between, before)]

    assert shown == [[(1, 1.0), (2, 1.5), (0, 2.0)], [(1, 1.0), (0, 2.0)], [(0, 2.0)]]


def test_points_are_stored_in_order() -> None:
    """What is stored is sorted; what an earlier version stored as it came is shown so until something comes late."""
    plain = _late().points.to_plain()
    of_before = Points.from_plain({"value": [1.0, 3.0, 2.0], "at": [1.0, 3.0, 2.0]})

    shown = of_before.values()
    of_before.append(None, 1.5, 1.5)

    assert plain == {"step": [0, 1, 1], "value": [1.0, 2.0, 3.0], "at": [1.0, 2.0, 3.0], "late": 1}
    assert (shown, of_before.values()) == ([1.0, 3.0, 2.0], [1.0, 1.5, 2.0, 3.0])


def test_points_that_come_in_order_are_not_sorted() -> None:
    """In order, also of equal times, the columns stay the ones that were appended to."""
    series = Series()
    for step in range(5):
        series.append(step, 0.5, at=float(step // 2))
    columns = series.points.value, series.points.at

    assert dict(series) == dict.fromkeys(range(5), 0.5)
    assert (series.points.value, series.points.at) == columns
