"""State on the way out of its files: a snapshot, and the journal after it, in the order of the file."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable

from track.errors import TrackError
from track.persistence.contract import identity_from
from track.persistence.file.glimpse import Facts
from track.persistence.file.journal import Journal
from track.persistence.file.kinship import Kin, Place, kinship, place_of, replaced_in_use
from track.persistence.file.lock import StoreLock
from track.persistence.state import State, lacking_points, names_points, read_snapshot, spill
from track.utils.files import stamp_of

logger = logging.getLogger(__name__)
SLICE = 32 << 20
"""Bytes of the journal whose points may be in memory: when more are read, these move to the disk."""

_WORTH = 1 << 15
"""Bytes for which it is worth to be woken: less is read when it is this process's turn."""


class Replay:
    """What a process knows of a store, and from which bytes of which files.

    Attributes
    ----------
    state: State
        What the files said when they were last read.
    turn: RLock
        Who has it reads the files, or changes what is known of them.
    is_writing: bool
        Whether this process has the journal open to write, and all that is needed for it.
    is_busy: bool
        Whether a thread is in the middle of reading or saving.
    is_whole: bool
        Whether the state is all of what the files said; else it is read again.
    identity, offset: str, int
        The journal that was read, and up to where.
    held, kin: Place, Kin
        What the snapshot holds of which journal, and whether that is the one beside it.
    built_from, snapshot_stamp: tuple or None
        Which snapshot the state was built from, and which one is known to go with the journal.
    snapshot_size, saved_offset: int
        How large that is, and how much of the journal is in it.
    in_memory: int
        Bytes of the journal whose points are in memory.
    facts: Facts
        Where this process has written what no metric is, since it read.
    """

    def __init__(self, path: str, journal: Journal, lock: StoreLock) -> None:
        self.path = path
        self.journal = journal
        self.state = State(path)
        self.turn = threading.RLock()
        self.is_writing = self.is_busy = self.is_whole = False
        self.identity = self._read_identity = ""
        self.offset = 0
        self.held = Place()
        self.kin = Kin.NEXT
        self.built_from: tuple[int, int, int] | None = None
        self.snapshot_stamp: tuple[int, int, int] | None = None
        self.snapshot_size = self.saved_offset = self.in_memory = 0
        self.facts = Facts()
        self.progress: Callable[[float], None] | None = None
        self._lock = lock
        self._told: set[str] = set()

    def is_too_much(self, size: int) -> bool:
        """Return whether so many bytes of the journal should not stay in memory, nor out of the snapshot."""
        return size > SLICE

    def caught_up(self) -> State:
        """Return the state, after what was appended since the last time, by whomever."""
        self.catch_up()
        return self.state

    def catch_up(self) -> None:
        """Replay what was appended since the last time, by whomever."""
        with self.turn:
            # A signal handler that asks in the middle of a replay gets the state as it is.
            if self.is_busy:
                return
            size = self._known_size()
            if size == self.offset:
                return
            try:
                self.is_busy = True
                # By far the most frequent: the file has grown.
                if size is not None and size > self.offset and self.kin.is_read:
                    self._replay(size)
                    return
                if not self.is_writing and not (self.journal.is_current and self.journal.is_whole):
                    self._open_to_read()
                # Somebody emptied it: what is known is known still, and the next decision writes it again.
                if self.is_writing and self.is_whole and self._was_emptied():
                    return
                if not self._is_built_from_files():
                    self._load()
                if self.journal.is_open and self.kin.is_read:
                    self._replay()
            except BaseException:
                # Whatever was half done is done again from the files.
                self.is_whole = False
                raise
            finally:
                self.is_busy = False
                if not self.is_writing and not self.kin.is_read:
                    # The next writer puts it aside, unless somebody has it open.
                    self.journal.close()

    def has_all(self) -> bool:
        """Return whether the state has all of the journal that this process writes to: nobody has appended to it."""
        return self.offset == self._known_size()

    def _known_size(self) -> int | None:
        """Return the bytes of the journal that this process writes to; None where the state is of something else."""
        is_same = self.is_writing and self.is_whole and self.identity == self.journal.identity
        return self.journal.size if is_same else None

    def read_ahead(self) -> None:
        """Replay what others decide while this process waits for its turn, which is the shorter then."""
        # What is wrong with the files is said by the turn itself.
        with contextlib.suppress(OSError, TrackError):
            if self.is_writing and self.is_whole and self.journal.size > self.offset + _WORTH:
                self.catch_up()

    def go_on_from_snapshot(self) -> None:
        """Read a snapshot that another process has written, where that names points which are here in memory."""
        if stamp_of(self.path) not in (None, self.built_from) and names_points(self.path):
            unapplied = self.state.unapplied
            self.is_whole = False
            self.catch_up()
            self.state.unapplied.update(unapplied)

    @property
    def journal_read(self) -> str:
        """Which journal the state is read from; without one, which the snapshot holds, or which file it is."""
        if self.identity and self.kin.is_read:
            return self.identity
        return self.held.id or "-".join(map(str, self.snapshot_stamp or ()))

    def is_left_behind(self) -> bool:
        """Return whether the snapshot is gone that a journal belongs to; one that never had any is all there is."""
        if os.path.exists(self.path) or not os.path.exists(self.journal.path):
            return False
        header = self.journal.header_of_file()
        return header is not None and (header.follows is not None or self._lock.note() == header.id)

    def tell(self, text: str) -> None:
        """Say what is not as it should be, once."""
        if text and text not in self._told:
            logger.warning("%s", text)
            self._told.add(text)

    def after_fork(self) -> None:
        """In a forked child: what is known stays known, unless another thread was just reading."""
        self.state.outside.after_fork()
        self.turn = threading.RLock()
        # Another thread of the parent was in the middle of a replay: what it had applied is not known.
        self.is_whole = self.is_whole and not self.is_busy
        self.is_busy = self.is_writing = False

    def _was_emptied(self) -> bool:
        return self.identity == self.journal.identity and self.journal.size < self.offset

    def _open_to_read(self) -> None:
        if self.is_left_behind():
            self.journal.close()
        else:
            self.journal.open_to_read()

    def _is_built_from_files(self) -> bool:
        if not self.is_whole or self.identity != self.journal.identity:
            return False
        if self.journal.is_open and self.kin.is_read:
            return self.offset <= self.journal.size
        return stamp_of(self.path) == self.snapshot_stamp

    def _load(self) -> None:
        """Read the snapshot, unless that is all that is known; the replay that follows begins where it ends."""
        known, stamp = (self.state.identity, self.built_from), stamp_of(self.path)
        # Not where it was given an id since, which a journal may say otherwise.
        is_known = self.is_whole and not self.identity and stamp is not None and known == (self._read_identity, stamp)
        self.is_whole = False
        if not is_known:
            before, stamp = self.state, None
            while True:
                stamp, seen = stamp_of(self.path), stamp
                self.state = State(self.path)
                held = read_snapshot(self.path, self.state)
                # Written anew meanwhile, the points files that it named may be gone.
                if not self.state.outside.lacking or stamp == seen:
                    break
            self.state.liveness = before.liveness
            self.built_from = self.snapshot_stamp = stamp
            self.snapshot_size = stamp[1] if stamp else 0
            self.held, self.in_memory, self._read_identity = place_of(held), 0, self.state.identity
            self.tell(lacking_points(self.state))
        self.kin = Kin.NEXT
        self.identity, self.offset = self.journal.identity, self.journal.start
        if self.identity:
            self._relate()
        self.saved_offset = self.offset
        self.is_whole = True

    def _relate(self) -> None:
        """Find out how the journal goes on from the snapshot, and say what is not as it should be.

        Raises BackendUnavailable: this process writes to the journal, and another snapshot was put beside it.
        """
        state, header = self.state, self.journal.header
        names = [state.identity, *state.former] if state.identity else []
        self.kin = kinship(self.held, names, header, self.journal.size, self.journal.fileno())
        if self.is_writing and not self.kin.is_read:
            raise replaced_in_use(self.path)
        if self.kin in (Kin.SAME, Kin.SHORT):
            self.offset = self.held.offset
        if not self.kin.is_read:
            self.offset = self.journal.size
        elif not state.identity:
            # One of before there were ids has the same for everybody who reads it, until there is a snapshot.
            state.identity = header.store or identity_from(f"journal {header.id}")
        state.home, state.origin = state.home or header.home, state.origin or header.origin
        self.tell(self.kin.warning(self.path))

    def _replay(self, end: int | None = None) -> None:
        for events, _, offset in self.journal.read(self.offset, end):
            self.state.apply(events)
            self.in_memory += offset - self.offset
            self.offset = offset
            if self.progress is not None:
                self.progress(offset / self.journal.size)
            if self.is_too_much(self.in_memory):
                self.in_memory = 0
                self._spill()
        self.facts.clear()

    def _spill(self) -> None:
        """Move points out of memory that were replayed; they stay in it where there is no room for them."""
        try:
            spill(self.state)
        except OSError as error:
            self.tell(f"the points of {self.path} stay in memory, as {tempfile.gettempdir()} takes no files: {error}")
