"""The file stores of this process: one object for each file, told of a fork and of the end."""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from collections import OrderedDict

from track.errors import TrackError
from track.persistence.backlog import unfinished
from track.persistence.filestore import SMALL_AT_EXIT, FileStore
from track.utils.signal import run_hooks_first

__all__ = ["open_store"]

logger = logging.getLogger(__name__)

_KEPT_OPEN = 4

_Key = tuple[str, bool, bool]
_open_stores: weakref.WeakValueDictionary[_Key, FileStore] = weakref.WeakValueDictionary()
_recent: OrderedDict[_Key, FileStore] = OrderedDict()
_stores_of_process: weakref.WeakSet[FileStore] = weakref.WeakSet()
_opening = threading.RLock()


def open_store(path: str, lock_timeout: float, durable: bool = False, lock_appends: bool = False) -> FileStore:
    """Return the store at `path`: the same object for all clients of this process."""
    key = (os.path.realpath(path), durable, lock_appends)
    with _opening:
        store = _open_stores.get(key)
        # Where its files were removed, a new client means a new store.
        if store is None or (store.journal.is_open and not store.journal.is_current):
            store = _open_stores[key] = FileStore(key[0], lock_timeout, durable, lock_appends)
            _stores_of_process.add(store)
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
        try:
            store.flush()
        except TrackError as error:
            logger.warning("%s", error)
        store.save_if_worth(SMALL_AT_EXIT)
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


@functools.cache
def _register_hooks() -> None:
    import atexit

    atexit.register(_close_all)
    run_hooks_first()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
