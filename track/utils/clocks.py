"""The clock of a store, which counts where that of this machine is far from it."""

from __future__ import annotations

import contextlib
import os
import time

APART = 60.0
"""Seconds by which two clocks may differ and still count as one: an answer takes its time, too."""


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
        now, told = time.time(), self.told()
        return now if told is None or abs(told - now) < APART else told


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
            with contextlib.suppress(OSError):
                os.utime(self._path)
                self.note(os.stat(self._path).st_mtime)
        return super().told()
