"""The trials of a set as a worker takes them: one after the other, whatever the store is doing meanwhile."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from track.errors import BackendUnavailable, ConcurrentWrite, InvalidCall, LockTimeout
from track.experiment.parts import status_of
from track.front import reserve
from track.manager.notice import Notice
from track.manager.sampling import next_sampled
from track.manager.sets import ExperimentSet
from track.persistence.protocol import Protocol
from track.persistence.state import DEATHS
from track.persistence.utils import mask_secrets
from track.shown import label_of
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
    experiments: ExperimentSet
    notice: Notice
        Ends every wait.
    attempts: int
        How often a trial is begun whose worker is killed, or which fails, where such are tried again.
    retry_errors: bool
        Whether those that have failed wait, too, once nothing else does.
    """

    def __init__(self, experiments: ExperimentSet, notice: Notice, attempts: int, retry_errors: bool) -> None:
        self._notice = notice
        self._attempts = attempts
        self._held: Trial | None = None
        self.ended: Callable[[Trial], None] = lambda trial: None
        if experiments.place.uri is None:
            raise InvalidCall(
                f"{experiments.root} is no set of experiments: it has no experiment.yml, and no store is configured"
            )
        self.uri = experiments.place.uri
        self.protocol: Protocol = self.patiently(lambda: experiments.protocol)
        self._root = experiments.root
        self._group = experiments.place.group or self.patiently(lambda: self._join(experiments))
        of_set: list[tuple[str, Any]] = [("group_id", self._group.uid)]
        self._queries = [[*of_set, ("status", {"$in": list(_WAITING)})]]
        if retry_errors:
            self._queries.append([*of_set, ("status", "exception"), ("attempt", {"$lt": attempts})])

    def _join(self, experiments: ExperimentSet) -> TrialGroup:
        """Return the group of a set whose files are on another machine, by the name of its folder."""
        name = os.path.basename(experiments.root)
        found = self.protocol.fetch_groups({"name": name})
        if len(found) != 1:
            place = mask_secrets(self.uri)
            raise InvalidCall(
                f"{experiments.root} is no set of experiments, and {place} has {len(found)} groups called {name!r}"
            )
        experiments.join(found[0])
        return found[0]

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

        Where none does, the sweep may have another one, which is made now. One whose workers were all killed is ended.
        """
        while True:
            trial = self._next_that_waits(self._queries[:1])
            if trial is not None:
                return trial
            # Another worker may take it.
            if self.patiently(lambda: next_sampled(self.protocol, self._group, self._root)) is None:
                return self._next_that_waits(self._queries[1:])

    def _next_that_waits(self, queries: Sequence[Any]) -> Trial | None:
        for query in queries:
            while (trial := self._reserve(query)) is not None:
                self._held = trial
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
        self.tell_given_back(trial)

    def tell_given_back(self, trial: Trial) -> None:
        """Say that another worker may go on with a trial that this one had."""
        logger.warning("trial %r is given back: a worker that starts later goes on with it", label_of(trial))

    def end(self, trial: Trial, status: Any = None, error: Exception | None = None) -> None:
        """Store how a trial has ended: what its processes say, unless a status is given."""
        self._say_end(trial, status, error)
        self.settle()

    def forget(self) -> None:
        """Take note that another worker has the trial now."""
        self._held = None

    def release(self) -> None:
        """Give the trial back that this worker holds and has not ended, without a look at what becomes of that."""
        if self._held is not None:
            self._say_end(self._held, status_of("requeue"))

    def _say_end(self, trial: Trial, status: Any = None, error: Exception | None = None) -> None:
        self._held = None
        if status is not None:
            said = None if error is None else f"{type(error).__name__}: {error}"
            self.protocol.set_trial_status(trial, status, said)
        self.protocol.log_trial_finish(trial, None, None, None)

    def settle(self) -> None:
        """Return once all that was said is stored, the end of a trial, too."""
        self._held = None

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
