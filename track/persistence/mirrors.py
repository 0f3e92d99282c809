"""Backends that are told what another one has decided: they follow, and never disturb."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from track.errors import BackendUnavailable, NotFound
from track.events import Event, FieldsMerged, TrialCreated
from track.persistence.eventprotocol import EventProtocol
from track.persistence.protocol import Protocol
from track.structure import Trial

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_LOSING_NOTHING = ("check_writable", "close", "commit", "flush", "save_if_worth")


class EventRecorder:
    """Hears what a backend of events stores, so that others can be told the same.

    Parameters
    ----------
    backend: EventProtocol
        Its `apply` and `atomically` are listened to from now on.
    """

    def __init__(self, backend: EventProtocol) -> None:
        # No circle of references: a store is closed when the last of its users has forgotten it.
        self._backend = weakref.ref(backend)
        self._heard = threading.local()
        self._before = {name: vars(backend).get(name) for name in ("apply", "atomically")}
        backend.apply = self._hear  # type: ignore[method-assign]
        backend.atomically = self._attempt  # type: ignore[method-assign]

    @contextmanager
    def listening(self) -> Iterator[list[Event]]:
        """Give the list of what this thread stores meanwhile."""
        outer = getattr(self._heard, "events", None)
        self._heard.events = []
        try:
            yield self._heard.events
        finally:
            self._heard.events = outer

    def _hear(self, *events: Event) -> None:
        self._go_on("apply", *events)
        heard = getattr(self._heard, "events", None)
        if heard is not None:
            heard.extend(events)

    def _go_on(self, method: str, *args: Any) -> Any:
        """Call the method as it was before anybody listened."""
        before = self._before[method]
        if before is not None:
            return before(*args)
        backend = self._backend()
        assert backend is not None
        return getattr(type(backend), method)(backend, *args)

    def _attempt(self, action: Callable[[], Result]) -> Result:
        """Run a transaction, which may fail and be run again: only what the last one stored was heard."""
        heard = getattr(self._heard, "events", None)
        if heard is None:
            return cast("Result", self._go_on("atomically", action))
        before = len(heard)

        def attempt() -> Result:
            del heard[before:]
            return action()

        try:
            return cast("Result", self._go_on("atomically", attempt))
        except BaseException:
            del heard[before:]
            raise


class Mirror:
    """One backend that follows; what it could not take is counted, and said once.

    Parameters
    ----------
    backend: Protocol
        One of events is told the events of the backend that decides, another one the calls.
    """

    def __init__(self, backend: Protocol) -> None:
        self.backend = backend
        self.missed = 0
        """How many events, or calls, it could not take."""
        self._is_told = False
        self._missing: set[str] = set()
        self._known: set[str] = set()
        self._unknown: set[str] = set()

    def apply(self, events: Sequence[Event]) -> None:
        """Tell a backend of events what was decided."""
        backend = self.backend
        assert isinstance(backend, EventProtocol)
        for event in events:
            try:
                self._apply_one(backend, event)
            except Exception as error:  # noqa: BLE001 - a mirror never disturbs, whatever it raises
                self._miss(error)

    def call(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """Tell a backend of methods; one that it does not have is said once."""
        try:
            getattr(self.backend, method)(*args, **kwargs)
        except NotImplementedError:
            if method not in self._missing:
                self._missing.add(method)
                logger.warning("%r does not take part in %s", self.backend, method)
        except Exception as error:  # noqa: BLE001 - a mirror never disturbs, whatever it raises
            self._miss(error, is_counted=method not in _LOSING_NOTHING)

    def _apply_one(self, backend: EventProtocol, event: Event) -> None:
        uid = event.uid if isinstance(event, FieldsMerged) and event.kind == "trial" else getattr(event, "trial", None)
        if isinstance(event, TrialCreated):
            self._create(backend, event)
        elif uid is None or self._knows(backend, uid):
            backend.apply(event)
        else:
            self._miss(NotFound(f"trial {uid} was created without it"))

    def _create(self, backend: EventProtocol, event: TrialCreated) -> None:
        uid = event.trial
        if _is_stored(backend, uid):
            logger.warning("%r has a trial %s already: what is logged is added to it", backend, uid)
        # What follows makes no sense to it until it has taken this.
        self._unknown.add(uid)
        backend.apply(event)
        self._unknown.discard(uid)
        self._known.add(uid)

    def _knows(self, backend: EventProtocol, uid: str) -> bool:
        if uid in self._known:
            return True
        if uid in self._unknown:
            return False
        # Whether a server that is away has it will be seen when the event gets there.
        is_known = _is_stored(backend, uid) is not False
        (self._known if is_known else self._unknown).add(uid)
        return is_known

    def _miss(self, error: Exception, is_counted: bool = True) -> None:
        self.missed += is_counted
        if not self._is_told:
            self._is_told = True
            logger.warning("%r misses something (%s: %s); the others go on", self.backend, type(error).__name__, error)


def _is_stored(backend: EventProtocol, uid: str) -> bool | None:
    """Return whether a trial is stored; None when a server is away."""
    try:
        return backend._has(Trial, uid)
    except BackendUnavailable:
        return None
