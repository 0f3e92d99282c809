"""What becomes of a running trial whose process is told to stop, or ends without `finish`."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any, cast

from track.persistence.protocol import Protocol
from track.structure import Status, Trial
from track.utils._exit_code import last_exit, unwatch, watch
from track.utils.signal import SignalHandler

logger = logging.getLogger(__name__)


class LateNumbers:
    """Takes the numbers of a trial that has finished: they are stored, and said to be late, once.

    In the place of the protocol's method after the end only, so that it costs a running trial nothing.

    Parameters
    ----------
    label: str
        What the trial is called.
    protocol: Protocol
    """

    def __init__(self, label: str, protocol: Protocol) -> None:
        self._label = label
        self._protocol = protocol
        self._is_told = False

    def __call__(self, trial: Trial, /, *arguments: Any, **kwargs: Any) -> None:
        """Store metrics."""
        self.tell()
        self._protocol.log_trial_metrics(trial, *arguments, **kwargs)

    def tell(self) -> None:
        """Warn, the first time."""
        if self._is_told:
            return
        self._is_told = True
        logger.warning(
            "trial %r has finished: what is logged now is kept, but its status and run time stay as they are; "
            "`with trial:` or trial.start() goes on with it",
            self._label,
        )


class ProgramEnd(SignalHandler):
    """Is told of the end of the interpreter, and knows what ended the program.

    Signals are no business of it: they become exceptions, or end the program.
    """

    def __init__(self) -> None:
        # An exception that was unhandled, and an exit that was called, before now say nothing about what begins now.
        self._old_error = getattr(sys, "last_value", None)
        super().__init__()
        watch(self)
        self._old_exit = last_exit()

    def close(self) -> None:
        super().close()
        unwatch(self)

    def sigterm(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def sigint(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def error(self) -> BaseException | None:
        """Return the exception that nobody handled, else the exit that was called; None where the program just ends."""
        error = getattr(sys, "last_value", None)
        if error is not None and error is not self._old_error:
            return cast("BaseException", error)
        left = last_exit()
        return None if left is self._old_exit else left


def finish_with(error: BaseException | None, finish: Callable[..., Any]) -> None:
    """Call a method that takes the three parts of an exception, or nothing."""
    if error is None:
        finish()
    else:
        finish(type(error), error, error.__traceback__)


class LogSignalHandler(ProgramEnd):
    """Records that the process of a running trial was told to stop, or ended without `finish`.

    Parameters
    ----------
    logger: TrialLogger
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
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
        error = self.error()
        if self._logger.was_interrupted and (error is None or isinstance(error, SystemExit)):
            with contextlib.suppress(Exception):
                self._logger.finish(SystemExit, SystemExit(128 + 15), None)
        else:
            finish_with(error, self._logger.finish)
