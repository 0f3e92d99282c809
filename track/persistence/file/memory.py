"""Stores that keep events in memory: for good (``file:``), or until they are saved (``?eager=0``)."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from track.errors import ConcurrentWrite
from track.events import Batch, Event, Record, TrialCreated, encode
from track.persistence.file.lock import StoreLock
from track.persistence.file.store import FileStore
from track.persistence.state import State

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class MemoryStore:
    """State in memory, shared by the threads of this process.

    Parameters
    ----------
    lock_timeout: float
        Seconds to wait for another thread or process, > 0.
    """

    path: str | None = None

    def __init__(self, lock_timeout: float) -> None:
        self.lock = StoreLock(None, lock_timeout)
        self.storage: State = State()

    def keep(self, records: Iterable[Record]) -> None:
        """Add events."""
        with self.lock:
            self.storage.apply(records)

    def atomically(self, action: Callable[[], _Result]) -> _Result:
        """Return ``action()``; other threads wait."""
        with self.lock:
            return action()

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """Give the state, while no other thread changes it."""
        with self.lock:
            yield self.storage

    def save(self) -> None:
        """Nothing: there is no file."""


class BufferedStore(MemoryStore):
    """A file store that keeps everything in memory until `save`.

    Parameters
    ----------
    path: str
        The JSON file; it is read at the first question.
    lock_timeout: float
        Seconds to wait for another thread or process, > 0.
    """

    def __init__(self, path: str, lock_timeout: float) -> None:
        super().__init__(lock_timeout)
        self.path: str = path
        self._events: deque[Event] = deque()
        self._is_loaded = False
        weakref.finalize(self, _tell_unsaved, self._events, path)

    def keep(self, records: Iterable[Record]) -> None:
        """Add events, in memory."""
        with self.reading() as storage:
            for record in records:
                # Who numbers events wants them stored, which they are not before `save`: the numbers are not kept.
                self._events.extend(record.events if isinstance(record, Batch) else (record,))
                storage.apply([record])

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """Give the state: what the file held at the first question, or at the last save, and what was kept since."""
        with self.lock:
            if not self._is_loaded:
                store = self._open()
                with store.reading() as storage:
                    self.storage = storage
                store.close()
                self._is_loaded = True
            yield self.storage

    def save(self) -> None:
        """Write everything to the file.

        Raises
        ------
        ConcurrentWrite
            Another process has created a trial with the same uid meanwhile.
        BackendUnavailable
            There is no room; what is left stays in memory.
        """
        with self.lock:
            store = self._open()
            try:
                store.atomically(lambda: self._hand_over(store))
                store.save()
                self.storage = store.storage
            finally:
                store.close()

    def _open(self) -> FileStore:
        return FileStore(self.path, self.lock.timeout)

    def _hand_over(self, store: FileStore) -> None:
        created = {event.trial for event in self._events if isinstance(event, TrialCreated)}
        with store.reading() as present:
            both = sorted(created & present.trials)
        if both:
            raise ConcurrentWrite(f"{self.path} has trial {both[0]} already: another process created it meanwhile")
        while self._events:
            store.append(encode(self._events[0]))
            # Only now: what did not fit is saved the next time, and nothing twice.
            self._events.popleft()


def _tell_unsaved(events: deque[Event], path: str) -> None:
    if events:
        logger.warning("%d events were kept in memory and never saved to %s", len(events), path)
