"""Stores without a file: in memory for good (``ephemeral:``, ``file:``), or until they are saved (``?eager=0``)."""

from __future__ import annotations

import logging
import math
import secrets
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice, repeat
from typing import Any, TypeVar

from track.errors import ConcurrentWrite
from track.events import Batch, Event, TrialCreated
from track.persistence.contract import new_identity
from track.persistence.file.lock import Held, StoreLock
from track.persistence.file.store import FileStore
from track.persistence.state import State
from track.utils.clocks import StoreClock

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_INBOX = 512


class MemoryStore:
    """State in memory, shared by the threads of this process; it has the methods of a `FileStore`.

    `lock_timeout`: seconds to wait for another thread, > 0.
    """

    path: str | None = None

    def __init__(self, lock_timeout: float = math.inf) -> None:
        self.lock = StoreLock(None, lock_timeout)
        self.clock = StoreClock()
        self._state = State()
        self._state.identity = new_identity()
        self._inbox: deque[Event] = deque()
        self._is_draining = False

    def apply(self, events: Sequence[Event]) -> None:
        """Add events: they wait, in order, until something is asked."""
        inbox = self._inbox
        inbox.extend(events)
        if len(inbox) > _INBOX:
            with self.lock:
                self._drain()

    def keep(self, event: Event) -> None:
        """Add an event."""
        inbox = self._inbox
        inbox.append(event)
        if len(inbox) > _INBOX:
            with self.lock:
                self._drain()

    def receive(self, batch: Batch, line: bytes | None = None) -> None:
        """Add events that somebody has numbered."""
        with self.reading() as state:
            state.apply([batch])

    def _drain(self) -> None:
        """Change the state as the events say that wait; the caller holds the lock."""
        # A signal handler that logs in the middle of this leaves its event to the loop it interrupted.
        if self._is_draining or not self._inbox:
            return
        self._is_draining = True
        try:
            # Also those that come meanwhile.
            while waiting := list(islice(self._inbox, _INBOX)):
                taken = map(deque.popleft, repeat(self._inbox, len(waiting)))
                change = self._state.prepared(waiting)
                if change is None:
                    # Each is taken when its turn comes.
                    self._state.apply(taken)
                    continue
                # In one step, which no signal interrupts.
                deque(taken, maxlen=0)
                change()
        finally:
            self._is_draining = False

    def atomically(self, action: Callable[[], _Result]) -> _Result:
        """Return ``action()``; other threads wait."""
        with self.lock:
            return action()

    def reading(self) -> AbstractContextManager[State]:
        """Give the state, while no other thread changes it."""
        return Held(self.lock, self._caught_up)

    def knowing(self) -> AbstractContextManager[State]:
        """Give the state, as `reading` does."""
        return self.reading()

    def _caught_up(self) -> State:
        self._drain()
        return self._state

    def changes(self, since: str | None) -> tuple[str, list[str]]:
        """Return a cursor, and the trials that have changed since another one."""
        with self.reading() as state:
            return state.changes(since, state.identity)

    def identity(self) -> str:
        """Return the id of the store."""
        return self._state.identity

    def unread(self) -> list[str]:
        """Return what of the file cannot be read; there is none."""
        return []

    def require_alone(self) -> None:
        """Nothing: no other process has this memory."""

    def at_once(self) -> AbstractContextManager[bool]:
        """Say that a call need not wait for anybody."""
        return nullcontext(True)

    @property
    def unapplied(self) -> dict[str, int]:
        """How many events were about something that is not stored, by its uid."""
        # As `reading` does, without an object for it: each trial that ends asks.
        with self.lock:
            return dict(self._caught_up().unapplied)

    def glimpse(self, uid: str) -> None:
        """Return None: nothing is left unread."""
        return

    def unsaved(self) -> int:
        """Return 0: nothing waits for a disk."""
        return 0

    def save(self) -> None:
        """Nothing: there is no file."""

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        """Save; return whether there is a file."""
        self.save()
        return self.path is not None

    def save_afresh(self) -> None:
        """Save, without what was forgotten."""
        self.save()

    def close(self, *_: Any) -> None:
        """Nothing: there is no file."""

    flush = check_writable = save_if_worth = close


class BufferedStore(MemoryStore):
    """A file store that keeps everything in memory until `save`.

    `path`: the JSON file; it is read at the first question. `lock_timeout`: seconds to wait for another thread or
    process, > 0.
    """

    def __init__(self, path: str, lock_timeout: float, file_lock: str = "auto") -> None:
        super().__init__(lock_timeout)
        self._file_lock = file_lock
        self.path: str = path
        self._unsaved: deque[Event] = deque()
        self._is_loaded = False
        self._unsaved_name, self._loaded = "", 0
        weakref.finalize(self, _tell_unsaved, self._unsaved, path)

    def apply(self, events: Sequence[Event]) -> None:
        with self.reading() as state:
            self._unsaved.extend(events)
            state.apply(events)

    def keep(self, event: Event) -> None:
        self.apply((event,))

    def receive(self, batch: Batch, line: bytes | None = None) -> None:
        """Add events; who numbers them wants them stored, which they are not before `save`: no number is kept."""
        with self.reading() as state:
            self._unsaved.extend(batch.events)
            state.apply([batch])

    def _caught_up(self) -> State:
        """Return what the file held at the first question, or at the last save, and what came since."""
        if not self._is_loaded:
            store = FileStore(self.path, self.lock.timeout, lock=self._file_lock)
            with store.reading():
                self._take(store)
            store.close()
            self._state.identity = self._state.identity or new_identity()
            self._is_loaded = True
        return self._state

    def identity(self) -> str:
        """Return the id of the file's store, or the one it will have."""
        with self.reading() as state:
            return state.identity

    def _take(self, store: FileStore) -> None:
        """Take the state of the file; the events from here on are counted apart, until they are saved."""
        self._state, self._unsaved_name = store.state, secrets.token_hex(8)
        self._state.note_journal(store.journal_read)
        self._loaded = self._state.count

    def changes(self, since: str | None) -> tuple[str, list[str]]:
        with self.reading() as state:
            return state.changes(since, self._unsaved_name)

    def unread(self) -> list[str]:
        """Return what of the file cannot be read."""
        store = FileStore(self.path, self.lock.timeout, lock=self._file_lock)
        try:
            return store.unread()
        finally:
            store.close()

    def save(self) -> None:
        """Write everything to the file.

        Raises ConcurrentWrite: another process has created a trial with the same uid meanwhile. BackendUnavailable:
        there is no room; what is left stays in memory.
        """
        with self.lock:
            store = FileStore(self.path, self.lock.timeout, lock=self._file_lock)
            # What was said to be its id, unless somebody else has made the file meanwhile.
            store.new_identity = lambda: self._state.identity
            try:
                store.atomically(lambda: self._hand_over(store))
                store.save()
                self._take(store)
            finally:
                store.close()

    def _hand_over(self, store: FileStore) -> None:
        created = {event.trial for event in self._unsaved if isinstance(event, TrialCreated)}
        with store.reading() as present:
            # What is forgotten stays so, whoever creates it again.
            both = sorted(uid for uid in created & present.trials if not self._state.is_forgotten(uid))
            is_as_loaded = present.journals.get(store.journal_read, present.count) == present.count == self._loaded
        if both:
            raise ConcurrentWrite(f"{self.path} has trial {both[0]} already: another process created it meanwhile")
        while self._unsaved:
            store.apply([self._unsaved[0]])
            # Only now: what did not fit is saved the next time, and nothing twice.
            self._unsaved.popleft()
        with store.reading() as present:
            if is_as_loaded and present.count == self._state.count:
                # They are counted there as they were here.
                present.note_journal(self._unsaved_name)


def _tell_unsaved(events: deque[Event], path: str) -> None:
    if events:
        logger.warning("%d events were kept in memory and never saved to %s", len(events), path)
