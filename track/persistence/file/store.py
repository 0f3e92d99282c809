"""One file store: a snapshot, its journal and its lock."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import msgspec

from track.errors import BackendUnavailable, LockTimeout, TrackError
from track.events import Batch, Event, MetricsLogged, encode, encode_batch
from track.persistence.file.glimpse import MOST, Facts, glimpse_of
from track.persistence.file.journal import Journal
from track.persistence.file.kinship import Kin, Place, head_of, is_copy, kinship, origin_of, place_of, replaced_in_use
from track.persistence.file.lock import Held, StoreLock, is_of_network
from track.persistence.identity import identity_from, is_elsewhere, new_identity
from track.persistence.state import (
    Placing,
    State,
    gather,
    lacking_points,
    names_points,
    place_for,
    placing_of,
    put_aside_points,
    read_snapshot,
    snapshot_bytes,
    spill,
    unread_points,
)
from track.structure import Trial
from track.utils.files import keep_aside, reaching, replace_file, require_writable, stamp_of
from track.utils.mounts import file_system_of

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_SMALL = 1 << 18
_CUT_FROM = 1 << 16
_PAUSE = 1.0
_SHORT = 1 << 16
_FORMER = 100
SLICE = 32 << 20
"""Bytes of the journal whose points may be in memory: when more are read, these move to the disk."""


class FileStore:
    """State on disk: ``report.json``, ``report.json.journal``, ``report.json.lock``.

    Writing an event is one append to the journal. State is built only by replaying snapshot and journal,
    in file order, when something is asked; so two processes never disagree.

    `path`: the snapshot's path. `lock_timeout`: seconds to wait for a decision of another process, > 0. `durable`:
    whether each line reaches the disk at once. `lock`: ``always``: each append takes the lock, too, as it does by
    itself on file systems of several hosts, where appends may mix. ``never``: there is a lock between threads only.
    ``auto`` otherwise.
    """

    def __init__(self, path: str, lock_timeout: float, durable: bool = False, lock: str = "auto") -> None:
        self.path = path
        self.lock = StoreLock(None if lock == "never" else f"{path}.lock", lock_timeout)
        self.journal = Journal(f"{path}.journal", durable)
        self.journal.home = path
        kind = file_system_of(path)
        self.lock_appends = lock == "always" or (lock == "auto" and is_of_network(kind))
        self._kind = kind
        self.state = State(path)
        self.new_identity = new_identity
        # What the state was built from: a journal up to an offset, and a snapshot. Not whole: a half-made state.
        self._is_whole = False
        self._identity = self._read_identity = ""
        self._offset = 0
        self._snapshot_stamp: tuple[int, int, int] | None = None
        self._snapshot_size = 0
        self._saved_offset = 0
        self._in_memory = 0
        self._built_from: tuple[int, int, int] | None = None
        self._fold_from = 0
        self._told_progress: Callable[[float], None] | None = None
        self._looked_at = -math.inf
        # What the snapshot holds of which journal, and whether that is the one beside it.
        self._held = Place()
        self._kin = Kin.NEXT
        self._told: set[str] = set()
        self._writing = False
        self._reading = threading.RLock()
        self._busy = False
        self._facts = Facts()
        # Weakly: a store that nobody has any more gives its files back at once.
        self.lock.meanwhile = weakref.WeakMethod(self._read_ahead)

    # writing

    def apply(self, events: Sequence[Event]) -> None:
        """Add events: one write to the journal each."""
        if not self._writing:
            self.start_writing()
        for event in events:
            line = encode(event)
            if type(event) is not MetricsLogged:
                self._facts.note(line)
            if self.lock_appends:
                self._append_locked(line)
            else:
                self.journal.append(line)

    def receive(self, batch: Batch, lines: bytes | None = None) -> None:
        """Add events that somebody has numbered, which are on the disk when this returns.

        `lines`: its events as lines, where the caller has them. Raises BackendUnavailable: they cannot be written, and
        do not wait in memory.
        """
        lines = b"".join(map(encode, batch.events)) if lines is None else lines
        line = encode_batch(batch.writer, batch.first, lines)
        self.atomically(lambda: self._append_and_apply(batch, line))

    def _append_and_apply(self, batch: Batch, line: bytes) -> None:
        with self._reading:
            is_current = not self._busy and self._has_all()
            self.journal.append(line)
            end = self._offset + len(line)
            # Only where nobody else wrote meanwhile; else it is read from the file, with what they wrote.
            if is_current and self.journal.size == end:
                # Whatever happens in the middle, the state is read again.
                self._is_whole = False
                self.state.apply([batch])
                self._offset, self._is_whole = end, True

    def _append_locked(self, line: bytes) -> None:
        try:
            with self.lock:
                self.journal.append(line)
        except LockTimeout as error:
            self.journal.postpone(line, error)

    def start_writing(self) -> None:
        """Create what is missing on disk.

        Raises BackendUnavailable: the folder cannot be written to. CorruptJournal: the files are not ours, or of a
        newer version; nothing is created beside them.
        """
        with reaching(self.path):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Before it is this process's turn, so that others need not wait. What is wrong is said below.
            with contextlib.suppress(OSError, TrackError):
                self.catch_up()
            with self.lock, self._reading:
                if self._writing:
                    return
                self._start_afresh()
                self.catch_up()
                self._part_from_stranger()
                self._identify()
                self.journal.open()
                self.catch_up()
                if self._offset > self.journal.size:
                    self._accept_lost_end()
                if self._kin is Kin.LATER:
                    self._keep_journal(self._kin.value)
                    self._write_snapshot()
                self._writing = True

    def _identify(self) -> None:
        """Give a store that has no id one, and a copy one of its own."""
        state, origin = self.state, origin_of(self.path, self._kind)
        if is_copy(self.path, state.home, state.identity) or is_elsewhere(state.origin, origin):
            logger.info("%s is a copy of what was at %s: from now on it is a store of its own", self.path, state.home)
            state.former = [*state.former, state.identity][-_FORMER:]
            state.identity = self.new_identity()
            # Should it fail, what is on the disk counts.
            self._is_whole = False
            self._write_snapshot()
            self._is_whole = True
        state.identity = state.identity or self.new_identity()
        self.journal.store, self.journal.origin = state.identity, origin
        self.journal.follows = self._held if self._held.id else None

    def _part_from_stranger(self) -> None:
        """Put a journal aside that does not go on from the snapshot.

        Raises BackendUnavailable: it is in use, by a process that knows another snapshot.
        """
        if self._kin.is_read and self._kin is not Kin.SHORT:
            return
        kin = self._kin
        self.journal.close()
        if left := self.journal.put_aside():
            logger.warning("%s %s: it is kept as %s", self.journal.path, kin.value, left)
            self.catch_up()
        elif kin is not Kin.SHORT:
            raise replaced_in_use(self.path)

    def _keep_journal(self, reason: str) -> None:
        """Keep a journal of which a snapshot will not have all, whatever becomes of the file."""
        logger.warning("%s %s: it is kept as %s", self.journal.path, reason, keep_aside(self.journal.path))

    def _start_afresh(self) -> None:
        """Put a journal aside that was left behind when somebody deleted the snapshot."""
        if self._is_left_behind() and (left := self.journal.put_aside()):
            self.journal.close()
            logger.warning("%s was deleted: the store begins afresh; its old journal is kept as %s", self.path, left)
        if not (os.path.exists(self.path) or os.path.exists(self.journal.path)):
            for left in put_aside_points(self.path):
                logger.warning("%s was deleted: the store begins afresh; its points are kept as %s", self.path, left)

    def _is_left_behind(self) -> bool:
        """Return whether the snapshot is gone that a journal belongs to; one that never had any is all there is."""
        if os.path.exists(self.path) or not os.path.exists(self.journal.path):
            return False
        header = self.journal.header_of_file()
        return header is not None and (header.follows is not None or self.lock.note() == header.id)

    def _accept_lost_end(self) -> None:
        """After a loss of power: the snapshot holds more of the journal than there is; go on from its end."""
        logger.warning("%s has lost its end, which %s holds", self.journal.path, self.path)
        self._offset = self.journal.size
        self._write_snapshot()

    def check_writable(self) -> None:
        """Raise BackendUnavailable if the folder cannot be written to; nothing is created."""
        require_writable(self.path)

    def atomically(self, action: Callable[[], _Result]) -> _Result:
        """Return ``action()``, under the lock, with the state caught up.

        Raises BackendUnavailable: the decision cannot be written; it is as if it had not been made.
        """
        if not self._writing:
            self.start_writing()
        if self.journal.size - self._saved_offset > SLICE and self.journal.decider != threading.get_ident():
            self._fold_if_due()
        with self.lock:
            outer, this = self.journal.decider, threading.get_ident()
            if outer != this:
                with reaching(self.path):
                    self._stay_current()
            self.journal.decider = this
            try:
                return action()
            finally:
                self.journal.decider = outer

    @contextlib.contextmanager
    def at_once(self) -> Iterator[bool]:
        """Say whether a short call need not wait, for another process or for much to catch up with; keep it so."""
        is_short = self._writing and not self.journal.durable and not self.lock_appends
        if not is_short or self.journal.size > self._offset + _SHORT or not self.lock.try_acquire():
            yield False
            return
        try:
            yield True
        finally:
            self.lock.__exit__(None, None, None)

    def _stay_current(self) -> None:
        """Notice that somebody removed, replaced or emptied the files of a running store."""
        if self.journal.is_current and self.journal.is_whole:
            if not self._is_snapshot_ours():
                self._replace_other_snapshot()
            return
        with self._reading, self.journal.paused():
            self.catch_up()
            if self.journal.is_current:
                self._go_on_after_emptying()
            elif os.path.exists(self.journal.path) and os.path.getsize(self.journal.path):
                self._follow()
            else:
                logger.warning("%s was removed while in use: it is written again", self.journal.path)
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
                self.journal.open()
                self._go_on_in_new_journal()

    def _follow(self) -> None:
        lost = self.journal.follow()
        self.journal.backlog.give_up(lost)
        text = "%s was replaced by another program: its present content counts; %d events are not in it"
        logger.warning(text, self.journal.path, lost)
        self.catch_up()

    def _go_on_after_emptying(self) -> None:
        lines = self.journal.begin_again()
        # How many there were since the last look, nobody knows.
        self.journal.backlog.give_up(1)
        logger.warning("%s was emptied by another program: what was logged last may be lost", self.journal.path)
        self._go_on_in_new_journal()
        for line in lines:
            self.journal.append(line)
        self.catch_up()

    def _is_snapshot_ours(self) -> bool:
        """Return whether the snapshot, if there is one, goes with the journal, whoever has saved it."""
        stamp = stamp_of(self.path)
        if stamp is None or stamp == self._snapshot_stamp:
            return True
        identity, held = head_of(self.path)
        names = [self.state.identity, *self.state.former, ""]
        kin = kinship(held, names, self.journal.header, self.journal.size, self.journal.fileno())
        if identity not in names or not held.id or kin not in (Kin.SAME, Kin.NEXT):
            return False
        with self._reading:
            # What it does not hold is saved again.
            self._snapshot_stamp, self._snapshot_size = stamp, stamp[1]
            self._saved_offset = held.offset if kin is Kin.SAME else self.journal.start
        return True

    def _replace_other_snapshot(self) -> None:
        """Write the snapshot again where another program has put a file in its place, which is kept."""
        with self._reading:
            left = keep_aside(self.path)
            text = "%s was replaced by another program while in use: that file is kept as %s, and the store goes on"
            logger.warning(text, self.path, left)
            self.catch_up()
            self._write_snapshot()

    def _go_on_in_new_journal(self) -> None:
        self._identity, self._offset = self.journal.identity, self.journal.start
        self._write_snapshot()

    @property
    def unapplied(self) -> dict[str, int]:
        """How many events were about something that is not stored, by its uid, as far as the files were read."""
        return dict(self.state.unapplied)

    def flush(self) -> None:
        """Write what could not be written before, as far as that is possible now."""
        if self.journal.backlog:
            if not self._writing:
                self.start_writing()
            self.journal.retry()

    def unsaved(self) -> int:
        """Return how many events are not on disk: those that wait or were lost, or are in a file that has no name."""
        return self.journal.backlog.unsaved + self._count_unnamed()

    def _count_unnamed(self) -> int:
        if not self._writing or self.journal.is_current:
            return 0
        is_kept = os.path.exists(self.path) and stamp_of(self.path) == self._snapshot_stamp
        start = self._saved_offset if is_kept else self.journal.start
        return sum(len(events) for events, _, _ in self.journal.read(start))

    # reading

    def identity(self) -> str:
        """Return the id of the store; empty while it has none: nothing was written yet."""
        if self._writing and self._is_whole:
            return self.state.identity
        with self.reading() as state:
            return state.identity

    def changes(self, since: str | None) -> tuple[str, list[str]]:
        """Return a cursor, and the trials that have changed since another one."""
        with self.reading() as state:
            return state.changes(since, self.journal_read)

    @property
    def journal_read(self) -> str:
        """Which journal the state is read from; without one, which the snapshot holds, or which file it is."""
        if self._identity and self._kin.is_read:
            return self._identity
        return self._held.id or "-".join(map(str, self._snapshot_stamp or ()))

    def reading(self) -> AbstractContextManager[State]:
        """Give the state, caught up, while no other thread changes it."""
        return Held(self._reading, self._caught_up)

    def knowing(self) -> AbstractContextManager[State]:
        """Give the state, caught up unless a long run would be read again for it."""
        return Held(self._reading, lambda: self.state if self._is_long() else self._caught_up())

    def _caught_up(self) -> State:
        self.catch_up()
        return self.state

    def unread(self) -> list[str]:
        """Return the lines of the journal that cannot be read, those before the snapshot too."""
        with self._reading:
            self.catch_up()
            lines = self.journal.unread() if self.journal.is_open else []
            return [*lines, *unread_points(self.state)]

    def require_alone(self) -> None:
        """Return if no other process has the store open; BackendUnavailable where one has. The lock is held."""
        if not self.journal.is_alone():
            raise BackendUnavailable(f"{self.path} is in use by another process: try again when no run is going on")

    def glimpse(self, uid: str) -> tuple[Trial, str] | None:
        """Return a trial, and what of it was not read; None where all can be: this process has logged little since."""
        with self._reading:
            view = self.state.copy_of(uid) if self._is_long() else None
            if view is None:
                return None
            return view, glimpse_of(view, self.journal, self._facts, self.state.show)

    def _is_long(self) -> bool:
        """Return whether so much was logged since this process has read that it should not read it again."""
        is_known = self._writing and self._is_whole and not self._busy and self._identity == self.journal.identity
        return is_known and self.journal.size - self._offset > MOST

    def catch_up(self) -> None:
        """Replay what was appended since the last time, by whomever."""
        with self._reading:
            # A signal handler that asks in the middle of a replay gets the state as it is.
            if self._busy or self._has_all():
                return
            try:
                self._busy = True
                if not self._writing and not (self.journal.is_current and self.journal.is_whole):
                    self._open_to_read()
                # Somebody emptied it: what is known is known still, and the next decision writes it again.
                if self._writing and self._is_whole and self._was_emptied():
                    return
                if not self._is_built_from_files():
                    self._load()
                if self.journal.is_open and self._kin.is_read:
                    self._replay()
            except BaseException:
                # Whatever was half done is done again from the files.
                self._is_whole = False
                raise
            finally:
                self._busy = False
                if not self._writing and not self._kin.is_read:
                    # The next writer puts it aside, unless somebody has it open.
                    self.journal.close()

    def _has_all(self) -> bool:
        """Return whether the state has all of the journal that this process writes to: nobody has appended to it."""
        is_same = self._writing and self._is_whole and self._identity == self.journal.identity
        return is_same and self._offset == self.journal.size

    def _read_ahead(self) -> None:
        """Replay what others decide while this process waits for its turn, which is the shorter then."""
        # What is wrong with the files is said by the turn itself.
        with contextlib.suppress(OSError, TrackError):
            if self._writing and self._is_whole and not self._has_all():
                self.catch_up()

    def _was_emptied(self) -> bool:
        return self._identity == self.journal.identity and self.journal.size < self._offset

    def _open_to_read(self) -> None:
        if self._is_left_behind():
            self.journal.close()
        else:
            self.journal.open_to_read()

    def _is_built_from_files(self) -> bool:
        if not self._is_whole or self._identity != self.journal.identity:
            return False
        if self.journal.is_open and self._kin.is_read:
            return self._offset <= self.journal.size
        return stamp_of(self.path) == self._snapshot_stamp

    def _load(self) -> None:
        """Read the snapshot, unless that is all that is known; the replay that follows begins where it ends."""
        known, stamp = (self.state.identity, self._built_from), stamp_of(self.path)
        # Not where it was given an id since, which a journal may say otherwise.
        is_known = self._is_whole and not self._identity and stamp is not None and known == (self._read_identity, stamp)
        self._is_whole = False
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
            self._built_from = self._snapshot_stamp = stamp
            self._snapshot_size = stamp[1] if stamp else 0
            self._held, self._in_memory, self._read_identity = place_of(held), 0, self.state.identity
            self._tell(lacking_points(self.state))
        self._kin = Kin.NEXT
        self._identity, self._offset = self.journal.identity, self.journal.start
        if self._identity:
            self._relate()
        self._saved_offset = self._offset
        self._is_whole = True

    def _relate(self) -> None:
        """Find out how the journal goes on from the snapshot, and say what is not as it should be.

        Raises BackendUnavailable: this process writes to the journal, and another snapshot was put beside it.
        """
        state, header = self.state, self.journal.header
        names = [state.identity, *state.former] if state.identity else []
        self._kin = kinship(self._held, names, header, self.journal.size, self.journal.fileno())
        if self._writing and not self._kin.is_read:
            raise replaced_in_use(self.path)
        if self._kin in (Kin.SAME, Kin.SHORT):
            self._offset = self._held.offset
        if not self._kin.is_read:
            self._offset = self.journal.size
        elif not state.identity:
            # One of before there were ids has the same for everybody who reads it, until there is a snapshot.
            state.identity = header.store or identity_from(f"journal {header.id}")
        state.home, state.origin = state.home or header.home, state.origin or header.origin
        self._tell(self._kin.warning(self.path))

    def _tell(self, text: str) -> None:
        """Say what is not as it should be, once."""
        if text and text not in self._told:
            logger.warning("%s", text)
            self._told.add(text)

    def _replay(self) -> None:
        for events, _, offset in self.journal.read(self._offset):
            self.state.apply(events)
            self._in_memory += offset - self._offset
            self._offset = offset
            if self._told_progress is not None:
                self._told_progress(offset / self.journal.size)
            if self._in_memory > SLICE:
                self._in_memory = 0
                self._spill()
        self._facts.clear()

    def _spill(self) -> None:
        """Move points out of memory that were replayed; they stay in it where there is no room for them."""
        try:
            spill(self.state)
        except OSError as error:
            self._tell(f"the points of {self.path} stay in memory, as {tempfile.gettempdir()} takes no files: {error}")

    # compacting

    def save(self) -> None:
        """Bring the snapshot up to date, and shorten the journal if this process is its only user.

        Raises BackendUnavailable: the disk is full, or was taken away.
        """
        if not self._writing:
            self.start_writing()
        with reaching(self.path), self.lock, self._reading:
            # A signal handler that saves in the middle of a replay, or of another save: the journal has it all.
            if self._busy:
                return
            self._stay_current()
            self.journal.retry()
            self._go_on_from_snapshot()
            self.catch_up()
            self._write_snapshot()
            if self._offset >= _CUT_FROM and not self.lock_appends:
                self._cut()
            self.lock.write_note(self.journal.identity)

    def fold(self) -> None:
        """Bring the snapshot up to date where much is not in it, without cutting the journal; others need not wait.

        What is long is done without the lock, or in slices of a second between which others may take it.

        Raises BackendUnavailable: there is no room.
        """
        if not self._writing:
            self.start_writing()
        is_done = False
        with reaching(self.path):
            while not is_done:
                self.catch_up()
                with self.lock, self._reading:
                    if self._busy:
                        return
                    self._stay_current()
                    self._go_on_from_snapshot()
                    self.catch_up()
                    is_done = place_for(self.state, _PAUSE)
                    if is_done:
                        self._write_snapshot()

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        """Fold, and shorten the journal if this process is its only user; return True: there is a shorter form."""
        self._told_progress = tell
        try:
            self.fold()
            self.save()
        finally:
            self._told_progress = None
        return True

    def _fold_if_due(self) -> None:
        """Fold a journal of which very much is in no snapshot, as that of a store that is always in use."""
        if self._is_snapshot_ours() and self.journal.size - max(self._saved_offset, self._fold_from) <= SLICE:
            return
        # Where it cannot be done, it is tried again only when as much has come again.
        self._fold_from = self.journal.size
        try:
            self.fold()
        except (OSError, TrackError) as error:
            logger.warning("%s was not brought up to date (%s); its journal holds everything", self.path, error)

    def _go_on_from_snapshot(self) -> None:
        """Read a snapshot that another process has written, where that names points which are here in memory."""
        if stamp_of(self.path) not in (None, self._built_from) and names_points(self.path):
            unapplied = self.state.unapplied
            self._is_whole = False
            self.catch_up()
            self.state.unapplied.update(unapplied)

    def save_afresh(self) -> None:
        """Save, and write the points that are still somebody's to a new file; no other process has the store open."""
        if not self._writing:
            self.start_writing()
        with reaching(self.path), self.lock, self._reading:
            self.catch_up()
            old = gather(self.state)
            self.save()
            for path in old:
                os.unlink(path)

    def save_if_worth(self, most: float = MOST) -> None:
        """Save while the snapshot is small, or the journal has grown to a quarter of it; once a second at most.

        So the snapshot alone is complete after an ordinary run, and many runs do not cost their square. While others
        use the store, it is left to the last of them. A disk that is full or a lock that is held leaves the journal. So
        does one of which more than `most` bytes are in no snapshot: a long run is not read again by whoever logged it.
        """
        if time.monotonic() >= self._looked_at + _PAUSE or not self._is_as_left():
            self._save_if_worth(most)

    def _is_as_left(self) -> bool:
        """Return whether nobody has removed or replaced the files, as far as their names say."""
        is_there = self._snapshot_stamp is None or os.path.exists(self.path)
        return is_there and self.journal.is_current and self._is_snapshot_ours()

    def _is_alone(self) -> bool:
        """Return whether no other process has the store open, as far as that can be said without waiting."""
        # Under the lock: who asks lets go of the journal for a moment, and it must not be cut then.
        self._looked_at = time.monotonic()
        if not self._writing or not self.lock.try_acquire():
            return False
        try:
            return self.journal.is_open and self.journal.is_alone()
        finally:
            self.lock.__exit__(None, None, None)

    def _save_if_worth(self, most: float = MOST) -> None:
        if not self._writing or not self.journal.retry():
            return
        try:
            if self._is_saved():
                return
            if not self._is_as_left() or (self._is_cheap(most) and self._is_alone()):
                self.save()
        except (OSError, TrackError) as error:
            unsaved = self.unsaved()
            kept = f"{unsaved} events are not on disk" if unsaved else "its journal holds everything"
            logger.warning("%s was not brought up to date (%s); %s", self.path, error, kept)

    def _is_cheap(self, most: float) -> bool:
        grown = self.journal.size - self._saved_offset
        return grown <= most and (self._snapshot_size <= _SMALL or grown * 4 >= self._snapshot_size)

    def _is_saved(self) -> bool:
        if self.journal.is_current and not self._is_snapshot_ours():
            return False
        if self.journal.size != self._saved_offset:
            return False
        # All files gone, and nothing logged since: somebody removed the store, and it stays removed.
        return os.path.exists(self.path) or not self.journal.is_current

    def _write_snapshot(self) -> None:
        try:
            self._busy = True
            if self.journal.has_unread and self.journal.is_current:
                self._keep_journal("has lines that cannot be read")
                self.journal.has_unread = False
            held = self.journal.place(self._offset) if self.journal.is_open else self._held
            placing = placing_of(self.state)
            self._snapshot_size = replace_file(self.path, self._snapshot_bytes(held, placing), f"{self.path}.tmp")
            self._held, self._kin = held, Kin.SAME
            self._saved_offset = self._offset
            self._built_from = self._snapshot_stamp = stamp_of(self.path)
            self._in_memory = 0 if placing else self._in_memory
            self._looked_at = time.monotonic()
        finally:
            self._busy = False

    def _snapshot_bytes(self, held: Place, placing: Placing | None) -> Iterator[bytes]:
        # Once the file is there that takes the snapshot's place.
        self.state.home, self.state.origin = self.path, origin_of(self.path, self._kind, f"{self.path}.tmp")
        yield from snapshot_bytes(self.state, msgspec.to_builtins(held), placing=placing)

    def _cut(self) -> None:
        if self.journal.cut(self._offset):
            self._identity = self.journal.identity
            self._offset = self._saved_offset = self.journal.start

    # life

    def close(self) -> None:
        """Save if it is worth it, and give the files back; while something waits for room they stay open."""
        if self.leave():
            with self._reading:
                self._writing = False
                self.journal.close()

    def leave(self) -> bool:
        """Save if it is worth it, remove a journal that nobody needs, and return whether nothing waits for room."""
        self._save_if_worth()
        if not self.journal.retry():
            return False
        try:
            if self._writing and not self.lock_appends and self._is_saved() and os.path.exists(self.path):
                self._remove_journal()
        except (OSError, TrackError) as error:
            logger.debug("%s stays: %s", self.journal.path, error)
        return True

    def _remove_journal(self) -> None:
        with self.lock, self._reading:
            # Somebody may have deleted or replaced the snapshot.
            if stamp_of(self.path) == self._snapshot_stamp and self.journal.remove(self._saved_offset):
                self._writing = False

    def after_fork(self) -> None:
        """In a forked child: a lock of its own now, and a file of its own when it is first needed."""
        self.lock.reset_after_fork()
        self.journal.after_fork()
        self.state.outside.after_fork()
        self._reading = threading.RLock()
        # Another thread of the parent was in the middle of a replay: what it had applied is not known.
        self._is_whole = self._is_whole and not self._busy
        self._busy = self._writing = False
