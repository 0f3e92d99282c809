"""The layer in front of a server: the network may fail, the training may not.

A log call appends its event to a local spill, with the code and the cost of the file store, and returns. A
thread sends batches and notes what was acknowledged. Every event carries writer and number, and the server
stores each once. Decisions and questions flush first, then go straight through.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from track.errors import AnotherStore, BackendUnavailable, OutcomeUnknown, TrackError
from track.events import Event, TrialCreated, decode_lines, encode, encode_plain
from track.persistence.contract import RESERVING, FetchedPoints, Since, group_created, project_created
from track.persistence.delivery.batches import Server
from track.persistence.delivery.creations import Creations
from track.persistence.delivery.offline import LocalView, offline_revision
from track.persistence.delivery.sender import PATIENCE, Reachability, Sender
from track.persistence.delivery.spill import count_left_behind, spill_places
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.protocol import Forgotten
from track.persistence.utils import read_bool
from track.structure import Project, Trial, TrialGroup
from track.utils.lifecycle import watch_forks

if TYPE_CHECKING:
    from track.persistence.buckets import Buckets

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Owner = TypeVar("Owner", Project, TrialGroup, Project | None, TrialGroup | None)
DELIVERY_OPTIONS: dict[str, Any] = {
    "offline": (read_bool, False),
    "spill_limit": (int, 1 << 30),
    "strict": (read_bool, False),
}
"""What may follow the ``?`` of the URI of every backend that delivers: how to read it, and its default."""
_TRUSTED = 5.0


class DeliveredProtocol(EventProtocol):
    """A backend that logs to a local spill and delivers to a server.

    Parameters
    ----------
    uri: str
        Without its password.
    remote: EventProtocol
        For decisions and questions: it raises BackendUnavailable when the server is away.
    server: Server
        For sending, with a connection of its own, so that a slow batch delays no decision.
    offline: bool
        Whether decisions are made here while the server is away, instead of raising.
    strict: bool
        Whether a logging call raises BackendUnavailable when the server is known to be away, or the spill full.
    spill_limit: int
        Bytes of spill beyond which events are dropped, and counted.
    patience: float
        Seconds of silence after which a flush, or the one before a decision, gives up.
    """

    stores_at_once = False

    def __init__(  # noqa: PLR0917 - as the options of the URI are read
        self,
        uri: str,
        remote: EventProtocol,
        server: Server,
        offline: bool = False,
        strict: bool = False,
        spill_limit: int = 1 << 30,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(uri, remote.strict)
        self.remote = remote
        self.server = server
        self.offline = offline
        self.raises = strict
        self.limit = spill_limit
        self.patience = patience
        # What is decided there and what is logged here is heard by the same listeners.
        self.listeners = remote.listeners
        self.keeps_numbers = remote.keeps_numbers
        self._reach = Reachability(uri)
        self._left = 0
        self._identity = ""
        self._creations = Creations()
        self._sender: Sender | None = None
        self._view = LocalView(uri)
        self._is_deciding_here = False
        self._opening = threading.RLock()
        self._owners: set[tuple[type, Any]] = set()
        self._append: Callable[[bytes], None] = self._append_first
        watch_forks(self)

    @property
    def artifacts(self) -> str:
        return self.remote.artifacts

    @property
    def file(self) -> str | None:
        return self.remote.file

    @property
    def files(self) -> list[str]:
        return [*super().files, *map(str, spill_places(self.uri))]

    def identity(self) -> str:
        # Once known it stays: there may be no server to ask later.
        if not self._identity:
            # Whoever stores a file asks, and does not wait for a server again and again.
            if self._reach.failed_within(_TRUSTED):
                raise BackendUnavailable(str(self._reach.error))
            try:
                self._identity = self.remote.identity()
            except BackendUnavailable as error:
                self._reach.note(error)
                raise
        return self._identity

    def former_identities(self) -> list[str]:
        return self.remote.former_identities()

    def store_time(self) -> float | None:
        return self.remote.store_time()

    def unread(self) -> list[str]:
        return self.remote.unread()

    def require_store(self, identity: str) -> None:
        self.remote.require_store(identity)

    # writing

    def apply(self, *events: Event) -> None:
        """Store facts, in the spill."""
        for event in events:
            self._append(encode(event))

    def keep(self, event: Event) -> None:
        self._append(encode_plain(event))

    def append_late(self, lines: bytes) -> None:
        """Take the lines of a thread that was about to write when the spill was closed."""
        for event in decode_lines(lines):
            self._append(encode(event))

    def _append_first(self, line: bytes) -> None:
        self._opened()
        self._append(line)

    def _opened(self) -> Sender:
        with self._opening:
            if self._sender is None or self._sender.has_ended:
                settings = (self.patience, self._creations, self._identity)
                sender = Sender(self._reach, self.server, self.limit, self, self._reroute, *settings)
                sender.start()
                self._sender = sender
                self._reroute()
            return self._sender

    def _reroute(self) -> None:
        """Choose where the next line goes, once for many."""
        sender = self._sender
        if sender is None or sender.has_ended:
            self._append = self._append_first
        elif self.raises and (self._reach.is_away or sender.is_full):
            self._append = self._refuse
        else:
            self._append = sender.drop if sender.is_full else sender.spill.journal.append

    def _refuse(self, line: bytes) -> None:
        if self._reach.is_away:
            raise BackendUnavailable(f"{self._reach.error} (strict=1: nothing is logged meanwhile)")
        raise BackendUnavailable(f"the spill of {self.uri} has reached {self.limit} bytes (strict=1)")

    # how far

    def flush(self, timeout: float | None = None) -> None:
        """Return once the server has everything logged so far, or there is no hope of that now.

        Parameters
        ----------
        timeout: float, optional
            Seconds to wait, whatever happens. By default not for a server that is away, `patience` (3 s) for one
            that is silent, and at most 30 s.
        """
        if self._sender is not None:
            self._sender.flush(timeout)

    def unsaved(self) -> int:
        """Return how many events the server has not acknowledged."""
        sender = self._sender
        return self._left + (0 if sender is None else sender.unsaved())

    @property
    def remedy(self) -> str:
        """What becomes of events that are not stored."""
        return "" if self._sender is None else self._sender.remedy()

    def left_behind(self) -> int:
        """Return how many events of processes that are gone wait here, to be sent by the next one that logs."""
        return count_left_behind(self._reach.places, self._may_be_for)

    def _may_be_for(self, store: str) -> bool:
        """Return whether events for a store are sent to this one, as far as anybody can tell now."""
        try:
            self.remote.require_store(store)
        except AnotherStore:
            return False
        except TrackError:
            # It is away, or cannot be read.
            return True
        return True

    # deciding and asking: forwarded whole

    def _ask(self, question: Callable[[EventProtocol], Result]) -> Result:
        """Return what the server answers, or decides, once it has what was logged before; offline, what is known here.

        Raises
        ------
        BackendUnavailable
            It does not answer, and nothing may be decided here.
        """
        if self.offline and self._reach.failed_within(_TRUSTED):
            return question(self._here())
        try:
            self._flush_or_raise()
            result = question(self.remote)
        except OutcomeUnknown:
            raise
        except BackendUnavailable as error:
            if not self.offline:
                raise
            self._reach.note(error)
            return question(self._here())
        self._is_deciding_here = False
        return result

    def _decide(self, question: Callable[[EventProtocol], Result]) -> Result:
        """Return what the server decides, as `_ask` does, before something is logged about it."""
        result = self._ask(question)
        if not self._is_deciding_here:
            self._notice_store()
        return result

    def _notice_store(self) -> None:
        """Notice which store is there: where it is another one than before, what is logged from now on is for it."""
        with suppress(BackendUnavailable):
            before, self._identity = self._identity, self.remote.identity() or self._identity
            if before in ("", self._identity) or before in self.remote.former_identities():
                return
            logger.warning("%s is another store now: what is logged from now on is for it", self.uri)
            self._owners.clear()
            self._creations = Creations()
            self._leave_spill()

    def _here(self) -> OfflineView:
        if not self._is_deciding_here:
            self._is_deciding_here = True
            self._reach.tell_offline()
        return OfflineView(self, self._view.current(self._sender))

    def _flush_or_raise(self) -> None:
        """Flush before a decision; a server that is away is an error here."""
        sender = self._sender
        if sender is None or sender.spill.is_sent:
            return
        # A program that asks again and again waits for a server that is silent once in a while only.
        if self._reach.failed_within(_TRUSTED):
            raise BackendUnavailable(str(self._reach.error))
        if not sender.flush():
            raise BackendUnavailable(str(self._reach.error or f"{self.uri} does not take the events that wait for it"))

    def atomically(self, action: Callable[[], Result]) -> Result:
        return self._decide(lambda backend: backend.atomically(action))

    def get_project(self, project: Project) -> Project | None:
        return self._seen(self._ask(lambda backend: backend.get_project(project)))

    def new_project(self, project: Project) -> Project:
        made = self._seen(self._decide(lambda backend: backend.new_project(project)))
        self._creations.note(project_created(made, self.clock()))
        return made

    def get_trial_group(self, group: TrialGroup) -> TrialGroup | None:
        return self._seen(self._ask(lambda backend: backend.get_trial_group(group)))

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        made = self._seen(self._decide(lambda backend: backend.new_trial_group(group)))
        self._creations.note(group_created(made, self.clock()))
        return made

    def get_trial(self, trial: Trial) -> list[Trial]:
        found = self._decide(lambda backend: backend.get_trial(trial))
        if found:
            self._know(found[0])
            if not self._is_deciding_here:
                self._view.remember(found[0], self._sender)
        return found

    def create_trial(self, trial: Trial, auto_increment: bool) -> tuple[Trial, TrialCreated] | None:
        # Offline it gets a revision below 0, which no trial gets that was made online.
        made = self._decide(lambda backend: backend.create_trial(trial, auto_increment))
        if made is not None:
            stored, event = made
            self._know(stored)
            if not self._is_deciding_here:
                # As it was given: what was measured before is nothing that the server must be asked for.
                self._view.remember(trial, self._sender)
                self._creations.note(event)
        return made

    def update_trial(self, query: Any, attr: str, args: Any, kwargs: Any) -> tuple[Trial, int | None]:
        # The end of a trial may wait here: it was finished by a process that has died before it could send that.
        if attr == RESERVING and self.left_behind():
            self._opened().send_left_behind(self.patience)
        return self._decide(lambda backend: backend.update_trial(query, attr, args, kwargs))

    def note_attempt(self, uid: str, attempt: int) -> None:
        super().note_attempt(uid, attempt)
        self.remote.note_attempt(uid, attempt)

    def fetch_and_update_group(self, query: Any, attr: str, *args: Any, **kwargs: Any) -> TrialGroup:
        return self._decide(lambda backend: backend.fetch_and_update_group(query, attr, *args, **kwargs))

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        self._flush_or_raise()
        return self.remote.forget_trials(older)

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        return self._ask(lambda backend: backend.fetch_trials(query))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        return self._ask(lambda backend: backend.fetch_groups(query))

    def fetch_projects(self, query: Any = None) -> list[Project]:
        return self._ask(lambda backend: backend.fetch_projects(query))

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        return self._ask(lambda backend: backend.select_trials(query, sort, limit))

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        return self._ask(lambda backend: backend.changes(since))

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        return self._ask(lambda backend: backend.fetch_points(uid, names, since))

    def fetch_buckets(self, *args: Any, **kwargs: Any) -> Buckets:
        return self._ask(lambda backend: backend.fetch_buckets(*args, **kwargs))

    def brief_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        return self._ask(lambda backend: backend.brief_trials(query, sort, limit))

    def brief_lines(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[tuple[bytes, bytes]]:
        return self._ask(lambda backend: backend.brief_lines(query, sort, limit))

    def first_trial(self, query: Any = None) -> Trial | None:
        return self._ask(lambda backend: backend.first_trial(query))

    def revisions(self, digest: str) -> set[int]:
        return self._ask(lambda backend: backend.revisions(digest))

    def has(self, kind: type, uid: Any) -> bool:
        # Nothing is ever removed, so what was there once needs no second look.
        if (kind, uid) not in self._owners and self._ask(lambda backend: backend.has(kind, uid)):
            self._owners.add((kind, uid))
        return (kind, uid) in self._owners

    def _seen(self, found: Owner) -> Owner:
        if found is not None:
            self._owners.add((type(found), found.uid))
        return found

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        self.remote.receive(writer, first, events, lines)

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        self.require_store(self.expected_store)
        self.remote.receive_after(writer, after, first, events, lines)

    def last(self, writer: str) -> int:
        return self.remote.last(writer)

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date; while the server is away, with what this process logged."""
        try:
            super().refresh(trial)
        except BackendUnavailable as error:
            logger.warning("%s: the trial is shown as this process knows it", error)
            self._view.current(self._sender).refresh(trial)

    # life

    def close(self) -> None:
        """Send what can be sent within a few seconds, and give the spill and the connections back."""
        self._leave_spill()
        self.remote.close()

    def _leave_spill(self) -> None:
        with self._opening:
            sender, self._sender = self._sender, None
            self._append = self._append_first
        if sender is not None:
            sender.close()
            self._left += sender.unsaved()

    def after_fork(self) -> None:
        """In a child: the spill is the parent's, and a thread that is not here may hold the lock."""
        self._sender = None
        self._left = 0
        self._creations = Creations()
        self._reach = Reachability(self.uri, self._reach.places)
        self._opening = threading.RLock()
        self._append = self._append_first
        self._view = LocalView(self.uri)


def deliver(uri: str, make: Callable[[], Any], options: dict[str, Any]) -> DeliveredProtocol:
    """Return a backend that delivers, with the options of its URI, to two that `make` returns: one only for sending."""
    return DeliveredProtocol(uri, make(), make(), **{name: options[name] for name in DELIVERY_OPTIONS})


class OfflineView(EventProtocol):
    """Decides for a backend whose server is away: from what this process knows, and into the spill.

    `known`: what is known now; it answers.
    """

    def __init__(self, delivered: DeliveredProtocol, known: EphemeralProtocol) -> None:
        super().__init__(delivered.uri, delivered.strict)
        self.clock = delivered.clock
        self.listeners = delivered.listeners
        self._delivered = delivered
        self._known_now = known

    def apply(self, *events: Event) -> None:
        sender = self._delivered._opened()
        if sender.is_full:
            raise BackendUnavailable(
                f"the spill of {self.uri} has reached {self._delivered.limit} bytes: nothing can be decided"
            )
        journal = sender.spill.journal
        # What is decided must be on the disk: it may not wait in memory.
        journal.decider = threading.get_ident()
        try:
            for event in events:
                journal.append(encode(event))
        finally:
            journal.decider = 0
        self._known_now = self._delivered._view.current(sender)

    def atomically(self, action: Callable[[], Result]) -> Result:
        with self._delivered._opening:
            return action()

    def update_trial(self, query: Any, attr: str, args: Any, kwargs: Any) -> tuple[Trial, int | None]:
        if attr == RESERVING:
            raise BackendUnavailable(f"{self.place} is away: only the store itself can say whose a trial is")
        return super().update_trial(query, attr, args, kwargs)

    def _free_revision(self, trial: Trial, digest: str, auto_increment: bool) -> int | None:
        return offline_revision()

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        return self._known_now.fetch_trials(query)

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        return self._known_now.fetch_groups(query)

    def fetch_projects(self, query: Any = None) -> list[Project]:
        return self._known_now.fetch_projects(query)

    def has(self, kind: type, uid: Any) -> bool:
        return (kind, uid) in self._delivered._owners or self._known_now.has(kind, uid)
