"""Columns: growing lists of numbers in eight bytes each, that give every value back exactly."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

from track.plain import restore, to_plain

LARGEST = 2**63
"""The first integer that does not fit into eight bytes."""

_PACK_FROM = 10_000
_WORTH_IT = 64
_FARTHEST = 2**62
_TYPES = {"d": float, "q": int}
_NUMBERS = frozenset({float, int})


class Column:
    """A growing list of values that keeps floats, or ints, in eight bytes each.

    The first value chooses the type. A value of another type is kept as it is beside the column, so
    everything comes back exactly; when such values become the rule the column is rebuilt.

    An array of numpy may show the values themselves. Then they cannot grow (``BufferError``), and who appends goes on
    with a copy: a reader never waits and copies nothing, and no writer is stopped.

    Examples
    --------
    >>> column = Column([0.5, 1, float("inf")])
    >>> column.tolist()
    [0.5, 1, inf]
    """

    __slots__ = ("_data", "_odd", "_type")

    def __init__(self, values: Any = ()) -> None:
        self._data: Any = []
        self._odd: dict[int, Any] = {}
        self._type: type[float] | None = None
        for value in values:
            self.append(value)

    def __len__(self) -> int:
        return len(self._data)

    def append(self, value: Any) -> None:
        """Add `value` at the end."""
        if type(value) is self._type:
            try:
                self._data.append(value)
                return
            except (AttributeError, BufferError):
                self.let_go()
                self.append(value)
                return
            except OverflowError:
                # A whole number of more than 64 bits.
                pass
        self._append_odd(value)

    def extend(self, other: Column) -> None:
        """Add the values of another column at the end, much faster than one by one."""
        if not len(self):
            self._data, self._odd, self._type = other._data[:], dict(other._odd), other._type
            return
        if self._type is None or self._type is not other._type:
            self.unroll()
            for value in other.tolist():
                self.append(value)
            return
        count = len(self)
        if other._odd:
            self._odd.update((count + position, value) for position, value in other._odd.items())
        if isinstance(self._data, range):
            if not other._odd and self._run_on(other._data):
                return
            self.unroll()
        data = other._data if isinstance(other._data, array) else array("q", other._data)
        try:
            self._data.extend(data)
        except BufferError:
            self.let_go()
            self._data.extend(data)
        self._choose_type()

    def _run_on(self, more: Any) -> bool:
        """Take whole numbers that go on evenly from these, which do so, too; return whether that was done."""
        data = self._data
        step = data.step if len(data) > 1 else more[0] - data[0]
        end = data[-1] + step * len(more)
        if not step or more[-1] != end:
            return False
        run = range(data[-1] + step, end + (1 if step > 0 else -1), step)
        if more != (run if isinstance(more, range) else array("q", run)):
            return False
        self._data = range(data[0], run.stop, step)
        return True

    @classmethod
    def run(cls, values: range) -> Column:
        """Return a column of whole numbers that go up evenly, which takes no room until others come."""
        column = cls()
        column._data, column._type = values, int
        return column

    def let_go(self) -> None:
        """Go on with a copy: arrays of numpy that show the values keep them from growing, and a range never does."""
        self._data = array("q", self._data) if isinstance(self._data, range) else self._data[:]

    @property
    def kind(self) -> type[float] | None:
        """The type of all values; None where they are of several, or of another than float and int."""
        return None if self._odd else self._type

    @property
    def data(self) -> array[Any]:
        """The values in eight bytes each, where `kind` is not None."""
        self.unroll()
        found: array[Any] = self._data
        return found

    def counting(self, size: int) -> range | None:
        """Return the first values, at least one, where they are whole numbers that count up evenly; else None."""
        if self._type is not int or self._odd:
            return None
        return evenly(self._data[:size])

    def unroll(self) -> None:
        """Let numbers that count up evenly take room, and be appended to."""
        if isinstance(self._data, range):
            self._data = array("q", self._data)

    def packed(self) -> tuple[str, bytes, dict[int, Any]] | None:
        """Return typecode, little-endian bytes, and by position what they do not say; None where nothing fits them."""
        self.unroll()
        return None if self._type is None else (self._data.typecode, to_bytes(self._data), self._odd)

    def __getitem__(self, position: int) -> Any:
        return self._odd[position] if position in self._odd else self._data[position]

    def tolist(self, size: int | None = None) -> list[Any]:
        """Return the first `size` values, all by default."""
        data = self._data if size is None else self._data[:size]
        values = list(data)
        for position, value in list(self._odd.items()):
            if position < len(values):
                values[position] = value
        return values

    def part(self, first: int, end: int) -> list[Any]:
        """Return the values from a position on, before another one."""
        values = list(self._data[first:end])
        for position, value in list(self._odd.items()):
            if first <= position < end:
                values[position - first] = value
        return values

    def cut(self, first: int, end: int | None = None) -> Column:
        """Return a column of the values from a position on, before another one, if any."""
        column = Column()
        column._data, column._type = self._data[first:end], self._type
        end = first + len(column._data)
        column._odd = {
            position - first: value for position, value in list(self._odd.items()) if first <= position < end
        }
        return column

    def reordered(self, order: list[int]) -> Column:
        """Return a column of the values at these positions."""
        values = self.tolist()
        return Column.from_list([values[position] for position in order])

    def make_tuples(self) -> None:
        """Turn lists, as JSON gives them, into the tuples they were."""
        if self._type is None:
            self._data = [hashable(value) for value in self._data]
        self._odd = {position: hashable(value) for position, value in self._odd.items()}

    def view(self) -> Column:
        """Return a column that shares these values; a later rebuild of this one does not touch it."""
        column = Column()
        column._data, column._odd, column._type = self._data, dict(self._odd), self._type
        return column

    def to_plain(self, size: int | None = None) -> Any:
        """Return the values as JSON-safe data; from 10,000 values on, packed little-endian in base64."""
        if self._type is None or len(self._data) < _PACK_FROM:
            return [to_plain(value) for value in self.tolist(size)]
        import base64

        self.unroll()
        size = len(self._data) if size is None else size
        odd = {str(position): to_plain(value) for position, value in self._odd.items() if position < size}
        packed = base64.b64encode(_little_endian(self._data[:size]).tobytes()).decode()
        return {"dtype": "packed", "typecode": self._data.typecode, "base64": packed, "odd": odd}

    @classmethod
    def from_plain(cls, plain: Any) -> Column:
        """Return the column that `to_plain` described."""
        if isinstance(plain, list):
            # Numbers are what they are.
            return cls.from_list(plain if _NUMBERS.issuperset(map(type, plain)) else [restore(one) for one in plain])
        import base64

        odd = {int(position): restore(value) for position, value in plain["odd"].items()}
        return cls.of(from_bytes(plain["typecode"], base64.b64decode(plain["base64"])), odd)

    @classmethod
    def of(cls, data: array[Any], odd: dict[int, Any] | None = None) -> Column:
        """Return the column of an array of doubles or of integers, and of what they cannot say, by position."""
        column = cls()
        column._data, column._odd, column._type = data, odd or {}, _TYPES[data.typecode]
        return column

    @classmethod
    def from_list(cls, values: list[Any]) -> Column:
        """Return a column of these values, much faster than one by one."""
        column = cls()
        kinds = set(map(type, values))
        try:
            if kinds == {float}:
                column._data, column._type = array("d", values), float
                return column
            if kinds == {int}:
                column._data, column._type = array("q", values), int
                return column
        except OverflowError:
            pass
        for value in values:
            column.append(value)
        return column

    def _append_odd(self, value: Any) -> None:
        kind = type(value)
        if not self._data and kind in (float, int) and not (kind is int and abs(value) >= LARGEST):
            self._type = kind
            self._data = array("d" if kind is float else "q", [value])
            return
        if self._type is None:
            self._data.append(value)
            return
        self._odd[len(self._data)] = value
        try:
            self._data.append(0)
        except (AttributeError, BufferError):
            self.let_go()
            self._data.append(0)
        self._choose_type()

    def _choose_type(self) -> None:
        if len(self._odd) * 2 > len(self._data) + 16:
            self._rebuild()

    def _rebuild(self) -> None:
        """Give the column the type that most of its values have."""
        values = self.tolist()
        kinds = [type(value) for value in values]
        self._type = max((float, int), key=kinds.count)
        if kinds.count(self._type) * 4 < len(kinds):
            self._data, self._odd, self._type = values, {}, None
            return
        typed = zip(kinds, values, strict=True)
        fits = [kind is self._type and (kind is float or abs(value) < LARGEST) for kind, value in typed]
        code = "d" if self._type is float else "q"
        odd = {position: value for position, (fit, value) in enumerate(zip(fits, values, strict=True)) if not fit}
        data = array(code, [value if fit else 0 for fit, value in zip(fits, values, strict=True)])
        self._data, self._odd = data, odd


def from_bytes(typecode: str, data: bytes | memoryview) -> array[Any]:
    """Return the numbers of eight bytes each that little-endian bytes hold."""
    values: array[Any] = array(typecode)
    values.frombytes(data)
    found: array[Any] = _little_endian(values)
    return found


def to_bytes(values: Any) -> bytes:
    """Return an array, or a view of memory, of doubles or of integers as little-endian bytes."""
    if sys.byteorder == "big":
        values = _little_endian(array("d" if isinstance(values[0], float) else "q", values))
    found: bytes = values.tobytes()
    return found


def loaded_numpy() -> Any:
    """Return numpy where the program has imported it, else None."""
    numpy = sys.modules.get("numpy")
    # Another thread may be in the middle of it.
    return numpy if hasattr(numpy, "ndarray") else None


def counting(first: int, stride: int, size: int) -> array[int]:
    """Return `size` integers that count from the first on.

    Examples
    --------
    >>> counting(5, 10, 3).tolist()
    [5, 15, 25]
    """
    if not stride:
        return array("q", [first]) * size
    numpy = loaded_numpy()
    if numpy is None or size < _WORTH_IT:
        return array("q", range(first, first + stride * size, stride))
    return array("q", (numpy.arange(size, dtype=numpy.int64) * stride + first).tobytes())


def evenly(data: Sequence[int]) -> range | None:
    """Return integers of 64 bits, at least one, that count up evenly as a range; None for others.

    Examples
    --------
    >>> evenly(array("q", [5, 15, 25]))
    range(5, 35, 10)
    """
    if isinstance(data, range):
        return data
    first, size = data[0], len(data)
    stride = data[1] - first if size > 1 else 1
    if not 0 < stride < _FARTHEST or first + stride * (size - 1) != data[-1] or abs(first) > _FARTHEST:
        return None
    return range(first, first + stride * size, stride) if data == counting(first, stride, size) else None


def _little_endian(values: Any) -> Any:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values


def hashable(step: Any) -> Any:
    """Return a step as a key: JSON's lists are tuples, at any depth.

    Examples
    --------
    >>> hashable([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(hashable(part) for part in step) if isinstance(step, list) else step
