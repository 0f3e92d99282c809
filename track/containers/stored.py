"""The points of a metric that are in chunks on disk: read when somebody asks for them, and no more than that."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from track.containers.chunks import DamagedChunk, Head, PlainColumns, StepsValuesTimes, StoredChunk
from track.containers.columns import Column, hashable
from track.plain import restore
from track.shown import shown

logger = logging.getLogger(__name__)


class Stored:
    """The first points of a metric, in chunks; they do not change, but for chunks that turn out to be damaged.

    A damaged chunk is reported once, with its metric and position, and left out from then on; it stays named.

    Parameters
    ----------
    trial, metric: str
        Whose points they are.
    chunks: sequence of StoredChunk
        In the order of the points; those that are lost too.

    Attributes
    ----------
    count: int
        How many points are there: those of the chunks that are not known to be lost.
    """

    __slots__ = ("_headed", "_read_last", "_rises", "chunks", "count", "metric", "trial")

    def __init__(self, trial: str, metric: str, chunks: Sequence[StoredChunk]) -> None:
        self.trial = trial
        self.metric = metric
        self.chunks = tuple(chunks)
        self._headed: list[tuple[StoredChunk, Head]] | None = None
        self._read_last: tuple[StoredChunk, StepsValuesTimes] | None = None
        self._count()

    def _count(self) -> None:
        self.count = sum(chunk.named.points for chunk in self.chunks if not chunk.is_lost)
        self._rises: bool | None = None

    def extended(self, chunks: Sequence[StoredChunk]) -> Stored:
        """Return these points with more after them."""
        return Stored(self.trial, self.metric, [*self.chunks, *chunks])

    def _lose(self, chunk: StoredChunk, reason: DamagedChunk) -> None:
        chunk.is_lost = True
        first = sum(before.named.points for before in self.chunks[: self.chunks.index(chunk)])
        logger.warning(
            "%s: the chunk at byte %d is damaged (%s): points %d to %d of metric %s of trial %s are left out",
            chunk.file.path, chunk.named.offset, reason, first, first + chunk.named.points - 1, shown(self.metric),
            self.trial,
        )  # fmt: skip
        self._count()

    # what they come to

    def heads(self) -> list[Head]:
        """Return what each chunk that is there comes to, in their order."""
        return [head for _, head in self.headed()]

    def headed(self) -> list[tuple[StoredChunk, Head]]:
        """Return the chunks that are there, and what each comes to, in their order."""
        if self._headed is None or any(chunk.is_lost for chunk, _ in self._headed):
            self._headed = list(self.with_heads())
        return self._headed

    def with_heads(self) -> Iterator[tuple[StoredChunk, Head]]:
        """Yield the chunks that are there, and what each comes to."""
        for chunk in self.chunks:
            if not chunk.is_lost:
                try:
                    yield chunk, _with_steps(chunk.head())
                except DamagedChunk as error:
                    self._lose(chunk, error)

    @property
    def until(self) -> float:
        """The time of the last point whose time is known, unix seconds; 0 where none is."""
        for chunk in reversed(self.chunks):
            if not chunk.is_lost:
                try:
                    if until := chunk.head().until:
                        return until
                except DamagedChunk as error:
                    self._lose(chunk, error)
        return 0.0

    def parted(self, at: float) -> tuple[Stored | None, Stored]:
        """Return the points before the first chunk with one later than `at`, unix seconds, and the others.

        Those that are lost stay among the first, which are not read.
        """
        late = next((chunk for chunk, head in self.with_heads() if head.until > at), None)
        place = len(self.chunks) if late is None else self.chunks.index(late)
        others = [chunk for chunk in self.chunks[place:] if not chunk.is_lost]
        kept = [*self.chunks[:place], *(chunk for chunk in self.chunks[place:] if chunk.is_lost)]
        return Stored(self.trial, self.metric, kept) if kept else None, Stored(self.trial, self.metric, others)

    def below(self, step: float) -> Stored | None:
        """Return the points before the first chunk with a step that is not a number below `step`; None for none."""
        chunks = []
        for chunk, head in self.with_heads():
            if head.high is None or head.high >= step:
                break
            chunks.append(chunk)
        return Stored(self.trial, self.metric, chunks) if chunks else None

    @property
    def rises(self) -> bool:
        """Whether each step is greater than the one before: whole numbers all of them, or floats."""
        if self._rises is None:
            heads = self.heads()
            self._rises = all(head.rises for head in heads) and all(
                type(head.low) is type(before.high) and head.low > before.high for before, head in pairwise(heads)
            )
        return self._rises

    def last_step(self) -> Any:
        """Return the step of the last point; None where there is none."""
        heads = self.heads()
        return hashable(restore(heads[-1].last_step)) if heads else None

    # points

    def columns(self) -> StepsValuesTimes:
        """Return all points; the steps are None where there are none, in one chunk at least."""
        step, value, at = Column(), Column(), Column()
        for _, columns in self._read():
            if columns[0] is not None:
                step.extend(columns[0])
            value.extend(columns[1])
            at.extend(columns[2])
        return step, value, at

    def plain_columns(self, with_times: bool = True) -> Iterator[PlainColumns | None]:
        """Yield the points of each chunk that is there as they are in the file; None for one that says more.

        Without the times, these may be anything.
        """
        for chunk in self.chunks:
            if not chunk.is_lost:
                columns = self.plain_of(chunk, with_times)
                if not chunk.is_lost:
                    yield columns

    def plain_of(self, chunk: StoredChunk, with_times: bool = True) -> PlainColumns | None:
        """Return the points of one chunk as they are in the file; None where it says more, or is damaged.

        Without the times, these may be anything.
        """
        try:
            columns = chunk.plain_columns(with_times)
            first = chunk.head().position
        except DamagedChunk as error:
            self._lose(chunk, error)
            return None
        if columns is not None and columns[0] is None:
            # They were without steps, and count from 0 since the metric has some.
            return range(first, first + chunk.named.points), columns[1], columns[2]
        return columns

    def part(self, place: int, first: int, end: int) -> list[Any]:
        """Return a part of one column, from a position on, before another one.

        `place`: of steps 0, of values 1, of times 2.
        """
        values: list[Any] = []
        for start, columns in self._read(first, end):
            column = columns[place]
            assert column is not None
            values += column.part(max(0, first - start), end - start)
        return values

    def value_at(self, place: int, position: int) -> Any:
        """Return what one column has at a position; None where that turns out to be lost just now."""
        values = self.part(place, position, position + 1)
        return values[0] if values else None

    def place_of(self, step: Any) -> int | None:
        """Return the position of a step where all of them rise; None where there is no such step."""
        start = 0
        for head in self.heads():
            if head.low <= step <= head.high:
                steps = self.part(0, start, start + head.count)
                return start + steps.index(step) if step in steps else None
            start += head.count
        return None

    def _read(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, StepsValuesTimes]]:
        """Yield the chunks that have points of a part: the position of their first one, and the points."""
        start = 0
        for chunk in self.chunks:
            if chunk.is_lost:
                continue
            if end is not None and start >= end:
                return
            if start + chunk.named.points > first:
                columns = self.columns_of(chunk)
                if columns is None:
                    continue
                yield start, columns
            start += chunk.named.points

    def columns_of(self, chunk: StoredChunk) -> StepsValuesTimes | None:
        """Return the points of one chunk; None where it turns out to be damaged."""
        last = self._read_last
        if last is not None and last[0] is chunk:
            return last[1]
        try:
            step, value, at = chunk.columns()
        except DamagedChunk as error:
            self._lose(chunk, error)
            return None
        if step is None:
            # They were without steps, and count from 0 since the metric has some.
            first = chunk.head().position
            step = Column.run(range(first, first + len(value)))
        self._read_last = chunk, (step, value, at)
        return step, value, at


def _with_steps(head: Head) -> Head:
    """Return the head of points that have no steps as if they had some: they count from 0."""
    if head.columns[0] is not None:
        return head
    first = head.position
    steps: dict[str, Any] = {
        "low": first,
        "high": first + head.count - 1,
        "last_step": first + head.count - 1,
        "rises": True,
    }
    for name in ("least_step", "greatest_step"):
        place = getattr(head, name)
        steps[name] = None if place is None else first + place
    return msgspec.structs.replace(head, **steps)
