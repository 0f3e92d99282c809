"""What a metric comes to, without its points: its last, least and greatest value, and how many there are."""

from __future__ import annotations

import operator
import sys
from dataclasses import astuple, dataclass
from itertools import islice
from typing import Any

from track.aggregators.aggregator import Aggregator, MaxAggregator, MinAggregator, StatAggregator, TimeSeriesAggregator
from track.containers.arrays import extremes, to_arrays
from track.containers.columns import hashable
from track.containers.series import Series
from track.plain import LEAVES, restore, to_plain


@dataclass(frozen=True)
class Brief:
    """What a metric comes to. NaN counts and may be last, but is neither least nor greatest.

    Attributes
    ----------
    last, least, greatest: number or None
        None where there is none, or nobody knows it any more. Of equal values the first one counts.
    last_step, least_step, greatest_step: any
        Where that was; the position of a metric without steps, None where nobody knows it.
    count: int
        How many points are shown: each step once.
    """

    last: Any
    last_step: Any
    least: Any
    least_step: Any
    greatest: Any
    greatest_step: Any
    count: int


def brief_of(container: Any) -> Brief:
    """Return what a container comes to."""
    if isinstance(container, (Series, TimeSeriesAggregator)):
        return _brief_of_points(container)
    least = greatest = None
    match container:
        case StatAggregator() if container.min <= container.max:
            least, greatest = container.min, container.max
        case MinAggregator():
            least = container.val
        case MaxAggregator():
            greatest = container.val
    last = container.val if isinstance(container, Aggregator) else container
    return Brief(last, None, least, None, greatest, None, 1)


def _brief_of_points(container: Any) -> Brief:
    points = container.points
    last = points.last()
    size, column = len(points), points.step
    last_step = None if not size else size - 1 if column is None else column[size - 1]
    steps: Any
    # Not imported for this: a program that only logs needs none.
    if sys.modules.get("numpy") is not None and (arrays := to_arrays(points, times=False))[1].dtype != object:
        steps, values = arrays
        least, greatest = extremes(container)
        steps = [value if least is None else steps[(values == value).argmax()] for value in (least, greatest)]
        least_step, greatest_step = (step.item() if hasattr(step, "item") else step for step in steps)
        return Brief(last, last_step, least, least_step, greatest, greatest_step, len(values))
    if column is None:
        values = points.values()
        steps = range(size)
    else:
        steps, values, _, _ = container.since(0)
    numbers = [value for value in values if isinstance(value, (int, float)) and value == value]
    if not numbers:
        return Brief(last, last_step, None, None, None, None, len(values))
    least, greatest = min(numbers), max(numbers)
    places = values.index(least), values.index(greatest)
    return Brief(last, last_step, least, steps[places[0]], greatest, steps[places[1]], len(values))


NOTHING = Brief(None, None, None, None, None, None, 0)
"""What a metric without a point comes to."""
_NUMBERS = frozenset({float, int, bool})


def grown(brief: Brief | None, steps: list[Any] | None, values: list[Any]) -> Brief | None:
    """Return what a metric comes to with more points; None where nobody knows it without those before.

    It is known where all are numbers, at integer steps that rise, or without steps (None): no step was logged again.
    The points must be in the order of their times, and later than those before.
    """
    if brief is None or not values:
        return brief
    if not _NUMBERS.issuperset(map(type, values)):
        return None
    size = brief.count
    places: Any = range(size, size + len(values))
    if steps is not None:
        run = [brief.last_step, *steps] if size else steps
        if set(map(type, run)) != {int} or not all(map(operator.lt, run, islice(run, 1, None))):
            return None
        places = steps
    numbers = [value for value in values if value == value] if any(map(operator.ne, values, values)) else values
    least, least_step, greatest, greatest_step = brief.least, brief.least_step, brief.greatest, brief.greatest_step
    if numbers:
        low, high = min(numbers), max(numbers)
        if least is None or low < least:
            least, least_step = low, places[values.index(low)]
        if greatest is None or high > greatest:
            greatest, greatest_step = high, places[values.index(high)]
    return Brief(values[-1], places[-1], least, least_step, greatest, greatest_step, size + len(values))


def brief_to_plain(brief: Brief) -> list[Any]:
    """Return a brief as JSON-safe data."""
    return [to_plain(field) for field in astuple(brief)]


def brief_from_plain(plain: list[Any]) -> Brief:
    """Return what `brief_to_plain` was given."""
    if LEAVES.issuperset(map(type, plain)):
        return Brief(*plain)
    last, last_step, least, least_step, greatest, greatest_step, count = map(restore, plain)
    return Brief(last, hashable(last_step), least, hashable(least_step), greatest, hashable(greatest_step), count)
