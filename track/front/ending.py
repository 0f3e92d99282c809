"""What becomes of a running trial whose process is told to stop, or ends without `finish`."""

from __future__ import annotations

import builtins
import functools
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

from track.persistence.protocol import Protocol
from track.shown import label_of
from track.structure import Trial
from track.utils._exit_code import exits
from track.utils.lifecycle import at_fork
from track.utils.signal import SignalHandler

logger = logging.getLogger(__name__)
_EXIT_BY_SIGNAL = 128


class LateNumbers:
    """Takes the numbers of a trial that has finished: they are stored, and said to be late, once.

    In the place of the protocol's method after the end only, so that it costs a running trial nothing.

    Parameters
    ----------
    protocol: Protocol
    trial: Trial
    """

    def __init__(self, protocol: Protocol, trial: Trial) -> None:
        self._protocol = protocol
        self._trial = trial
        self._is_told = False

    def __call__(self, step: Any, aggregator: Any, values: dict[str, Any]) -> None:
        """Store metrics."""
        self.tell()
        self._protocol.log_trial_metrics(self._trial, step, aggregator, **values)

    def tell(self) -> None:
        """Warn, the first time."""
        if self._is_told:
            return
        self._is_told = True
        logger.warning(
            "trial %r has finished: what is logged now is kept, but its status and run time stay as they are; "
            "`with trial:` or trial.start() goes on with it",
            label_of(self._trial),
        )


_unfinished: set[ProgramEnd] = set()
"""Keeps trials and runs until they have ended, whether or not the program refers to them."""


@functools.cache
def _watch_forks() -> None:
    at_fork(_unfinished.clear)


class ProgramEnd(SignalHandler):
    """Is told of the end of the process, and knows what ended the program; it lives until it is closed.

    Signals are no business of it: they become exceptions, or end the program.
    """

    def __init__(self) -> None:
        # An exception that was unhandled, and an exit that was called, before now say nothing about what begins now.
        self._old_error = getattr(sys, "last_value", None)
        super().__init__()
        exits.add(self)
        self._old_exit = exits.last()
        _unfinished.add(self)
        _watch_forks()

    def close(self) -> None:
        _unfinished.discard(self)
        super().close()
        exits.discard(self)

    def sigterm(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def sigint(self, signum: int, frame: Any) -> None:
        """Do nothing."""

    def error(self) -> BaseException | None:
        """Return the exception that nobody handled, else the exit that was called; None where the program just ends."""
        # What ends a child of multiprocessing is on its way while its hooks are called.
        error = sys.exc_info()[1]
        if error is not None:
            return error
        error = getattr(sys, "last_value", None)
        # In a notebook an error ends a cell, not the program.
        if error is not None and error is not self._old_error and not is_interactive():
            return cast("BaseException", error)
        left = exits.last()
        return None if left is self._old_exit else left


def is_interactive() -> bool:
    """Return whether a person types what is run, line by line or cell by cell."""
    return hasattr(sys, "ps1") or hasattr(builtins, "__IPYTHON__")


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
        """Note the signal: what becomes of it is seen at the end."""
        # Not `finish`: a program that handles the signal may go on training.
        self._logger.note_signal(signal.Signals(signum).name)

    def sigint(self, signum: int, frame: Any) -> None:
        """Note the signal: what becomes of it is seen at the end."""
        self.sigterm(signum, frame)

    def atexit(self) -> None:
        """Finish a trial that was started and not finished."""
        if self._logger.has_started and not self._logger.has_finished:
            finish_with(self.error(), self._logger.finish)


def as_interruption(name: str | None, error: BaseException | None) -> BaseException | None:
    """Return the error that says which signal has ended a block; None where it was something else.

    Parameters
    ----------
    name: str or None
        Of the signal that came.
    error: BaseException or None
        What ends the block: the exit or interrupt that a signal becomes, or the cancellation of a task.
    """
    if name is None or error is None or not _is_of_a_signal(error):
        return None
    # Its class is what is stored of it.
    return cast("BaseException", type(name, (KeyboardInterrupt,), {})(*error.args)).with_traceback(error.__traceback__)


def _is_of_a_signal(error: BaseException) -> bool:
    inner = getattr(error, "exceptions", None)
    if inner is not None:
        return all(map(_is_of_a_signal, inner))
    if isinstance(error, SystemExit):
        return isinstance(error.code, int) and error.code > _EXIT_BY_SIGNAL
    asyncio = sys.modules.get("asyncio")
    return isinstance(error, KeyboardInterrupt) or (asyncio is not None and isinstance(error, asyncio.CancelledError))
