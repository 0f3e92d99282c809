"""What this process has created at a server, to create it again should the server lose it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from track.events import Event, decode_lines, encode
from track.persistence.contract import REFUSALS, subject_of

logger = logging.getLogger(__name__)
_LIMIT = 8 << 20
_PIECE = 1 << 19


class Creations:
    """The projects, groups and trials that this process has created, oldest first; of more than 8 MiB the newest.

    They are decided by the server, so no spill has them. To create what is there changes nothing.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[type, str], bytes] = {}
        self._size = 0
        self._writer, self._number = f"{secrets.token_hex(8)}-created", 0
        self._lock = threading.RLock()

    def note(self, event: Event) -> None:
        """Remember that something was created."""
        subject, line = subject_of(event), encode(event)
        with self._lock:
            if subject in self._lines:
                return
            self._lines[subject] = line
            self._size += len(line)
            while self._size > _LIMIT and len(self._lines) > 1:
                self._size -= len(self._lines.pop(next(iter(self._lines))))

    def include(self, events: Iterable[Event]) -> bool:
        """Return whether one of these events is about something that was created here."""
        return any(subject_of(event) in self._lines for event in events)

    def send(self, receive: Callable[[str, int, Sequence[Event]], None]) -> None:
        """Create everything again, by `Protocol.receive`."""
        for lines in self._pieces():
            events = list(decode_lines(lines))
            # Numbers that were never used: the server may have been put back more than once.
            first, self._number = self._number, self._number + len(events)
            try:
                receive(self._writer, first, events)
            except REFUSALS as error:
                logger.warning("%d projects, groups and trials cannot be created again: %s", len(events), error)

    def _pieces(self) -> Iterator[bytes]:
        with self._lock:
            waiting = list(self._lines.values())
        piece = b""
        for line in waiting:
            if len(piece) + len(line) > _PIECE and piece:
                yield piece
                piece = b""
            piece += line
        if piece:
            yield piece
