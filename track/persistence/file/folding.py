"""What is known of a store on its way into a snapshot, and out of the journal."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

import msgspec

from track.persistence.file.journal import Journal
from track.persistence.file.kinship import Kin, Place, origin_of
from track.persistence.file.lock import StoreLock
from track.persistence.file.replaying import Replay
from track.persistence.state import Placing, gather, place_for, placing_of, snapshot_bytes
from track.utils.files import keep_aside, replace_file, stamp_of

logger = logging.getLogger(__name__)
_SMALL = 1 << 18
_CUT_FROM = 1 << 16


class Folding:
    """Writes the snapshot of a store, and cuts its journal. Who calls it has the lock, and the turn to read.

    `kind`: of the file system. `is_cut`: whether the journal may be cut.
    """

    def __init__(self, known: Replay, journal: Journal, lock: StoreLock, kind: str, is_cut: bool) -> None:
        self._known = known
        self._journal = journal
        self._lock = lock
        self._kind = kind
        self._is_cut = is_cut
        self.written_at = -math.inf
        """When the snapshot was last written, on the monotonic clock."""

    def save(self) -> None:
        """Bring the snapshot up to date, and shorten the journal if this process is its only user."""
        self._journal.retry()
        self._catch_up()
        self.write()
        if self._known.offset >= _CUT_FROM and self._is_cut:
            self.cut()
        self._lock.write_note(self._journal.identity)

    def fold_for(self, seconds: float) -> bool:
        """Go on with a fold for so long, and return whether the snapshot has everything now."""
        self._catch_up()
        is_done = place_for(self._known.state, seconds)
        if is_done:
            self.write()
        return is_done

    def gather(self) -> list[str]:
        """Let the next snapshot have all points in a file of its own, and return the files that nobody needs then."""
        self._known.catch_up()
        return gather(self._known.state)

    def is_cheap(self, most: float) -> bool:
        """Return whether at most so many bytes are in no snapshot, and that is small, or they are a quarter of it."""
        known = self._known
        grown = self._journal.size - known.saved_offset
        return grown <= most and (known.snapshot_size <= _SMALL or grown * 4 >= known.snapshot_size)

    def write(self) -> None:
        """Write the snapshot, of what is known now."""
        known, journal = self._known, self._journal
        try:
            known.is_busy = True
            if journal.has_unread and journal.is_current:
                self.keep_journal("has lines that cannot be read")
                journal.has_unread = False
            held = journal.place(known.offset) if journal.is_open else known.held
            placing = placing_of(known.state)
            known.snapshot_size = replace_file(known.path, self._bytes(held, placing), f"{known.path}.tmp")
            known.held, known.kin = held, Kin.SAME
            known.saved_offset = known.offset
            known.built_from = known.snapshot_stamp = stamp_of(known.path)
            known.in_memory = 0 if placing else known.in_memory
            self.written_at = time.monotonic()
        finally:
            known.is_busy = False

    def write_after_new_journal(self) -> None:
        """Write the snapshot that goes with a journal which has just begun."""
        self._known.identity, self._known.offset = self._journal.identity, self._journal.start
        self.write()

    def accept_lost_end(self) -> None:
        """After a loss of power: the snapshot holds more of the journal than there is; go on from its end."""
        logger.warning("%s has lost its end, which %s holds", self._journal.path, self._known.path)
        self._known.offset = self._journal.size
        self.write()

    def keep_journal(self, reason: str) -> None:
        """Keep a journal of which a snapshot will not have all, whatever becomes of the file."""
        path = self._journal.path
        logger.warning("%s %s: it is kept as %s", path, reason, keep_aside(path))

    def cut(self) -> None:
        """Let a journal of which the snapshot has everything begin again, unless others have it open."""
        known = self._known
        if self._journal.cut(known.offset):
            known.identity = self._journal.identity
            known.offset = known.saved_offset = self._journal.start

    def remove_journal(self) -> None:
        """Remove a journal of which the snapshot has everything, unless others have it open."""
        known = self._known
        # Somebody may have deleted or replaced the snapshot.
        if stamp_of(known.path) == known.snapshot_stamp and self._journal.remove(known.saved_offset):
            known.is_writing = False

    def _catch_up(self) -> None:
        self._known.go_on_from_snapshot()
        self._known.catch_up()

    def _bytes(self, held: Place, placing: Placing | None) -> Iterator[bytes]:
        state, path = self._known.state, self._known.path
        # Once the file is there that takes the snapshot's place.
        state.home, state.origin = path, origin_of(path, self._kind, f"{path}.tmp")
        yield from snapshot_bytes(state, msgspec.to_builtins(held), placing=placing)
