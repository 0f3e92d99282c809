"""What becomes of a run whose program ends without `finish`."""

from __future__ import annotations

import sys
from typing import Any

from track.utils._exit_code import last_exit, unwatch, watch
from track.utils.signal import SignalHandler

__all__ = ["RunEnd"]

_unfinished: set[SignalHandler] = set()
"""Keeps runs until they have finished, also when the program forgets them."""


class RunEnd(SignalHandler):
    """Finishes a run at the end of the interpreter: failed, when an exception or ``sys.exit(3)`` ended the program.

    Signals are no business of it: they become exceptions, or the trial of the run knows.

    Parameters
    ----------
    run: Run
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        # An exception that was unhandled before the run began says nothing about it.
        self._old_error = getattr(sys, "last_value", None)
        _unfinished.add(self)
        super().__init__()
        watch(self)
        self._old_exit = last_exit()

    def sigterm(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def sigint(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def atexit(self) -> None:
        """Finish the run, if nobody has."""
        error = getattr(sys, "last_value", None)
        if self._run.has_finished:
            return
        if error is None or error is self._old_error:
            left = last_exit()
            error = None if left is self._old_exit else left
        if error is None:
            self._run.finish()
        else:
            self._run.finish(type(error), error, error.__traceback__)

    def close(self) -> None:
        """Listen no more."""
        _unfinished.discard(self)
        super().close()
        unwatch(self)
