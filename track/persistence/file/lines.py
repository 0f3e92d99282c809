"""Reading a file of events: a broken line is reported and hides no other, a line glued to a torn one is found."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from track.errors import InvalidEvent
from track.events import Record, decode_record, decode_records

logger = logging.getLogger(__name__)
TORN = b"\x18\n"
"""Ends a line that was cut short: the control character "cancel" cannot be in JSON."""
_CHUNK = 1 << 18
_START = b'{"event":"'


class LineReader:
    """Reads the events of a file of lines.

    `path`: the file's name, for messages.

    Attributes
    ----------
    broken: set of int
        The offsets of lines that could not be read.
    has_unread: bool
        Whether a line was reported; for the caller to reset.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.broken: set[int] = set()
        self.has_unread = False

    def read(
        self, descriptor: int, offset: int, end: int | None = None
    ) -> Iterator[tuple[list[Record], bytes | None, int]]:
        """Yield the events from a byte offset on, a chunk at a time: events, their bytes, and the offset after them.

        The bytes are None where some of them are no event. `end`: where to stop; by default at the end of the file.

        A last line without its newline is left for the next time. A broken line is reported once, with its
        position, and does not hide the lines after it.
        """
        end = os.fstat(descriptor).st_size if end is None else end
        length = _CHUNK
        while offset < end:
            chunk = os.pread(descriptor, min(length, end - offset), offset)
            whole = chunk.rfind(b"\n") + 1
            if whole:
                length = _CHUNK
                yield *self._events(chunk[:whole], offset), offset + whole
                offset += whole
            elif not chunk or offset + len(chunk) >= end:
                return
            else:
                length *= 2

    def _events(self, lines: bytes, offset: int) -> tuple[list[Record], bytes | None]:
        try:
            return decode_records(lines), lines
        except InvalidEvent:
            return list(self._events_one_by_one(lines, offset)), None

    def _events_one_by_one(self, lines: bytes, offset: int) -> Iterator[Record]:
        # Not `splitlines`: a broken line may hold a carriage return.
        for line in lines.split(b"\n")[:-1]:
            event = self._event(line + b"\n", offset)
            if event is not None:
                yield event
            offset += len(line) + 1

    def _event(self, line: bytes, offset: int) -> Record | None:
        if line == b"\n" or line.endswith(TORN):
            return None
        try:
            return decode_record(line)
        except InvalidEvent as error:
            rescued = _rescue(line)
            if rescued is None and offset not in self.broken:
                self.broken.add(offset)
                self.has_unread = True
                logger.warning("%s: the line at byte %d is skipped, it is %s", self.path, offset, error)
            return rescued


def _rescue(line: bytes) -> Record | None:
    """Return the whole record at the end of a line whose beginning was torn."""
    position = line.rfind(_START)
    while position > 0:
        try:
            return decode_record(line[position:])
        except InvalidEvent:
            position = line.rfind(_START, 0, position)
    return None
