"""What chunks come to as arrays of numpy: buckets of thousands of them without a look at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from track.persistence.buckets.arrays import grid_places, planes_of
from track.persistence.buckets.result import COUNTS, NUMBERS


class HeadTable:
    """The parts of a metric in the order of x, a row each.

    Parameters
    ----------
    parts: sequence of Part
        At least one.

    Attributes
    ----------
    low, high: float
        Where the first one begins and the last one ends.
    nbytes: int
        How much memory it takes.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.low, self.high = parts[0].low, parts[-1].high
        self._low, self._high = numpy.array([one.low for one in parts]), numpy.array([one.high for one in parts])
        self._points = numpy.array([one.points for one in parts])
        self._is_known = numpy.array([one.sums is not None for one in parts])
        sums = [one.sums or {} for one in parts]
        self._sums = {name: numpy.array([one.get(name, numpy.nan) for one in sums]) for name in NUMBERS}
        self._sums |= {name: numpy.array([one.get(name, 0) for one in sums], numpy.int64) for name in COUNTS}
        arrays = (self._low, self._high, self._points, self._is_known, *self._sums.values())
        self.nbytes = sum(one.nbytes for one in arrays)

    def filled(self, edges: Any, tail: Any, read: Callable[[Any], Any]) -> tuple[dict[str, Any], int] | None:
        """Return the planes of one trial, and how many points are outside.

        None where a part must be read whose row does not say in doubles how many values it has.

        `tail`: the line of the points after the parts; None for none. `read`: returns the line of the parts at some
        places; None where it cannot be had.
        """
        size = len(edges) - 1
        first, last = (
            numpy.clip(numpy.searchsorted(edges, ends, "right") - 1, 0, size - 1) for ends in (self._low, self._high)
        )
        is_outside = (self._high < edges[0]) | (self._low > edges[-1])
        is_inside = (self._low >= edges[0]) & (self._high <= edges[-1])
        is_whole = self._is_known & is_inside & (first == last)
        outside = int(self._points[is_outside].sum())
        planes, latest = planes_of(1, size), numpy.full(size, -1)
        chosen = numpy.flatnonzero(~(is_whole | is_outside))
        if len(chosen):
            line = read(chosen) if self._is_known[chosen].all() else None
            ends = numpy.cumsum(self._sums["count"][chosen])
            if line is None or len(line.x) != ends[-1]:
                return None
            outside += line.fill(edges, planes, 0)
            lasts = grid_places(line.x, edges)[1:] - 1
            some = planes["count"][0] > 0
            latest[some] = chosen[numpy.searchsorted(ends, lasts[some], "right")]
        parts = numpy.flatnonzero(is_whole)
        places, sums = first[parts], {name: column[parts] for name, column in self._sums.items()}
        if tail is not None:
            after = planes_of(1, size)
            outside += tail.fill(edges, after, 0)
            some = numpy.flatnonzero(sum(after[name][0] for name in COUNTS))
            parts = numpy.append(parts, numpy.full(len(some), len(self._low)))
            places = numpy.append(places, some)
            sums = {name: numpy.append(column, after[name][0][some]) for name, column in sums.items()}
        if len(parts):
            _add(parts, places, sums, {name: plane[0] for name, plane in planes.items()}, latest)
        return planes, outside


def _add(parts: Any, places: Any, sums: dict[str, Any], row: dict[str, Any], latest: Any) -> None:
    """Add parts, each of which is in the bucket of one place, to a row of buckets.

    `latest`: which part the last value of each bucket is of, so far.
    """
    starts = numpy.flatnonzero(numpy.diff(places, prepend=-1))
    at = places[starts]
    for name in COUNTS[1:]:
        row[name][at] += numpy.add.reduceat(sums[name], starts)
    before, mean = row["count"][at], row["mean"][at]
    counts = before + numpy.add.reduceat(sums["count"], starts)
    row["count"][at] = counts
    # A NaN is that of no value.
    row["least"][at] = numpy.fmin(row["least"][at], numpy.fmin.reduceat(sums["least"], starts))
    row["greatest"][at] = numpy.fmax(row["greatest"][at], numpy.fmax.reduceat(sums["greatest"], starts))
    has_some = sums["count"] > 0
    # Each counts by its share: a sum may be larger than any double, a mean is not.
    totals = numpy.maximum(counts, 1)
    shares = sums["count"] / numpy.repeat(totals, numpy.diff(starts, append=len(places)))
    means = numpy.add.reduceat(numpy.where(has_some, sums["mean"], 0.0) * shares, starts)
    means += numpy.where(before > 0, mean, 0.0) * (before / totals)
    means[counts == 0] = numpy.nan
    row["mean"][at] = numpy.clip(means, row["least"][at], row["greatest"][at])
    lasts = numpy.maximum.reduceat(numpy.where(has_some, numpy.arange(len(parts)), -1), starts)
    is_later = (lasts >= 0) & (parts[lasts] > latest[at])
    row["last"][at[is_later]] = sums["last"][lasts[is_later]]
