"""The file stores of this process: one object a path, and what becomes of it at the end."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import OrderedDict

from track.errors import TrackError
from track.persistence.file.backlog import unfinished
from track.persistence.file.store import FileStore
from track.utils.lifecycle import at_exit, at_fork

logger = logging.getLogger(__name__)
_KEPT_OPEN = 4
_Key = tuple[str, bool, str]
_open_stores: weakref.WeakValueDictionary[_Key, FileStore] = weakref.WeakValueDictionary()
_recent: OrderedDict[_Key, FileStore] = OrderedDict()
_stores_of_process: weakref.WeakSet[FileStore] = weakref.WeakSet()
_opening = threading.RLock()


def open_store(path: str, lock_timeout: float, durable: bool = False, lock: str = "auto") -> FileStore:
    """Return the store at `path`: the same object for all clients of this process."""
    key = (os.path.realpath(path), durable, lock)
    with _opening:
        store = _open_stores.get(key)
        # Where its files were removed, a new client means a new store.
        if store is None or (store.journal.is_open and not store.journal.is_current):
            store = _open_stores[key] = FileStore(key[0], lock_timeout, durable, lock)
            _stores_of_process.add(store)
            at_exit(_close_all)
            at_fork(_after_fork)
        store.lock.timeout = lock_timeout
        # The last few stay open: many clients, one after another, read the file once.
        _recent[key] = store
        _recent.move_to_end(key)
        while len(_recent) > _KEPT_OPEN:
            _recent.popitem(last=False)
        return store


def _close_all() -> None:
    for store in list(_stores_of_process):
        try:
            store.flush()
        except TrackError as error:
            logger.warning("%s", error)
        store.leave()
    for backlog in unfinished():
        backlog.retry()
        if backlog.unsaved:
            logger.error("%d events could not be written to %s", backlog.unsaved, backlog.path)


def _after_fork() -> None:
    global _opening  # noqa: PLW0603 - the child needs its own
    _opening = threading.RLock()
    for store in list(_stores_of_process):
        store.after_fork()
    for backlog in unfinished():
        backlog.clear()
