"""StepsValuesTimes of (step, value, time), 24 bytes a point, by time; the first of them may be in chunks on disk."""

from __future__ import annotations

import operator
import threading
from itertools import accumulate, islice
from typing import Any

from track.containers.chunks import StepsValuesTimes
from track.containers.columns import Column
from track.containers.stored import Stored
from track.plain import restore

_settling = threading.Lock()
_STEP, _VALUE, _AT = range(3)


class Points:
    """Values in the order they were logged, each with its time (unix seconds) and, maybe, a step.

    The order is that of the times; points of one time are in the order they came, and one whose time is not known, 0,
    follows the one before. A point that comes late, after one that was logged later, is appended like the others, and
    noted: the points are sorted when they are next read.

    Parameters
    ----------
    stepped: bool
        Whether each point has a step.

    Attributes
    ----------
    stored: Stored or None
        The first points, where they are in chunks on disk.
    step, value, at: Column
        Those after them, in memory; the steps are None for points without.
    """

    __slots__ = ("_size", "at", "is_late", "late", "latest", "sorts", "step", "stored", "value")

    def __init__(self, stepped: bool) -> None:
        self.stored: Stored | None = None
        self.step: Column | None = Column() if stepped else None
        self.value = Column()
        self.at = Column()
        self.latest = 0.0
        """The time of the last point, unix seconds."""
        self.is_late = False
        """Whether points have come after later ones, and are not sorted yet."""
        self.late = 0
        """How many points have come after later ones."""
        self.sorts = 0
        """How often they were sorted."""
        self._size: int | None = None

    def __len__(self) -> int:
        return self.tail if self.stored is None else self.stored.count + self.tail

    @property
    def tail(self) -> int:
        """How many points are in memory."""
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
        latest, known = self.latest, times.tolist()
        # Those of one call have one time, mostly, and those of many calls rise.
        if times[:1].tobytes() * len(times) == times.tobytes():
            known = known[:1]
        elif known[0] >= latest and known == sorted(known):
            known = known[-1:]
        for at in known:
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

    # reading

    def steps(self) -> list[Any]:
        """Return the step of each point, in logging order; empty when the points have none."""
        self.settle()
        return [] if self.step is None else self._part(_STEP, self.step, 0)

    def values(self) -> list[Any]:
        """Return the value of each point, in logging order."""
        self.settle()
        return self._part(_VALUE, self.value, 0)

    def times(self) -> list[float]:
        """Return when each point was logged, unix seconds, in logging order."""
        self.settle()
        return self._part(_AT, self.at, 0)

    def part(self, first: int) -> tuple[list[Any], list[float]]:
        """Return the values and the times from a position on, in logging order."""
        self.settle()
        return self._part(_VALUE, self.value, first), self._part(_AT, self.at, first)

    def steps_from(self, first: int) -> list[Any]:
        """Return the steps from a position on, in logging order."""
        self.settle()
        assert self.step is not None
        return self._part(_STEP, self.step, first)

    def _part(self, place: int, column: Column, first: int) -> list[Any]:
        stored, tail = self.stored, self.tail
        if stored is None:
            return column.part(first, tail)
        found = stored.part(place, first, stored.count) if first < stored.count else []
        # What is there is known only now: a chunk may be damaged.
        return found + column.part(max(0, first - stored.count), tail)

    def value_at(self, position: int) -> Any:
        """Return the value at a position, which is not negative, of settled points."""
        return self._at(_VALUE, self.value, position)

    def step_at(self, position: int) -> Any:
        """Return the step at a position, which is not negative, of settled points that have steps."""
        assert self.step is not None
        return self._at(_STEP, self.step, position)

    def _at(self, place: int, column: Column, position: int) -> Any:
        if self.stored is None:
            return column[position]
        count = self.stored.count
        return self.stored.value_at(place, position) if position < count else column[position - count]

    def last(self) -> Any:
        """Return the value logged last; None when there is none."""
        self.settle()
        while size := len(self):
            value = self.value_at(size - 1)
            # Else its chunk turned out to be lost.
            if len(self) == size:
                return value
        return None

    def columns(self) -> StepsValuesTimes:
        """Return the columns of all points, in logging order, which are not to be appended to; steps None for none."""
        self.settle()
        tail = self._tail()
        if self.stored is None:
            return tail
        return _together(self.stored.columns(), tail)

    def _tail(self) -> StepsValuesTimes:
        if self._size is None:
            return self.step, self.value, self.at
        # Others may append to what a view shares with them, at any time.
        step = None if self.step is None else self.step.cut(0, self._size)
        return step, self.value.cut(0, self._size), self.at.cut(0, self._size)

    # changing

    def settle(self) -> None:
        """Put the points that came late where they belong; columns that others see are not touched."""
        if not self.is_late:
            return
        with _settling:
            # Again: another thread may have been first.
            if self.is_late:
                before = self._take_back()
                known = accumulate(self.at.tolist(self.tail), lambda last, at: at or last, initial=before)
                times: list[float] = list(islice(known, 1, None))
                order = sorted(range(len(times)), key=times.__getitem__)
                self.step = None if self.step is None else self.step.reordered(order)
                self.value, self.at = self.value.reordered(order), self.at.reordered(order)
                self.is_late, self.sorts = False, self.sorts + 1

    def _take_back(self) -> float:
        """Bring the chunks into memory that have points later than one that came late; return the last time before."""
        if self.stored is None:
            return 0.0
        first = min(at for at in self.at.tolist(self.tail) if at)
        kept, loaded = self.stored.parted(first)
        self._load(kept, loaded)
        return 0.0 if self.stored is None else self.stored.until

    def _load(self, stored: Stored | None, loaded: Stored) -> None:
        """Leave some points on disk, and bring the others into memory, before those that are there."""
        step, value, at = _together(loaded.columns(), self._tail())
        self._size = None if self._size is None else len(at)
        if step is not None:
            step.unroll()
        self.stored, self.step, self.value, self.at = stored, step, value, at

    def placed(self, stored: Stored | None, count: int) -> None:
        """Take what is on disk now, after `count` points of those in memory were written there too."""
        step = None if self.step is None else self.step.cut(count)
        value, at = self.value.cut(count), self.at.cut(count)
        self._size = None if self._size is None else self._size - count
        self.stored, self.step, self.value, self.at = stored, step, value, at

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
        first = 0 if self.stored is None else self.stored.count
        points.step = Column.from_list(list(range(first, first + len(self.at))))
        points.value, points.at, points.latest, points.late = self.value, self.at, self.latest, self.late
        points.stored = self.stored
        return points

    def view(self) -> Points:
        """Return the points so far: what is appended later does not show. Nothing is copied."""
        points = Points.__new__(Points)
        points._size = self.tail
        points.latest, points.is_late, points.late, points.sorts = self.latest, self.is_late, self.late, self.sorts
        points.step = None if self.step is None else self.step.view()
        points.value, points.at, points.stored = self.value.view(), self.at.view(), self.stored
        return points

    # as data

    def to_plain(self) -> dict[str, Any]:
        """Return the columns as JSON-safe data, those on disk too."""
        return self._to_plain(self.columns())

    def tail_to_plain(self) -> dict[str, Any]:
        """Return the columns in memory as JSON-safe data, and the names of the chunks before them."""
        self.settle()
        plain = self._to_plain(self._tail())
        return plain if self.stored is None else plain | {"chunks": [chunk.named for chunk in self.stored.chunks]}

    def _to_plain(self, columns: StepsValuesTimes) -> dict[str, Any]:
        named = zip(("step", "value", "at"), columns, strict=True)
        plain = {name: column.to_plain() for name, column in named if column is not None}
        return plain | {"late": self.late} if self.late else plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Points:
        """Return the points that `to_plain` described; ``chunks``, if any, is a `Stored`.

        Raises ValueError: it is the names of chunks, which are in nobody's file here.
        """
        points = cls(stepped=False)
        if "step" in plain:
            points.step = Column.from_plain(plain["step"])
            points.step.make_tuples()
        points.value = Column.from_plain(plain["value"])
        points.at = Column.from_plain(plain["at"])
        stored = plain.get("chunks")
        if stored is not None and not isinstance(stored, Stored):
            raise ValueError("its chunks are in the points file of another store")
        points.stored = stored
        # They were sorted, or are of a version that stored them as they came, and stay as they are.
        if points.tail:
            points.latest = float(points.at[points.tail - 1])
        elif points.stored is not None:
            points.latest = points.stored.until
        late = plain.get("late")
        points.late = late if isinstance(late, int) else 0
        return points

    def __getstate__(self) -> Any:
        """Return the points without the chunks, which are not where this is unpickled."""
        whole = self.view()
        whole.step, whole.value, whole.at = self.columns()
        if whole.step is not None:
            whole.step.unroll()
        whole.stored, whole._size, whole.is_late = None, None, False
        return None, {name: object.__getattribute__(whole, name) for name in Points.__slots__}


def _together(columns: StepsValuesTimes, more: StepsValuesTimes) -> StepsValuesTimes:
    """Return columns, which are changed, with others after them; without steps where the others have none."""
    (step, value, at), (steps, values, times) = columns, more
    if step is not None and steps is not None and len(steps):
        step.extend(steps)
    if len(times):
        value.extend(values)
        at.extend(times)
    return None if steps is None else step, value, at
