"""Events on their way to a server: a local journal, and how much of it the server has acknowledged.

Each process writes a spill of its own, ``<folder>/<writer>.journal``; beside it ``<writer>.sent`` says how far
it was sent. Events are numbered by their place in the file, so sending them again changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from track.configuration import options
from track.errors import CorruptJournal
from track.events import Event
from track.persistence.journal import Journal
from track.persistence.lock import StoreLock
from track.persistence.snapshot import replace_file
from track.persistence.utils import mask_secrets

__all__ = ["Spill", "abandoned_spills", "spill_folder", "spill_folders"]

logger = logging.getLogger(__name__)


def spill_folder(uri: str) -> Path:
    """Return the folder of the spills of a server, the same for every process of this user."""
    identity = mask_secrets(uri).partition("?")[0]
    return _root() / hashlib.sha256(identity.encode()).hexdigest()[:16]


def spill_folders() -> list[tuple[str, Path]]:
    """Return the servers that have spills here, as masked URIs, and their folders."""
    found = []
    for note in sorted(_root().glob("*/uri")):
        with contextlib.suppress(OSError):
            found.append((note.read_text(encoding="utf-8"), note.parent))
    return found


def _root() -> Path:
    configured = options("log.spill.folder", "")
    if configured:
        return Path(configured)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "track" / "spill"


class Spill:
    """One writer's events that are being delivered.

    Parameters
    ----------
    folder: Path
    writer: str, optional
        An old spill's writer; a new one by default.
    """

    def __init__(self, folder: Path, writer: str | None = None) -> None:
        self.folder = folder
        self.writer = writer or secrets.token_hex(8)
        self.journal = Journal(str(folder / f"{self.writer}.journal"))
        self._lock = StoreLock(str(folder / f"{self.writer}.lock"), timeout=0.01)
        self.sent = 0
        self._offset = 0
        self._sent_path = str(folder / f"{self.writer}.sent")

    def open(self, uri: str) -> None:
        """Take the spill for this process, and note whose it is; the masked URI, for people."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "uri"
        if not note.exists():
            replace_file(str(note), [mask_secrets(uri).encode()])
        self._lock.__enter__()
        self.journal.open()
        self._offset = self.journal.start
        self._read_sent()

    def _read_sent(self) -> None:
        try:
            noted = msgspec.json.decode(Path(self._sent_path).read_bytes())
            self.sent, self._offset = int(noted["sent"]), int(noted["offset"])
        except (OSError, ValueError, KeyError, TypeError):
            # Lost with the power, perhaps: everything is sent again, and the server knows it.
            self.sent, self._offset = 0, self.journal.start

    def unsent(self) -> Iterator[tuple[int, list[Event], int]]:
        """Yield batches of events that were not acknowledged: the number of the first, events, offset after them."""
        first = self.sent
        for events, offset in self.journal.read(self._offset):
            yield first, events, offset
            first += len(events)

    def everything(self) -> Iterator[list[Event]]:
        """Yield all events of this spill, sent or not."""
        for events, _ in self.journal.read(self.journal.start):
            yield events

    def acknowledge(self, sent: int, offset: int) -> None:
        """Note that the server has the events before number `sent`, which end at `offset`."""
        self.sent, self._offset = sent, offset
        noted: dict[str, Any] = {"sent": sent, "offset": offset}
        try:
            descriptor = os.open(f"{self._sent_path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(noted))
            os.replace(f"{self._sent_path}.tmp", self._sent_path)
        except OSError as error:
            logger.debug("how far %s was sent is not noted: %s", self.writer, error)

    @property
    def is_sent(self) -> bool:
        """Whether the server has acknowledged everything."""
        return self._offset >= self.journal.size and not self.journal.backlog.unsaved

    @property
    def size(self) -> int:
        """Bytes in the spill."""
        return self.journal.size

    def count_unsent(self) -> int:
        """Return how many events are not acknowledged."""
        return sum(len(events) for _, events, _ in self.unsent()) + self.journal.backlog.unsaved

    def close(self) -> None:
        """Give the spill back; remove it when everything was sent."""
        done = self.journal.is_open and self.is_sent
        self.journal.close()
        if done:
            for suffix in ("journal", "journal.tmp", "sent", "sent.tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(self.folder / f"{self.writer}.{suffix}")
        if self._lock.is_held:
            self._lock.__exit__(None, None, None)
        if done:
            # Only its one writer ever takes this lock, and it is gone for good.
            with contextlib.suppress(OSError):
                os.unlink(self.folder / f"{self.writer}.lock")

    def after_fork(self) -> None:
        """In a child: the spill is the parent's."""
        self.journal.after_fork()
        self._lock.reset_after_fork()


def abandoned_spills(folder: Path, uri: str, own: str = "") -> Iterator[Spill]:
    """Yield the spills of processes that are gone, opened, one at a time; each is closed afterwards."""
    for path in sorted(folder.glob("*.journal")):
        writer = path.name.removesuffix(".journal")
        if writer == own:
            continue
        spill = Spill(folder, writer)
        try:
            spill.open(uri)
        except TimeoutError:
            continue
        except (OSError, CorruptJournal) as error:
            logger.warning("the spill %s cannot be read: %s", path, error)
            continue
        try:
            yield spill
        finally:
            spill.close()
