"""A run and its process: the end of the program without `finish`, and what it prints."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from track.front import ProgramEnd, Tee, finish_with
from track.utils.files import OpenFile


class RunEnd(ProgramEnd):
    """Finishes a run at the end of the interpreter: failed, when an exception or ``sys.exit(3)`` ended the program."""

    def __init__(self, run: Any) -> None:
        self._run = run
        super().__init__()

    def atexit(self) -> None:
        """Finish the run, if nobody has."""
        if not self._run.has_finished:
            finish_with(self.error(), self._run.finish)


def is_wanted() -> bool:
    """Return whether runs keep what is printed: unless ``EM_CAPTURE_STDOUT`` is 0."""
    return os.environ.get("EM_CAPTURE_STDOUT", "1").lower() not in ("0", "false", "no", "off")


class _Tee(Tee):
    """Standard output that several logs listen to."""

    def __init__(self) -> None:
        self.logs: list[OutputLog] = []
        super().__init__("stdout", 1)

    def write(self, string: str) -> int:
        for log in tuple(self.logs):
            log.append(string)
        return super().write(string)


class OutputLog:
    """Copies standard output to a file, until `close`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: OpenFile | None = OpenFile.at(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._tee = sys.stdout if isinstance(sys.stdout, _Tee) else _Tee()
        self._tee.logs.append(self)

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
        if not self._tee.logs:
            self._tee.give_back()
