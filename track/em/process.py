"""What becomes of a run whose program ends without `finish`."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from track.utils._exit_code import last_exit, unwatch, watch
from track.utils.files import OpenFile
from track.utils.out import RingOutputDecorator
from track.utils.signal import SignalHandler

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


def is_wanted() -> bool:
    """Return whether runs keep what is printed: unless ``EM_CAPTURE_STDOUT`` is 0."""
    return os.environ.get("EM_CAPTURE_STDOUT", "1").lower() not in ("0", "false", "no", "off")


class _Tee(RingOutputDecorator):
    """Standard output that several logs listen to."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, 1)
        self.logs: list[OutputLog] = []

    def write(self, string: str) -> int:
        """Write the text, and tell every log."""
        for log in tuple(self.logs):
            log.append(string)
        return super().write(string)


class OutputLog:
    """Copies standard output to a file, until `close`.

    Parameters
    ----------
    path: str
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: OpenFile | None = OpenFile.at(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._tee = sys.stdout if isinstance(sys.stdout, _Tee) else _Tee(sys.stdout)
        self._tee.logs.append(self)
        sys.stdout = self._tee

    def append(self, text: str) -> None:
        """Add text; what cannot be written is lost here, and printed all the same."""
        file = self._file
        if file is not None:
            with contextlib.suppress(OSError):
                file.write_all(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Listen no more; the last one gives the stream back, unless somebody replaced ours."""
        self._file = None
        with contextlib.suppress(ValueError):
            self._tee.logs.remove(self)
        if not self._tee.logs and sys.stdout is self._tee:
            sys.stdout = self._tee.file
