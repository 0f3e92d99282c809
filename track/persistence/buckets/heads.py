"""Buckets of points that stay on the disk: what a chunk inside of one bucket comes to, its head says."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from track.containers.chunks import Head
from track.persistence.buckets.asking import engine
from track.persistence.buckets.cache import Cache
from track.persistence.buckets.columns import Found
from track.persistence.buckets.question import Question
from track.persistence.buckets.result import COUNTS, NUMBERS

# Below it a number is the same as a double, or nearly so; a sum of 4,096 of them is finite.
_HUGE = 2.0**900
_NUMBERS = frozenset({float, int, bool})
_BYTES = 1 << 10
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


class ChunkedLine:
    """The points of a metric in the order of x, as `arrays.Line`, of which only those at the edges of buckets are read.

    The mean of a bucket is made of the means of its parts, each rounded on its own, so it differs from one that was
    made of the points by a few units in the last place of the greatest of them.

    Parameters
    ----------
    look: callable
        Returns the parts in the order of x, at least one at first, and the line of points after them, None for none.
    """

    def __init__(self, question: Question, look: Callable[[], tuple[Sequence[Part], Any]]) -> None:
        self._question = question
        self._look = look
        self._kept: tuple[Cache, tuple[Any, ...], Any] | None = None
        self._parts, self._tail = parts, tail = look()
        self.unplaced = 0 if tail is None else tail.unplaced
        self.low, self.high = parts[0].low, parts[-1].high
        if tail is not None and tail.high is not None:
            self.high = tail.high
        self.nbytes = _BYTES * len(parts) + (0 if tail is None else tail.nbytes)

    def keep(self, cache: Cache, key: tuple[Any, ...], stamp: Any) -> None:
        """Let what was made of it be kept, but for the points, for who asks for the same buckets again."""
        self._kept = cache, key, stamp

    def fill(self, edges: Any, planes: dict[str, Any], row: int) -> int:
        """Put the points into buckets: a row of the planes, which are empty. Return how many are outside."""
        filled, outside = self._filled(edges)
        for place, sums in filled.items():
            for name, number in sums.items():
                planes[name][row][place] = number
        return outside

    def _filled(self, edges: Any) -> tuple[dict[int, dict[str, Any]], int]:
        """Return what the buckets come to, by their places; and how many points are outside."""
        if self._kept is None:
            return self._made(edges)
        cache, key, stamp = self._kept
        key = (*key, len(edges), float(edges[0]), float(edges[-1]))
        found: tuple[dict[int, dict[str, Any]], int] | None = cache.get(key, stamp)
        if found is None:
            found = self._made(edges)
            cache.put(key, stamp, found, _BYTES * len(found[0]))
        return found

    def _made(self, edges: Any) -> tuple[dict[int, dict[str, Any]], int]:
        filling = _Filling(edges, self._question)
        while not all(map(filling.add, self._parts)):
            self._parts, self._tail = self._look()
            filling = _Filling(edges, self._question)
        if self._tail is not None and self._tail.low is not None:
            filling.add_line(self._tail)
        return {place: bucket.sums() for place, bucket in filling.buckets.items()}, filling.outside


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
