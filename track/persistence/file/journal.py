"""Append-only file of events: one line each, one ``write(2)`` a line.

A line without its newline does not exist yet. A writer that finds a torn line ends it with a mark, so
that readers pass over it; a line glued to a torn one is found again by its beginning.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from track.errors import BackendUnavailable, CorruptJournal, InvalidEvent
from track.events import FORMAT, Record, decode_record
from track.persistence.contract import identity_from
from track.persistence.file.backlog import Backlog
from track.persistence.file.kinship import Header, Place, tail_of
from track.persistence.file.lines import TORN, LineReader
from track.persistence.file.lock import claim, hold_exclusively, hold_shared, let_go
from track.utils.files import OpenFile, is_named, name_aside, read_all, replacing, sync_folder

logger = logging.getLogger(__name__)
_CHUNK = 1 << 18
_PAGE = 1 << 12
_PATIENCE, _POLL = 0.1, 0.0005
"""Seconds that a write may take in another thread while the journal is cut, and between two looks whether it has."""
# Of a journal's file: the attribute, and the argument of the call that counts.
_OWN_REFERENCES = 2


class Journal:
    """The journal beside a store's snapshot.

    `durable`: whether every line reaches the disk before `append` returns, and so survives a loss of power.

    Attributes
    ----------
    identity: str
        Tells this journal from those that had its name before; ``""`` while no file is open.
    header: Header
        Its first line; that of the last one while no file is open.
    store, home: str
        The id of the store, and its path, as a new file will say.
    origin: dict of str to str
        The numbers of the store's other files, as a new file will say if there is no snapshot.
    follows: Place or None
        What a new file will go on from: the place of another journal up to which the snapshot holds that.
    start: int
        Offset of the first event: the header's length.
    decider: int
        The thread whose lines may not wait: a decision that is written later may be wrong by then.
    """

    def __init__(self, path: str, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
        self.identity = ""
        self.header = Header(FORMAT, "")
        self.store = self.home = ""
        self.origin: dict[str, str] = {}
        self.follows: Place | None = None
        self.start = 0
        self._first = b""
        # Device and inode of the open file, which stay.
        self._numbers = (0, 0)
        self.decider = 0
        self.backlog = Backlog(path)
        self._reader = LineReader(path)
        self._file: OpenFile | None = None
        self._write: Any = _no_file
        self._gate = threading.RLock()
        self._failing = False
        self._torn = False

    @property
    def has_unread(self) -> bool:
        """Whether lines were found that are no event, or one of a newer version; false once that is seen to."""
        return self._reader.has_unread

    @has_unread.setter
    def has_unread(self, value: bool) -> None:
        self._reader.has_unread = value

    @property
    def is_open(self) -> bool:
        """Whether there is a file to read, and perhaps to append to."""
        return self._file is not None

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.fileno()).st_size

    def size_of_file(self) -> int:
        """Return the bytes in the file that has the name, whether or not it is open; 0 where there is none."""
        with contextlib.suppress(OSError):
            return os.stat(self.path).st_size
        return 0

    @property
    def is_current(self) -> bool:
        """Whether the open file still has its name: nobody removed or replaced it."""
        if self._file is None:
            return False
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (found.st_dev, found.st_ino) == self._numbers

    @property
    def is_whole(self) -> bool:
        """Whether the file begins as it did: nobody has emptied it, or written another one over it."""
        return os.pread(self.fileno(), len(self._first), 0) == self._first

    def fileno(self) -> int:
        """Return the descriptor of the open file; OSError where none is."""
        return _no_file() if self._file is None else self._file.fileno()

    # opening and closing

    def open(self) -> None:
        """Open the file to append to it, creating it when there is none; the caller holds the store's lock.

        Raises OSError: the folder cannot be written to. CorruptJournal: the file is no journal, or one of a newer
        version.
        """
        # A file without a byte in it, as after a loss of power, has nothing to lose.
        if not os.path.exists(self.path) or os.path.getsize(self.path) == 0:
            self._take(self._create(b""))
            return
        self._take(self._open_named(os.O_RDWR))
        self._end_torn_line()

    def open_to_read(self) -> bool:
        """Open the file if there is one, and return whether there is."""
        try:
            file = self._open_named(os.O_RDONLY)
        except FileNotFoundError:
            self.close()
            return False
        if os.fstat(file.fileno()).st_size == 0:
            self.close()
            return False
        self._take(file)
        return True

    def close(self) -> None:
        """Give the file back, once the threads that are writing to it are done."""
        self._write = _no_file
        self._file = None
        self.identity = ""

    def after_fork(self) -> None:
        """In a child: let go of the parent's file; what waits in the parent is the parent's to write."""
        self.close()
        self._gate = threading.RLock()
        self.backlog.clear()
        self.decider = 0
        self._failing = self._torn = False

    def _take(self, file: OpenFile) -> None:
        header, start = self._read_header(file.fileno())
        found = os.fstat(file.fileno())
        self._file, self._write, self._numbers = file, file.write, (found.st_dev, found.st_ino)
        if not start and self.identity != header.id:
            logger.warning("%s was emptied while a run wrote to it: what it held before is gone", self.path)
        self.header, self.identity, self.start = header, header.id, start
        self._first = os.pread(file.fileno(), start, 0) or _first_line(file.fileno())

    def _open_named(self, mode: int) -> OpenFile:
        while True:
            file = OpenFile.at(self.path, mode | os.O_APPEND)
            hold_shared(file.fileno())
            # Another process may have replaced the file between the open and the lock.
            if is_named(file.fileno(), self.path):
                return file

    def _create(self, lines: bytes) -> OpenFile:
        """Return a new journal with an identity of its own, complete before it takes its name."""
        number, follows, home, origin = 1, self.follows, self.home, self.origin
        if follows is not None:
            number, follows, home, origin = follows.number + 1, Place(follows.id, follows.offset), "", {}
        with replacing(self.path, temporary=f"{self.path}.tmp") as file:
            hold_shared(file.fileno())
            if origin:
                origin = origin | {"journal": str(os.fstat(file.fileno()).st_ino)}
            head = Header(FORMAT, secrets.token_hex(8), self.store, home, number, follows, origin)
            file.write_all(msgspec.json.encode(head) + b"\n" + lines)
        return file

    def _read_header(self, descriptor: int) -> tuple[Header, int]:
        first, newline, _ = os.pread(descriptor, 4096, 0).partition(b"\n")
        try:
            header = msgspec.json.decode(first, type=Header)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # Of one that was emptied under a run, whose process was then killed, there are the lines that came later.
            if _is_event(line := _first_line(descriptor)):
                return Header(FORMAT, identity_from(line.decode("utf-8", "replace"))[:16]), 0
            raise CorruptJournal(
                f"{self.path} is no journal of track ({error}) and was left as it is: move it away, or give the "
                "store another name"
            ) from error
        if header.format > FORMAT:
            raise CorruptJournal(
                f"{self.path} has format {header.format}, this version of track reads up to {FORMAT}: upgrade track"
            )
        return header, len(first) + len(newline)

    def _end_torn_line(self) -> None:
        if self.size > self.start and os.pread(self.fileno(), 1, self.size - 1) != b"\n":
            with contextlib.suppress(OSError):
                self._write(TORN)

    # writing

    def append(self, line: bytes) -> None:
        """Add a line, newline included, with one ``write(2)``.

        When the disk is full the line waits in memory, with one warning, and is written before the next
        one that can be.

        Raises BackendUnavailable: it cannot be written, and is part of a decision, which cannot wait.
        """
        if self._failing:
            self._append_after_failure(line)
            return
        try:
            written = self._write(line)
        except OSError as error:
            self.postpone(line, error)
            return
        if written != len(line):
            self._torn = True
            self.postpone(line, "only a part of a line fitted")
        elif self.durable:
            self._sync()

    def postpone(self, line: bytes, reason: Any) -> None:
        """Let a line wait in memory."""
        with self.backlog.lock:
            was_failing, self._failing = self._failing, True
            if self.decider == threading.get_ident():
                raise self.unavailable(reason)
            self.backlog.add(line, self._write_whole)
        if not was_failing and self.is_open:
            logger.warning("%s cannot be written (%s): training goes on, events wait in memory", self.path, reason)

    def retry(self) -> bool:
        """Write the lines that wait, as far as possible, and return whether none is left."""
        if not self._failing:
            return True
        with self.backlog.lock:
            if not self.backlog.retry():
                return False
            self._failing = False
        dropped = self.backlog.dropped
        level = logging.WARNING if dropped else logging.INFO
        logger.log(level, "%s can be written again; %d events had to be dropped", self.path, dropped)
        return True

    def unavailable(self, reason: Any) -> BackendUnavailable:
        """Return the error that says why nothing can be decided now."""
        return BackendUnavailable(f"{self.path} cannot be written ({reason}): make room, and try again")

    def _append_after_failure(self, line: bytes) -> None:
        if self.decider == threading.get_ident():
            if not (self.retry() and self._write_whole(line)):
                raise self.unavailable("earlier events wait already")
            return
        with self.backlog.lock:
            # Again: another thread may just have written all that waited.
            self._failing = True
            self.backlog.add(line, self._write_whole)
        self.retry()

    def _write_whole(self, line: bytes) -> bool:
        # A torn line of ours is ended first; the mark and the line go in one write.
        data = TORN + line if self._torn else line
        try:
            written = self._write(data)
        except OSError:
            return False
        self._torn = written != len(data)
        if self.durable and not self._torn:
            self._sync()
        return not self._torn

    def _sync(self) -> None:
        try:
            os.fdatasync(self.fileno())
        except OSError as error:
            logger.warning("%s may not survive a loss of power: %s", self.path, error)

    # reading

    def read(self, offset: int, end: int | None = None) -> Iterator[tuple[list[Record], bytes | None, int]]:
        """Yield the events from a byte offset on, as `LineReader.read` does."""
        return self._reader.read(self.fileno(), offset, end)

    def line_after(self, offset: int) -> int:
        """Return where the next line begins: after the first newline from a byte offset on, or at the end."""
        size = self.size
        while offset < size:
            newline = os.pread(self.fileno(), _PAGE, offset).find(b"\n")
            if newline >= 0:
                return offset + newline + 1
            offset += _PAGE
        return size

    def unread(self) -> list[str]:
        """Return the lines that cannot be read, by their places; those that were cut short never were lines."""
        reader = LineReader(self.path)
        for _ in reader.read(self.fileno(), self.start):
            continue
        return [f"{self.path}: the line at byte {offset}" for offset in sorted(reader.broken)]

    def place(self, offset: int) -> Place:
        """Return what a snapshot that holds the journal up to an offset says of it."""
        tail = tail_of(self.fileno(), offset) if offset <= self.size else ""
        return Place(self.identity, offset, self.header.number, tail)

    # cutting

    def is_alone(self) -> bool:
        """Return whether nobody else has the file open."""
        is_alone = hold_exclusively(self.fileno())
        hold_shared(self.fileno())
        return is_alone

    def cut(self, offset: int) -> bool:
        """Begin a new, empty journal if nobody else uses this one, and return whether that was done.

        `offset`: how far the snapshot holds this journal; lines after it are carried over.
        """
        if not hold_exclusively(self.fileno()):
            return False
        with self.paused() as is_quiet:
            if is_quiet:
                return self._cut(offset)
            hold_shared(self.fileno())
            return False

    @contextlib.contextmanager
    def paused(self) -> Iterator[bool]:
        """Let threads that log wait, and say whether none is in the middle of a write; they go on where we do."""
        with self._gate:
            self._write = self._wait
            try:
                yield self._is_quiet()
            finally:
                if self._write == self._wait:
                    self._write = _no_file if self._file is None else self._file.write

    def _is_quiet(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        # A write that runs in another thread refers to the file too.
        while sys.getrefcount(self._file) > _OWN_REFERENCES:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _wait(self, line: bytes) -> int:
        """Write a line once the journal goes on; for a signal handler of the thread that holds it up, at once."""
        with self._gate:
            is_own = self._write == self._wait
            write = self._file.write if is_own and self._file is not None else self._write
            return int(write(line))

    def remove(self, offset: int) -> bool:
        """Remove the file if nobody else uses it, and return whether that was done.

        `offset`: how far the snapshot holds this journal; with lines after it the file stays.
        """
        if not (self.is_current and hold_exclusively(self.fileno())):
            return False
        with self.paused() as is_quiet:
            old = self._file
            assert old is not None
            if is_quiet:
                # What a signal handler logs from here on waits in memory.
                self.close()
                if os.fstat(old.fileno()).st_size == offset:
                    sync_folder(self.path)
                    os.unlink(self.path)
                    let_go(old.fileno())
                    return True
                self._take(old)
            hold_shared(old.fileno())
            return False

    def put_aside(self) -> str:
        """Give the file a name that nobody reads, ``*.left-N``, and return it; '' where somebody uses it."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if not claim(descriptor):
                return ""
            left = name_aside(self.path)
            os.rename(self.path, left)
            return left
        finally:
            os.close(descriptor)

    def header_of_file(self) -> Header | None:
        """Return the first line of the file that has the name now; None where there is none, or it is none of ours."""
        with contextlib.suppress(OSError, CorruptJournal):
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                return self._read_header(descriptor)[0]
            finally:
                os.close(descriptor)
        return None

    def follow(self) -> int:
        """Go on in the file that has the name now, and return how many lines of the old one are not in it.

        Where it is the beginning of the old one, as an editor or a copy makes it, the rest is added.
        """
        old, old_size = self._file, self.size
        assert old is not None
        self.open()
        # Others wait until the rest is there.
        self._write = self._wait
        size = self.size
        if size <= old_size and _are_equal(old.fileno(), self.fileno(), size):
            for line in read_all(old.fileno(), size).splitlines(keepends=True):
                self.append(line)
            return 0
        before, now = (Counter(read_all(file, 0).split(b"\n")) for file in (old.fileno(), self.fileno()))
        return (before - now).total()

    def begin_again(self) -> list[bytes]:
        """Go on in a new file, in place of one that was emptied, and return the lines that it has had since."""
        late = read_all(self.fileno(), 0).splitlines(keepends=True)
        self.follows = self.place(sys.maxsize)
        self._take(self._create(b""))
        self._reader = LineReader(self.path)
        return late

    def _cut(self, offset: int) -> bool:
        old = self._file
        assert old is not None
        late = read_all(old.fileno(), offset)
        carried = offset + len(late)
        if late and not late.endswith(b"\n"):
            late += TORN
        try:
            # The snapshot must have its name for good before what it holds is gone.
            sync_folder(self.path)
            self.follows = self.place(offset)
            self._move(old, carried, self._create(late))
        except BaseException as error:
            hold_shared(old.fileno())
            # A signal may have interrupted this right after the new journal took its name.
            if not self.is_current:
                self._move(old, carried, self._open_named(os.O_RDWR))
            if not isinstance(error, OSError):
                raise
            logger.warning("%s was not shortened: %s", self.path, error)
            return False
        # Who has opened it by its name waits, and looks again.
        let_go(old.fileno())
        return True

    def _move(self, old: OpenFile, offset: int, new: OpenFile) -> None:
        """Go on in another file, with what a signal handler logged in the old one meanwhile."""
        self._take(new)
        self._reader = LineReader(self.path)
        for line in read_all(old.fileno(), offset).splitlines(keepends=True):
            self.append(line)


def _first_line(descriptor: int) -> bytes:
    """Return the first line of a file, newline included; b'' where it has no end."""
    pieces: list[bytes] = []
    while piece := os.pread(descriptor, _CHUNK, len(pieces) * _CHUNK):
        line, newline, _ = piece.partition(b"\n")
        pieces.append(line + newline)
        if newline:
            return b"".join(pieces)
    return b""


def _is_event(line: bytes) -> bool:
    try:
        decode_record(line)
    except InvalidEvent:
        return False
    return True


def _are_equal(one: int, other: int, size: int) -> bool:
    """Return whether two files begin with the same so many bytes."""
    pieces = ((min(_CHUNK, size - place), place) for place in range(0, size, _CHUNK))
    return all(os.pread(one, *piece) == os.pread(other, *piece) for piece in pieces)


def _no_file(*_: Any) -> Any:
    raise OSError(errno.EBADF, "the journal is closed")
