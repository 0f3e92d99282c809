"""Points into buckets with numpy: no look at each of them."""

from __future__ import annotations

import math
from typing import Any

import numpy

from track.containers.arrays import Runs, counted, order_of
from track.persistence.buckets.columns import Curve, Found, edges_of
from track.persistence.buckets.pyramid import Pyramid
from track.persistence.buckets.question import Question
from track.persistence.buckets.result import COUNTS, NUMBERS
from track.plain import nearest_double

HAS_PYRAMIDS = True
"""Whether what is known of long lines is kept."""
_EXACT = 2**53
# Doubles that fit, twice, into what a core keeps at hand.
_BLOCK = 1 << 15
_EDGE = 2**62
# Where sums of numbers below it are finite, and where their weighted sums are.
_HUGE, _SCALE = 2.0**900, 2.0**-120
# Runs of so many points often have the same x; of longer ones nothing is held on to.
_SHARED = 1 << 16
# Points in a bucket from which on a pyramid is faster.
_FEW = 256


class Line:
    """The points of a metric that have a place, in the order of x.

    `x` and `values` are of those with a finite value; `odd` are the x of the others, by what they are counted as.
    """

    __slots__ = ("high", "is_plain", "low", "odd", "pyramid", "unplaced", "values", "x")

    def __init__(
        self, x: Any, values: Any, odd: dict[str, Any] | None = None, unplaced: int = 0, pyramid: Pyramid | None = None
    ) -> None:
        odd = odd or {}
        self.x, self.values, self.odd = x, values, odd
        self.unplaced = unplaced
        self.is_plain = False
        """Whether these are the points as they were given."""
        self.pyramid = pyramid
        ends = [float(end) for one in (x, *odd.values()) if len(one) for end in _first_and_last(one)]
        self.low = min(ends, default=None)
        self.high = max(ends, default=None)

    @property
    def nbytes(self) -> int:
        """How much memory it takes, where that is its own."""
        arrays = (self.x, self.values, *self.odd.values())
        return sum(int(one.nbytes) for one in arrays) + (0 if self.pyramid is None else self.pyramid.nbytes)

    def owned(self) -> Line:
        """Return a line that shows nothing of what somebody else may want to change."""
        x, values = (one if one.flags.owndata else one.copy() for one in (self.x, self.values))
        return Line(x, values, self.odd, self.unplaced, self.pyramid)

    def fill(self, edges: Any, planes: dict[str, Any], row: int) -> int:
        """Put the points into buckets: a row of the planes, which are empty. Return how many are outside."""
        total = len(self.x) + sum(map(len, self.odd.values()))
        if self.low is None or edges[-1] < self.low or self.high < edges[0]:
            return total
        grid = _shared_places(self.x, edges)
        planes["count"][row] = grid.counts
        inside = grid.inside
        if inside:
            self._fill_numbers(grid, {name: planes[name][row] for name in NUMBERS})
        for name, places in self.odd.items():
            found = grid_places(places, edges)
            planes[name][row] = numpy.diff(found)
            inside += int(found[-1] - found[0])
        return total - inside

    def _fill_numbers(self, grid: _Places, row: dict[str, Any]) -> None:
        firsts, ends, some = grid.firsts, grid.ends, grid.some
        counts = ends - firsts
        if self.pyramid is not None and ends[-1] - firsts[0] > _FEW * len(counts):
            least, greatest, sums = self.pyramid.numbers(self.values, firsts, ends)
            means = sums / counts
        else:
            values = self.values[firsts[0] : ends[-1]]
            begins = firsts - firsts[0]
            least, greatest = numpy.minimum.reduceat(values, begins), numpy.maximum.reduceat(values, begins)
            means = _means(values, begins, counts)
        row["least"][some], row["greatest"][some] = least, greatest
        row["last"][some] = self.values[ends - 1]
        # A mean is among what it is of, whatever is rounded.
        row["mean"][some] = numpy.minimum(numpy.maximum(means, least), greatest)


def _first_and_last(x: Any) -> Any:
    return x.ends if isinstance(x, Runs) else (x[0], x[-1])


def _means(values: Any, firsts: Any, counts: Any) -> Any:
    with numpy.errstate(over="ignore", invalid="ignore"):
        means = numpy.add.reduceat(values, firsts) / counts
        if numpy.isfinite(means).all():
            return means
        # The sum is larger than any double; the mean is not.
        return numpy.add.reduceat(values * _SCALE, firsts) / counts / _SCALE


class _Places:
    """Where the buckets of a grid begin and end in sorted places.

    `counts`: how many points each bucket has. `some`: those that have any, a slice where all have. `firsts`, `ends`:
    where these begin and end. `inside`: how many points there are in all.
    """

    def __init__(self, x: Any, edges: Any) -> None:
        offsets = grid_places(x, edges)
        self.x, self.edges = x, edges
        self.counts = numpy.diff(offsets)
        self.inside = int(offsets[-1] - offsets[0])
        is_some = self.counts > 0
        self.some = slice(None) if is_some.all() else is_some
        self.firsts, self.ends = offsets[:-1][self.some], offsets[1:][self.some]


_last: list[_Places | None] = [None]


def _shared_places(x: Any, edges: Any) -> _Places:
    """Return where buckets begin and end; runs that have the same x share that."""
    last = _last[0]
    if last is None or last.x is not x or last.edges is not edges:
        last = _Places(x, edges)
        if len(x) <= _SHARED:
            _last[0] = last
    return last


def grid_places(x: Any, edges: Any) -> Any:
    """Return where in sorted places each bucket begins, and where the last one ends."""
    last = edges[-1]
    is_runs = isinstance(x, Runs)
    if is_runs or x.dtype == numpy.int64:
        # Not as doubles, which would be a copy: a whole number is not before an edge if it is not before the next one.
        last = numpy.clip(numpy.floor(last), -_EDGE, _EDGE).astype(numpy.int64)
        edges = numpy.clip(numpy.ceil(edges), -_EDGE, _EDGE).astype(numpy.int64)
    if is_runs:
        offsets = x.below(edges)
        offsets[-1] = x.below(last + 1)
        return offsets
    offsets = numpy.searchsorted(x, edges, "left")
    offsets[-1] = numpy.searchsorted(x, last, "right")
    return offsets


def planes_of(trials: int, buckets: int) -> dict[str, Any]:
    """Return planes that are empty: no number, and nothing counted."""
    numbers = {name: numpy.full((trials, buckets), numpy.nan) for name in NUMBERS}
    return numbers | {name: numpy.zeros((trials, buckets), numpy.int64) for name in COUNTS}


def first_rows(planes: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the first rows of planes."""
    return {name: plane[:rows] for name, plane in planes.items()}


def grid(start: float, end: float, buckets: int) -> Any:
    """Return the edges of a grid."""
    width = end - start
    if not math.isfinite(width * buckets):
        return numpy.array(edges_of(start, end, buckets))
    edges = start + width * numpy.arange(buckets + 1) / buckets
    edges[0], edges[-1] = start, end
    return numpy.clip(edges, start, end)


# from columns


def line_of(found: Found, question: Question) -> Line | None:
    """Return the points of a metric in the order of x, smoothed if that is asked for; None where there are none."""
    values = given = doubles(found.columns.values)
    if not len(values):
        return None
    steps = found.columns.steps
    if isinstance(steps, Runs):
        is_exact = max(map(abs, steps.ends)) <= _EXACT
        if question.x == "step" and is_exact and not question.smoothing and numpy.isfinite(values).all():
            return Line(steps, values)
        found = found._replace(columns=found.columns._replace(steps=numpy.asarray(steps)))
    x = _axis(found, question)
    if x.dtype != numpy.int64:
        placed = numpy.isfinite(x)
        if not placed.all():
            x, values = x[placed], values[placed]
    unplaced = len(given) - len(x)
    if not (x[1:] >= x[:-1]).all():
        order = order_of(x)
        x, values = x[order], values[order]
    finite = numpy.isfinite(values)
    odd: dict[str, Any] = {}
    if not finite.all():
        odd_x, odd_values = x[~finite], values[~finite]
        x, values = x[finite], values[finite]
        kinds = {"nan": odd_values != odd_values, "plus_inf": odd_values > 0, "minus_inf": odd_values < 0}
        odd = {name: odd_x[chosen] for name, chosen in kinds.items() if chosen.any()}
    if question.smoothing:
        values = smoothed(values, question.smoothing)
    line = Line(x, values, odd, unplaced)
    line.is_plain = values is given and question.other is None
    return line


def plain_line(found: Found, question: Question, pyramid: Pyramid) -> Line:
    """Return a line that is known to be plain: nothing is looked at again."""
    return Line(_axis(found, question, is_sorted=True), doubles(found.columns.values), pyramid=pyramid)


def pyramid_of(line: Line) -> Pyramid | None:
    """Return the pyramid of a line; None where the sums of its values are no numbers."""
    pyramid = Pyramid(line.values)
    return pyramid if pyramid.is_good else None


def _axis(found: Found, question: Question, is_sorted: bool = False) -> Any:
    """Return the x of each point, not finite where it has none: doubles, or whole numbers that are such exactly."""
    columns = found.columns
    if question.x in ("time", "wall"):
        times = doubles(columns.times)
        if not is_sorted and not times.all():
            times = numpy.where(times == 0, numpy.nan, times)
        if question.x == "wall":
            return times
        return times - (found.started or _ends(times, is_sorted)[0])
    if question.x in ("offset", "relative"):
        steps = _whole_or_double(columns.steps, len(columns.values), is_sorted)
        low, high = found.ends or _ends(steps, is_sorted)
        return _relative(steps, low, high) if question.x == "relative" else _offset(steps, low)
    if question.other is None:
        return _whole_or_double(columns.steps, len(columns.values), is_sorted)
    return _joined(columns, found.other)


def _offset(steps: Any, low: float) -> Any:
    """Return how far steps are beyond the least."""
    with numpy.errstate(over="ignore", invalid="ignore"):
        return steps.astype(numpy.float64, copy=False) - low


def _relative(steps: Any, low: float, high: float) -> Any:
    """Return steps so that the least is 0 and the greatest 1."""
    steps = steps.astype(numpy.float64, copy=False)
    with numpy.errstate(over="ignore", invalid="ignore"):
        if high == low:
            return numpy.where(numpy.isfinite(steps), 0.0, numpy.nan)
        if math.isfinite(high - low):
            return (steps - low) / (high - low)
        return (steps / 2 - low / 2) / (high / 2 - low / 2)


def _ends(places: Any, is_sorted: bool) -> tuple[float, float]:
    """Return the least and the greatest finite number, 0 where there is none."""
    if is_sorted:
        return float(places[0]), float(places[-1])
    finite = places if places.dtype == numpy.int64 else places[numpy.isfinite(places)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _whole_or_double(steps: Any, size: int, is_sorted: bool) -> Any:
    """Return steps as whole numbers, where doubles say these exactly, else as doubles: NaN for what is no number."""
    if steps is None:
        return counted(range(size))
    if not isinstance(steps, numpy.ndarray) and set(map(type, steps)) == {int}:
        try:
            steps = numpy.array(steps, numpy.int64)
        except OverflowError:
            return doubles(steps)
    if isinstance(steps, numpy.ndarray) and steps.dtype == numpy.int64 and len(steps):
        low, high = (steps[0], steps[-1]) if is_sorted else (steps.min(), steps.max())
        if low >= -_EXACT and high <= _EXACT:
            return steps
    return doubles(steps)


def _joined(columns: Curve, other: Curve | None) -> Any:
    """Return the values of another metric at the steps of one, NaN where it has none there."""
    size = len(columns.values)
    if other is None or not len(other.values):
        return numpy.full(size, numpy.nan)
    values = doubles(other.values)
    steps, places = (_steps(one) for one in (columns, other))
    if steps.dtype == places.dtype != object:
        if len(steps) == len(places) and (steps == places).all():
            return values
        order = numpy.argsort(places, kind="stable")
        places = places[order]
        at = numpy.minimum(numpy.searchsorted(places, steps), len(places) - 1)
        return numpy.where(places[at] == steps, values[order[at]], numpy.nan)
    known = dict(zip(places.tolist(), values.tolist(), strict=True))
    return numpy.fromiter((known.get(step, math.nan) for step in steps.tolist()), numpy.float64, size)


def _steps(columns: Curve) -> Any:
    """Return the steps as they are told apart: whole numbers, doubles, or objects."""
    steps = columns.steps
    if steps is None:
        return numpy.arange(len(columns.values))
    if isinstance(steps, numpy.ndarray):
        return steps
    kinds = set(map(type, steps))
    try:
        if kinds == {int}:
            return numpy.array(steps, numpy.int64)
    except OverflowError:
        pass
    return numpy.array(steps, numpy.float64) if kinds == {float} else numpy.fromiter(steps, object, len(steps))


def doubles(values: Any) -> Any:
    """Return values as doubles: the nearest ones, NaN for what is no number."""
    if isinstance(values, numpy.ndarray) and values.dtype != object:
        return values.astype(numpy.float64, copy=False)
    listed = values.tolist() if isinstance(values, numpy.ndarray) else values
    try:
        if set(map(type, listed)) <= {float, int, bool}:
            return numpy.array(listed, numpy.float64)
    except OverflowError:
        pass
    numbers = (nearest_double(one) if isinstance(one, (int, float)) else math.nan for one in listed)
    return numpy.fromiter(numbers, numpy.float64, len(listed))


# smoothing


def smoothed(values: Any, weight: float) -> Any:
    """Return the moving mean of finite values: each counts `weight` times as much as the one after it.

    Only those there are have weights: the first one is as it was, and what is constant stays so (the *debiased* mean of
    TensorBoard). Block after block, whose sums are doubled: after k rounds each point has those of 2**k.
    """
    size = len(values)
    if not size or not weight:
        return values
    huge = float(numpy.abs(values).max()) >= _HUGE
    sums = values * _SCALE if huge else values.copy()
    # What is before a block counts for its first values as these say.
    powers = weight ** numpy.arange(1.0, _BLOCK + 1) if size > _BLOCK else sums
    carried, scratch = 0.0, numpy.empty(min(size, _BLOCK))
    for begin in range(0, size, _BLOCK):
        block = sums[begin : begin + _BLOCK]
        reach, factor = 1, weight
        while reach < len(block) and factor:
            before = scratch[: len(block) - reach]
            numpy.multiply(block[:-reach], factor, out=before)
            block[reach:] += before
            reach, factor = 2 * reach, factor * factor
        if carried:
            numpy.multiply(powers[: len(block)], carried, out=scratch[: len(block)])
            block += scratch[: len(block)]
        carried = float(block[-1])
    _divide(sums, weight)
    if huge:
        with numpy.errstate(over="ignore"):
            sums /= _SCALE
    # A mean is among what it is of, whatever is rounded.
    return numpy.clip(sums, numpy.minimum.accumulate(values), numpy.maximum.accumulate(values))


def _divide(sums: Any, weight: float) -> None:
    """Divide weighted sums by the sums of their weights: of n, (1 - weight**n) / (1 - weight)."""
    logarithm = math.log(weight)
    # From here on all weights before are nothing.
    some = min(len(sums), math.ceil(-38 / logarithm))
    numbers = numpy.arange(1.0, some + 1)
    numbers *= logarithm
    numpy.expm1(numbers, out=numbers)
    numbers /= weight - 1
    sums[:some] /= numbers
    sums[some:] *= 1 - weight
