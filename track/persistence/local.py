"""The file backend: ``file://report.json``, and the names that the original kept beside it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from track.configuration import options
from track.errors import ConcurrentWrite
from track.events import Batch, Event, encode, encode_batch
from track.persistence.ephemeral import StateProtocol
from track.persistence.file import SMALL_AT_FINISH, BufferedStore, FileStore, MemoryStore, StoreLock, open_store
from track.persistence.query import OPERATORS, parse_query, resolve
from track.persistence.state import State, write_copy
from track.persistence.utils import read_bool, read_choice, read_options, store_path
from track.structure import Trial
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
    "lock": (read_choice("always", "auto"), "auto"),
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
        super().__init__(uri, strict if given["strict"] is None else given["strict"])
        self.eager = eager if given["eager"] is None else given["eager"]
        self.path = store_path(uri) or None
        timeout = given["lock_timeout"]
        if timeout is None:
            timeout = float(options("log.backend.lock_timeout", 30.0))
        self._store: FileStore | None = None
        self._memory: MemoryStore | None = None
        if self.path is not None and self.eager:
            durable = given["fsync"] or given["durability"] == "fsync"
            self._store = open_store(self.path, timeout, durable, given["lock"] == "always")
            self._append = self._store.append
        elif self.path is not None:
            self._memory = BufferedStore(os.path.realpath(self.path), timeout)
        else:
            self._memory = MemoryStore(timeout)
            if self.eager:
                text = "%s names no file: nothing will be stored; name one, as in file://report.json"
                logger.warning(text, self.place)

    @property
    def storage(self) -> State:
        """The state as of now."""
        with self.reading() as storage:
            return storage

    @property
    def lock(self) -> StoreLock:
        """The lock that decisions take."""
        return (self._store or self._memory_store()).lock

    @property
    def file(self) -> str | None:
        # As it was when the store was opened: the working directory may be another one now.
        return (self._store or self._memory_store()).path

    @property
    def stores_at_once(self) -> bool:  # type: ignore[override]
        return self.eager or self.path is None

    @property
    def thread_lock(self) -> StoreLock:
        """The same lock: it is between threads and processes."""
        return self.lock

    @property
    def chronos(self) -> dict[Any, Any]:
        """The timers that run."""
        return self._timers

    def apply(self, *events: Event) -> None:
        """Store facts: one write to the journal each."""
        if self._store is None:
            self._memory_store().keep(events)
            return
        for event in events:
            self._append(encode(event))

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        batch = Batch(writer, first, list(events))
        if self._store is None:
            self._memory_store().keep([batch])
        else:
            line = encode_batch(writer, first, b"".join(map(encode, events)) if lines is None else lines)
            self._store.append_batch(batch, line)

    def atomically(self, action: Callable[[], _Result]) -> _Result:
        """Return ``action()``, during which no other thread or process decides."""
        return (self._store or self._memory_store()).atomically(action)

    def reading(self) -> AbstractContextManager[State]:
        return (self._store or self._memory_store()).reading()

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Record the end, and bring the JSON file up to date if that is cheap."""
        super().log_trial_finish(trial, exc_type, exc_val, exc_tb)
        self.tidy()

    def tidy(self) -> None:
        """Bring the JSON file up to date while it is small, or when the journal has grown to a quarter of it."""
        if self._store is not None:
            self._store.save_if_worth(SMALL_AT_FINISH)

    def at_once(self) -> AbstractContextManager[bool]:
        return contextlib.nullcontext(True) if self._store is None else self._store.at_once()

    def own_process(self) -> None:
        """Note that only one thread of this process writes: the journal can be cut while others do other things."""
        if self._store is not None:
            self._store.has_one_writer = True

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Bring the JSON file up to date, or write all of it to another file.

        Raises
        ------
        ConcurrentWrite
            With ``eager=0``: another process has created the same trial meanwhile.
        """
        store = self._store or self._memory_store()
        # A copy of the store over the store itself would not say how much of the journal it holds.
        if file_name_override is None or os.path.realpath(file_name_override) == store.path:
            store.save()
            return
        with self.reading() as storage:
            write_copy(file_name_override, storage)

    def flush(self, timeout: float | None = None) -> None:
        """Write what could not be written before."""
        if self._store is not None:
            self._store.flush()

    def unsaved(self) -> int:
        """Return how many events are not on disk."""
        return 0 if self._store is None else self._store.unsaved()

    def check_writable(self) -> None:
        """Raise BackendUnavailable if the file's folder cannot be written to."""
        if self._store is not None:
            self._store.check_writable()

    def close(self) -> None:
        """Save if that is worth it, and give the files back; the next call opens them again."""
        if self._store is not None:
            self._store.close()

    def _memory_store(self) -> MemoryStore:
        assert self._memory is not None
        return self._memory


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

    def sigint(self, signum: int, frame: Any) -> None:
        """Remove the file."""
        self.remove()

    def atexit(self) -> None:
        """Remove the file."""
        self.remove()


def execute_query(obj: Any, query: Any) -> bool:
    """Return whether `obj` matches the query.

    Raises
    ------
    InvalidQuery
        An attribute or operator is unknown.

    Examples
    --------
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
