"""How long a loop, or a nest of loops, still takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from track.utils.out import write_out
from track.utils.stat import StatStream

__all__ = ["EstimatedTime", "get_time", "to_list"]


class EstimatedTime:
    """Progress and remaining time of nested loops, from the average time of the innermost iteration.

    Parameters
    ----------
    stat_timer: StatStream
        Seconds per innermost iteration; anything with `avg`, `val` and `total`.
    total: int or sequence of int
        Number of iterations of each loop, outermost first. None or 0 is unknown.
    start: int
        What the loops count from.
    name: str, optional
        Printed before the time.

    Examples
    --------
    >>> from track.utils.stat import StatStream
    >>> timer = StatStream(drop_first_obs=0, shared=False)
    >>> timer += 60.0
    >>> EstimatedTime(timer, total=(2, 5)).estimated_time((1, 0))
    4.0
    """

    def __init__(
        self, stat_timer: StatStream, total: int | Sequence[int | None] | None, start: int = 0, name: str | None = None
    ) -> None:
        self.timer = stat_timer
        self.offset = 1 - start
        self.name = name
        self.set_totals(total)

    @property
    def total(self) -> int:
        """Number of innermost iterations in all the loops."""
        return math.prod(self.totals)

    @staticmethod
    def count(item: Any, offset: int = 0) -> Any:
        """Return the product of a list or tuple of numbers, each plus `offset`; a number unchanged."""
        if isinstance(item, (list, tuple)):
            return math.prod(level + offset for level in item)
        return item

    def set_totals(self, t: int | Sequence[int | None] | None) -> None:
        """Set the number of iterations of each loop, outermost first."""
        self.totals: list[int] = [level or 0 for level in to_list(t)]

    def elapsed(self, unit: int = 60) -> float:
        """Return the time measured so far, in units of `unit` seconds."""
        return self.timer.total / unit

    def estimated_time(self, step: int | Sequence[int], unit: int = 60) -> float:
        """Return the time the loops still take, in units of `unit` seconds.

        Parameters
        ----------
        step: int or sequence of int
            The iteration just done: the index of each loop, outermost first, or a count over all of them.
        unit: int
            Seconds in the unit of the result, > 0.
        """
        return get_time(self.timer) * self._remaining(step) / unit

    # The short name that examples use.
    estimate_time = estimated_time

    def _remaining(self, step: int | Sequence[int]) -> int:
        done, inner = 0, 1
        for index, total in reversed(self._levels(step)):
            done += (index + self.offset - 1) * inner
            inner *= total
        return max(inner - done - 1, 0)

    def _levels(self, step: int | Sequence[int]) -> list[tuple[int, int]]:
        """Pair each index with its total; a single number counts over all the loops."""
        steps = to_list(step)
        totals = self.totals if len(steps) > 1 else [self.total]
        return list(zip_longest(steps, totals, fillvalue=1))[: len(steps)]

    def show_eta(self, step: int | Sequence[int], msg: str = "", show: bool = True) -> str | None:
        """Write the progress and the remaining time to standard output, or return them as text.

        A step beyond its total makes the total grow; the text then has the elapsed time instead.

        Parameters
        ----------
        step: int or sequence of int
            The iteration just done, as for `estimated_time`.
        msg: str
            Appended.
        show: bool
            Write the text and return None, instead of returning it.
        """
        levels = self._levels(step)
        is_beyond = any(index + self.offset > total for index, total in levels)
        if is_beyond:
            levels = [(index, max(index + self.offset, total)) for index, total in levels]
            self.totals = [total for _, total in levels]
        title, minutes = ("Elapsed", self.elapsed()) if is_beyond else ("ETA", self.estimated_time(step))
        text = f"{self._progress(levels)} | {title} {self.name or ''} {minutes:8.2f} min {msg}"
        if not show:
            return text
        write_out(text + "\n")
        return None

    def _progress(self, levels: list[tuple[int, int]]) -> str:
        return " ".join(f"[{index + self.offset:{len(str(total))}}/{total}]" for index, total in levels)


def get_time(time: StatStream) -> float:
    """Return the average time, or the last one while there is no average yet."""
    return time.avg or time.val


def to_list(item: Any) -> list[Any]:
    """Return the items of an iterable as a list, and anything else as a list of one."""
    try:
        return list(item)
    except TypeError:
        return [item]
