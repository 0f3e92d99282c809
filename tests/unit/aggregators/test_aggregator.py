"""Aggregators: what becomes of values without a step."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from track.aggregators.aggregator import (
    Aggregator,
    MaxAggregator,
    MinAggregator,
    RingAggregator,
    StatAggregator,
    SumAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
    is_aggregator_state,
    make_aggregator,
    restore_aggregator,
    specification,
)

FACTORIES = {
    "value": ValueAggregator.lazy(),
    "min": MinAggregator.lazy(),
    "max": MaxAggregator.lazy(),
    "sum": SumAggregator.lazy(),
    "series": TimeSeriesAggregator.lazy(),
    "ring": RingAggregator.lazy(2, "d"),
    "stat": StatAggregator.lazy(1),
}


def _fed(aggregator: Aggregator, *values: Any) -> Any:
    for value in values:
        aggregator.append(value)
    return aggregator


@pytest.mark.parametrize(
    ("kind", "val", "short"),
    [
        ("value", 2.0, 2.0),
        ("min", 1.0, 1.0),
        ("max", 3.0, 3.0),
        ("sum", 6.0, 6.0),
        ("series", [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]),
        ("ring", [1.0, 2.0], [1.0, 2.0]),
        ("stat", 2.0, {"avg": 1.5, "min": 1.0, "max": 3.0, "sd": 0.5, "count": 2, "unit": "s"}),
    ],
)
def test_what_becomes_of_values(kind: str, val: Any, short: Any) -> None:
    """Each kind keeps what it says, and reports show it so."""
    aggregator = _fed(FACTORIES[kind](), 3.0, 1.0, 2.0)

    assert (aggregator.val, aggregator.to_json(short=True)) == (val, short)


@pytest.mark.parametrize("kind", FACTORIES)
def test_state_comes_back_and_goes_on(kind: str) -> None:
    """The full state is JSON, and the aggregator made of it takes more values like the first one."""
    first = _fed(FACTORIES[kind](), 3.0, math.inf, -1.0)

    again = restore_aggregator(json.loads(json.dumps(first.to_json(), allow_nan=False)))

    assert is_aggregator_state(first.to_json())
    assert type(again) is type(first)
    assert repr(_fed(again, 7.0)) == repr(_fed(first, 7.0))


@pytest.mark.parametrize("kind", FACTORIES)
def test_factory_can_be_written_down(kind: str) -> None:
    """A factory's specification makes the same aggregator elsewhere."""
    spec = specification(FACTORIES[kind])
    assert spec is not None

    made = make_aggregator(json.loads(json.dumps(spec)))

    assert repr(_fed(made, 1.0, 2.0)) == repr(_fed(FACTORIES[kind](), 1.0, 2.0))


def test_factories_do_not_share() -> None:
    """Each call of a factory is a new aggregator."""
    factory = TimeSeriesAggregator.lazy()

    assert _fed(factory(), 1).val == [1]
    assert factory().val == []


@pytest.mark.parametrize("kind", FACTORIES)
def test_plus_equals_appends(kind: str) -> None:
    """``+=`` appends and leaves the aggregator what it was."""
    aggregator = before = FACTORIES[kind]()

    aggregator += 1.0

    assert aggregator is before


@pytest.mark.parametrize(
    ("aggregator", "text"),
    [
        (ValueAggregator(3), "v<3>"),
        (_fed(TimeSeriesAggregator(), 1, 2), "ts<[1, 2]>"),
        (_fed(RingAggregator(2, "q"), 1, 2, 3), "r<[2, 3]>"),
        (_fed(StatAggregator(0), 1.0), "s<{'avg': 1.0, 'min': 1.0, 'max': 1.0, 'sd': 0.0, 'count': 1, 'unit': 's'}>"),
    ],
    ids=["value", "series", "ring", "stat"],
)
def test_text_of_each(aggregator: Aggregator, text: str) -> None:
    """The published texts."""
    assert repr(aggregator) == text


def test_statistics_of_a_hundred() -> None:
    """The numbers the original's tests state: the smallest includes the last dropped observation."""
    stat = _fed(StatAggregator(10), *range(100))

    assert (stat.avg, stat.min, stat.max, stat.sd) == (54.5, 9, 99, 25.97915831328387)
    assert (stat.sum, stat.total, stat.val, stat.count) == (4905, 4905, 99, 90)


def test_statistics_are_made_of_their_state() -> None:
    """`StatAggregator.from_json` takes the full form."""
    stat = _fed(StatAggregator(3), *range(10))

    again = StatAggregator.from_json(stat.to_json())

    assert (repr(again), again.arguments) == (repr(stat), (3,))


def test_series_shows_twenty() -> None:
    """A report shows the last 20 values of a series, which keeps all."""
    series = _fed(TimeSeriesAggregator(), *range(30))

    assert series.to_json(short=True) == list(range(10, 30))
    assert (len(series.val), series.last()) == (30, 29)


def test_empty_series_has_no_last_value() -> None:
    """Nothing was logged yet."""
    assert TimeSeriesAggregator().last() is None


@pytest.mark.parametrize(("kind", "best"), [("min", 1.0), ("max", 2.0)])
def test_nan_is_not_the_best(kind: str, best: float) -> None:
    """A NaN is kept only until there is a number, wherever it comes."""
    for values in ((math.nan, 1.0, 2.0), (1.0, math.nan, 2.0), (1.0, 2.0, math.nan)):
        assert _fed(FACTORIES[kind](), *values).val == best


def test_view_of_a_series_stays() -> None:
    """A view does not grow with its series."""
    series = _fed(TimeSeriesAggregator(), 1)

    view = series.view()
    series.append(2)

    assert (view.val, series.val) == ([1], [1, 2])


def test_values_of_any_kind_in_a_ring() -> None:
    """A ring of a longer type name keeps any object."""
    assert _fed(RingAggregator(2, "str"), "a", "b", "c").val == ["b", "c"]


# aggregators of one's own


def test_subclass_is_its_own_kind() -> None:
    """A subclass of ours without a kind is known by its own name, and takes the place of none."""

    class Loudest(MaxAggregator):
        """Keeps the largest value, and says so."""

    assert type(make_aggregator(["max"])) is MaxAggregator
    assert type(make_aggregator(["Loudest"])) is Loudest
    assert specification(Aggregator.lazy(Loudest)) == ["Loudest"]


def test_unknown_kind_keeps_everything() -> None:
    """Values of an aggregator that this program does not know are not lost."""
    assert _fed(make_aggregator(["median"]), 1, 2).val == [1, 2]


def test_factory_may_be_any_callable() -> None:
    """A function or a class that makes an aggregator is a factory."""
    assert specification(lambda: RingAggregator(3, "q")) == ["ring", 3, "q"]
    assert specification(ValueAggregator) == ["value"]
    assert specification(None) is None


@pytest.mark.parametrize("factory", [int, 3, "stat"])
def test_what_makes_no_aggregator_is_refused(factory: Any) -> None:
    """A factory of something else is a mistake, named with what is meant."""
    with pytest.raises(TypeError, match=r"such as StatAggregator.lazy\(1\), not"):
        specification(factory)


def test_base_is_to_be_extended() -> None:
    """The base class does nothing by itself."""
    base = Aggregator()

    for use in (lambda: base.append(1), lambda: base.val, base.to_json, lambda: base.restore({})):
        with pytest.raises(NotImplementedError):
            use()


@pytest.mark.parametrize("state", [{"dtype": "value"}, {"dtype": "polygon", "value": 1}, {"value": 1}, [1], None])
def test_what_is_no_state(state: Any) -> None:
    """Only what `to_json` wrote is the state of an aggregator."""
    assert not is_aggregator_state(state)
