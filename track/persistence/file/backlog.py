"""Lines that wait in memory while the disk is full."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)
_LIMIT = 16 << 20
"""Bytes that may wait; lines beyond are dropped, and counted."""
_unfinished: set[Backlog] = set()
"""Keeps what waits, or was dropped, until the end of the process, whoever forgets the store."""


def unfinished() -> list[Backlog]:
    """Return the backlogs that hold lines, or had to drop some."""
    return list(_unfinished)


class Backlog:
    """The lines of one file that could not be written yet, oldest first.

    `path`: the file's name, for messages.

    Attributes
    ----------
    lock: RLock
        Held while lines come and go.
    dropped: int
        Lines that were given up because too much was waiting.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped = 0
        # Known only while something waits: a file whose store is forgotten is closed at once.
        self._write: Callable[[bytes], bool] | None = None
        self._lines: deque[bytes] = deque()
        self._size = 0
        self.lock = threading.RLock()
        self._is_writing = False

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def unsaved(self) -> int:
        """How many lines are not in the file: those that wait, and those that were given up."""
        return len(self._lines) + self.dropped

    def add(self, line: bytes, write: Callable[[bytes], bool]) -> None:
        """Let a line wait, or give it up when too much is waiting.

        `write`: writes a line; returns whether all of it was written.
        """
        with self.lock:
            _unfinished.add(self)
            self._write = write
            if self._size + len(line) > _LIMIT and not self.retry():
                self.dropped += 1
                return
            self._lines.append(line)
            self._write = write
            self._size += len(line)

    def give_up(self, count: int) -> None:
        """Count lines that are lost."""
        with self.lock:
            self.dropped += count
            if count:
                _unfinished.add(self)

    def retry(self) -> bool:
        """Write what waits, as far as possible, and return whether nothing is left."""
        with self.lock:
            # A signal handler that logs in the middle of this leaves its line to the loop it interrupted.
            if self._is_writing:
                return False
            try:
                self._is_writing = True
                while self._lines and self._write and self._write(self._lines[0]):
                    self._size -= len(self._lines.popleft())
            finally:
                self._is_writing = False
            if not self._lines:
                self._write = None
            if self.unsaved == 0:
                _unfinished.discard(self)
            return not self._lines

    def clear(self) -> None:
        """Forget what waits."""
        # A lock of its own: after a fork the old one may be held by a thread that is not here.
        self.lock = threading.RLock()
        self._is_writing = False
        self._write = None
        self._lines.clear()
        self._size = self.dropped = 0
        _unfinished.discard(self)
