"""Points of one name as bytes: columns of eight bytes a number, and beside them what these cannot say.

Integers that count up evenly are their first one and the stride. Both parts are MessagePack: the first one says how
many points there are, their numbers, steps and values, the other one their times, which not every reader needs.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any

import msgspec

from track.containers.columns import LARGEST, Column, counting, evenly, from_bytes
from track.plain import restore, to_plain

MOST = 4_096
"""Points in one chunk, at most."""
_LARGEST = 2**19
FEW = 16
"""Points in a chunk of few, at most."""
_COLUMNS, _FEW = 1, 2
_PLAIN = frozenset({float, int, bool, type(None)})
_WIDTH = 8
_ORDERED, _RISING = 1, 2
_decode = msgspec.msgpack.decode
_encode = msgspec.msgpack.encode


class Chunk:
    """Points of one name, in the order they were stored.

    Parameters
    ----------
    numbers: list of ranges and arrays of int
        The number of each point, one after the other; they rise.
    steps: Column or None
        None where no point has a step.
    values: Column
    times: Column or None
        When each was logged, unix seconds; None where they were not read.
    flags: int
        Whether no time falls, and whether all steps are integers of 64 bits that rise.
    span: tuple of float
        The times of the first and of the last point.
    containers: dict
        By its place, the JSON-safe state of a value that is all that another store knows of the name.
    """

    __slots__ = ("containers", "flags", "numbers", "span", "steps", "times", "values")

    def __init__(  # noqa: PLR0917 - made in a few places
        self,
        numbers: list[Sequence[int]],
        steps: Column | None,
        values: Column,
        times: Column | None,
        flags: int,
        span: tuple[float, float],
        containers: dict[int, Any],
    ) -> None:
        self.numbers = numbers
        self.steps = steps
        self.values = values
        self.times = times
        self.flags = flags
        self.span = span
        self.containers = containers

    @classmethod
    def of(
        cls,
        numbers: Sequence[int],
        steps: list[Any],
        values: list[Any],
        times: list[float],
        containers: dict[int, Any] | None = None,
    ) -> Chunk:
        """Return the chunk of some points, of which one without a step has None."""
        column = None if steps.count(None) == len(steps) else Column.from_list(steps)
        flags = _flags_of(steps, times)
        logged = Column.from_list(times)
        return cls([numbers], column, Column.from_list(values), logged, flags, _span(logged), containers or {})

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> int:
        """The number of the first point."""
        return self.numbers[0][0]

    @property
    def end(self) -> int:
        """The number after that of the last point."""
        return self.numbers[-1][-1] + 1

    @property
    def is_ordered(self) -> bool:
        """Whether no point was logged before the one that stands before it."""
        return bool(self.flags & _ORDERED)

    @property
    def is_rising(self) -> bool:
        """Whether the steps are integers that rise, so that none was logged again."""
        return bool(self.flags & _RISING)

    def part(self, begin: int, end: int) -> Chunk:
        """Return the points at some places."""
        numbers = array("q", chain.from_iterable(self.numbers))[begin:end]
        steps = None if self.steps is None else self.steps.cut(begin, end)
        times = None if self.times is None else self.times.cut(begin, end)
        containers = {place - begin: plain for place, plain in self.containers.items() if begin <= place < end}
        span = self.span if times is None else _span(times)
        return Chunk([numbers], steps, self.values.cut(begin, end), times, self.flags, span, containers)

    def between(self, first: int, end: int) -> Chunk:
        """Return the points with numbers from one on, before another one."""
        if first <= self.first and self.end <= end:
            return self
        numbers = array("q", chain.from_iterable(self.numbers))
        return self.part(bisect_left(numbers, first), bisect_left(numbers, end))

    def pieces(self) -> Iterator[Chunk]:
        """Yield these points as chunks of about one size, as large as they may be stored."""
        size = len(self)
        count = -(-size // MOST)
        for number in range(count):
            yield self if count == 1 else self.part(size * number // count, size * (number + 1) // count)

    def points(self) -> Iterator[tuple[Any, Any, float]]:
        """Yield step, value and time of each point."""
        assert self.times is not None
        steps = [None] * len(self) if self.steps is None else self.steps.tolist()
        yield from zip(steps, self.values.tolist(), self.times.tolist(), strict=True)


def _flags_of(steps: list[Any], times: list[float]) -> int:
    flags = 0 if any(map(operator.gt, times, islice(times, 1, None))) else _ORDERED
    if set(map(type, steps)) == {int} and all(map(operator.lt, steps, islice(steps, 1, None))):
        # Those of more bits are no integers of a column.
        flags |= _RISING if steps[0] >= -LARGEST and steps[-1] < LARGEST else 0
    return flags


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return the points of chunks, one after the other."""
    if len(chunks) == 1:
        return chunks[0]
    filled = [chunk for chunk in chunks if len(chunk)]
    flags = _ORDERED | _RISING
    for chunk in filled:
        flags &= chunk.flags
    for before, after in pairwise(filled):
        if before.span[1] > after.span[0]:
            flags &= ~_ORDERED
        if flags & _RISING and not before.steps[len(before) - 1] < after.steps[0]:  # type: ignore[index]
            flags &= ~_RISING
    steps: Column | None = None
    if any(chunk.steps is not None for chunk in filled):
        steps = _end_to_end(Column([None] * len(chunk)) if chunk.steps is None else chunk.steps for chunk in filled)
    has_times = all(chunk.times is not None for chunk in filled)
    times = _end_to_end(chunk.times for chunk in filled if chunk.times is not None) if has_times else None
    numbers = [numbers for chunk in filled for numbers in chunk.numbers]
    containers: dict[int, Any] = {}
    size = 0
    for chunk in filled:
        containers |= {size + place: plain for place, plain in chunk.containers.items()}
        size += len(chunk)
    span = (filled[0].span[0], filled[-1].span[1])
    return Chunk(numbers, steps, _end_to_end(chunk.values for chunk in filled), times, flags, span, containers)


def _span(times: Column) -> tuple[float, float]:
    return (times[0], times[len(times) - 1]) if len(times) else (0.0, 0.0)


def _end_to_end(columns: Iterable[Column]) -> Column:
    whole = Column()
    for column in columns:
        whole.extend(column)
    return whole


def pack(chunk: Chunk) -> Iterator[tuple[Chunk, bytes, bytes]]:
    """Yield chunks that are small enough, each with its two parts as bytes; together they are what is given."""
    for piece in chunk.pieces():
        assert piece.times is not None
        steps = None if piece.steps is None else _packed(piece.steps)
        numbers, values = _packed_numbers(piece.numbers), _packed(piece.values)
        body = _encode([_COLUMNS, piece.flags, piece.span, numbers, steps, values, piece.containers])
        if len(body) > _LARGEST and len(piece) > 1:
            # Of texts, or numbers of very many digits.
            middle = len(piece) // 2
            yield from pack(piece.part(0, middle))
            yield from pack(piece.part(middle, len(piece)))
        else:
            yield piece, body, _encode(_packed(piece.times))


def pack_few(numbers: range, steps: list[Any], values: list[Any], times: list[float]) -> tuple[bytes, bytes] | None:
    """Return the two parts of points as lists, which are smaller, and sooner made; None where they are many, or odd."""
    if len(times) > FEW or not (_PLAIN.issuperset(map(type, values)) and _PLAIN.issuperset(map(type, steps))):
        return None
    span, known = (times[0], times[-1]), None if steps.count(None) == len(steps) else steps
    try:
        flags = _flags_of(steps, times) if known is not None or len(times) > 1 else _ORDERED
        body = _encode([_FEW, flags, span, [numbers.start, numbers.stop], known, values])
    except OverflowError:
        # A whole number of more than 64 bits.
        return None
    return body, _encode(times)


def unpack(body: Any, times: Any = None) -> Chunk:
    """Return the points of the two parts that `pack` made, or those without times."""
    fields = _decode(body)
    if fields[0] == _FEW:
        _, flags, span, (first, end), known, few = fields
        logged = None if times is None else Column.from_list(_decode(times))
        column = None if known is None else Column.from_list(known)
        return Chunk([range(first, end)], column, Column.from_list(few), logged, flags, tuple(span), {})
    if fields[0] != _COLUMNS:
        raise ValueError(f"points are stored in a format ({fields[0]}) that this version does not know")
    _, flags, span, numbers, steps, values, containers = fields
    column = None if steps is None else _unpacked(steps)
    if column is not None:
        column.make_tuples()
    logged = None if times is None else _unpacked(_decode(times))
    return Chunk([_unpacked_numbers(numbers)], column, _unpacked(values), logged, flags, tuple(span), containers)


def _packed(column: Column) -> list[Any]:
    packed = column.packed()
    if packed is None:
        return ["", [to_plain(value) for value in column.tolist()]]
    typecode, data, odd = packed
    if odd:
        return [typecode, data, {place: to_plain(value) for place, value in odd.items()}]
    if typecode == "q" and (run := evenly(column.data)) is not None:
        return ["range", run.start, run.step, len(run)]
    size = len(column)
    # Those of one call have one time, mostly.
    if size > 1 and data == data[:_WIDTH] * size:
        return ["same", typecode, data[:_WIDTH], size]
    return [typecode, data]


def _unpacked(packed: list[Any]) -> Column:
    match packed:
        case ["", values]:
            return Column.from_list([restore(value) for value in values])
        case ["range", first, stride, size]:
            return Column.of(counting(first, stride, size))
        case ["same", typecode, data, size]:
            return Column.of(from_bytes(typecode, data * size))
        case [typecode, data, odd]:
            return Column.of(from_bytes(typecode, data), {place: restore(value) for place, value in odd.items()})
        case _:
            return Column.of(from_bytes(*packed))


def _packed_numbers(numbers: list[Sequence[int]]) -> list[Any]:
    if len(numbers) == 1 and isinstance(numbers[0], range):
        return ["range", numbers[0].start, numbers[0].step, len(numbers[0])]
    return _packed(Column.of(array("q", chain.from_iterable(numbers))))


def _unpacked_numbers(packed: list[Any]) -> Sequence[int]:
    if packed[0] == "range":
        _, first, stride, size = packed
        return range(first, first + stride * size, stride)
    # They rise: no two are the same.
    return from_bytes(*packed)
