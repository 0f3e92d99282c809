"""The layer in front of a server: the network may fail, the training may not.

A log call appends its event to a local spill, with the code and the cost of the file store, and returns. A
thread sends batches and notes what was acknowledged. Every event carries writer and number, and the server
stores each once. Decisions and questions flush first, then go straight through.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from track.errors import BackendUnavailable, OutcomeUnknown
from track.events import Event, decode_lines, encode
from track.persistence.delivery.offline import LocalView, offline_revision, tell_away
from track.persistence.delivery.sender import Sender, Server
from track.persistence.delivery.spill import count_left_behind
from track.persistence.eventprotocol import EventProtocol
from track.persistence.utils import read_bool
from track.structure import Project, Trial, TrialGroup

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
DELIVERY_OPTIONS: dict[str, Any] = {
    "offline": (read_bool, False),
    "spill_limit": (int, 1 << 30),
    "strict": (read_bool, False),
}
"""What may follow the ``?`` of the URI of every backend that delivers: how to read it, and its default."""
_PATIENCE = 30.0
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
    """

    def __init__(  # noqa: PLR0917 - as the options of the URI are read
        self,
        uri: str,
        remote: EventProtocol,
        server: Server,
        offline: bool = False,
        strict: bool = False,
        spill_limit: int = 1 << 30,
    ) -> None:
        super().__init__(uri, remote.strict)
        self.remote = remote
        self.server = server
        self.offline = offline
        self.raises = strict
        self.limit = spill_limit
        self.patience = _PATIENCE
        self._left = 0
        self._sender: Sender | None = None
        self._view = LocalView(uri)
        self._away: tuple[float, BackendUnavailable] | None = None
        self._answering: EventProtocol = remote
        self._decider = 0
        self._opening = threading.RLock()
        self._deciding = threading.RLock()
        self._owners: set[tuple[type, Any]] = set()
        self._append: Callable[[bytes], None] = self._append_first
        _live.add(self)
        _register_hook()

    # writing

    def apply(self, *events: Event) -> None:
        """Store facts: in the spill; straight away where they are part of a decision."""
        if self._decider and self._decider == threading.get_ident() and self._answering is self.remote:
            self.remote.apply(*events)
            return
        for event in events:
            self._append(encode(event))

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
                sender = Sender(self.uri, self.server, self.limit, self, self._reroute)
                sender.is_told = self._away is not None
                sender.start()
                self._sender = sender
                self._reroute()
            return self._sender

    def _reroute(self) -> None:
        """Choose where the next line goes, once for many."""
        sender = self._sender
        if sender is None or sender.has_ended:
            self._append = self._append_first
        elif self.raises and (sender.is_away or sender.is_full):
            self._append = self._refuse
        else:
            self._append = sender.drop if sender.is_full else sender.spill.journal.append

    def _refuse(self, line: bytes) -> None:
        sender = self._sender
        if sender is not None and sender.is_away and sender.error is not None:
            raise BackendUnavailable(f"{sender.error} (strict=1: nothing is logged meanwhile)")
        raise BackendUnavailable(f"the spill of {self.uri} has reached {self.limit} bytes (strict=1)")

    # how far

    def flush(self, timeout: float | None = None) -> None:
        """Return once the server has everything logged so far, or there is no hope of that now.

        Parameters
        ----------
        timeout: float, optional
            Seconds to wait, whatever happens. By default not for a server that is away, 3 s for one that is
            silent, and at most 30 s.
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
        if self._sender is None:
            return ""
        return f"what waits in {self._sender.spill.folder} is sent by the next run, or by `python -m track sync`"

    def left_behind(self) -> int:
        """Return how many events of processes that are gone wait here, to be sent by the next one that logs."""
        return count_left_behind(self.uri)

    def _flush_or_raise(self) -> None:
        """Flush before a decision; a server that is away is an error here."""
        sender = self._sender
        if sender is None or sender.spill.is_sent:
            return
        # A program that asks again and again waits for a server that is silent once in a while only.
        if sender.is_away and time.monotonic() - sender.last_failure < _TRUSTED:
            raise BackendUnavailable(str(sender.error))
        if not sender.flush():
            raise BackendUnavailable(str(sender.error or f"{self.uri} does not take the events that wait for it"))

    # deciding and asking

    @property
    def _is_deciding(self) -> bool:
        return self._decider == threading.get_ident()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other thread decides."""
        if not self._deciding.acquire(timeout=self.patience):
            raise BackendUnavailable(f"{self.uri} did not answer another thread within {self.patience:g} s")
        try:
            yield
        finally:
            self._deciding.release()

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, as one transaction of the server, which may run it again from the start."""
        if self._is_deciding:
            return action()
        with self._turn():
            return self._with_server(
                lambda: self.remote.atomically(lambda: self._decide(action, self.remote)),
                lambda view: self._decide_here(action, view),
            )

    def _decide(self, action: Callable[[], Result], answering: EventProtocol) -> Result:
        # Only now: what a signal handler logs before and after is no part of the transaction.
        self._decider, self._answering = threading.get_ident(), answering
        try:
            return action()
        finally:
            self._decider, self._answering = 0, self.remote

    def _decide_here(self, action: Callable[[], Result], view: EventProtocol) -> Result:
        sender = self._opened()
        if sender.is_full:
            raise BackendUnavailable(f"the spill of {self.uri} has reached {self.limit} bytes: nothing can be decided")
        journal = sender.spill.journal
        # What is decided must be on the disk: it may not wait in memory.
        journal.decider = threading.get_ident()
        try:
            return self._decide(action, view)
        finally:
            journal.decider = 0

    def _with_server(self, online: Callable[[], Result], offline: Callable[[EventProtocol], Result]) -> Result:
        if self.offline and self._is_surely_away():
            return offline(self._view.current(self._sender))
        try:
            self._flush_or_raise()
            result = online()
        except OutcomeUnknown:
            raise
        except BackendUnavailable as error:
            if not self.offline:
                raise
            if self._away is None:
                tell_away(self.uri, error, self._sender)
            self._away = (time.monotonic(), error)
            return offline(self._view.current(self._sender))
        self._away = None
        return result

    def _is_surely_away(self) -> bool:
        if self._away is None or time.monotonic() - self._away[0] >= _TRUSTED:
            return False
        sender = self._sender
        return sender is None or sender.is_away or not sender.spill.is_sent

    def _ask(self, question: Callable[[EventProtocol], Result]) -> Result:
        if self._is_deciding:
            if self._answering is self.remote:
                return question(self.remote)
            return question(self._view.current(self._sender))
        return self._with_server(lambda: question(self.remote), question)

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return the trials that match, oldest first."""
        return self._ask(lambda answering: answering.fetch_trials(query))

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return the groups that match, oldest first."""
        return self._ask(lambda answering: answering.fetch_groups(query))

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return the projects that match, oldest first."""
        return self._ask(lambda answering: answering.fetch_projects(query))

    def refresh(self, trial: Trial) -> None:
        """Bring `trial` up to date; while the server is away, with what this process logged."""
        try:
            super().refresh(trial)
        except BackendUnavailable as error:
            logger.warning("%s: the trial is shown as this process knows it", error)
            self._view.current(self._sender).refresh(trial)

    def get_trial(self, trial: Trial) -> list[Trial]:
        """Return the trial with this uid, then the other revisions of its hash."""
        found = super().get_trial(trial)
        if found and self._away is None:
            self._view.remember(found[0], self._sender)
        return found

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Store a trial and return it; None when its uid is stored and `auto_increment` is false.

        Offline it gets a revision below 0, which no trial gets that was made online.
        """
        made = super().new_trial(trial, auto_increment)
        if made is not None and self._away is None:
            # Looked at now, while the server answers.
            len(made.metrics), len(made.chronos)
            self._view.remember(made, self._sender)
        return made

    def _free_revision(self, trial: Trial, digest: str, auto_increment: bool) -> int | None:
        if self._answering is not self.remote:
            return offline_revision()
        return super()._free_revision(trial, digest, auto_increment)

    def _first_trial(self, query: Any) -> Trial | None:
        return self._ask(lambda answering: answering._first_trial(query))

    def _revisions(self, digest: str) -> set[int]:
        return self._ask(lambda answering: answering._revisions(digest))

    def _has(self, kind: type, uid: Any) -> bool:
        # Nothing is ever removed, so what was there once needs no second look.
        if (kind, uid) in self._owners:
            return True
        found = self._ask(lambda answering: answering._has(kind, uid))
        if found and not self._is_deciding:
            self._owners.add((kind, uid))
        return found

    # life

    def close(self) -> None:
        """Send what can be sent within a few seconds, and give the spill and the connections back."""
        with self._opening:
            sender, self._sender = self._sender, None
            self._append = self._append_first
        if sender is not None:
            sender.close()
            self._left += sender.unsaved()
        self.remote.close()

    def _after_fork(self) -> None:
        self._sender = None
        self._decider, self._answering, self._left = 0, self.remote, 0
        self._opening, self._deciding = threading.RLock(), threading.RLock()
        self._append = self._append_first
        self._view = LocalView(self.uri)


_live: weakref.WeakSet[DeliveredProtocol] = weakref.WeakSet()
_is_hooked = False


def _register_hook() -> None:
    global _is_hooked  # noqa: PLW0603
    if not _is_hooked and hasattr(os, "register_at_fork"):
        _is_hooked = True
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for protocol in list(_live):
        protocol._after_fork()
