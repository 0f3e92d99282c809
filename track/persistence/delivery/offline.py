"""What this process knows of a store while its server is away: what it was shown, and what it logged since."""

from __future__ import annotations

import copy
import secrets
import threading
from typing import TYPE_CHECKING

from track.errors import BackendUnavailable, TrackError
from track.events import Event, GroupCreated, ProjectCreated, TrialAttached, TrialCreated
from track.metrics import Metrics
from track.persistence.contract import subject_of
from track.persistence.ephemeral import EphemeralProtocol
from track.structure import Trial

if TYPE_CHECKING:
    from track.persistence.delivery.sender import Sender

_REMEMBERED = 64
_START = (0, 0, 0)
_CREATING = (ProjectCreated, GroupCreated, TrialCreated, TrialAttached)


def offline_revision() -> int:
    """Return a revision that no trial made online gets: there it is 0, or the highest one plus one."""
    return -1 - secrets.randbelow(1 << 52)


class LocalView:
    """The trials that the server showed last, with the events that wait in the spill.

    `uri`: for messages.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.RLock()
        self._shown: dict[str, tuple[Trial, tuple[int, int]]] = {}
        self._forget()

    def _forget(self) -> None:
        self._store = EphemeralProtocol(strict=False)
        self._spill: object = None
        self._position = _START
        self._has_begun = False

    def remember(self, trial: Trial, sender: Sender | None) -> None:
        """Keep a trial as the server shows it now, with everything that was sent; the last few are kept."""
        number = (0, 0)
        if sender is not None and sender.spill.segments:
            number = (sender.spill.acknowledged[0], sender.spill.segments[0].position[0])
        uid = trial.uid
        with self._lock:
            self._shown.pop(uid, None)
            self._shown[uid] = (copy.copy(trial), number)
            while len(self._shown) > _REMEMBERED:
                del self._shown[next(iter(self._shown))]
            if self._has_begun:
                self._forget()

    def current(self, sender: Sender | None) -> EphemeralProtocol:
        """Return a store of what is known now."""
        with self._lock:
            spill = None if sender is None else sender.spill
            if self._spill is not spill:
                self._forget()
            if not self._has_begun:
                self._has_begun = True
                self._begin()
            if spill is not None:
                self._spill = spill
                for file, first, events, after in spill.everything(self._position):
                    for number, event in enumerate(events, first):
                        self._apply((file, number), event)
                    self._position = (file, first + len(events), after)
            return self._store

    def _begin(self) -> None:
        with self._store.reading() as storage:
            for trial, _ in self._shown.values():
                shown = copy.copy(trial)
                shown.metrics, shown.chronos = _known(trial.metrics), _known(trial.chronos)
                storage.add_trial(shown)

    def _apply(self, number: tuple[int, int], event: Event) -> None:
        uid = getattr(event, "trial", "") or getattr(event, "uid", "")
        shown = self._shown.get(uid)
        # What the server had when it showed the trial is in the trial; of others only what was begun here is known.
        if (number >= shown[1]) if shown is not None else self._is_known(event):
            self._store.apply(event)

    def _is_known(self, event: Event) -> bool:
        return isinstance(event, _CREATING) or self._store.has(*subject_of(event))


def _known(measured: Metrics) -> Metrics:
    """Return a copy of metrics; empty where only the server has them."""
    known = Metrics()
    try:
        known.update(copy.deepcopy(dict(measured)))
    except (BackendUnavailable, TrackError):
        pass
    return known
