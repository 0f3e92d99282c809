"""Which loops are open, of which level each is, and what is known of their lengths and times."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from time import perf_counter
from types import CodeType, FrameType

from track.errors import InvalidCall
from track.monitor.spec import TRIGGERS

_GOES_ON = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_open: ContextVar[tuple[Loop, ...]] = ContextVar("track_loops", default=())
"""Of this thread or task, from the outermost; replaced and never changed, as tasks begin with those of their maker."""


class Loop:
    """One loop that is open."""

    __slots__ = ("base", "code", "done", "is_closed", "length", "level", "load", "loads", "opened", "owner", "site",
                 "step", "steps", "widths")  # fmt: skip

    def __init__(self, owner: object, code: CodeType, site: int, length: int | None) -> None:
        self.owner, self.code, self.site, self.length = owner, code, (id(code), site), length
        self.level, self.done, self.is_closed, self.opened = 0, 0, False, perf_counter()
        self.load = self.loads = self.step = self.steps = 0.0
        self.base = (0,) * len(TRIGGERS)
        # Lengths of the loops that were opened right inside, by where they are in the program.
        self.widths: dict[tuple[int, int], int | None] = {}


class Loops:
    """The loops of one monitor, those of each thread and task for themselves.

    A loop that opens gets the level below that of the innermost open one; where that is ``step`` already, all that are
    open are promoted. So an epoch is an epoch when its inner loop has ended, too.
    """

    def __init__(self) -> None:
        self._owner = object()
        self._widths: dict[tuple[int, int], dict[tuple[int, int], int | None]] = {}

    def current(self) -> list[Loop]:
        """Return the open loops of this thread or task, from the outermost."""
        return [loop for loop in _open.get() if loop.owner is self._owner and not loop.is_closed]

    def open(self, loop_code: CodeType, site: int, length: int | None, counts: list[int], frame: FrameType) -> Loop:
        """Return a loop that begins in `frame`, or below; InvalidCall where it is the sixth inside another."""
        outer = self._alive(frame)
        loop = Loop(self._owner, loop_code, site, length)
        if outer and outer[-1].level:
            loop.level = outer[-1].level - 1
        elif outer:
            if outer[0].level + 1 == len(TRIGGERS):
                raise InvalidCall(f"{len(TRIGGERS)} loops inside each other are the most that a monitor counts")
            for other in outer:
                other.level += 1
        if outer:
            loop.base = outer[0].base
            outer[-1].widths[loop.site] = length
        else:
            loop.base = tuple(counts)
            self._widths.clear()
        # An outer loop that opens again knows at once how long the loops in it are.
        loop.widths = self._widths.setdefault(loop.site, {})
        others = (other for other in _open.get() if not other.is_closed and other.owner is not self._owner)
        _open.set((*others, *outer, loop))
        return loop

    def _alive(self, frame: FrameType) -> list[Loop]:
        """Return the open loops less those whose function has ended, though somebody keeps its iterator."""
        found = self.current()
        if not found:
            return found
        running, above = set(), frame
        while above is not None:
            running.add(id(above.f_code))
            above = above.f_back  # type: ignore[assignment]
        return [loop for loop in found if loop.site[0] in running or loop.code.co_flags & _GOES_ON]

    def close(self, loop: Loop) -> bool:
        """Note that a loop has ended; return whether it was the last of this thread or task."""
        loop.is_closed = True
        _open.set(tuple(other for other in _open.get() if not other.is_closed))
        return not self.current()


def totals(loops: list[Loop]) -> list[int | None]:
    """Return what the counter of each open loop will have come to at the end, None where a length is not known."""
    found: list[int | None] = []
    inside: int | None = 1
    for number, loop in enumerate(loops):
        width: int | None = loop.length
        if number:
            widths = loops[number - 1].widths.values()
            width = None if None in widths else sum(value for value in widths if value is not None)
        inside = None if inside is None or width is None else inside * width
        found.append(None if inside is None else loop.base[loop.level] + inside)
    return found


def fraction_done(loops: list[Loop]) -> float | None:
    """Return how much of the outermost loop is done, from 0 to 1; None where a length is not known."""
    fraction = 0.0
    for loop in reversed(loops):
        if not loop.length:
            return None
        fraction = min((loop.done + fraction) / loop.length, 1.0)
    return fraction
