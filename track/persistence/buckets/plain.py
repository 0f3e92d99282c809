"""Points into buckets without numpy: the same values, one after the other."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from track.persistence.buckets.columns import Curve, Found, edges_of, relative
from track.persistence.buckets.question import Question
from track.persistence.buckets.result import COUNTS, NUMBERS
from track.plain import nearest_double

HAS_PYRAMIDS = False
"""Whether what is known of long lines is kept."""
_SCALE = 2.0**-120


class Line:
    """The points of a metric that have a place, in the order of x, as `arrays.Line`."""

    __slots__ = ("high", "low", "odd", "unplaced", "values", "x")

    def __init__(self, x: list[float], values: list[float], odd: dict[str, list[float]], unplaced: int) -> None:
        self.x, self.values, self.odd = x, values, odd
        self.unplaced = unplaced
        ends = [one[place] for one in (x, *odd.values()) if one for place in (0, -1)]
        self.low = min(ends, default=None)
        self.high = max(ends, default=None)

    @property
    def nbytes(self) -> int:
        """How much memory it takes, about."""
        return 64 * len(self.x)

    def fill(self, edges: Any, planes: dict[str, Any], row: int) -> int:
        """Put the points into buckets: a row of the planes, which are empty. Return how many are outside."""
        offsets = _offsets(self.x, edges)
        rows = {name: planes[name][row] for name in NUMBERS}
        for place, (first, end) in enumerate(pairwise(offsets)):
            planes["count"][row][place] = end - first
            if end > first:
                values = self.values[first:end]
                rows["least"][place], rows["greatest"][place] = min(values), max(values)
                rows["mean"][place], rows["last"][place] = _mean(values), values[-1]
        inside, total = offsets[-1] - offsets[0], len(self.x)
        for name, places in self.odd.items():
            found = _offsets(places, edges)
            planes[name][row] = array("q", (end - first for first, end in pairwise(found)))
            inside += found[-1] - found[0]
            total += len(places)
        return total - inside


def _mean(values: list[float]) -> float:
    try:
        mean = math.fsum(values) / len(values)
    except OverflowError:
        mean = math.fsum(value * _SCALE for value in values) / len(values) / _SCALE
    return min(max(mean, min(values)), max(values))


def _offsets(x: list[float], edges: Sequence[float]) -> list[int]:
    return [*(bisect_left(x, edge) for edge in edges[:-1]), bisect_right(x, edges[-1])]


def planes_of(trials: int, buckets: int) -> dict[str, Any]:
    """Return planes that are empty: no number, and nothing counted."""
    numbers = {name: [array("d", [math.nan]) * buckets for _ in range(trials)] for name in NUMBERS}
    return numbers | {name: [array("q", [0]) * buckets for _ in range(trials)] for name in COUNTS}


def first_rows(planes: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the first rows of planes."""
    return {name: plane[:rows] for name, plane in planes.items()}


def grid(start: float, end: float, buckets: int) -> Any:
    """Return the edges of a grid."""
    return array("d", edges_of(start, end, buckets))


def line_of(found: Found, question: Question) -> Line | None:
    """Return the points of a metric in the order of x, smoothed if that is asked for; None where there are none."""
    values = _doubles(found.columns.values)
    if not values:
        return None
    points = [point for point in zip(_axis(found, question), values, strict=True) if math.isfinite(point[0])]
    unplaced = len(values) - len(points)
    # Equal ones stay as they are.
    points.sort(key=lambda point: point[0])
    odd: dict[str, list[float]] = {}
    for x, value in points:
        if not math.isfinite(value):
            kind = "nan" if value != value else "plus_inf" if value > 0 else "minus_inf"
            odd.setdefault(kind, []).append(x)
    finite = [point for point in points if math.isfinite(point[1])]
    places, numbers = [x for x, _ in finite], [value for _, value in finite]
    if question.smoothing:
        numbers = smoothed(numbers, question.smoothing)
    return Line(places, numbers, odd, unplaced)


def _axis(found: Found, question: Question) -> list[float]:
    """Return the x of each point, not finite where it has none."""
    columns = found.columns
    if question.x in ("time", "wall"):
        times = [at or math.nan for at in _doubles(columns.times)]
        if question.x == "wall":
            return times
        started = found.started or min(filter(math.isfinite, times), default=0.0)
        return [at - started for at in times]
    if question.other is not None:
        return _joined(columns, found.other)
    steps = [float(place) for place in range(len(columns.values))] if columns.steps is None else _doubles(columns.steps)
    if question.x == "step":
        return steps
    known = list(filter(math.isfinite, steps))
    low, high = found.ends or (min(known, default=0.0), max(known, default=0.0))
    return [relative(step, low, high) if question.x == "relative" else step - low for step in steps]


def _joined(columns: Curve, other: Curve | None) -> list[float]:
    """Return the values of another metric at the steps of one, NaN where it has none there."""
    known = {} if other is None else dict(zip(_steps(other), _doubles(other.values), strict=True))
    return [known.get(step, math.nan) for step in _steps(columns)]


def _steps(columns: Curve) -> Sequence[Any]:
    return range(len(columns.values)) if columns.steps is None else columns.steps


def _doubles(values: Any) -> list[float]:
    """Return values as doubles: the nearest ones, NaN for what is no number."""
    return [nearest_double(one) if isinstance(one, (int, float)) else math.nan for one in values]


def smoothed(values: list[float], weight: float) -> list[float]:
    """Return the moving mean of finite values: each counts `weight` times as much as the one after it.

    Only those there are have weights: the first one is as it was, and what is constant stays so.
    """
    if not values or not weight:
        return values
    logarithm, mean, found = math.log(weight), 0.0, []
    least = greatest = values[0]
    # What the mean before counts for, and this value, together 1: of n weights, (1 - weight**n) / (1 - weight).
    before = 0.0
    for number, value in enumerate(values, 1):
        weights = math.expm1(number * logarithm)
        mean = mean * (weight * before / weights) + value * ((weight - 1) / weights)
        before = weights
        least, greatest = min(least, value), max(greatest, value)
        # A mean is among what it is of, whatever is rounded.
        mean = min(max(mean, least), greatest)
        found.append(mean)
    return found
