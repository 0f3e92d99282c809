"""What is known of a metric before it is sorted along x, and the grid that all trials share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple


class Curve(NamedTuple):
    """The points of a metric that are shown, in the order in which their steps first appeared: lists or arrays.

    Attributes
    ----------
    steps: sequence or None
        Each once; None where they are 0, 1, 2, ...
    values: sequence
        The value that was logged last at each.
    times: sequence of float or None
        When that was, unix seconds, 0 where it is not known; None where x is no time.
    """

    steps: Any
    values: Any
    times: Any = None


class Found(NamedTuple):
    """What of a trial is read for its buckets.

    Attributes
    ----------
    columns: Curve
        The metric.
    other: Curve or None
        The metric whose values x is.
    started: float
        When the trial was started, unix seconds, 0 where it is not known.
    ends: (float, float) or None
        The least and the greatest step of the metric, where this is a part of it.
    """

    columns: Curve
    other: Curve | None = None
    started: float = 0.0
    ends: tuple[float, float] | None = None


class Bounds:
    """The least and the greatest x so far."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def take(self, low: float | None, high: float | None) -> None:
        """Take those of one more trial; None where it has none."""
        if low is not None and high is not None:
            self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def is_empty(self) -> bool:
        """Whether there is no x at all."""
        return self.low > self.high

    def ends(self, start: float | None, end: float | None) -> tuple[float, float]:
        """Return where the grid begins and ends: as it is asked for, else where the points do.

        Where that is one place, or none, the grid goes up from there by 1.
        """
        low, high = (0.0, 1.0) if self.is_empty else (self.low, self.high)
        if start is None:
            start = low if end is None or low < end else end - _room(end)
        if end is None:
            end = high if high > start else start + _room(start)
        return start, end


def relative(step: float, low: float, high: float) -> float:
    """Return where a step is between the least, which is 0, and the greatest one, which is 1."""
    if low == high:
        return 0.0 if math.isfinite(step) else math.nan
    if math.isfinite(high - low):
        return (step - low) / (high - low)
    return (step / 2 - low / 2) / (high / 2 - low / 2)


def _room(place: float) -> float:
    """Return 1, or as much as changes a number that is very large."""
    return max(1.0, 4 * math.ulp(place))


def edges_of(start: float, end: float, buckets: int) -> Iterable[float]:
    """Return the edges of a grid, ``buckets + 1``, which never fall; the first and the last one are exact."""
    width = end - start
    if math.isfinite(width * buckets):
        inner = [start + width * place / buckets for place in range(1, buckets)]
    else:
        # Of numbers near the largest ones.
        half = end / 2 - start / 2
        inner = [2 * (start / 2 + half * (place / buckets)) for place in range(1, buckets)]
    return [start, *(min(max(edge, start), end) for edge in inner), end]
