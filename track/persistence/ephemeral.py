"""State in memory, gone at exit: the backend of tests, of mirrors, and of a client with nothing configured."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from track.containers.lazy import LazySet
from track.errors import InvalidUri
from track.events import Batch, Event
from track.persistence.eventprotocol import EventProtocol
from track.persistence.state import State, write_copy
from track.persistence.utils import parse_uri, read_options
from track.structure import Project, Trial, TrialGroup

__all__ = ["EphemeralProtocol", "StateProtocol"]

Result = TypeVar("Result")
_INBOX = 512


class StateProtocol(EventProtocol):
    """Base of the backends whose state is a `State`: they answer from it."""

    def reading(self) -> AbstractContextManager[State]:
        """Give the present state, which does not change meanwhile."""
        raise NotImplementedError

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first."""
        with self.reading() as storage:
            return list(storage.find_trials(query))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        with self.reading() as storage:
            return list(storage.find_groups(query))

    def fetch_projects(self, query: Any = None) -> list[Project]:
        with self.reading() as storage:
            projects = list(storage.find_projects(query))
        for project in projects:
            members = [("project_id", project.uid)]
            # Bound now; fetched when somebody looks: a project may hold very many trials.
            project.trials = LazySet(partial(self.fetch_trials, members))  # type: ignore[assignment]
            project.groups = LazySet(partial(self.fetch_groups, members))  # type: ignore[assignment]
        return projects

    def refresh(self, trial: Trial) -> None:
        with self.reading() as storage:
            for stored in storage.find_trials({"uid": trial.uid}):
                vars(trial).update(vars(stored))

    def last(self, writer: str) -> int:
        with self.reading() as storage:
            return storage.writers.get(writer, -1)

    def first_trial(self, query: Any = None) -> Trial | None:
        with self.reading() as storage:
            return next(storage.find_trials(query), None)

    def revisions(self, digest: str) -> set[int]:
        with self.reading() as storage:
            return storage.revisions(digest)

    def has(self, kind: type, uid: Any) -> bool:
        with self.reading() as storage:
            return storage.has(kind, uid)


class EphemeralProtocol(StateProtocol):
    """A store in memory, of its own for each client.

    Parameters
    ----------
    uri: str
        ``ephemeral:``, ``none:``.
    strict: bool
        Whether parents must be stored before their children.

    Examples
    --------
    >>> store = EphemeralProtocol("ephemeral:")
    >>> store.new_project(Project(name="mnist")).uid
    'mnist'
    """

    def __init__(self, uri: str = "ephemeral:", strict: bool = True) -> None:
        super().__init__(uri, strict)
        read_options(uri, {})
        parts = parse_uri(uri)
        if parts["path"] or parts.get("address"):
            raise InvalidUri(f"{uri!r} names a place, but this store is in memory: use 'file:{parts['path']}'?")
        self.storage = State()
        self._inbox: deque[tuple[Event, ...]] = deque()
        self._lock = threading.RLock()
        self._draining = False

    def apply(self, *events: Event) -> None:
        """Store facts: they wait, in order, until something is asked."""
        inbox = self._inbox
        inbox.append(events)
        if len(inbox) > _INBOX:
            self._drain()

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        with self.reading() as storage:
            storage.apply([Batch(writer, first, list(events))])

    def at_once(self) -> AbstractContextManager[bool]:
        return nullcontext(True)

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``; other threads wait."""
        with self._lock:
            return action()

    @contextmanager
    def reading(self) -> Iterator[State]:
        with self._lock:
            self._drain()
            yield self.storage

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Write everything to ``file_name_override``; without it there is nothing to do."""
        if file_name_override is not None:
            with self.reading() as storage:
                write_copy(file_name_override, storage)

    def _drain(self) -> None:
        with self._lock:
            # A signal handler that logs in the middle of this leaves its event to the loop it interrupted.
            if self._draining:
                return
            self._draining = True
            try:
                self.storage.apply(self._arrived())
            finally:
                self._draining = False

    def _arrived(self) -> Iterator[Event]:
        inbox = self._inbox
        while inbox:
            yield from inbox.popleft()
