"""Points with steps, seen as a mapping ``{step: value}``."""

from __future__ import annotations

import contextlib
import operator
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import count, islice
from typing import Any

from track.containers.columns import Column, hashable
from track.containers.points import Points
from track.shown import listed, shown

__all__ = ["Column", "Points", "Series", "hashable"]

_SHOWN_WHOLE = 12


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
        longer = range(first, first + known + len(steps))
        # Equal is not enough: 1.0 and True equal 1, and should come back as they are.
        if any(type(step) is not int or step != wanted for step, wanted in zip(steps, longer[known:], strict=True)):
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

    __slots__ = ("_index", "_indexed", "_next", "_rising", "_sorts", "points")

    def __init__(self, points: Points | None = None, is_rising: bool = False) -> None:
        self.points = Points(stepped=True) if points is None else points
        self._index: dict[Any, int] | _Run = _Run()
        self._indexed = 0
        self._sorts = self.points.sorts
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
        position = self._place_of(step) if self._is_on_disk() else self._positions()[step]
        return self.points.value_at(position)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.points.steps() if self._is_on_disk() else list(self._positions()))

    def __len__(self) -> int:
        return len(self.points) if self._is_on_disk() else len(self._positions())

    def __repr__(self) -> str:
        self.points.settle()
        size = len(self.points)
        if size <= _SHOWN_WHOLE:
            points = list(self.items())
            return "{" + listed(lambda place: _item(*points[place]), len(points), "steps") + "}"
        step_at, value_at = self.points.step_at, self.points.value_at
        return "{" + listed(lambda place: _item(step_at(place), value_at(place)), size, "points") + "}"

    def rows(self) -> list[tuple[Any, Any, float]]:
        """Return ``(step, value, unix seconds)`` for each step, in the order the steps first appeared."""
        values, times = self.points.values(), self.points.times()
        return [(step, values[position], times[position]) for step, position in self._positions().items()]

    def since(self, first: int) -> tuple[list[Any], list[Any], list[float], int]:
        """Return the columns of `rows` from a position on, and how many points were replaced by others."""
        points = self.points
        points.settle()
        if self.is_rising():
            return points.steps_from(first), *points.part(first), 0
        rows = self.rows()
        steps, values, times = map(list, zip(*rows[first:], strict=True)) if rows[first:] else ([], [], [])
        return steps, values, times, len(points) - len(rows)

    def is_rising(self) -> bool:
        """Return whether all steps are whole numbers that rise: none was logged again. Each is looked at once.

        Of those on disk, floats that rise are as good: their chunks say so.
        """
        points, size = self.points, self.points.tail
        stored, column = points.stored, points.step
        assert column is not None
        if stored is not None and not stored.rises:
            return False
        before = 0 if stored is None else stored.count
        # A point that came late stands before the last one; what was moved to disk is not looked at again.
        known = 0 if points.late else max(0, self._rising - before - 1)
        steps = column.part(known, size)
        kind: type = int
        if stored is not None and before and size and not known:
            steps.insert(0, stored.last_step())
            kind = type(steps[0])
        elif steps:
            kind = type(steps[0]) if known else int
        is_rising = all(type(step) is kind for step in steps) and all(map(operator.lt, steps, islice(steps, 1, None)))
        self._rising = before + size if is_rising else 0
        return is_rising

    def _is_on_disk(self) -> bool:
        """Return whether the first points are in chunks, and each step was logged once: no index is needed."""
        self.points.settle()
        return self.points.stored is not None and self.is_rising()

    def _place_of(self, step: Any) -> int:
        """Return the position of a step where all rise, and the first are on disk; KeyError where there is none."""
        stored, column = self.points.stored, self.points.step
        assert stored is not None
        assert column is not None
        hash(step)
        with contextlib.suppress(TypeError):
            place = stored.place_of(step)
            if place is not None:
                return place
            steps = column.part(0, self.points.tail)
            place = bisect_left(steps, step)
            if place < len(steps) and steps[place] == step:
                return stored.count + place
        raise KeyError(step)

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
        if self._sorts != points.sorts:
            self._index, self._indexed, self._sorts = _Run(), 0, points.sorts
        size = len(points)
        if self._indexed < size:
            steps = points.steps_from(self._indexed)
            if isinstance(self._index, _Run) and not self._index.goes_on(steps):
                self._index, self._indexed = {}, 0
                steps = points.steps()
            if isinstance(self._index, dict):
                self._index.update(zip(steps, count(self._indexed), strict=False))
            self._indexed += len(steps)
        return self._index

    def _following(self) -> int:
        if self._next is None:
            # Of steps that rise the last one is enough.
            steps = [self.points.step_at(len(self) - 1)] if self._is_on_disk() and len(self) else self.points.steps()
            self._next = max((step for step in steps if isinstance(step, int)), default=-1) + 1
        self._next += 1
        return self._next - 1
