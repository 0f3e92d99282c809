"""What an experiment prints, in a file of its folder."""

from __future__ import annotations

import contextlib
import os
import sys

from track.front import Tee
from track.utils.files import OpenFile

NAME = "out.txt"


class _FileTee(Tee):
    """A standard stream that is written to a file, too."""

    def __init__(self, stream: str, file: OpenFile) -> None:
        self._copy: OpenFile | None = file
        super().__init__(stream, 1)

    def write(self, string: str) -> int:
        if self._copy is not None:
            # What cannot be written is lost there, and printed all the same.
            with contextlib.suppress(OSError, ValueError):
                self._copy.write_all(string.encode("utf-8", "backslashreplace"))
        return super().write(string)

    def give_back(self) -> None:
        self._copy = None
        super().give_back()


class OutputFile:
    """Appends standard output and error to a file, until `close`."""

    def __init__(self, path: str) -> None:
        self.path = path
        file = OpenFile.at(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        names = ["stdout"] if sys.stderr is sys.stdout else ["stdout", "stderr"]
        self._tees = [_FileTee(name, file) for name in names]

    def close(self) -> None:
        """Give the streams back."""
        for tee in reversed(self._tees):
            tee.give_back()
