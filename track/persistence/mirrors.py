"""Backends that are told what another one has decided: they follow, and never disturb."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from track.errors import BackendUnavailable, NotFound
from track.events import ArtifactAdded, Event, FieldsMerged, TrialCreated
from track.persistence.protocol import Protocol
from track.persistence.utils import named_from_elsewhere
from track.structure import Trial

logger = logging.getLogger(__name__)
_LOSING_NOTHING = ("check_writable", "close", "commit", "flush", "tidy")


class Mirror:
    """One backend that follows; what it could not take is counted, and said once.

    `backend`: one of events is told the events of the backend that decides, another one the calls. `home`: the folder
    of the artifacts beside the backend that decides, which are named from elsewhere here.
    """

    def __init__(self, backend: Protocol, home: str = "") -> None:
        self.backend = backend
        self._home = home
        self.missed = 0
        """How many events, or calls, it could not take."""
        self._is_told = False
        self._missing: set[str] = set()
        self._known: set[str] = set()
        self._unknown: set[str] = set()

    def hear(self, events: Sequence[Event]) -> None:
        """Tell a backend of events what was decided."""
        for event in events:
            if isinstance(event, ArtifactAdded):
                event = replace(event, uri=named_from_elsewhere(event.uri, self._home))  # noqa: PLW2901
            try:
                self._take_in(self.backend, event)
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

    def _take_in(self, backend: Protocol, event: Event) -> None:
        uid = event.uid if isinstance(event, FieldsMerged) and event.kind == "trial" else getattr(event, "trial", None)
        if isinstance(event, TrialCreated):
            self._create(backend, event)
        elif uid is None or self._knows(backend, uid):
            backend.apply(event)
        else:
            self._miss(NotFound(f"trial {uid} was created without it"))

    def _create(self, backend: Protocol, event: TrialCreated) -> None:
        uid = event.trial
        if _is_stored(backend, uid):
            logger.warning("%r has a trial %s already: what is logged is added to it", backend, uid)
        # What follows makes no sense to it until it has taken this.
        self._unknown.add(uid)
        backend.apply(event)
        self._unknown.discard(uid)
        self._known.add(uid)

    def _knows(self, backend: Protocol, uid: str) -> bool:
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


def _is_stored(backend: Protocol, uid: str) -> bool | None:
    """Return whether a trial is stored; None when a server is away."""
    try:
        return backend.has(Trial, uid)
    except BackendUnavailable:
        return None
