"""Chunks: up to 4,096 points of one metric as bytes, with a head that says what they come to; and the files of them.

A file begins with a line of JSON: ``{"event": "points", "format": 1, "store": ..., "number": ...}``. Then there are
chunks, each of them: the mark ``TRK1``, the sizes of head and data (two unsigned integers of four bytes), the head
(JSON), the data. All numbers are little-endian. The data are the columns of steps, values and times, eight bytes a
number, and JSON of what eight bytes cannot hold. Steps that count up evenly are in the head alone.

Whoever names a chunk says where it is and the sum of its head, which has the sum of the data. A file is appended to and
never overwritten, so what is named stays as it is; what is named nowhere was left by a writer that did not finish.
"""

from __future__ import annotations

import math
import operator
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from track.containers.columns import Column, evenly, from_bytes, to_bytes
from track.plain import nearest_double, restore, to_plain

FORMAT = 1
LARGEST = 4096
"""Points in a chunk, at most."""
_MARK = b"TRK1"
_PREFIX = struct.Struct("<4sII")
_GUESS = 1024
_PACKED = frozenset("dq")
_encode = msgspec.json.Encoder().encode


class DamagedChunk(ValueError):
    """What is read at a place is not the chunk that is named."""


class FileHead(msgspec.Struct, frozen=True, tag_field="event", tag="points"):
    """The first line of a file of chunks: of which store it is, and which of its files."""

    format: int
    store: str
    number: int


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the points of a chunk come to; tagged values are restored by the properties below.

    Attributes
    ----------
    trial, metric: str
        Whose points they are.
    position, count: int
        How many points of the metric are before them, and how many these are.
    columns: list
        How steps (None where there are none), values and times are kept: ``["run", first, stride]``, ``["d"]``,
        ``["q"]``, or ``["json"]``.
    sum: int
        The crc32 of the data.
    finite, nan, above, below: int
        How many values are finite, NaN, +Inf and -Inf.
    total: float
        The sum of the finite values.
    least, greatest, least_step, greatest_step: any
        Of the finite values, and at which step (without steps: the place in the chunk) each is first.
    last, last_step: any
        The value and the step that came last.
    low, high: number or None
        The bounds of the steps, where all of them are numbers.
    since, until: float
        The bounds of the times, unix seconds; 0 where none is known.
    rises: bool
        Whether the steps are whole numbers, or all of them floats, each greater than the one before.
    timed: bool
        Whether the time of each is known, and none is before the one before; False in chunks of earlier versions.
    """

    trial: str
    metric: str
    position: int
    count: int
    columns: list[Any]
    sum: int
    finite: int
    total: float
    nan: int = 0
    above: int = 0
    below: int = 0
    least: Any = None
    least_step: Any = None
    greatest: Any = None
    greatest_step: Any = None
    last: Any = None
    last_step: Any = None
    low: Any = None
    high: Any = None
    since: float = 0.0
    until: float = 0.0
    rises: bool = False
    timed: bool = False


_decode_head = msgspec.json.Decoder(Head).decode
PlainColumn = range | tuple[str, memoryview] | None
"""Numbers that count up evenly, or a type of `array` and the bytes of such, little-endian; None for no steps."""
PlainColumns = tuple[PlainColumn, PlainColumn, PlainColumn]
StepsValuesTimes = tuple[Column | None, Column, Column]
"""Steps, values and times."""


class Named(NamedTuple):
    """What names a chunk: which file, where in it, its bytes, its points, the crc32 of its head."""

    number: int
    offset: int
    size: int
    points: int
    sum: int


class HasDescriptor(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return the descriptor."""


class ChunkFile:
    """A file of chunks; without an open file, one that is missing.

    `path`: what messages call it. `number`: among the files of its store; 0 for one that is no part of a store.
    """

    def __init__(self, path: str, number: int, file: HasDescriptor | None) -> None:
        self.path = path
        self.number = number
        self.file = file
        self.is_flushed = True

    @property
    def size(self) -> int:
        """Bytes in the file; 0 where it is missing."""
        return 0 if self.file is None else os.fstat(self.file.fileno()).st_size

    @property
    def stamp(self) -> tuple[int, int] | None:
        """What is another one after the file was written to; None where it is missing."""
        if self.file is None:
            return None
        status = os.fstat(self.file.fileno())
        return status.st_mtime_ns, status.st_size

    def append(self, data: bytes) -> int:
        """Write a chunk at the end, and return its offset; OSError where there is no room. The caller is alone."""
        assert self.file is not None
        self.is_flushed = False
        # After whatever a writer has left that did not finish.
        offset, view = self.size, memoryview(data)
        place = offset
        while view:
            written = os.pwrite(self.file.fileno(), view, place)
            place, view = place + written, view[written:]
        return offset

    def flush(self) -> None:
        """Make what was appended survive a loss of power."""
        if self.file is not None and not self.is_flushed:
            os.fsync(self.file.fileno())
            self.is_flushed = True

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the file; fewer where it ends before."""
        if self.file is None:
            return b""
        data = os.pread(self.file.fileno(), size, offset)
        while 0 < len(data) < size and (more := os.pread(self.file.fileno(), size - len(data), offset + len(data))):
            data += more
        return data

    def read_into(self, offset: int, place: memoryview) -> int:
        """Read bytes of the file to a place in memory, and return how many."""
        return 0 if self.file is None else os.preadv(self.file.fileno(), [place], offset)


class StoredChunk:
    """A chunk in a file, of which only the name is in memory until it is read.

    Attributes
    ----------
    is_lost: bool
        Whether it turned out to be damaged, or is missing.
    """

    __slots__ = ("_checked", "_head", "file", "is_lost", "named")

    def __init__(self, file: ChunkFile, named: Named, head: Head | None = None) -> None:
        self.file = file
        self.named = named
        self._head = head
        self._checked: tuple[int, int] | None = None
        self.is_lost = False

    def head(self) -> Head:
        """Return what its points come to; DamagedChunk where that cannot be read."""
        if self._head is None:
            data = self.file.read(self.named.offset, min(self.named.size, _GUESS))
            end = _head_end(data)
            if end > len(data):
                data = self.file.read(self.named.offset, min(self.named.size, end))
            self._head = self._checked_head(data[:end])
        return self._head

    def columns(self) -> StepsValuesTimes:
        """Return its points; DamagedChunk where they cannot be read."""
        data = self.data()
        return _unpack(self.head(), memoryview(data)[_head_end(data) :])

    def plain_columns(self, with_times: bool = True) -> PlainColumns | None:
        """Return its points as they are in the file; None where that is not all numbers of one type in each column.

        Without the times, these may be anything: where the data were checked before, and nothing was written to the
        file since, they are not read. DamagedChunk where the points cannot be read.
        """
        stamp = None if with_times else self.file.stamp
        is_checked = stamp is not None and stamp == self._checked
        # The head comes with what is read, where it was not read before.
        data = b"" if is_checked else self.data()
        head = self.head()
        kinds = [kind for kind in head.columns if kind is not None and kind[0] != "run"]
        begin, place = self.named.size - 8 * head.count * len(kinds), 0
        if not is_checked:
            place = _head_end(data)
            if place != begin or any(kind[0] not in _PACKED for kind in kinds):
                return None
            self._checked = stamp or self._checked
        else:
            size = 8 * head.count * (len(kinds) - (head.columns[2] in kinds))
            data = self.file.read(self.named.offset + begin, size)
            if len(data) != size:
                raise DamagedChunk("its points are not what was written")
        columns: list[PlainColumn] = []
        for kind in head.columns:
            match kind:
                case None:
                    columns.append(None)
                case ["run", first, stride]:
                    columns.append(range(first, first + head.count * stride, stride))
                case _:
                    end = place + 8 * head.count
                    columns.append((kind[0], memoryview(data)[place:end]))
                    place = end
        return columns[0], columns[1], columns[2]

    def doubles_into(self, place: memoryview) -> bool:
        """Put its values there, as many doubles of this machine as it has points, and return whether that is done.

        It is where they are doubles, and were checked before, with nothing written to the file since.
        """
        step, value, _ = self.head().columns
        stamp = self.file.stamp
        if sys.byteorder != "little" or value is None or value[0] != "d" or stamp is None or stamp != self._checked:
            return False
        packed = [kind for kind in self.head().columns if kind is not None and kind[0] != "run"]
        before = step is not None and step[0] != "run"
        offset = self.named.offset + self.named.size - 8 * self.named.points * (len(packed) - before)
        return self.file.read_into(offset, place) == 8 * self.named.points

    def data(self) -> bytes:
        """Return its bytes, which are checked; DamagedChunk where they cannot be read."""
        data = self.file.read(self.named.offset, self.named.size)
        self._check(data)
        return data

    def _check(self, data: bytes) -> Head:
        end = _head_end(data)
        head = self._head = self._checked_head(data[:end])
        if len(data) != self.named.size or zlib.crc32(memoryview(data)[end:]) != head.sum:
            raise DamagedChunk("its points are not what was written")
        return head

    def _checked_head(self, data: bytes) -> Head:
        if zlib.crc32(data) != self.named.sum:
            raise DamagedChunk("its head is not what was written")
        if self._head is not None:
            return self._head
        head = _decode_head(data[_PREFIX.size :])
        if head.count != self.named.points:
            raise DamagedChunk("it has another number of points than its name says")
        return head


def _head_end(data: bytes) -> int:
    """Return where the head of a chunk ends, which begins with these bytes."""
    if len(data) < _PREFIX.size:
        raise DamagedChunk("it is missing")
    mark, head, _ = _PREFIX.unpack_from(data)
    if mark != _MARK:
        raise DamagedChunk("there is no chunk")
    return int(_PREFIX.size + head)


# making chunks


def make_chunk(trial: str, metric: str, position: int, columns: StepsValuesTimes) -> tuple[bytes, Head]:
    """Return the bytes of a chunk, and its head."""
    step, value, at = columns
    kinds, parts, odd = [], [], {}
    for name, column in (("step", step), ("value", value), ("at", at)):
        kind, data, rest = (None, b"", None) if column is None else _pack(column, is_step=name == "step")
        kinds.append(kind)
        parts.append(data)
        if rest:
            odd[name] = rest
    data = b"".join(parts) + (_encode(odd) if odd else b"")
    head = Head(trial, metric, position, len(value), kinds, zlib.crc32(data), **_summary(step, value, at))
    text = _encode(head)
    return _PREFIX.pack(_MARK, len(text), len(data)) + text + data, head


def sum_of_head(data: bytes) -> int:
    """Return the sum by which a chunk of these bytes is named."""
    return zlib.crc32(memoryview(data)[: _head_end(data)])


def _pack(column: Column, is_step: bool) -> tuple[list[Any], bytes, Any]:
    """Return how a column is kept, its bytes, and what these cannot hold."""
    data = column._data
    if column._type is None:
        return ["json"], b"", [to_plain(one) for one in data]
    odd = {str(place): to_plain(one) for place, one in column._odd.items()}
    if is_step and column._type is int and not odd and (run := evenly(data)) is not None:
        return ["run", run.start, run.step], b"", None
    data = data if isinstance(data, array) else array("q", data)
    return [data.typecode], to_bytes(data), odd


def _summary(step: Column | None, value: Column, at: Column) -> dict[str, Any]:
    """Return the fields of a head that say what the points come to."""
    found = _of_values(value)
    places: Any = range(len(value)) if step is None else step
    for name in ("least", "greatest"):
        place = found.pop(f"{name}_place")
        found[f"{name}_step"] = None if place is None else to_plain(places[place])
    size = len(value)
    found |= {"last": to_plain(value[size - 1]), "last_step": to_plain(places[size - 1])}
    if step is not None:
        found |= _of_steps(step)
    times = [one for one in (at.tolist() if at._odd or at._type is None else at._data) if one]
    found["timed"] = len(times) == size and sorted(times) == times
    return found | {"since": float(min(times, default=0.0)), "until": float(max(times, default=0.0))}


def _of_values(value: Column) -> dict[str, Any]:
    data = value._data
    if value._type is float and not value._odd:
        total = math.fsum(data) if len(data) < 2 else sum(data)
        if math.isfinite(total):
            return _of_finite(data, total)
    elif value._type is int and not value._odd:
        return _of_finite(data, float(sum(data)))
    values = value.tolist()
    numbers = [one if isinstance(one, (int, float)) else math.nan for one in values]
    finite = [one for one in numbers if type(one) is not float or math.isfinite(one)]
    found: dict[str, Any] = {
        "finite": 0, "total": 0.0, "least": None, "least_place": None, "greatest": None, "greatest_place": None,
    }  # fmt: skip
    if finite:
        least, greatest = min(finite), max(finite)
        found = {
            "finite": len(finite), "total": nearest_sum(finite),
            "least": to_plain(least), "least_place": numbers.index(least),
            "greatest": to_plain(greatest), "greatest_place": numbers.index(greatest),
        }  # fmt: skip
    found["nan"] = sum(one != one for one in numbers)
    return found | {"above": numbers.count(math.inf), "below": numbers.count(-math.inf)}


def _of_finite(data: Any, total: float) -> dict[str, Any]:
    least, greatest = min(data), max(data)
    places = {"least_place": data.index(least), "greatest_place": data.index(greatest)}
    return {"finite": len(data), "total": total, "least": least, "greatest": greatest} | places


def nearest_sum(values: Sequence[Any]) -> float:
    """Return the sum of finite numbers as a double; the greatest one where it is too large."""
    total = sum(map(nearest_double, values))
    return total if math.isfinite(total) else math.copysign(1.7976931348623157e308, total) if total == total else 0.0


def _of_steps(step: Column) -> dict[str, Any]:
    data = step._data
    if step._type is None or step._odd:
        return {}
    if step._type is int and (run := evenly(data)) is not None:
        return {"low": run[0], "high": run[-1], "rises": True}
    values = list(data)
    if not all(map(math.isfinite, values)):
        return {}
    return {"low": min(values), "high": max(values), "rises": all(map(operator.lt, values, values[1:]))}


# reading chunks


def _unpack(head: Head, data: memoryview) -> StepsValuesTimes:
    kinds, place = head.columns, 0
    size = sum(8 * head.count for kind in kinds if kind is not None and kind[0] in _PACKED)
    odd = msgspec.json.decode(data[size:]) if len(data) > size else {}
    columns: list[Any] = []
    for name, kind in zip(("step", "value", "at"), kinds, strict=True):
        if kind is None:
            columns.append(None)
            continue
        column = Column()
        match kind:
            case ["run", first, stride]:
                column = Column.run(range(first, first + head.count * stride, stride))
            case ["json"]:
                column._data = [restore(one) for one in odd[name]]
            case [code]:
                rest = {int(at): restore(one) for at, one in odd.get(name, {}).items()}
                column = Column.of(from_bytes(code, data[place : place + 8 * head.count]), rest)
                place += 8 * head.count
        columns.append(column)
    if columns[0] is not None:
        columns[0].make_tuples()
    return columns[0], columns[1], columns[2]
