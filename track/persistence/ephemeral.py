"""State in memory, gone at exit: the backend of tests, of mirrors, and of a client with nothing configured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from os.path import realpath
from typing import Any, TypeVar

from track.containers.lazy import LazySet
from track.errors import InvalidUri
from track.events import Batch, Event
from track.persistence.buckets import Buckets, Question, Source, bucketed, line_from
from track.persistence.contract import FetchedPoints, Since
from track.persistence.eventprotocol import EventProtocol
from track.persistence.file import FileStore, MemoryStore
from track.persistence.protocol import Forgotten
from track.persistence.query import ALSO_DELETED, parse_limit, parse_query, parse_sort, parse_stored
from track.persistence.state import State, copy_path, write_copy
from track.persistence.utils import parse_uri, read_options
from track.structure import Project, Trial, TrialGroup
from track.utils.collecting import making
from track.utils.pacing import paced

__all__ = ["EphemeralProtocol", "StateProtocol"]

Result = TypeVar("Result")


class StateProtocol(EventProtocol):
    """Base of the backends whose state is a `State`: they answer from it.

    Parameters
    ----------
    strict: bool
        Whether parents must be stored before their children.
    store: FileStore or MemoryStore
        Where the events go, and the state comes from.
    """

    keeps_numbers = True

    def __init__(self, uri: str, strict: bool, store: FileStore | MemoryStore) -> None:
        super().__init__(uri, strict)
        self.store = store
        # One call less on the path of every log call, unless somebody has an `apply` of their own.
        if type(self).apply is StateProtocol.apply:
            self.keep = store.keep  # type: ignore[method-assign]

    @property
    def storage(self) -> State:
        """The state as of now."""
        with self.reading() as state:
            return state

    @property
    def file(self) -> str | None:
        # As it was when the store was opened: the working directory may be another one now.
        return self.store.path

    def reading(self) -> AbstractContextManager[State]:
        """Give the present state, which does not change meanwhile."""
        return self.store.reading()

    def apply(self, *events: Event) -> None:
        self.store.apply(events)

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        self.store.receive(Batch(writer, first, list(events)), lines)

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, during which no other thread or process decides."""
        return self.store.atomically(action)

    def identity(self) -> str:
        return self.store.identity()

    def store_time(self) -> float | None:
        return self.store.clock.told()

    def unread(self) -> list[str]:
        return self.store.unread()

    def former_identities(self) -> list[str]:
        with self.reading() as state:
            return list(state.former)

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        parsed = parse_stored(query)
        with self.reading() as state, making(len(state) if parsed.exact("uid") is None else 1):
            return list(paced(state.find_trials(parsed)))

    def _shown(self, uid: str) -> Trial:
        with self.reading() as state:
            return state.shown(uid)

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        if parse_sort(sort, Trial):
            return super().select_trials(query, sort, limit)
        # Looked at even where none is asked for.
        parsed = parse_query(query, Trial)
        with self.reading() as state, making(len(state)):
            return list(islice(paced(state.find_trials(parsed)), parse_limit(limit)))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        with self.reading() as state:
            return list(state.find_groups(query))

    def fetch_projects(self, query: Any = None) -> list[Project]:
        with self.reading() as state:
            projects = list(state.find_projects(query))
        for project in projects:
            members = [("project_id", project.uid)]
            # Bound now; fetched when somebody looks: a project may hold very many trials.
            project.trials = LazySet(partial(self.fetch_trials, members))  # type: ignore[assignment]
            project.groups = LazySet(partial(self.fetch_groups, members))  # type: ignore[assignment]
        return projects

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        return self.store.changes(since)

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        with self.reading() as state:
            return state.points(uid, names, since)

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        store = self.identity()

        def read(uids: Sequence[str]) -> list[tuple[str, Source]]:
            with self.reading() as state, making(len(uids)):
                return state.seen(uids, question)

        def line(uid: str, seen: Source) -> Any:
            # Others may go on meanwhile.
            return line_from(seen, question, (store, uid) if store else ())

        return bucketed(question, uids, read, line)

    def refresh(self, trial: Trial) -> None:
        stored = self.first_trial({"uid": trial.uid, **ALSO_DELETED})
        if stored is not None:
            vars(trial).update(vars(stored))

    def glimpse(self, trial: Trial) -> tuple[Trial, str]:
        found = self.store.glimpse(trial.uid)
        if found is None:
            return super().glimpse(trial)
        shown, unread = found
        # By its place, as messages name it: a person can type that.
        return shown, f"{unread}; all of it: track.fetch({self.place!r}, {trial.uid[:12]!r})"

    def project_tags(self, trial: Trial) -> dict[str, Any]:
        with self.store.knowing() as state:
            return dict(state.tags_of(trial) or {})

    def last(self, writer: str) -> int:
        with self.reading() as state:
            return state.writers.get(writer, -1)

    def first_trial(self, query: Any = None) -> Trial | None:
        with self.reading() as state:
            return next(state.find_trials(query), None)

    def revisions(self, digest: str) -> set[int]:
        with self.reading() as state:
            return state.revisions(digest)

    def has(self, kind: type, uid: Any) -> bool:
        with self.reading() as state:
            return state.has(kind, uid)

    def commit(self, file_name_override: str | None = None, **kwargs: Any) -> None:
        """Bring the JSON file up to date, where there is one, or write all of it to another file.

        Raises
        ------
        ConcurrentWrite
            With ``eager=0``: another process has created the same trial meanwhile.
        """
        # A copy of the store over the store itself would not say how much of the journal it holds.
        if file_name_override is None or realpath(copy_path(file_name_override)) == self.file:
            self.store.save()
            return
        with self.reading() as state:
            write_copy(file_name_override, state, self.file)

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Record the end, and bring the JSON file up to date if that is cheap."""
        super().log_trial_finish(trial, exc_type, exc_val, exc_tb)
        self.store.save_if_worth()

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        found = super().forget_trials(older)
        if found.trials:
            # Only now are they gone from the disk.
            self.store.save_afresh()
        return found

    def _require_alone(self) -> None:
        self.store.require_alone()

    def tidy(self) -> None:
        """Bring the JSON file up to date while it is small, or when the journal has grown to a quarter of it."""
        self.store.save_if_worth(math.inf)

    def compact(self, tell: Callable[[float], None] | None = None) -> bool:
        return self.store.compact(tell)

    def at_once(self) -> AbstractContextManager[bool]:
        return self.store.at_once()

    def flush(self, timeout: float | None = None) -> None:
        """Write what could not be written before."""
        self.store.flush()

    def unsaved(self) -> int:
        """Return how many events are not stored: those that wait or were lost, and those about what is not here."""
        return self.store.unsaved() + self._count_unapplied()

    def _count_unapplied(self) -> int:
        unapplied = self.store.unapplied
        # Of the trials of this client only: others speak for themselves.
        return sum(unapplied[uid] for uid in unapplied.keys() & self._known) if unapplied else 0

    @property
    def remedy(self) -> str:
        count = self._count_unapplied()
        return f"{count} are about trials that are not in it: was it put back to an older state?" if count else ""

    def check_writable(self) -> None:
        self.store.check_writable()

    def close(self) -> None:
        """Save if that is worth it, and give the files back; the next call opens them again."""
        self.store.close()


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
        read_options(uri, {})
        parts = parse_uri(uri)
        if parts["path"] or parts.get("address"):
            raise InvalidUri(f"{uri!r} names a place, but this store is in memory: use 'file:{parts['path']}'?")
        super().__init__(uri, strict, MemoryStore())
