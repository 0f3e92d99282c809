"""What becomes of a running trial whose process is told to stop, or ends without `finish`."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from track.structure import Status
from track.utils.signal import SignalHandler

__all__ = ["LogSignalHandler"]


class LogSignalHandler(SignalHandler):
    """Records that the process of a running trial was told to stop, or ended without `finish`.

    Parameters
    ----------
    logger: TrialLogger
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        # An exception that was unhandled before this trial started says nothing about it.
        self._old_error = getattr(sys, "last_value", None)
        super().__init__()

    def sigterm(self, signum: int, frame: Any) -> None:
        """Set the status to Interrupted."""
        self._interrupt("SIGTERM")

    def sigint(self, signum: int, frame: Any) -> None:
        """Set the status to Interrupted."""
        self._interrupt("SIGINT")

    def _interrupt(self, name: str) -> None:
        # Not `finish`: a program that handles the signal may go on training.
        self._logger.set_status(Status.Interrupted, name)
        self._logger.was_interrupted = True

    def atexit(self) -> None:
        """Finish a trial that was started and not finished."""
        if not self._logger.has_started or self._logger.has_finished:
            return
        error = getattr(sys, "last_value", None)
        if error is not None and error is not self._old_error:
            self._logger.finish(type(error), error, error.__traceback__)
        elif self._logger.was_interrupted:
            with contextlib.suppress(Exception):
                self._logger.finish(SystemExit, SystemExit(128 + 15), None)
        else:
            self._logger.finish()
