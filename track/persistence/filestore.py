"""One file store: a snapshot, its journal and its lock, shared by all clients of this process."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from track.errors import BackendUnavailable, ConcurrentWrite
from track.events import Event, TrialCreated, encode
from track.persistence.journal import Journal
from track.persistence.lock import StoreLock, is_network_path
from track.persistence.snapshot import read_snapshot, replace_file, snapshot_bytes
from track.persistence.storage import LocalStorage

__all__ = ["FileStore", "open_store"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

SMALL_AT_FINISH = 1 << 20
SMALL_AT_EXIT = 8 << 20
_CUT_FROM = 1 << 16
_KEPT_OPEN = 4


class FileStore:
    """State on disk: ``report.json``, ``report.json.journal``, ``report.json.lock``.

    Writing an event is one append to the journal. State is built only by replaying snapshot and journal,
    in file order, when something is asked; so two processes never disagree.

    Parameters
    ----------
    path: str
        The snapshot's path.
    lock_timeout: float
        Seconds to wait for a decision of another process, > 0.
    durable: bool
        Whether each line reaches the disk at once.
    lock_appends: bool
        Whether each append takes the lock: on file systems of several hosts, where appends may mix.
    """

    def __init__(self, path: str, lock_timeout: float, durable: bool = False, lock_appends: bool = False) -> None:
        self.path = path
        self.lock = StoreLock(f"{path}.lock", lock_timeout)
        self.journal = Journal(f"{path}.journal", durable)
        self.lock_appends = lock_appends or sys.platform == "win32" or is_network_path(path)
        self.storage = LocalStorage(path)
        self._offset = 0
        self._saved_offset = 0
        self._snapshot_size = 0
        self._snapshot_stamp: tuple[int, int, int] | None = None
        self._writing = False
        self._reading = threading.RLock()
        self._replaying = False
        _stores_of_process.add(self)

    # writing

    def append(self, line: bytes) -> None:
        """Add one event's line."""
        if not self._writing:
            self.start_writing()
        if self.lock_appends:
            with self.lock:
                self.journal.append(line)
            return
        self.journal.append(line)

    def start_writing(self) -> None:
        """Create what is missing on disk.

        Raises
        ------
        BackendUnavailable
            The folder cannot be written to.
        """
        folder = Path(self.path).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.lock, self._reading:
                was_open = self.journal.is_open
                self.journal.open()
                if not was_open:
                    self._load()
                self._writing = True
        except OSError as error:
            raise BackendUnavailable(
                f"{self.path} cannot be written ({error.strerror or error}): choose a folder that can, as in "
                "TrackClient('file:///somewhere/else.json')"
            ) from error

    def check_writable(self) -> None:
        """Raise BackendUnavailable if the folder cannot be written to; nothing is created."""
        folder = Path(self.path).parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return
        raise BackendUnavailable(
            f"{self.path} cannot be written: {folder} is read-only or no folder; choose another, as in "
            "TrackClient('file:///somewhere/else.json')"
        )

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, under the lock, with the state caught up."""
        if not self._writing:
            self.start_writing()
        with self.lock:
            self._stay_current()
            return action()

    def _stay_current(self) -> None:
        """Notice that somebody removed or replaced the files of a running store."""
        if self.journal.is_current:
            return
        with self._reading:
            self.catch_up()
            if os.path.exists(self.journal.path):
                logger.warning("%s was replaced by another program: its present content counts", self.journal.path)
                self.journal.open()
                self._load()
                return
            logger.warning("%s was removed while in use: it is written again", self.journal.path)
            self.journal.open()
            self.storage.changed.update(self.storage.trials)
            self._write_snapshot(self.journal.start)

    # reading

    @contextlib.contextmanager
    def reading(self) -> Iterator[LocalStorage]:
        """Give the state, caught up, while no other thread changes it."""
        with self._reading:
            self.catch_up()
            yield self.storage

    def catch_up(self) -> None:
        """Replay what was appended since the last time, by whomever."""
        with self._reading:
            # A signal handler that asks in the middle of a replay gets the state as it is.
            if self._replaying:
                return
            self._replaying = True
            try:
                if not self.journal.is_open:
                    self._open_to_read()
                if self.journal.is_open:
                    self._replay()
            finally:
                self._replaying = False

    def _replay(self) -> None:
        for events, offset in self.journal.read(self._offset):
            self.storage.apply(events)
            self._offset = offset

    def _open_to_read(self) -> None:
        if self.journal.open_to_read() or self._stamp() != self._snapshot_stamp:
            self._load()

    def _load(self) -> None:
        """Read the snapshot; the replay that follows begins where it ends."""
        self.storage = LocalStorage(self.path)
        self._snapshot_stamp = self._stamp()
        held = read_snapshot(self.path, self.storage)
        self._snapshot_size = self._snapshot_stamp[1] if self._snapshot_stamp else 0
        self._offset = self.journal.start
        if held.get("id") == self.journal.identity and self.journal.is_open:
            self._offset = int(held["offset"])
        self._saved_offset = self._offset

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    # compacting

    def save(self) -> None:
        """Bring the snapshot up to date, and shorten the journal if this process is its only user."""
        if not self._writing:
            self.start_writing()
        with self.lock, self._reading:
            self.journal.retry()
            self._stay_current()
            self.catch_up()
            self._write_snapshot(self._offset)
            self._cut()

    def save_if_worth(self, small: int) -> None:
        """Save while the snapshot is smaller than `small` bytes, or the journal has grown to a quarter of it.

        So the snapshot alone is complete after an ordinary run, and many runs do not cost their square. A
        disk that is full or a lock that is held leaves the journal, which holds everything.
        """
        if not self._writing or self._replaying:
            return
        try:
            grown = self.journal.size - self._saved_offset
            if self._is_saved() or not (self._snapshot_size <= small or grown * 4 >= self._snapshot_size):
                return
            self.save()
        except (OSError, TimeoutError) as error:
            logger.warning("%s was not brought up to date (%s); its journal holds everything", self.path, error)

    def _is_saved(self) -> bool:
        return self.journal.size == self._saved_offset and os.path.exists(self.path) and not self.journal.waiting

    def _write_snapshot(self, offset: int) -> None:
        held = {"id": self.journal.identity, "offset": offset}
        self._snapshot_size = replace_file(self.path, snapshot_bytes(self.storage, held))
        self._saved_offset = offset
        self._snapshot_stamp = self._stamp()

    def _cut(self) -> None:
        # Only when nobody else could be writing: no other thread of this process, no other process.
        if self._offset < _CUT_FROM or len(sys._current_frames()) > 1 or self.lock_appends:
            return
        if self.journal.cut(self._offset):
            self._offset = self._saved_offset = self.journal.start

    # life

    def close(self) -> None:
        """Save if it is worth it, and give the files back."""
        self.save_if_worth(SMALL_AT_EXIT)
        if self.journal.waiting:
            self.journal.retry()
        with self._reading:
            self._writing = False
            self.journal.close()
            self._snapshot_stamp = None

    def unsaved(self) -> int:
        """Return how many events are not on disk."""
        return len(self.journal.waiting) + self.journal.dropped

    def after_fork(self) -> None:
        """In a forked child: files and locks of its own."""
        self.lock.reset_after_fork()
        self._reading = threading.RLock()
        if self._replaying:
            # The parent was replaying in another thread: what it had applied is not known.
            self._replaying = False
            self._snapshot_stamp = None
            self.storage = LocalStorage(self.path)
        self.journal.reopen_after_fork()
        if not self.storage.trials:
            self._load()


class BufferedStore(FileStore):
    """A file store that keeps everything in memory until `save` (``?eager=0``)."""

    def __init__(self, path: str, lock_timeout: float) -> None:
        super().__init__(path, lock_timeout)
        self._events: list[Event] = []

    def append(self, line: bytes) -> None:
        """Not used: events are kept as they are."""
        raise NotImplementedError

    def keep(self, events: tuple[Event, ...]) -> None:
        """Add events, in memory."""
        with self._reading:
            self.catch_up()
            self._events.extend(events)
            self.storage.apply(events)

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``; other threads wait."""
        with self._reading:
            return action()

    def catch_up(self) -> None:
        """Read the file at the first question; after that memory is the state."""
        if self._snapshot_stamp is None and not self._events and not self.storage.projects:
            super().catch_up()

    def save(self) -> None:
        """Write everything to the file.

        Raises
        ------
        ConcurrentWrite
            Another process has created a trial with the same uid meanwhile.
        """
        with self._reading:
            events, self._events = self._events, []
            store = FileStore(self.path, self.lock.timeout)
            try:
                store.atomically(lambda: self._hand_over(store, events))
                store.save()
            except BaseException:
                self._events = events + self._events
                raise
            finally:
                store.close()

    def _hand_over(self, store: FileStore, events: list[Event]) -> None:
        with store.reading() as present:
            created = {event.trial for event in events if isinstance(event, TrialCreated)}
            both = sorted(created & present.trials)
        if both:
            raise ConcurrentWrite(f"{self.path} has trial {both[0]} already: another process created it meanwhile")
        for event in events:
            store.append(encode(event))

    def save_if_worth(self, small: int) -> None:
        """Nothing: only `save` writes."""

    def close(self) -> None:
        """Nothing is open."""


_open_stores: weakref.WeakValueDictionary[tuple[str, bool, bool], FileStore] = weakref.WeakValueDictionary()
_recent: OrderedDict[tuple[str, bool, bool], FileStore] = OrderedDict()
_stores_of_process: weakref.WeakSet[FileStore] = weakref.WeakSet()
_opening = threading.RLock()


def open_store(path: str, lock_timeout: float, durable: bool = False, lock_appends: bool = False) -> FileStore:
    """Return the store at `path`: the same object for all clients of this process."""
    key = (os.path.realpath(path), durable, lock_appends)
    with _opening:
        store = _open_stores.get(key)
        if store is not None and store.journal.is_open and not store.journal.is_current:
            # Its files were removed: a new client means a new store.
            store = None
        if store is None:
            store = _open_stores[key] = FileStore(key[0], lock_timeout, durable, lock_appends)
            _register_hooks()
        store.lock.timeout = lock_timeout
        # The last few stay open: many clients, one after another, read the file once.
        _recent[key] = store
        _recent.move_to_end(key)
        while len(_recent) > _KEPT_OPEN:
            _recent.popitem(last=False)
        return store


def _close_all() -> None:
    for store in list(_stores_of_process):
        store.save_if_worth(SMALL_AT_EXIT)
        if store.unsaved():
            logger.error("%d events could not be written to %s", store.unsaved(), store.path)


def _after_fork() -> None:
    global _opening
    _opening = threading.RLock()
    for store in list(_stores_of_process):
        store.after_fork()


_hooked = False


def _register_hooks() -> None:
    global _hooked
    if _hooked:
        return
    _hooked = True
    import atexit

    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
