"""The end of what was written to a stream."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

from track.containers.ring import RingBuffer

__all__ = ["RingOutputDecorator", "write_out"]

logger = logging.getLogger(__name__)


def write_out(text: str) -> None:
    """Write text to standard output, as far as there is one: what it has no letters for is escaped.

    Nothing is raised where it is closed or full, which is said, or where there is none: what is printed is for people
    to look at.
    """
    stream = sys.stdout
    if stream is None:
        return
    try:
        if type(stream) is io.TextIOWrapper and isinstance(getattr(stream.buffer, "raw", None), io.FileIO):
            _write_through(stream, text.encode(stream.encoding, "backslashreplace"))
            return
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (AttributeError, OSError, ValueError) as error:
        logger.warning("%d characters are not printed: %s", len(text), error)


def _write_through(stream: io.TextIOWrapper, data: bytes) -> None:
    """Write to the file behind a stream: what it refuses must not wait in a buffer, where it would fail the exit."""
    stream.flush()
    raw = stream.buffer.raw  # type: ignore[attr-defined]
    while data:
        written = raw.write(data)
        if written is None:
            raise BlockingIOError("it takes nothing at the moment")
        data = data[written:]


class RingOutputDecorator:
    r"""A text stream that passes everything on to `file` and keeps the last writes.

    It can take the place of ``sys.stdout``: whatever it does not do itself is left to `file`.

    Parameters
    ----------
    file: text stream, optional
        Where writes go as well; without one they are only kept.
    n_entries: int
        How many writes to keep, >= 1. `print` makes two: the text and the end of the line.

    Raises
    ------
    ValueError
        `n_entries` is below 1.

    Examples
    --------
    >>> tail = RingOutputDecorator(n_entries=2)
    >>> for line in ("first", "second"):
    ...     print(line, file=tail)
    >>> tail.output()
    'second\n'
    """

    def __init__(self, file: Any = None, n_entries: int = 50) -> None:
        self._ring = RingBuffer(n_entries, "str", "")
        self.file = file

    def write(self, string: str) -> int:
        """Write the text, keep it, and return its number of characters."""
        self._ring.append(string)
        if self.file is not None:
            self.file.write(string)
        return len(string)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each text as it is."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream behind this one."""
        if self.file is not None:
            self.file.flush()

    def raw(self) -> list[str]:
        """Return the writes that are kept, oldest first."""
        return self._ring.to_list()

    def output(self) -> str:
        """Return the text that is kept."""
        return "".join(self.raw())

    out = output

    def isatty(self) -> bool:
        """Return whether the stream behind this one is a terminal."""
        return self.file is not None and bool(self.file.isatty())

    def fileno(self) -> int:
        """Return the descriptor of the stream behind this one.

        Raises
        ------
        io.UnsupportedOperation
            It has none.
        """
        if self.file is None:
            raise io.UnsupportedOperation("fileno")
        return int(self.file.fileno())

    def readable(self) -> bool:
        """Return False: this stream is for writing."""
        return False

    def writable(self) -> bool:
        """Return True: this stream is for writing."""
        return True

    @property
    def encoding(self) -> str:
        """Encoding of the stream behind this one, UTF-8 without one."""
        return getattr(self.file, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        # Looked up in the instance: while it is being copied there is no file yet.
        file = self.__dict__.get("file")
        if file is None or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(file, name)
