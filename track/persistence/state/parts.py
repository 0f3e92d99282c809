"""The chunks of a long metric as parts of a chart, which reads only those that it must."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from track.containers.chunks import Head, StepsValuesTimes, StoredChunk
from track.containers.columns import Column
from track.containers.points import Points
from track.containers.series import Series
from track.persistence.buckets import (
    BY_STEP,
    ChunkedLine,
    Curve,
    Found,
    Kept,
    Looked,
    Part,
    Question,
    engine,
    relative,
    sums_of,
)

_WHOLE = 1 << 20
"""Points of a metric that are read whole, and kept for the next look."""
_TOO_MANY = 1 << 23
"""Points that take too much memory for it, whatever is asked."""
_CHUNKS = 8
"""Chunks in a bucket that make it faster to read those at its edges only."""


def chunked_line(container: Any, question: Question, started: float, kept: Kept) -> ChunkedLine | None:
    """Return the line of a metric whose points stay in their chunks; None where they are better read, or must be.

    They must where a step was logged again, where they are smoothed, and along the values of another metric.

    `started`: when the trial was, unix seconds, 0 where it is not known. `kept`: where it is remembered what the chunks
    come to.
    """
    points = container.points
    stored, must = points.stored, bool(question.smoothing) or question.other is not None
    if stored is None or must or stored.count <= _WHOLE:
        return None
    if len(stored.chunks) < _CHUNKS * question.buckets and stored.count <= _TOO_MANY:
        return None
    if isinstance(container, Series) and not container.is_rising():
        return None
    chunked = _Chunked(points, question, started)
    return ChunkedLine(question, chunked.look, kept) if chunked.is_sorted() else None


class _Chunked:
    """Settled points of which the first are in chunks, and whose steps rise, or are none."""

    def __init__(self, points: Points, question: Question, started: float) -> None:
        self._points = points
        self._stored: Any = points.stored
        self._question = question
        self._started = started
        self._ends = 0.0, 0.0

    def is_sorted(self) -> bool:
        """Return whether the heads say that x never falls, and where it is."""
        heads = self._stored.heads()
        if not heads or self._question.x in BY_STEP:
            return bool(heads)
        times = [at for at in self._points.at.tolist(self._points.tail) if at]
        bounds = [at for head in heads for at in (head.since, head.until)] + times
        return all(head.timed for head in heads) and all(before <= after for before, after in pairwise(bounds))

    def look(self) -> Looked:
        """Return the parts, and the line of what is in memory after them, as they are now: chunks may turn out lost."""
        heads = self._stored.headed()
        tail = self._points.view()
        tail.stored = None
        if heads:
            self._measure(heads[0][1], heads[-1][1], tail)
        chunks = [chunk for chunk, _ in heads]
        positions = [0, *accumulate(chunk.named.points for chunk in chunks)]
        line = engine().line_of(self._found(tail.columns(), positions[-1]), self._question) if len(tail) else None
        return Looked(partial(self._parts, heads, positions), line, partial(self._together, chunks, positions))

    def _parts(self, heads: Sequence[tuple[StoredChunk, Head]], positions: Sequence[int]) -> list[Part]:
        parts = []
        for (chunk, head), position in zip(heads, positions, strict=False):
            low, high = self._places(head, position)
            parts.append(Part(low, high, head.count, sums_of(head), partial(self._read, chunk, position)))
        return parts

    def _measure(self, first: Head, last: Head, tail: Points) -> None:
        """Note where steps and times begin and end."""
        if tail.step is None:
            self._ends = 0.0, float(self._stored.count + len(tail) - 1)
        elif len(tail):
            self._ends = float(first.low), float(tail.step_at(len(tail) - 1))
        else:
            self._ends = float(first.low), float(last.high)
        self._started = self._started or first.since

    def _places(self, head: Head, position: int) -> tuple[float, float]:
        """Return where on x the points of a chunk begin and end."""
        match self._question.x:
            case "wall":
                return head.since, head.until
            case "time":
                return head.since - self._started, head.until - self._started
        is_stepped = self._points.step is not None
        low, high = (head.low, head.high) if is_stepped else (position, position + head.count - 1)
        if self._question.x == "step":
            return float(low), float(high)
        if self._question.x == "offset":
            return low - self._ends[0], high - self._ends[0]
        return relative(float(low), *self._ends), relative(float(high), *self._ends)

    def _read(self, chunk: StoredChunk, position: int) -> Found | None:
        columns = self._stored.columns_of(chunk)
        return None if columns is None else self._found(columns, position)

    def _together(self, chunks: Sequence[StoredChunk], positions: Sequence[int], places: Sequence[int]) -> Found | None:
        """Return the points of some chunks; None where one is damaged, or has not all numbers of one type."""
        from track.containers.arrays import chunk_arrays

        with_times = self._question.x in ("wall", "time")
        chosen = [(chunks[place], positions[place]) for place in places]
        found = chunk_arrays(self._stored, chosen, self._points.step is not None, with_times)
        return None if found is None else Found(Curve(*found), None, self._started, self._ends)

    def _found(self, columns: StepsValuesTimes, position: int) -> Found:
        """Return points, the first of which is at a position, as a part of the metric."""
        step, value, at = columns
        if self._points.step is None:
            step = Column.run(range(position, position + len(at)))
        return Found(_curve(step, value, at), None, self._started, self._ends)


def _curve(step: Any, value: Column, at: Column) -> Curve:
    try:
        from track.containers.arrays import logged_arrays

        return Curve(*logged_arrays(Points.from_columns(step, value, at, is_ordered=True)))
    except ImportError:
        return Curve(step.tolist(), value.tolist(), at.tolist())
