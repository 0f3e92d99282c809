"""The layer in front of a server: the network may fail, the training may not.

A log call appends its event to a local spill, with the code and the cost of the file store, and returns. A
thread sends batches and notes what was acknowledged. Every event carries writer and number, and the server
stores each once. Decisions and questions flush first, then go straight through.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from track.errors import BackendUnavailable, TrackError
from track.events import Event, encode
from track.persistence.eventprotocol import EventProtocol
from track.persistence.spill import Spill, abandoned_spills, spill_folder
from track.persistence.storage import LocalStorage
from track.structure import Project, Trial, TrialGroup

__all__ = ["DeliveredProtocol", "Server", "send_spill"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

BATCH = 5_000
"""Events in one transaction, at most."""

_IDLE = 0.1
_LONGEST_PAUSE = 30.0
_EXIT_TIMEOUT = 10.0


class Server(Protocol):
    """What delivery asks of a backend that is far away."""

    def receive(self, writer: str, first: int, events: list[Event]) -> None:
        """Store events, numbered from `first` on, those that are new; BackendUnavailable to try again later."""

    def close(self) -> None:
        """Close the connection."""


def send_spill(spill: Spill, server: Server) -> int:
    """Send what the server has not acknowledged of a spill, and return how many events that was.

    Raises
    ------
    BackendUnavailable
        The server cannot be reached; what was acknowledged stays so.
    """
    sent = 0
    for first, events, offset in spill.unsent():
        for start in range(0, len(events), BATCH):
            server.receive(spill.writer, first + start, events[start : start + BATCH])
        spill.acknowledge(first + len(events), offset)
        sent += len(events)
    return sent


class DeliveredProtocol(EventProtocol):
    """A backend that logs to a local spill and delivers to a server.

    Parameters
    ----------
    uri: str
    remote: EventProtocol
        For decisions and questions: it raises BackendUnavailable when the server is away.
    server: Server
        For sending, with a connection of its own, so that a slow batch delays no decision.
    strict: bool
        Whether parents must be stored before their children.
    limit: int
        Bytes of spill beyond which events are dropped, and counted.
    """

    def __init__(self, uri: str, remote: EventProtocol, server: Server, strict: bool = True, limit: int = 1 << 30) -> None:
        super().__init__(uri, strict)
        self.remote = remote
        self.server = server
        self.limit = limit
        self.patience = 10.0
        self._spill: Spill | None = None
        self._opening = threading.RLock()
        self._sending = threading.Lock()
        self._deciding = threading.RLock()
        self._decider = 0
        self._wake = threading.Event()
        self._progress = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._dropped = 0
        self._error: Exception | None = None
        self._seen: dict[str, Trial] = {}
        self._append: Callable[[bytes], None] = self._append_first
        _live.add(self)
        _register_hooks()

    # writing

    def apply(self, *events: Event) -> None:
        """Store facts: in the spill; straight away where they are part of a decision."""
        if self._decider and self._decider == threading.get_ident():
            self.remote.apply(*events)
            return
        for event in events:
            self._append(encode(event))

    def _append_first(self, line: bytes) -> None:
        with self._opening:
            self._open_spill()
        self._append(line)

    def _open_spill(self) -> Spill:
        if self._spill is None:
            spill = Spill(spill_folder(self.uri))
            spill.open(self.uri)
            self._spill, self._append = spill, spill.journal.append
            self._start_sending()
        return self._spill

    def _append_dropped(self, line: bytes) -> None:
        self._dropped += 1

    # sending

    def _start_sending(self) -> None:
        self._thread = threading.Thread(target=_send_forever, args=(weakref.ref(self),), name="track-send", daemon=True)
        self._thread.start()

    def _send(self) -> bool:
        """Send what there is, the spills of dead processes first; return whether there was anything."""
        with self._sending:
            spill = self._spill
            if spill is None:
                return False
            sent = send_spill(spill, self.server)
            self._watch_size(spill)
            with self._progress:
                self._progress.notify_all()
            return sent > 0

    def _watch_size(self, spill: Spill) -> None:
        is_full = spill.size > self.limit
        if is_full and self._append != self._append_dropped:
            logger.warning("the spill of %s has reached %d bytes: events are dropped and counted", self.uri, self.limit)
            self._append = self._append_dropped

    def _send_abandoned(self) -> None:
        own = "" if self._spill is None else self._spill.writer
        for spill in abandoned_spills(spill_folder(self.uri), self.uri, own):
            send_spill(spill, self.server)

    def flush(self, timeout: float | None = None) -> None:
        """Return once the server has everything logged so far, or the time is over.

        Parameters
        ----------
        timeout: float, optional
            Seconds; 10 by default.
        """
        spill = self._spill
        if spill is None:
            return
        spill.journal.retry()
        deadline = time.monotonic() + (self.patience if timeout is None else timeout)
        while not spill.is_sent and time.monotonic() < deadline:
            self._wake.set()
            with self._progress:
                self._progress.wait(0.02)
            if self._error is not None and not isinstance(self._error, BackendUnavailable):
                return

    def _flush_or_raise(self) -> None:
        """Flush before a decision; a server that is away is an error here."""
        if self._spill is None or self._spill.is_sent:
            return
        if isinstance(self._error, BackendUnavailable):
            raise self._error
        self.flush()
        if not self._spill.is_sent:
            raise self._error or BackendUnavailable(f"{self.uri} does not take the events that wait for it")

    def unsaved(self) -> int:
        """Return how many events the server has not acknowledged."""
        return self._dropped + (0 if self._spill is None else self._spill.count_unsent())

    # deciding and asking

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, as one transaction of the server."""
        with self._deciding:
            if self._decider == threading.get_ident():
                return action()
            self._flush_or_raise()

            def decide() -> Result:
                # The server may run it again from the start: what is applied goes to this transaction.
                self._decider = threading.get_ident()
                try:
                    return action()
                finally:
                    self._decider = 0

            return self.remote.atomically(decide)

    def _ask(self, question: Callable[[], Result]) -> Result:
        if self._decider != threading.get_ident():
            self._flush_or_raise()
        return question()

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first."""
        found = self._ask(lambda: self.remote.fetch_trials(query))
        return found

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return the groups that match, oldest first."""
        return self._ask(lambda: self.remote.fetch_groups(query))

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return the projects that match, oldest first."""
        return self._ask(lambda: self.remote.fetch_projects(query))

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date; while the server is away, with what this process logged."""
        try:
            super().refresh(trial)
        except BackendUnavailable as error:
            logger.warning("%s: the trial is shown as this process knows it", error)
            self._replay_spill(trial)

    def _replay_spill(self, trial: Trial) -> None:
        storage = LocalStorage(self.uri)
        base = self._seen.get(trial.uid)
        if base is None or self._spill is None:
            return
        storage.add_trial(base)
        for events in self._spill.everything():
            storage.apply(event for event in events if getattr(event, "trial", getattr(event, "uid", "")) == trial.uid)
        vars(trial).update(vars(next(storage.find_trials({"uid": trial.uid}))))

    def get_trial(self, trial: Trial) -> list[Trial]:
        """Return the trial with this uid, then the other revisions of its hash."""
        found = super().get_trial(trial)
        if found:
            self._seen[trial.uid] = found[0]
        return found

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial and return it; None when its uid is stored and `auto_increment` is false."""
        made = super().new_trial(trial, auto_increment)
        if made is not None:
            # Looked at now, while the server answers: this is what `refresh` starts from when it does not.
            len(made.metrics), len(made.chronos)
            self._seen[made.uid] = made
        return made

    def _first_trial(self, query: Any) -> Trial | None:
        return self._ask(lambda: self.remote._first_trial(query))

    def _revisions(self, digest: str) -> set[int]:
        return self._ask(lambda: self.remote._revisions(digest))

    def _has(self, kind: type, uid: Any) -> bool:
        return self._ask(lambda: self.remote._has(kind, uid))

    # life

    def close(self) -> None:
        """Send what can be sent, and give the spill and the connections back."""
        self.flush(_EXIT_TIMEOUT)
        with self._opening, self._sending:
            spill, self._spill = self._spill, None
            self._append = self._append_first
            if spill is not None:
                spill.close()
        self.remote.close()
        self.server.close()

    def _after_fork(self) -> None:
        if self._spill is not None:
            self._spill.after_fork()
        self._spill, self._thread, self._decider, self._error = None, None, 0, None
        self._append = self._append_first
        self._opening, self._deciding = threading.RLock(), threading.RLock()
        self._sending, self._progress, self._wake = threading.Lock(), threading.Condition(), threading.Event()
        self._dropped = 0


def _send_forever(reference: weakref.ref[DeliveredProtocol]) -> None:
    """Send until the protocol is gone; wait longer after each failure."""
    failures = 0
    looked_for_abandoned = False
    while True:
        protocol = reference()
        if protocol is None or protocol._spill is None:
            return
        try:
            protocol._send()
            if not looked_for_abandoned:
                looked_for_abandoned = True
                protocol._send_abandoned()
            protocol._error, failures = None, 0
        except BackendUnavailable as error:
            failures += 1
            if protocol._error is None:
                logger.warning("%s: training goes on, events wait in %s", error, spill_folder(protocol.uri))
            protocol._error = error
        except (TrackError, OSError) as error:
            failures += 1
            logger.error("%s: events wait in %s", error, spill_folder(protocol.uri))
            protocol._error = error
        wake = protocol._wake
        del protocol
        wake.wait(_pause(failures))
        wake.clear()


def _pause(failures: int) -> float:
    if failures == 0:
        return _IDLE
    return random.uniform(0.5, 1.0) * min(_IDLE * 2**failures, _LONGEST_PAUSE)  # noqa: S311 - no secret


_live: weakref.WeakSet[DeliveredProtocol] = weakref.WeakSet()
_hooked = False


def _register_hooks() -> None:
    global _hooked
    if _hooked:
        return
    _hooked = True
    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _close_all() -> None:
    for protocol in list(_live):
        protocol.close()


def _after_fork() -> None:
    for protocol in list(_live):
        protocol._after_fork()
