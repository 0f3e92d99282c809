"""The trials of a set as a worker takes them: one after the other, whatever the store is doing meanwhile."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from track.errors import BackendUnavailable, ConcurrentWrite, InvalidCall, LockTimeout
from track.experiment.record import Place, place_of
from track.experiment.status import status_of
from track.front import reserve
from track.manager.notice import Notice
from track.persistence.eventprotocol import DEATHS
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.utils import mask_secrets
from track.structure import Status, Trial, TrialGroup
from track.utils.lifecycle import backoff

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
_WAITING = ("registered", "requeue", "broken")
_AWAY = (BackendUnavailable, LockTimeout, ConcurrentWrite)
_PAUSE, _LONGEST_PAUSE = 0.02, 30.0
_TOLD_AT = 6
"""Failures after which it is said that the store is waited for."""
PATIENCE = 3600.0
"""Seconds for which a store that is busy or away is asked again."""


class Told(Exception):
    """The worker is to end, and not to wait any longer."""


class WorkerDied(RuntimeError):
    """The workers of a trial were killed, each time that it was tried."""


class Queue:
    """The trials of a set that wait, in its store.

    Parameters
    ----------
    root: str
        The absolute path of the set.
    notice: Notice
        Ends every wait.
    attempts: int
        How often a trial is begun whose worker is killed, or which fails, where such are tried again.
    retry_errors: bool
        Whether those that have failed wait, too, once nothing else does.
    """

    def __init__(self, root: str, notice: Notice, attempts: int, retry_errors: bool) -> None:
        self._notice = notice
        self._attempts = attempts
        self.ended: Callable[[Trial], None] = lambda trial: None
        self._place = place_of(os.path.join(root, "experiment"), "experiments")
        if self._place.uri is None:
            raise InvalidCall(f"{root} is no set of experiments: it has no experiment.yml, and no store is configured")
        self.uri = self._place.uri
        self.protocol: Protocol = self.patiently(lambda: get_protocol(self.uri))
        group = self._place.group or self.patiently(lambda: self._group_called(root))
        of_set: list[tuple[str, Any]] = [("group_id", group.uid)]
        self._queries = [[*of_set, ("status", {"$in": list(_WAITING)})]]
        if retry_errors:
            self._queries.append([*of_set, ("status", "exception"), ("attempt", {"$lt": attempts})])

    def _group_called(self, root: str) -> TrialGroup:
        """Return the group of a set whose files are on another machine, by the name of its folder."""
        found = self.protocol.fetch_groups({"name": {"$in": [root, os.path.basename(root)]}})
        if len(found) != 1:
            place = mask_secrets(self.uri)
            raise InvalidCall(f"{root} is no set of experiments, and {len(found)} groups in {place} are called so")
        return found[0]

    @property
    def place(self) -> Place:
        """The store, the project and the group."""
        return self._place

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, tried again with pauses that grow while the store is busy or away.

        Raises `Told` where the worker is to end meanwhile, and what the store raises after an hour of that.
        """
        deadline, failures = time.monotonic() + PATIENCE, 0
        while True:
            try:
                return action()
            except _AWAY as error:
                failures += 1
                pause = backoff(failures, _PAUSE, _LONGEST_PAUSE)
                if getattr(error, "needs_repair", False) or time.monotonic() + pause > deadline:
                    raise
                logger.log(logging.WARNING if failures == _TOLD_AT else logging.DEBUG, "the worker waits: %s", error)
            self._notice.pause(pause)
            if self._notice.is_told:
                raise Told

    def next(self) -> Trial | None:
        """Return the oldest trial that waits, which is this process's now; None where none does.

        One whose workers were all killed is ended instead.
        """
        for query in self._queries:
            while (trial := self._reserve(query)) is not None:
                if int(trial.metadata.get(DEATHS, 0)) < self._attempts:
                    return trial
                # Who puts it back means it.
                self.protocol.log_trial_metadata(trial, deaths=0)
                self.end(trial, Status.Exception, WorkerDied(f"its worker died {self._attempts} times"))
                self.ended(trial)
        return None

    def _reserve(self, query: Any) -> Trial | None:
        return self.patiently(lambda: reserve(self.protocol, query, 0.0))

    def is_ours(self, trial: Trial) -> bool:
        """Say that a trial runs, and return whether it still belongs to this worker."""
        self.protocol.log_trial_metadata(trial)
        found = self.protocol.first_trial({"uid": trial.uid})
        return found is None or found.attempt <= trial.attempt

    def give_back(self, trial: Trial) -> None:
        """Let another worker go on with a trial."""
        self.end(trial, status_of("requeue"))

    def end(self, trial: Trial, status: Any = None, error: Exception | None = None) -> None:
        """Store how a trial has ended: what its processes say, unless a status is given."""
        if status is not None:
            said = None if error is None else f"{type(error).__name__}: {error}"
            self.protocol.set_trial_status(trial, status, said)
        self.protocol.log_trial_finish(trial, None, None, None)
        self.settle()

    def settle(self) -> None:
        """Return once all that was said is stored."""

        def flush() -> None:
            self.protocol.flush()
            if self.protocol.unsaved():
                raise BackendUnavailable("the end of a trial is not stored yet")

        self.patiently(flush)

    def stored(self, trial: Trial) -> Trial | None:
        """Return a trial as its body has left it, after all that waits on this machine was sent."""

        def look() -> Trial | None:
            if self.protocol.left_behind():
                # Whoever takes a trial sends it first; this takes none.
                reserve(self.protocol, {"uid": trial.uid, "status": "none"}, 0.0)
            return self.protocol.first_trial({"uid": trial.uid})

        return self.patiently(look)

    def close(self) -> None:
        """Give back the connection."""
        self.protocol.close()
