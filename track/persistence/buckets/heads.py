"""Buckets of points that stay on the disk: what a chunk inside of one bucket comes to, its head says."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from track.containers.chunks import Head
from track.persistence.buckets.asking import engine
from track.persistence.buckets.cache import Kept
from track.persistence.buckets.columns import Found
from track.persistence.buckets.question import Question
from track.persistence.buckets.result import COUNTS, NUMBERS

# Below it a number is the same as a double, or nearly so; a sum of 4,096 of them is finite.
_HUGE = 2.0**900
_NUMBERS = frozenset({float, int, bool})
# Bytes of a number, and of a line whose parts are looked up when they are asked for.
_NUMBER, _BYTES = 8, 1 << 10
_NOTHING = dict.fromkeys(NUMBERS, math.nan) | dict.fromkeys(COUNTS, 0)


class Part(NamedTuple):
    """Some points that are next to each other along x.

    Attributes
    ----------
    low, high: float
        Where they begin and end.
    points: int
        How many there are.
    sums: dict or None
        What they come to, as the planes of buckets name it; None where only they say it.
    read: callable
        Returns them; None where they turn out to be damaged: then all parts are others.
    """

    low: float
    high: float
    points: int
    sums: dict[str, Any] | None
    read: Callable[[], Found | None]


def sums_of(head: Head) -> dict[str, Any] | None:
    """Return what the points of a chunk come to; None where its head does not say it in doubles."""
    sums = _NOTHING | {"nan": head.nan, "plus_inf": head.above, "minus_inf": head.below}
    if not head.finite:
        return sums
    numbers = [head.least, head.greatest, head.last]
    # A last value that is no number is not that of the finite ones.
    if not _NUMBERS.issuperset(map(type, numbers)) or not all(abs(one) < _HUGE for one in numbers):
        return None
    least, greatest, last = map(float, numbers)
    mean = min(max(head.total / head.finite, least), greatest)
    return sums | {"count": head.finite, "least": least, "greatest": greatest, "mean": mean, "last": last}


class Looked(NamedTuple):
    """The parts of a metric, as they are at one moment.

    Attributes
    ----------
    parts: callable
        Returns them in the order of x, at least one.
    tail: Line or None
        The points after them.
    read: callable
        Returns the points of the parts at some places, one after the other; None where these cannot be had at once.
    """

    parts: Callable[[], Sequence[Part]]
    tail: Any
    read: Callable[[Sequence[int]], Found | None]


class ChunkedLine:
    """The points of a metric in the order of x, as `arrays.Line`, of which only those at the edges of buckets are read.

    The mean of a bucket is made of the means of its parts, each rounded on its own, so it differs from one that was
    made of the points by a few units in the last place of the greatest of them.

    Parameters
    ----------
    look: callable
        Looks at the parts.
    kept: Kept
        What is remembered of the line: what its parts come to, and what was made of them, but not the points.
    """

    def __init__(self, question: Question, look: Callable[[], Looked], kept: Kept) -> None:
        self._question = question
        self._look, self._looked = look, look()
        self._kept = kept
        self._table = self._table_of() if engine().HAS_PYRAMIDS else None
        tail = self._looked.tail
        self.unplaced = 0 if tail is None else tail.unplaced
        self.low, self.high = self._ends()
        if tail is not None and tail.high is not None:
            self.high = tail.high
        self.nbytes = (_BYTES if self._table is None else self._table.nbytes) + (0 if tail is None else tail.nbytes)

    def _table_of(self) -> Any:
        from track.persistence.buckets.table import HeadTable

        return self._kept.made("heads", lambda: HeadTable(self._looked.parts()), lambda table: int(table.nbytes))

    def _ends(self) -> tuple[float, float]:
        if self._table is not None:
            return self._table.low, self._table.high
        parts = self._looked.parts()
        return parts[0].low, parts[-1].high

    def fill(self, edges: Any, planes: dict[str, Any], row: int) -> int:
        """Put the points into buckets: a row of the planes, which are empty. Return how many are outside."""
        named = len(edges), float(edges[0]), float(edges[-1])
        size = _NUMBER * len(_NOTHING) * len(edges)
        filled, outside = self._kept.made(named, lambda: self._filled(edges), lambda _: size)
        for name, plane in filled.items():
            planes[name][row][:] = plane[0]
        return int(outside)

    def _filled(self, edges: Any) -> tuple[dict[str, Any], int]:
        """Return the planes of this one trial, and how many points are outside."""
        if self._table is not None:
            found: tuple[dict[str, Any], int] | None = self._table.filled(edges, self._placed_tail(), self._line_of)
            if found is not None:
                return found
        filling = _Filling(edges, self._question)
        while not all(map(filling.add, self._looked.parts())):
            self._looked = self._look()
            filling = _Filling(edges, self._question)
        tail = self._placed_tail()
        if tail is not None:
            filling.add_line(tail)
        planes = engine().planes_of(1, len(edges) - 1)
        for place, bucket in filling.buckets.items():
            for name, number in bucket.sums().items():
                planes[name][0][place] = number
        return planes, filling.outside

    def _placed_tail(self) -> Any:
        """Return the line of the points after the parts, if one of them has a place."""
        tail = self._looked.tail
        return None if tail is None or tail.low is None else tail

    def _line_of(self, places: Sequence[int]) -> Any:
        found = self._looked.read(places)
        return None if found is None else engine().line_of(found, self._question)


class _Filling:
    """The buckets so far, by their places; and how many points are outside of all."""

    def __init__(self, edges: Any, question: Question) -> None:
        self._edges = edges
        self._places = list(map(float, edges))
        self._question = question
        self.buckets: dict[int, _Bucket] = {}
        self.outside = 0

    def add(self, part: Part) -> bool:
        """Add points, and return whether they could be read."""
        start, end = self._places[0], self._places[-1]
        if part.high < start or part.low > end:
            self.outside += part.points
            return True
        place = self._place_of(part.low)
        if part.sums is not None and start <= part.low and part.high <= end and place == self._place_of(part.high):
            self._bucket(place).add(part.sums)
            return True
        found = part.read()
        if found is None:
            return False
        self.add_line(engine().line_of(found, self._question))
        return True

    def add_line(self, line: Any) -> None:
        """Add points that were read: to those buckets that they are in, as if there were no others."""
        first, last = self._place_of(line.low), self._place_of(line.high)
        planes = engine().planes_of(1, last - first + 1)
        self.outside += line.fill(self._edges[first : last + 2], planes, 0)
        for place in range(last - first + 1):
            sums = {name: planes[name][0][place] for name in _NOTHING}
            if any(sums[name] for name in COUNTS):
                self._bucket(first + place).add(sums)

    def _place_of(self, x: float) -> int:
        """Return the bucket of a place, or the one next to it where it is outside."""
        return min(max(bisect_right(self._places, x) - 1, 0), len(self._places) - 2)

    def _bucket(self, place: int) -> _Bucket:
        return self.buckets.setdefault(place, _Bucket())


class _Bucket:
    """What the points of one bucket come to, some after others."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(COUNTS, 0)
        self._least, self._greatest, self._last = math.inf, -math.inf, math.nan
        self._means: list[tuple[float, int]] = []

    def add(self, sums: dict[str, Any]) -> None:
        for name in COUNTS:
            self._counts[name] += int(sums[name])
        if count := int(sums["count"]):
            self._least = min(self._least, float(sums["least"]))
            self._greatest = max(self._greatest, float(sums["greatest"]))
            self._last = float(sums["last"])
            self._means.append((float(sums["mean"]), count))

    def sums(self) -> dict[str, Any]:
        if not self._means:
            return self._counts
        mean = min(max(self._mean(), self._least), self._greatest)
        return self._counts | {"least": self._least, "greatest": self._greatest, "mean": mean, "last": self._last}

    def _mean(self) -> float:
        if len(self._means) == 1:
            return self._means[0][0]
        total = self._counts["count"]
        try:
            mean = math.fsum(mean * count for mean, count in self._means) / total
        except (OverflowError, ValueError):
            mean = math.inf
        # The sum may be larger than any double; the mean is not.
        return mean if math.isfinite(mean) else math.fsum(mean * (count / total) for mean, count in self._means)
