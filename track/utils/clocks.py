"""The clock of a store, which counts where that of this machine is far from it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

APART = 60.0
"""Seconds by which two clocks may differ and still count as one: an answer takes its time, too."""


def following(clock: Callable[[], float], now: float | None) -> Callable[[], float]:
    """Return what tells the time: a clock, set by what time it is elsewhere where that is far from what it says.

    `now`: unix seconds; None where nothing is known.
    """
    ahead = 0.0 if now is None else now - clock()
    return clock if abs(ahead) < APART else partial(_later, clock, ahead)


def _later(clock: Callable[[], float], seconds: float) -> float:
    return clock() + seconds


class StoreClock:
    """The clock of a store that several machines share, as this one was told its time.

    Called, it returns the time there in unix seconds; the time here while nothing was told, or where that is the same
    but for `APART`.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None

    def note(self, now: float) -> None:
        """Note what time it is there now, unix seconds."""
        self._ahead = now - time.time()

    def told(self) -> float | None:
        """Return what time it is there, unix seconds; None where that is not known."""
        return None if self._ahead is None else time.time() + self._ahead

    def __call__(self) -> float:
        return following(time.time, self.told())()


class DiskClock(StoreClock):
    """The clock of a file system that several machines share: the time that it gives to a file which is touched.

    `path`: a file for nothing else. `is_shared`: whether it is such a file system; the clock of a disk is that of its
    machine.
    """

    def __init__(self, path: str | None, is_shared: bool) -> None:
        super().__init__()
        self._path = path if is_shared else None

    def told(self) -> float | None:
        # Once, when somebody asks.
        if self._ahead is None and self._path is not None:
            # Another user's, or it is not there yet.
            with suppress(OSError):
                os.utime(self._path)
                self.note(os.stat(self._path).st_mtime)
        return super().told()
