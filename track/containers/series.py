"""Columns of (step, value, time), 24 bytes a point, by time, behind a ``{step: value}`` mapping view."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator, Mapping
from itertools import accumulate, islice
from typing import Any

from track.containers.columns import Column, hashable
from track.plain import restore
from track.shown import listed, shown

__all__ = ["Column", "Points", "Series", "hashable"]

_SHOWN_WHOLE = 12
_settling = threading.Lock()


class Points:
    """Values in the order they were logged, each with its time (unix seconds) and, maybe, a step.

    The order is that of the times; points of one time are in the order they came, and one whose time is not known, 0,
    follows the one before. A point that comes late, after one that was logged later, is appended like the others, and
    noted: the points are sorted when they are next read.

    Parameters
    ----------
    stepped: bool
        Whether each point has a step.
    """

    __slots__ = ("_size", "at", "is_late", "late", "latest", "step", "value")

    def __init__(self, stepped: bool) -> None:
        self.step: Column | None = Column() if stepped else None
        self.value = Column()
        self.at = Column()
        self.latest = 0.0
        """The time of the last point, unix seconds."""
        self.is_late = False
        """Whether points have come after later ones, and are not sorted yet."""
        self.late = 0
        """How many points have come after later ones."""
        self._size: int | None = None

    def __len__(self) -> int:
        # The time is appended last: a reader in another thread never sees half a point.
        return len(self.at) if self._size is None else self._size

    def append(self, step: Any, value: Any, at: float) -> None:
        """Add a point; `step` is ignored when the points have none, and tagged values are restored."""
        steps, values, times = self.step, self.value, self.at
        if at >= self.latest:
            self.latest = at
        elif at:
            self.is_late = True
            self.late += 1
        # The common point is written straight into the arrays: this is the innermost loop of every replay.
        if steps is not None:
            if type(step) is steps._type:
                try:
                    steps._data.append(step)
                except (BufferError, OverflowError):
                    steps.append(step)
            else:
                steps.append(step)
        if type(value) is float and values._type is float:
            try:
                values._data.append(value)
            except BufferError:
                values.append(value)
        else:
            values.append(restore(value) if value.__class__ is dict else value)
        if type(at) is float and times._type is float:
            try:
                times._data.append(at)
            except BufferError:
                times.append(at)
        else:
            times.append(at)

    def extend(self, steps: Column | None, values: Column, times: Any) -> None:
        """Add many points, much faster than one by one; `times` is an array of doubles, unix seconds."""
        latest = self.latest
        # Those of one call have one time, mostly.
        for at in times[:1] if times[:1].tobytes() * len(times) == times.tobytes() else times:
            if at >= latest:
                latest = at
            elif at:
                self.is_late = True
                self.late += 1
        self.latest = latest
        if self.step is not None and steps is not None:
            self.step.extend(steps)
        self.value.extend(values)
        self.at.extend(Column.of(times))

    def steps(self) -> list[Any]:
        """Return the step of each point, in logging order; empty when the points have none."""
        self.settle()
        return [] if self.step is None else self.step.tolist(len(self))

    def values(self) -> list[Any]:
        """Return the value of each point, in logging order."""
        self.settle()
        return self.value.tolist(len(self))

    def times(self) -> list[float]:
        """Return when each point was logged, unix seconds, in logging order."""
        self.settle()
        return self.at.tolist(len(self))

    def part(self, first: int) -> tuple[list[Any], list[float]]:
        """Return the values and the times from a position on, in logging order."""
        self.settle()
        return self.value.part(first, len(self)), self.at.part(first, len(self))

    def last(self) -> Any:
        """Return the value logged last; None when there is none."""
        self.settle()
        return self.value[len(self) - 1] if len(self) else None

    def settle(self) -> None:
        """Put the points that came late where they belong; columns that others see are not touched."""
        if not self.is_late:
            return
        with _settling:
            # Again: another thread may have been first.
            if self.is_late:
                times: list[float] = list(accumulate(self.at.tolist(len(self)), lambda before, at: at or before))
                order = sorted(range(len(times)), key=times.__getitem__)
                self.step = None if self.step is None else self.step.reordered(order)
                self.value, self.at = self.value.reordered(order), self.at.reordered(order)
                self.is_late = False

    @classmethod
    def from_lists(cls, steps: list[Any] | None, values: list[Any], times: list[float]) -> Points:
        """Return points of these columns, in the order they came; without steps for None."""
        points = cls(stepped=False)
        points.step = None if steps is None else Column.from_list(steps)
        points.value, points.at = Column.from_list(values), Column.from_list(times)
        points.latest = max(times, default=0.0)
        points.is_late = any(map(operator.gt, times, islice(times, 1, None)))
        points.late = sum(map(operator.gt, accumulate(times, max), islice(times, 1, None))) if points.is_late else 0
        return points

    @classmethod
    def from_columns(cls, steps: Column | None, values: Column, times: Column, is_ordered: bool) -> Points:
        """Return points of these columns, in the order they came; `is_ordered` says that no time falls."""
        if not is_ordered:
            points = cls.from_lists(None, [], times.tolist())
            points.step, points.value = steps, values
            return points
        points = cls(stepped=False)
        points.step, points.value, points.at = steps, values, times
        points.latest = times[len(times) - 1] if len(times) else 0.0
        return points

    def numbered(self) -> Points:
        """Return these points, which are not to be used any more, with the steps 0, 1, 2, ...; nothing is copied."""
        self.settle()
        points = Points(stepped=True)
        points.step = Column.from_list(list(range(len(self))))
        points.value, points.at, points.latest, points.late = self.value, self.at, self.latest, self.late
        return points

    def view(self) -> Points:
        """Return the points so far: what is appended later does not show. Nothing is copied."""
        points = Points.__new__(Points)
        points._size = len(self)
        points.latest, points.is_late, points.late = self.latest, self.is_late, self.late
        points.step = None if self.step is None else self.step.view()
        points.value, points.at = self.value.view(), self.at.view()
        return points

    def to_plain(self) -> dict[str, Any]:
        """Return the columns as JSON-safe data."""
        self.settle()
        size = len(self)
        columns = {} if self.step is None else {"step": self.step.to_plain(size)}
        columns |= {"value": self.value.to_plain(size), "at": self.at.to_plain(size)}
        return columns | {"late": self.late} if self.late else columns

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Points:
        """Return the points that `to_plain` described."""
        points = cls(stepped=False)
        if "step" in plain:
            points.step = Column.from_plain(plain["step"])
            points.step.make_tuples()
        points.value = Column.from_plain(plain["value"])
        points.at = Column.from_plain(plain["at"])
        # They were sorted, or are of a version that stored them as they came, and stay as they are.
        points.latest = float(points.at[len(points) - 1]) if len(points) else 0.0
        late = plain.get("late")
        points.late = late if isinstance(late, int) else 0
        return points


class _Run(Mapping[Any, int]):
    """Steps that count up by one from the first: their positions need no index, which would cost 100 bytes a step."""

    __slots__ = ("_range",)

    def __init__(self) -> None:
        self._range = range(0)

    def goes_on(self, steps: list[Any]) -> bool:
        """Take more steps, and return whether all of them count up by one."""
        known = len(self._range)
        first = self._range.start if known else steps[0]
        if type(first) is not int:
            return False
        longer = range(first, first + len(steps))
        # Equal is not enough: 1.0 and True equal 1, and should come back as they are.
        new = zip(steps[known:], longer[known:], strict=True)
        if any(type(step) is not int or step != wanted for step, wanted in new):
            return False
        self._range = longer
        return True

    def __getitem__(self, step: Any) -> int:
        # As in a dictionary, 1.0 finds 1.
        number = int(step) if isinstance(step, float) and step.is_integer() else step
        if isinstance(number, int) and number in self._range:
            return number - self._range.start
        raise KeyError(step)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def _item(step: Any, value: Any) -> str:
    return f"{shown(step, 30)}: {shown(value, 30)}"


class Series(Mapping[Any, Any]):
    """A metric logged with steps, seen as ``{step: value}``: the value logged last at a step counts.

    Examples
    --------
    >>> loss = Series()
    >>> loss.append(0, 0.9, at=1.0); loss.append(1, 0.5, at=2.0); loss.append(0, 0.8, at=3.0)
    >>> loss
    {0: 0.8, 1: 0.5}
    """

    __slots__ = ("_index", "_indexed", "_indexed_times", "_next", "_rising", "points")

    def __init__(self, points: Points | None = None, is_rising: bool = False) -> None:
        self.points = Points(stepped=True) if points is None else points
        self._index: dict[Any, int] | _Run = _Run()
        self._indexed = 0
        self._indexed_times = self.points.at
        self._next: int | None = None
        # How many of the points are known to have integer steps that rise.
        self._rising = len(self.points) if is_rising and not self.points.late else 0

    def append(self, step: Any, value: Any, at: float) -> None:
        """Add a point; a step logged before gets the new value.

        Parameters
        ----------
        step: any hashable value, or None
            None means the integer after the largest integer step, 0 at first.
        at: float
            When it was logged, unix seconds.
        """
        if step is None:
            step = self._following()
        elif self._next is not None and isinstance(step, int):
            self._next = max(self._next, step + 1)
        self.points.append(step, value, at)

    def extend(self, steps: Column | None, values: Column, times: Any) -> None:
        """Add many points, as `append` does one by one; `times` is an array of doubles, unix seconds."""
        if steps is None:
            first = self._following()
            self._next = first + len(values)
            steps = Column.from_list(list(range(first, self._next)))
        elif self._next is not None:
            self._next = max([self._next, *(step + 1 for step in steps.tolist() if isinstance(step, int))])
        self.points.extend(steps, values, times)

    def __getitem__(self, step: Any) -> Any:
        position = self._positions()[step]
        return self.points.value[position]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._positions()))

    def __len__(self) -> int:
        return len(self._positions())

    def __repr__(self) -> str:
        self.points.settle()
        size = len(self.points)
        if size <= _SHOWN_WHOLE:
            points = list(self.items())
            return "{" + listed(lambda place: _item(*points[place]), len(points), "steps") + "}"
        steps, values = self.points.step, self.points.value
        assert steps is not None
        return "{" + listed(lambda place: _item(steps[place], values[place]), size, "points") + "}"

    def rows(self) -> list[tuple[Any, Any, float]]:
        """Return ``(step, value, unix seconds)`` for each step, in the order the steps first appeared."""
        values, times = self.points.values(), self.points.times()
        return [(step, values[position], times[position]) for step, position in self._positions().items()]

    def since(self, first: int) -> tuple[list[Any], list[Any], list[float], int]:
        """Return the columns of `rows` from a position on, and how many points were replaced by others."""
        points = self.points
        points.settle()
        size = len(points)
        if self._is_rising(size):
            assert points.step is not None
            return points.step.part(first, size), *points.part(first), 0
        rows = self.rows()
        steps, values, times = map(list, zip(*rows[first:], strict=True)) if rows[first:] else ([], [], [])
        return steps, values, times, size - len(rows)

    def _is_rising(self, size: int) -> bool:
        """Return whether all steps are whole numbers that rise: none was logged again. Each is looked at once."""
        known, column = max(0, self._rising - 1), self.points.step
        assert column is not None
        # A point that came late stands before the last one.
        steps = column.part(0 if self.points.late else known, size)
        is_rising = all(type(step) is int for step in steps) and all(map(operator.lt, steps, islice(steps, 1, None)))
        self._rising = size if is_rising else 0
        return is_rising

    def last(self) -> Any:
        """Return the value logged last; None when there is none."""
        return self.points.last()

    def to_numpy(self, times: bool = False) -> tuple[Any, ...]:
        """Return arrays of the steps and of their values, in the order the steps first appeared.

        They are of int64 or float64, of bool where every value is one, and of objects only where these cannot say all
        values exactly. They are read-only, and mostly what the series itself holds: nothing is copied, however
        long it is. What is logged later, by another thread too, does not show.

        Parameters
        ----------
        times: bool
            Whether a third array says when each was logged, unix seconds, 0 where that is not known.

        Raises
        ------
        MissingExtra
            The package numpy is not installed.

        Examples
        --------
        >>> loss = Series()
        >>> loss.append(0, 0.9, at=1.0); loss.append(1, 0.5, at=2.0); loss.append(0, 0.8, at=3.0)
        >>> loss.to_numpy()
        (array([0, 1]), array([0.8, 0.5]))
        """
        from track.containers.arrays import to_arrays

        return to_arrays(self.points, times)

    def view(self) -> Series:
        """Return the series so far: what is appended later does not show."""
        return Series(self.points.view(), is_rising=self._rising == len(self.points))

    def _positions(self) -> Mapping[Any, int]:
        """Return the position of the last point of each step: a run where steps count up by one, else an index."""
        points = self.points
        if points.is_late:
            points.settle()
        if self._indexed_times is not points.at:
            # They were sorted.
            self._index, self._indexed, self._indexed_times = _Run(), 0, points.at
        size = len(points)
        if self._indexed < size:
            steps = points.steps()
            if isinstance(self._index, _Run) and not self._index.goes_on(steps):
                self._index, self._indexed = {}, 0
            if isinstance(self._index, dict):
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
