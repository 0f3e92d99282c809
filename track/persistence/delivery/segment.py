"""One file of a spill: its events, how far they were sent, and who may send them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from track.events import Event, encode
from track.persistence.file import TORN, Journal, claim
from track.utils.files import replace_file

logger = logging.getLogger(__name__)
_CHUNK = 1 << 20
_NOTE = 256
"""Bytes of the note how far a file was sent, filled up with blanks: each takes the place of all of the one before."""
UNREAD = ".unread"
"""What the name of a file ends in of which all was sent but for lines that could not be read."""


class Claim:
    """A spill is this process's, as long as the process lives or until `give_back`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, is_own: bool = False) -> Claim | None:
        """Return the claim, or None when another process, or another part of this one, has it.

        On a file system without locks nobody can tell, and only one's own spill is taken.
        """
        try:
            # The folder says who may read it: it is the user's alone, or shared as the database is.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if is_own or error.errno not in (errno.EACCES, errno.EROFS):
                raise
            # To tell whether it is taken one need not write.
            descriptor = os.open(path, os.O_RDONLY)
        if claim(descriptor, without_locks=is_own):
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    def give_back(self, remove: bool) -> None:
        """Let go of the spill, and of the lock's file when the spill is gone for good."""
        if remove:
            # Before it is unlocked: a new file of this name would be another lock, on nothing.
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.after_fork()

    def after_fork(self) -> None:
        """In a child: the parent's claim ends with the parent, not with its children."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Segment:
    """A file of numbered events that are being delivered.

    `path`: ``<writer>.journal``.

    Attributes
    ----------
    position: (int, int)
        How many events were acknowledged, and the byte offset after them.
    store: str
        The id of the store that its events are for; ``""`` where none was known when they were logged, nor sent to.
    stored: int
        The number of the last event that was acknowledged as stored, -1 for none: not of one that was refused.
    writers: weak reference or None
        Alive as long as a thread may still add to the file; None when nobody does.
    refused, refused_bytes: int
        Events that this process was told cannot be stored, and what they take on the disk.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.writer = os.path.basename(path).removesuffix(".journal")
        self.refused = self.refused_bytes = 0
        self.writers: weakref.ref[object] | None = None
        self.position = (0, 0)
        self.stored = -1
        self.store = ""
        self._noted_refusals: set[int] | None = None
        self._is_resumed = False
        self._note = -1
        self._journal = Journal(path)
        self._base = path.removesuffix(".journal")

    @classmethod
    def open(cls, path: str) -> Segment:
        """Return the segment of a file, opened.

        Raises OSError: it is gone, or cannot be read. CorruptJournal: it is no journal, or one of a newer version.
        """
        segment = cls(path)
        if not segment._journal.open_to_read():
            raise FileNotFoundError(f"{path} is empty or gone")
        segment.store = segment._journal.header.store
        segment._read_note()
        # What is before was read by another process.
        segment._is_resumed = segment.position[1] > segment.start
        return segment

    def _read_note(self) -> None:
        try:
            noted = msgspec.json.decode(Path(f"{self._base}.sent").read_bytes())
            self.position = int(noted["sent"]), int(noted["offset"])
            self.stored = int(noted.get("stored", -1))
            self.store = self.store or str(noted.get("store", ""))
        except (OSError, ValueError, KeyError, TypeError):
            # Lost with the power, perhaps: everything is sent again, and the server knows it.
            self.position, self.stored = (0, self.start), -1

    @property
    def start(self) -> int:
        """The offset of the first event."""
        return self._journal.start

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return self._journal.size

    @property
    def has_writers(self) -> bool:
        """Whether a thread may still add to the file, which others have left."""
        return self.writers is not None and self.writers() is not None

    def read(self, offset: int) -> Iterator[tuple[list[Event], bytes | None, int]]:
        """Return events from an offset on, a chunk at a time: events, their lines where all are whole, offset after."""
        # A spill holds single events: batches are for stores.
        return cast("Iterator[tuple[list[Event], bytes | None, int]]", self._journal.read(offset))

    def unsent(self) -> Iterator[tuple[list[Event], bytes | None, int]]:
        """Return the events that were not acknowledged, as `read` does."""
        return self.read(self.position[1])

    def count_unsent(self) -> int:
        """Return how many events are not acknowledged, without decoding them."""
        if not self._journal.is_open:
            return 0
        count, offset, last = 0, self.position[1], b""
        # Of the open file, whether it has its name still or not.
        while chunk := os.pread(self._journal.fileno(), _CHUNK, offset):
            # A torn line that was ended with the mark is no event.
            count += chunk.count(b"\n") - (last + chunk).count(TORN)
            last, offset = chunk[-1:], offset + len(chunk)
        return count

    def is_done(self) -> bool:
        """Return whether everything in the file was acknowledged and nobody adds to it."""
        return not self.has_writers and next(self.unsent(), None) is None

    def acknowledge(self, sent: int, offset: int) -> None:
        """Note that the server has the events before number `sent`, which end at `offset`."""
        try:
            note: dict[str, Any] = {"sent": sent, "offset": offset, "stored": self.stored}
            if self.store != self._journal.header.store:
                note["store"] = self.store
            self._write_note(msgspec.json.encode(note).ljust(_NOTE))
        except OSError as error:
            logger.debug("how far %s was sent is not noted: %s", self.writer, error)
        # Last: whoever waits for it finds the note too.
        self.position = (sent, offset)

    def _write_note(self, note: bytes) -> None:
        """Write the note: the first one as a new file, as that of before may be another user's; then into that."""
        if self._note >= 0:
            os.pwrite(self._note, note, 0)
            return
        path = f"{self._base}.sent"
        replace_file(path, [note], f"{path}.tmp", sync=False, follow=False)
        self._note = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)

    def rewind(self) -> None:
        """Begin again at the first event: the server does not have all that it had acknowledged."""
        self.stored = -1
        self.acknowledge(0, self.start)

    def refuse(self, events: Iterable[tuple[int, Event]], error: Exception) -> str:
        """Keep numbered events that the server does not take, beside the spill, and return the file's name.

        Raises OSError: there is no room for them, so they may not be passed over yet.
        """
        path = f"{self._base}.refused"
        with open(path, "ab+") as file:
            if self._noted_refusals is None:
                file.seek(0)
                lines = file.read()
                self._noted_refusals = {number for line in lines.splitlines() if (number := _number(line)) is not None}
                if lines and not lines.endswith(b"\n"):
                    # Torn, by the end of the process or of the disk.
                    file.write(b"\n")
            # Met a second time when nobody could note how far it was, or when all was sent again.
            new = [(number, event) for number, event in events if number not in self._noted_refusals]
            data = b"".join(_refusal(number, event, error, self.store) for number, event in new)
            file.write(data)
        self._noted_refusals.update(number for number, _ in new)
        self.refused += len(new)
        self.refused_bytes += len(data)
        return path

    def close(self) -> None:
        """Give the file back."""
        self._journal.close()
        descriptor, self._note = self._note, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file, whose events the server has; where nobody could read some lines, keep it as ``.unread``."""
        has_unread = self._journal.has_unread or (self._is_resumed and bool(self._journal.unread()))
        self.close()
        if has_unread:
            # Damaged, or of a newer version: whoever can read them may still want them.
            with contextlib.suppress(OSError):
                os.replace(self.path, f"{self._base}{UNREAD}")
                logger.error("lines that could not be read were not sent: they are kept in %s%s", self._base, UNREAD)
        for suffix in ("journal", "journal.tmp", "sent", "sent.tmp"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self._base}.{suffix}")


def _refusal(number: int, event: Event, error: Exception, store: str) -> bytes:
    note: dict[str, Any] = {"number": number, "error": str(error), "event": msgspec.Raw(encode(event).rstrip())}
    if store:
        note["store"] = store
    return msgspec.json.encode(note) + b"\n"


def _number(line: bytes) -> int | None:
    try:
        return int(msgspec.json.decode(line)["number"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return None
