"""Columns of (step, value, time), 24 bytes a point, behind a ``{step: value}`` mapping view."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from track.plain import restore, to_plain

__all__ = ["Column", "Points", "Series", "hashable"]

_LARGEST = 2**63
_PACK_FROM = 10_000
_TYPES = {"d": float, "q": int}


class Column:
    """A growing list of values that keeps floats, or ints, in eight bytes each.

    The first value chooses the type. A value of another type is kept as it is beside the column, so
    everything comes back exactly; when such values become the rule the column is rebuilt.

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
        if type(value) is self._type and (self._type is float or -_LARGEST <= value < _LARGEST):
            self._data.append(value)
            return
        self._append_odd(value)

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

        size = len(self._data) if size is None else size
        odd = {str(position): to_plain(value) for position, value in self._odd.items() if position < size}
        packed = base64.b64encode(_little_endian(self._data[:size]).tobytes()).decode()
        return {"dtype": "packed", "typecode": self._data.typecode, "base64": packed, "odd": odd}

    @classmethod
    def from_plain(cls, plain: Any) -> Column:
        """Return the column that `to_plain` described."""
        if isinstance(plain, list):
            return cls.from_list([restore(value) for value in plain])
        import base64

        column = cls()
        column._data = array(plain["typecode"])
        column._data.frombytes(base64.b64decode(plain["base64"]))
        column._data = _little_endian(column._data)
        column._type = _TYPES[plain["typecode"]]
        column._odd = {int(position): restore(value) for position, value in plain["odd"].items()}
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
        if not self._data and kind in (float, int) and not (kind is int and abs(value) >= _LARGEST):
            self._type = kind
            self._data = array("d" if kind is float else "q", [value])
            return
        if self._type is None:
            self._data.append(value)
            return
        self._odd[len(self._data)] = value
        self._data.append(0)
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
        fits = [kind is self._type and (kind is float or abs(value) < _LARGEST) for kind, value in typed]
        code = "d" if self._type is float else "q"
        odd = {position: value for position, (fit, value) in enumerate(zip(fits, values, strict=True)) if not fit}
        data = array(code, [value if fit else 0 for fit, value in zip(fits, values, strict=True)])
        self._data, self._odd = data, odd


def _little_endian(values: Any) -> Any:
    import sys

    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values


class Points:
    """Values in the order they were logged, each with its time (unix seconds) and, maybe, a step.

    Parameters
    ----------
    stepped: bool
        Whether each point has a step.
    """

    __slots__ = ("_size", "at", "step", "value")

    def __init__(self, stepped: bool) -> None:
        self.step: Column | None = Column() if stepped else None
        self.value = Column()
        self.at = Column()
        self._size: int | None = None

    def __len__(self) -> int:
        # The time is appended last: a reader in another thread never sees half a point.
        return len(self.at) if self._size is None else self._size

    def append(self, step: Any, value: Any, at: float) -> None:
        """Add a point; `step` is ignored when the points have none, and tagged values are restored."""
        steps, values, times = self.step, self.value, self.at
        # The common point is written straight into the arrays: this is the innermost loop of every replay.
        if steps is not None:
            if type(step) is steps._type and (step.__class__ is float or -_LARGEST <= step < _LARGEST):
                steps._data.append(step)
            else:
                steps.append(step)
        if type(value) is float and values._type is float:
            values._data.append(value)
        else:
            values.append(restore(value) if value.__class__ is dict else value)
        if type(at) is float and times._type is float:
            times._data.append(at)
        else:
            times.append(at)

    def steps(self) -> list[Any]:
        """Return the step of each point, in logging order; empty when the points have none."""
        return [] if self.step is None else self.step.tolist(len(self))

    def values(self) -> list[Any]:
        """Return the value of each point, in logging order."""
        return self.value.tolist(len(self))

    def times(self) -> list[float]:
        """Return when each point was logged, unix seconds, in logging order."""
        return self.at.tolist(len(self))

    @classmethod
    def from_lists(cls, steps: list[Any] | None, values: list[Any], times: list[float]) -> Points:
        """Return points of these columns; without steps for None."""
        points = cls(stepped=False)
        points.step = None if steps is None else Column.from_list(steps)
        points.value, points.at = Column.from_list(values), Column.from_list(times)
        return points

    def view(self) -> Points:
        """Return the points so far: what is appended later does not show. Nothing is copied."""
        points = Points.__new__(Points)
        points._size = len(self)
        points.step = None if self.step is None else self.step.view()
        points.value, points.at = self.value.view(), self.at.view()
        return points

    def to_plain(self) -> dict[str, Any]:
        """Return the columns as JSON-safe data."""
        size = len(self)
        columns = {} if self.step is None else {"step": self.step.to_plain(size)}
        return columns | {"value": self.value.to_plain(size), "at": self.at.to_plain(size)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Points:
        """Return the points that `to_plain` described."""
        points = cls(stepped=False)
        if "step" in plain:
            points.step = Column.from_plain(plain["step"])
            points.step.make_tuples()
        points.value = Column.from_plain(plain["value"])
        points.at = Column.from_plain(plain["at"])
        return points


def hashable(step: Any) -> Any:
    """Return a step as a key: JSON's lists are tuples, at any depth.

    Examples
    --------
    >>> hashable([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(hashable(part) for part in step) if isinstance(step, list) else step


class Series(Mapping[Any, Any]):
    """A metric logged with steps, seen as ``{step: value}``: the last value logged at a step counts.

    Examples
    --------
    >>> loss = Series()
    >>> loss.append(0, 0.9, at=1.0); loss.append(1, 0.5, at=2.0); loss.append(0, 0.8, at=3.0)
    >>> loss
    {0: 0.8, 1: 0.5}
    """

    __slots__ = ("_index", "_indexed", "_next", "points")

    def __init__(self, points: Points | None = None) -> None:
        self.points = Points(stepped=True) if points is None else points
        self._index: dict[Any, int] = {}
        self._indexed = 0
        self._next: int | None = None

    def append(self, step: Any, value: Any, at: float) -> None:
        """Add a point; a step logged before gets the new value.

        Parameters
        ----------
        step: any hashable value, or None
            None means the integer after the largest integer step, 0 at first.
        value: number
        at: float
            When it was logged, unix seconds.
        """
        if step is None:
            step = self._following()
        elif self._next is not None and isinstance(step, int):
            self._next = max(self._next, step + 1)
        self.points.append(step, value, at)

    def __getitem__(self, step: Any) -> Any:
        return self.points.value[self._positions()[step]]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._positions()))

    def __len__(self) -> int:
        return len(self._positions())

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def rows(self) -> list[tuple[Any, Any, float]]:
        """Return ``(step, value, unix seconds)`` for each step, in the order the steps first appeared."""
        values, times = self.points.values(), self.points.times()
        return [(step, values[position], times[position]) for step, position in self._positions().items()]

    def last(self) -> Any:
        """Return the value logged last; None when there is none."""
        return self.points.value[len(self.points) - 1] if len(self.points) else None

    def view(self) -> Series:
        """Return the series so far: what is appended later does not show."""
        return Series(self.points.view())

    def _positions(self) -> dict[Any, int]:
        size = len(self.points)
        if self._indexed < size:
            steps = self.points.steps()
            for position in range(self._indexed, size):
                self._index[steps[position]] = position
            self._indexed = size
        return self._index

    def _following(self) -> int:
        if self._next is None:
            known = [step for step in self.points.steps() if isinstance(step, int)]
            self._next = max(known, default=-1) + 1
        self._next += 1
        return self._next - 1
