"""What a program prints, in the logs of its runs as well: one tee for all of them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from track.persistence.openfile import OpenFile
from track.utils.out import RingOutputDecorator

__all__ = ["OutputLog", "is_wanted"]


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
