"""Append-only file of events: one line each, one ``write(2)`` a line.

A line without its newline does not exist yet. A writer that finds a torn line ends it with a mark, so
that readers pass over it; a line glued to a torn one is found again by its beginning.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from track.errors import CorruptJournal, InvalidEvent
from track.events import FORMAT, Event, decode, decode_lines
from track.persistence.lock import hold_exclusively, hold_shared

__all__ = ["Journal"]

logger = logging.getLogger(__name__)

TORN = b"\x18\n"
"""Ends a line that was cut short: the control character "cancel" cannot be in JSON."""

_CHUNK = 1 << 18
_START = b'{"event":"'
_BACKLOG_LIMIT = 16 << 20


class _Header(msgspec.Struct, tag_field="event", tag="journal"):
    """The first line: which journal this is, in which format."""

    format: int
    id: str


class Journal:
    """The journal beside a store's snapshot.

    Parameters
    ----------
    path: str
    durable: bool
        Whether every line reaches the disk before `append` returns, and so survives a loss of power.

    Attributes
    ----------
    waiting: list of bytes
        Lines that could not be written yet: the disk is full. Tried again at the next line.
    dropped: int
        Lines that were given up because too much was waiting.
    """

    def __init__(self, path: str, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
        self.identity = ""
        self.waiting: list[bytes] = []
        self.dropped = 0
        self._waiting_bytes = 0
        self._torn = False
        self._failing = False
        self._retrying = threading.RLock()
        self._busy = False
        self._reported: set[int] = set()
        self._start = 0
        self._fd = -1

    @property
    def is_open(self) -> bool:
        """Whether there is a file to append to."""
        return self._fd >= 0

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    @property
    def start(self) -> int:
        """Offset of the first event: the header's length."""
        return self._start

    @property
    def is_current(self) -> bool:
        """Whether the open file still has its name: nobody removed or replaced it."""
        return self.is_open and _is_current(self._fd, self.path)

    def open(self) -> None:
        """Open the file to append to it, creating it when there is none; the caller holds the store's lock.

        Raises
        ------
        OSError
            The folder cannot be written to.
        CorruptJournal
            The file is no journal, or one of a newer version.
        """
        if not os.path.exists(self.path):
            self._create(b"")
        self._take(os.O_RDWR)
        if self.size > self._start and os.pread(self._fd, 1, self.size - 1) != b"\n":
            with contextlib.suppress(OSError):
                os.write(self._fd, TORN)

    def open_to_read(self) -> bool:
        """Open the file if there is one, and return whether there is."""
        try:
            self._take(os.O_RDONLY)
        except FileNotFoundError:
            return False
        return True

    def _take(self, mode: int) -> None:
        descriptor = self._open_current(mode)
        self.close()
        self._fd = descriptor
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)

    def append(self, line: bytes) -> None:
        """Add a line, newline included, with one ``write(2)``.

        When the disk is full the line waits in memory, with one warning, and is written before the next
        one that can be.
        """
        if self._failing:
            self._append_after_failure(line)
            return
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            self._keep(line, error)
            return
        if written != len(line):
            self._torn = True
            self._keep(line, "only a part of a line fitted")
        elif self.durable:
            self._sync()

    def retry(self) -> bool:
        """Try to write the lines that wait, and return whether none is left."""
        with self._retrying:
            # A signal handler that logs in the middle of this leaves its line to the loop it interrupted.
            if self._busy:
                return False
            self._busy = True
            try:
                return self._write_waiting()
            finally:
                self._busy = False

    def _write_waiting(self) -> bool:
        while self.waiting:
            # A torn line of ours is ended first; the mark and the line go in one write.
            line = TORN + self.waiting[0] if self._torn else self.waiting[0]
            try:
                written = os.write(self._fd, line)
            except OSError:
                return False
            self._torn = written != len(line)
            if self._torn:
                return False
            self._waiting_bytes -= len(self.waiting.pop(0))
        if self._failing:
            self._failing = False
            logger.warning("%s can be written again; %d events were dropped meanwhile", self.path, self.dropped)
        return True

    def _append_after_failure(self, line: bytes) -> None:
        with self._retrying:
            if self._waiting_bytes + len(line) > _BACKLOG_LIMIT and not self.retry():
                self.dropped += 1
                return
            self.waiting.append(line)
            self._waiting_bytes += len(line)
        self.retry()

    def _keep(self, line: bytes, error: Any) -> None:
        with self._retrying:
            self._failing = True
            self.waiting.append(line)
            self._waiting_bytes += len(line)
        logger.warning("%s cannot be written (%s): training goes on, events wait in memory", self.path, error)

    def _sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            logger.warning("%s may not survive a loss of power: %s", self.path, error)

    # reading

    def read(self, offset: int) -> Iterator[tuple[list[Event], int]]:
        """Yield the events from a byte offset on, a chunk at a time, each with the offset after it.

        A last line without its newline is left for the next time. A broken line is reported once, with its
        position, and does not hide the lines after it.
        """
        end = self.size
        length = _CHUNK
        while offset < end:
            chunk = os.pread(self._fd, min(length, end - offset), offset)
            whole = chunk.rfind(b"\n") + 1
            if whole == 0:
                if offset + len(chunk) >= end:
                    return
                length *= 2
                continue
            length = _CHUNK
            yield self._events(chunk[:whole], offset), offset + whole
            offset += whole

    def _events(self, lines: bytes, offset: int) -> list[Event]:
        try:
            return decode_lines(lines)
        except InvalidEvent:
            return list(self._events_one_by_one(lines, offset))

    def _events_one_by_one(self, lines: bytes, offset: int) -> Iterator[Event]:
        for line in lines.splitlines(keepends=True):
            event = self._event(line, offset)
            if event is not None:
                yield event
            offset += len(line)

    def _event(self, line: bytes, offset: int) -> Event | None:
        if line == b"\n" or line.endswith(TORN):
            return None
        try:
            return decode(line)
        except InvalidEvent as error:
            rescued = _rescue(line)
            if rescued is None and offset not in self._reported:
                self._reported.add(offset)
                logger.warning("%s: the line at byte %d is skipped, it is %s", self.path, offset, error)
            return rescued

    # identity

    def _open_current(self, mode: int = os.O_RDWR) -> int:
        while True:
            descriptor = os.open(self.path, mode | os.O_APPEND | getattr(os, "O_BINARY", 0))
            hold_shared(descriptor)
            # Another process may have replaced the file between the open and the lock.
            if _is_current(descriptor, self.path):
                return descriptor
            os.close(descriptor)

    def _create(self, lines: bytes) -> None:
        """Write a new journal with an identity of its own, complete before it takes its name."""
        header = msgspec.json.encode(_Header(FORMAT, secrets.token_hex(8))) + b"\n"
        temporary = f"{self.path}.{secrets.token_hex(4)}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(header + lines)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _read_header(self) -> None:
        line = os.pread(self._fd, 4096, 0)
        first, newline, _ = line.partition(b"\n")
        try:
            header = msgspec.json.decode(first, type=_Header)
        except msgspec.MsgspecError as error:
            raise CorruptJournal(f"{self.path} is no journal of track and was left as it is: {error}") from error
        if header.format > FORMAT:
            raise CorruptJournal(
                f"{self.path} has format {header.format}, this version of track reads up to {FORMAT}: upgrade track"
            )
        self.identity = header.id
        self._start = len(first) + len(newline)

    def cut(self, offset: int) -> bool:
        """Begin a new, empty journal if nobody else uses this one, and return whether that was done.

        Parameters
        ----------
        offset: int
            How far the snapshot holds this journal; lines after it are carried over.
        """
        if not hold_exclusively(self._fd):
            return False
        try:
            late = self._raw_after(offset)
            self._create(late)
            old, self._fd = self._fd, self._open_current()
        except OSError as error:
            hold_shared(self._fd)
            logger.warning("%s was not shortened: %s", self.path, error)
            return False
        self._read_header()
        self._reported.clear()
        self._carry_over(old, offset + len(late))
        return True

    def _carry_over(self, old: int, offset: int) -> None:
        """Bring along what a signal handler logged while the journal was replaced."""
        late = os.pread(old, 1 << 20, offset)
        os.close(old)
        if late:
            self.append(late)

    def _raw_after(self, offset: int) -> bytes:
        chunks = []
        while chunk := os.pread(self._fd, _CHUNK, offset):
            chunks.append(chunk)
            offset += len(chunk)
        return b"".join(chunks)

    def reopen_after_fork(self) -> None:
        """Give the child a descriptor of its own; what waited in the parent is the parent's to write."""
        if self._fd < 0:
            return
        self.close()
        self.waiting, self._waiting_bytes, self._failing = [], 0, False
        self._retrying = threading.RLock()
        self._fd = self._open_current()


def _rescue(line: bytes) -> Event | None:
    """Return the whole event at the end of a line whose beginning was torn."""
    position = line.rfind(_START)
    while position > 0:
        try:
            return decode(line[position:])
        except InvalidEvent:
            position = line.rfind(_START, 0, position)
    return None


def _is_current(descriptor: int, path: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)
