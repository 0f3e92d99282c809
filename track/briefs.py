"""What a metric comes to, without its points: its last, least and greatest value, and how many there are."""

from __future__ import annotations

import math
import operator
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from track.aggregators.aggregator import Aggregator, MaxAggregator, MinAggregator, StatAggregator, TimeSeriesAggregator
from track.containers.arrays import extremes, to_arrays
from track.containers.chunks import Head
from track.containers.columns import hashable
from track.containers.series import Series
from track.plain import LEAVES, restore, to_plain
from track.shown import text_of

SYSTEM = "system/"
"""What the names of metrics begin with that are of the machine, and not of what is trained."""


class Brief(msgspec.Struct, frozen=True, gc=False):
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


NOTHING = Brief(None, None, None, None, None, None, 0)
"""What a metric without a point comes to."""


@dataclass(frozen=True)
class LastValue:
    """The last value of a metric, where nobody has looked at those before; `step` is None where it has none."""

    value: Any
    step: Any

    def to_json(self, short: bool = False) -> Any:
        """Return the point as a report shows points."""
        return [self.value] if self.step is None else {text_of(self.step): self.value}


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
    if points.stored is not None and (points.step is None or container.is_rising()):
        return _brief_of_chunks(container)
    size, column = len(points), points.step
    last_step = None if not size else size - 1 if column is None else points.step_at(size - 1)
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


def _brief_of_chunks(container: Any) -> Brief:
    """Return what points come to of which the first are on disk, and each step is there once."""
    points = container.points
    stored, found = points.stored, NOTHING
    start = 0
    for head in stored.heads():
        found = _together(found, _brief_of_head(stored, head, start))
        start += head.count
    if not points.tail:
        return found
    tail = points.view()
    tail.stored, steps = None, points.step is not None
    more = brief_of(Series(tail) if steps else _series(tail))
    if not steps:
        places = (more.last_step, more.least_step, more.greatest_step)
        last_step, least_step, greatest_step = (None if place is None else start + place for place in places)
        more = msgspec.structs.replace(more, last_step=last_step, least_step=least_step, greatest_step=greatest_step)
    return _together(found, more)


def _brief_of_head(stored: Any, head: Head, start: int) -> Brief:
    least, least_step, greatest, greatest_step = map(
        restore, (head.least, head.least_step, head.greatest, head.greatest_step)
    )
    if head.below or head.above:
        # The head knows the finite ones.
        values = stored.part(1, start, start + head.count)
        steps = stored.part(0, start, start + head.count)
        if head.below:
            least, least_step = -math.inf, steps[values.index(-math.inf)]
        if head.above:
            greatest, greatest_step = math.inf, steps[values.index(math.inf)]
        numbers = [value for value in values if value == value]
        if least is None:
            least, least_step = min(numbers), steps[values.index(min(numbers))]
        if greatest is None:
            greatest, greatest_step = max(numbers), steps[values.index(max(numbers))]
    return Brief(restore(head.last), restore(head.last_step), least, least_step, greatest, greatest_step, head.count)


def _together(one: Brief, other: Brief) -> Brief:
    """Return what points and those after them come to, of which each step is there once."""
    least, greatest = one, one
    if one.least is None or (other.least is not None and other.least < one.least):
        least = other
    if one.greatest is None or (other.greatest is not None and other.greatest > one.greatest):
        greatest = other
    ends = (least.least, least.least_step, greatest.greatest, greatest.greatest_step)
    return Brief(other.last, other.last_step, *ends, one.count + other.count)


def _series(points: Any) -> TimeSeriesAggregator:
    series = TimeSeriesAggregator()
    series.points = points
    return series


_NUMBERS = frozenset({float, int, bool})
_LARGEST = 2**53


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
    fields = list(msgspec.structs.astuple(brief))
    # Most are numbers that need no tag; the sum tells whether one is infinite, no number, or has too many digits.
    if _NUMBERS.issuperset(map(type, fields)):
        # A whole number may be beyond all doubles.
        with suppress(OverflowError):
            if sum(map(abs, fields)) < _LARGEST:
                return fields
    return list(map(to_plain, fields))


def brief_from_plain(plain: list[Any]) -> Brief:
    """Return what `brief_to_plain` was given."""
    if not LEAVES.issuperset(map(type, plain)):
        plain = [hashable(restore(field)) for field in plain]
    return Brief(*plain)
