"""One file store: a snapshot, its journal and its lock."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from track.errors import BackendUnavailable, LockTimeout, TrackError
from track.events import Batch, Event, MetricsLogged, encode, encode_batch, encode_plain
from track.persistence.contract import is_elsewhere, new_identity
from track.persistence.file.folding import Folding
from track.persistence.file.glimpse import MOST, glimpse_of
from track.persistence.file.guarding import Guard
from track.persistence.file.journal import Journal
from track.persistence.file.kinship import Kin, is_copy, origin_of
from track.persistence.file.lock import Held, StoreLock, is_of_network
from track.persistence.file.replaying import Replay
from track.persistence.state import State, unread_points
from track.structure import Trial
from track.utils.clocks import DiskClock
from track.utils.files import reaching, require_writable, stamp_of
from track.utils.mounts import file_system_of

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_PAUSE = 1.0
_SHORT = 1 << 16
_FORMER = 100


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
        self.new_identity = new_identity
        self._known = Replay(path, self.journal, self.lock)
        self.folding = Folding(self._known, self.journal, self.lock, kind, is_cut=not self.lock_appends)
        self.clock = DiskClock(self.lock.path, is_shared=self.lock_appends)
        self._known.state.liveness.clock = self.clock
        self._guard = Guard(self._known, self.journal, self.folding)
        self._fold_from = 0
        self._looked_at = -math.inf
        # Weakly: a store that nobody has any more gives its files back at once.
        self.lock.meanwhile = weakref.WeakMethod(self._known.read_ahead)

    @property
    def state(self) -> State:
        """What the files said when they were last read."""
        return self._known.state

    # writing

    def apply(self, events: Sequence[Event]) -> None:
        """Add events: one write to the journal each."""
        for event in events:
            self._append(event, encode(event))

    def keep(self, event: Event) -> None:
        """Add an event in which no number is NaN or infinite."""
        self._append(event, encode_plain(event))

    def _append(self, event: Event, line: bytes) -> None:
        known = self._known
        if not known.is_writing:
            self.start_writing()
        if type(event) is not MetricsLogged:
            known.facts.note(line)
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
        known = self._known
        with known.turn:
            is_current = not known.is_busy and known.has_all()
            self.journal.append(line)
            end = known.offset + len(line)
            # Only where nobody else wrote meanwhile; else it is read from the file, with what they wrote.
            if is_current and self.journal.size == end:
                # Whatever happens in the middle, the state is read again.
                known.is_whole = False
                known.state.apply([batch])
                known.offset, known.is_whole = end, True

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
        known = self._known
        with reaching(self.path):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Before it is this process's turn, so that others need not wait. What is wrong is said below.
            with contextlib.suppress(OSError, TrackError):
                known.catch_up()
            with self.lock, known.turn:
                if known.is_writing:
                    return
                self._guard.start_afresh()
                known.catch_up()
                self._guard.part_from_stranger()
                self._identify()
                self.journal.open()
                known.catch_up()
                if known.offset > self.journal.size:
                    self.folding.accept_lost_end()
                if known.kin is Kin.LATER:
                    self.folding.keep_journal(known.kin.value)
                    self.folding.write()
                known.is_writing = True

    def _identify(self) -> None:
        """Give a store that has no id one, and a copy one of its own."""
        known, origin = self._known, origin_of(self.path, self._kind)
        state = known.state
        if is_copy(self.path, state.home, state.identity) or is_elsewhere(state.origin, origin):
            logger.info("%s is a copy of what was at %s: from now on it is a store of its own", self.path, state.home)
            state.former = [*state.former, state.identity][-_FORMER:]
            state.identity = self.new_identity()
            # Should it fail, what is on the disk counts.
            known.is_whole = False
            self.folding.write()
            known.is_whole = True
        state.identity = state.identity or self.new_identity()
        self.journal.store, self.journal.origin = state.identity, origin
        self.journal.follows = known.held if known.held.id else None

    def check_writable(self) -> None:
        """Raise BackendUnavailable if the folder cannot be written to; nothing is created."""
        require_writable(self.path)

    def atomically(self, action: Callable[[], _Result]) -> _Result:
        """Return ``action()``, under the lock, with the state caught up.

        Raises BackendUnavailable: the decision cannot be written; it is as if it had not been made.
        """
        if not self._known.is_writing:
            self.start_writing()
        if self._is_too_much(self._known.saved_offset) and self.journal.decider != threading.get_ident():
            self._fold_if_due()
        with self.lock:
            outer, this = self.journal.decider, threading.get_ident()
            if outer != this:
                with reaching(self.path):
                    self._guard.stay_current()
            self.journal.decider = this
            try:
                return action()
            finally:
                self.journal.decider = outer

    @contextlib.contextmanager
    def at_once(self) -> Iterator[bool]:
        """Say whether a short call need not wait, for another process or for much to catch up with; keep it so."""
        is_short = self._known.is_writing and not self.journal.durable and not self.lock_appends
        if not is_short or self.journal.size > self._known.offset + _SHORT or not self.lock.try_acquire():
            yield False
            return
        try:
            yield True
        finally:
            self.lock.__exit__(None, None, None)

    @property
    def unapplied(self) -> dict[str, int]:
        """How many events were about something that is not stored, by its uid, as far as the files were read."""
        return dict(self.state.unapplied)

    def flush(self) -> None:
        """Write what could not be written before, as far as that is possible now."""
        if self.journal.backlog:
            if not self._known.is_writing:
                self.start_writing()
            self.journal.retry()

    def unsaved(self) -> int:
        """Return how many events are not on disk: those that wait or were lost, or are in a file that has no name."""
        return self.journal.backlog.unsaved + self._count_unnamed()

    def _count_unnamed(self) -> int:
        known = self._known
        if not known.is_writing or self.journal.is_current:
            return 0
        is_kept = os.path.exists(self.path) and stamp_of(self.path) == known.snapshot_stamp
        start = known.saved_offset if is_kept else self.journal.start
        try:
            return sum(len(events) for events, _, _ in self.journal.read(start))
        except OSError:
            if self.journal.is_open:
                raise
            # Another thread gave it back meanwhile, with what was in it saved or said to be lost.
            return 0

    # reading

    def identity(self) -> str:
        """Return the id of the store; empty while it has none: nothing was written yet."""
        if self._known.is_writing and self._known.is_whole:
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
        return self._known.journal_read

    def reading(self) -> AbstractContextManager[State]:
        """Give the state, caught up, while no other thread changes it."""
        return Held(self._known.turn, self._known.caught_up)

    def knowing(self) -> AbstractContextManager[State]:
        """Give the state, caught up unless a long run would be read again for it."""
        return Held(self._known.turn, lambda: self.state if self._is_long() else self._known.caught_up())

    def unread(self) -> list[str]:
        """Return the lines of the journal that cannot be read, those before the snapshot too."""
        with self._known.turn:
            self._known.catch_up()
            lines = self.journal.unread() if self.journal.is_open else []
            return [*lines, *unread_points(self.state)]

    def require_alone(self) -> None:
        """Return if no other process has the store open; BackendUnavailable where one has. The lock is held."""
        if not self.journal.is_alone():
            raise BackendUnavailable(f"{self.path} is in use by another process: try again when no run is going on")

    def glimpse(self, uid: str) -> tuple[Trial, str] | None:
        """Return a trial, and what of it was not read; None where all can be: this process has logged little since."""
        with self._known.turn:
            view = self.state.copy_of(uid) if self._is_long() else None
            if view is None:
                return None
            return view, glimpse_of(view, self.journal, self._known.facts, self.state.show)

    def _is_long(self) -> bool:
        """Return whether so much was logged since this process has read that it should not read it again."""
        known = self._known
        is_known = known.is_writing and known.is_whole and not known.is_busy and known.identity == self.journal.identity
        return is_known and self.journal.size - known.offset > MOST

    # compacting

    def save(self) -> None:
        """Bring the snapshot up to date, and shorten the journal if this process is its only user.

        Raises BackendUnavailable: the disk is full, or was taken away.
        """
        if not self._known.is_writing:
            self.start_writing()
        with reaching(self.path), self.lock, self._known.turn:
            # A signal handler that saves in the middle of a replay, or of another save: the journal has it all.
            if self._known.is_busy:
                return
            self._guard.stay_current()
            self.folding.save()

    def fold(self) -> None:
        """Bring the snapshot up to date where much is not in it, without cutting the journal; others need not wait.

        What is long is done without the lock, or in slices of a second between which others may take it.

        Raises BackendUnavailable: there is no room.
        """
        if not self._known.is_writing:
            self.start_writing()
        is_done = False
        with reaching(self.path):
            while not is_done:
                self._known.catch_up()
                with self.lock, self._known.turn:
                    if self._known.is_busy:
                        return
                    self._guard.stay_current()
                    is_done = self.folding.fold_for(_PAUSE)

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        """Fold, and shorten the journal if this process is its only user; return True: there is a shorter form."""
        self._known.progress = tell
        try:
            self.fold()
            self.save()
        finally:
            self._known.progress = None
        return True

    def _fold_if_due(self) -> None:
        """Fold a journal of which very much is in no snapshot, as that of a store that is always in use."""
        # Who has saved it meanwhile is seen by the first.
        is_ours = self._guard.is_snapshot_ours()
        if is_ours and not self._is_too_much(max(self._known.saved_offset, self._fold_from)):
            return
        # Where it cannot be done, it is tried again only when as much has come again.
        self._fold_from = self.journal.size
        try:
            self.fold()
        except (OSError, TrackError) as error:
            logger.warning("%s was not brought up to date (%s); its journal holds everything", self.path, error)

    def _is_too_much(self, saved: int) -> bool:
        return self._known.is_too_much(self.journal.size - saved)

    def save_afresh(self) -> None:
        """Save, and write the points that are still somebody's to a new file; no other process has the store open."""
        if not self._known.is_writing:
            self.start_writing()
        with reaching(self.path), self.lock, self._known.turn:
            old = self.folding.gather()
            self.save()
            for path in old:
                os.unlink(path)

    def save_if_worth(self, most: float = MOST) -> None:
        """Save while the snapshot is small, or the journal has grown to a quarter of it; once a second at most.

        So the snapshot alone is complete after an ordinary run, and many runs do not cost their square. While others
        use the store, it is left to the last of them. A disk that is full or a lock that is held leaves the journal. So
        does one of which more than `most` bytes are in no snapshot: a long run is not read again by whoever logged it.
        """
        looked_at = max(self._looked_at, self.folding.written_at)
        if time.monotonic() >= looked_at + _PAUSE or not self._guard.is_as_left():
            self._save_if_worth(most)

    def _is_alone(self) -> bool:
        """Return whether no other process has the store open, as far as that can be said without waiting."""
        # Under the lock: who asks lets go of the journal for a moment, and it must not be cut then.
        self._looked_at = time.monotonic()
        if not self._known.is_writing or not self.lock.try_acquire():
            return False
        try:
            return self.journal.is_open and self.journal.is_alone()
        finally:
            self.lock.__exit__(None, None, None)

    def _save_if_worth(self, most: float = MOST) -> None:
        if not self._known.is_writing or not self.journal.retry():
            return
        try:
            if self._guard.is_saved():
                return
            if not self._guard.is_as_left() or (self.folding.is_cheap(most) and self._is_alone()):
                self.save()
        except (OSError, TrackError) as error:
            if not self.journal.is_open:
                # Another thread gave it back meanwhile.
                return
            unsaved = self.unsaved()
            kept = f"{unsaved} events are not on disk" if unsaved else "its journal holds everything"
            logger.warning("%s was not brought up to date (%s); %s", self.path, error, kept)

    # life

    def close(self) -> None:
        """Save if it is worth it, and give the files back; while something waits for room they stay open."""
        if self.leave():
            with self._known.turn:
                self._known.is_writing = False
                self.journal.close()

    def leave(self) -> bool:
        """Save if it is worth it, remove a journal that nobody needs, and return whether nothing waits for room."""
        self._save_if_worth()
        if not self.journal.retry():
            return False
        try:
            may_remove = self._known.is_writing and not self.lock_appends
            if may_remove and self._guard.is_saved() and os.path.exists(self.path):
                with self.lock, self._known.turn:
                    self.folding.remove_journal()
        except (OSError, TrackError) as error:
            logger.debug("%s stays: %s", self.journal.path, error)
        return True

    def after_fork(self) -> None:
        """In a forked child: a lock of its own now, and a file of its own when it is first needed."""
        self.lock.reset_after_fork()
        self.journal.after_fork()
        self._known.after_fork()
