"""The file backend: ``file://report.json``, and the names that the original kept beside it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

from track.configuration import options
from track.errors import ConcurrentWrite
from track.persistence.ephemeral import StateProtocol
from track.persistence.file import BufferedStore, FileStore, MemoryStore, StoreLock, open_store
from track.persistence.query import OPERATORS, parse_query, resolve
from track.persistence.utils import read_bool, read_choice, read_options, store_path
from track.utils.signal import SignalHandler

__all__ = [
    "OPTIONS",
    "ConcurrentWrite",
    "FileProtocol",
    "LockFileRemover",
    "MultiLock",
    "execute_query",
    "lock_atomic_write",
    "lock_guard",
    "lock_read",
    "lock_write",
    "make_lock",
    "query_gt",
    "query_in",
    "query_lte",
    "query_ne",
]

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

OPTIONS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "durability": (read_choice("fsync", "write"), "write"),
    "eager": (read_bool, None),
    "fsync": (read_bool, False),
    "lock": (read_choice("always", "auto", "never"), "auto"),
    "lock_timeout": (float, None),
    "objective": (str, ""),  # Orion's: taken and kept, and nothing here reads it
    "strict": (read_bool, None),
}
"""What may follow the ``?`` of a ``file:`` URI."""


class FileProtocol(StateProtocol):
    """A store in one JSON file, shared by threads and processes; nothing logged is lost.

    Parameters
    ----------
    uri: str
        ``file://report.json`` (relative), ``file:///abs/report.json``; ``file:`` is in memory, and says so when
        `eager`.
    strict: bool
        Whether parents must be stored before their children.
    eager: bool
        Whether each event is in the journal when the call returns; False keeps everything in memory
        until `commit`.

    Raises
    ------
    InvalidUri
        An option is unknown, or the path is that of a folder.
    BackendUnavailable
        The folder cannot be written to (at the first write).
    """

    def __init__(self, uri: str, strict: bool = True, eager: bool = True) -> None:
        given = read_options(uri, OPTIONS)
        self.eager = eager if given["eager"] is None else given["eager"]
        path = store_path(uri)
        self.path = os.path.abspath(path) if path else None
        super().__init__(uri, strict if given["strict"] is None else given["strict"], self._open(given))
        self.stores_at_once = self.eager or self.path is None
        # Names of the original: one lock, between threads and processes, and the timers that run.
        self.lock = self.thread_lock = self.store.lock
        self.chronos = self._timers.running
        if self.path is None and self.eager:
            text = "%s names no file: nothing will be stored; name one, as in file://report.json"
            logger.warning(text, self.place)

    def _open(self, given: dict[str, Any]) -> FileStore | MemoryStore:
        timeout = given["lock_timeout"]
        if timeout is None:
            timeout = float(options("log.backend.lock_timeout", 30.0))
        if self.path is None:
            return MemoryStore(timeout)
        if not self.eager:
            return BufferedStore(os.path.realpath(self.path), timeout, given["lock"])
        durable = given["fsync"] or given["durability"] == "fsync"
        return open_store(self.path, timeout, durable, given["lock"])


# The names of the original, over the parts above.


def make_lock(name: str, eager: bool) -> StoreLock:
    """Return a lock on ``<name>.lock`` between processes, or between threads only when not `eager`."""
    return StoreLock(f"{name}.lock" if eager else None, float(options("log.backend.lock_timeout", 30.0)))


class MultiLock:
    """Hold the lock of `obj` (its ``lock`` attribute), between threads and processes, in a ``with`` block."""

    def __init__(self, obj: Any) -> None:
        self._lock: StoreLock = obj.lock

    def __enter__(self) -> MultiLock:
        self._lock.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._lock.__exit__(*exception)


def lock_guard(readonly: bool, atomic: bool = False) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Return a decorator of a backend's methods: the state is caught up before, and locked during, a call.

    Parameters
    ----------
    readonly: bool
        Whether the method only reads, and needs no lock between processes.
    atomic: bool
        Whether the method reads and writes as one step; a writing method does anyway.
    """

    def decorate(method: Callable[..., _Result]) -> Callable[..., _Result]:
        @functools.wraps(method)
        def guarded(self: FileProtocol, *args: Any, **kwargs: Any) -> _Result:
            call = functools.partial(method, self, *args, **kwargs)
            if readonly and not atomic:
                with self.reading():
                    return call()
            return self.atomically(call)

        return guarded

    return decorate


lock_read = lock_guard(readonly=True)
lock_write = lock_guard(readonly=False)
lock_atomic_write = lock_guard(readonly=False, atomic=True)


class LockFileRemover(SignalHandler):
    """Removes a file that is ours at the end of the process; the stores' own lock files are never removed."""

    def __init__(self, filename: str) -> None:
        super().__init__()
        self.filename = filename

    def remove(self) -> None:
        """Remove the file if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.filename)

    def sigterm(self, signum: int, frame: Any) -> None:
        """Remove the file."""
        self.remove()

    sigint = sigterm
    atexit = remove


def execute_query(obj: Any, query: Any) -> bool:
    """Return whether `obj` matches the query.

    Raises
    ------
    InvalidQuery
        An attribute or operator is unknown.

    Examples
    --------
    >>> from track.structure import Trial
    >>> execute_query(Trial(parameters={"lr": 0.1}), {"parameters.lr": {"$gt": 0.01, "$lte": 0.1}})
    True
    """
    return parse_query(query, type(obj)).matches(obj)


def _operator(name: str) -> Callable[[Any, list[str], Any], bool]:
    def holds(obj: Any, attrs: list[str], val: Any) -> bool:
        return OPERATORS[name](resolve(obj, attrs), val)

    holds.__doc__ = f"Return whether the value of `obj` at the path `attrs` satisfies ``{name}`` with `val`."
    return holds


query_in = _operator("$in")
query_ne = _operator("$ne")
query_gt = _operator("$gt")
query_lte = _operator("$lte")
