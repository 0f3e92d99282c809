"""Whether a trial that is stored as running still runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from track.configuration import options
from track.persistence.state.apply import identity_of, status_of_all
from track.structure import Status, Trial
from track.structure import status as make_status
from track.utils.system import is_process_alive

HEARTBEAT_TIMEOUT = 900.0
"""Seconds of silence after which a trial that runs on another host is shown Broken, unless the options say else."""
_RUNNING = [Status.Running.name, Status.Running.value]


class Liveness:
    """Tells trials that run from those whose process is gone.

    `timeout`: seconds without an event after which a trial of another host counts as gone; by default the option
    ``log.heartbeat_timeout``. `clock`: returns unix seconds.
    """

    def __init__(self, timeout: float | None = None, clock: Callable[[], float] = time.time) -> None:
        chosen = options("log.heartbeat_timeout", HEARTBEAT_TIMEOUT) if timeout is None else timeout
        self.timeout = float(chosen)
        self.clock = clock

    def shown_status(self, trial: Trial, alive: dict[Any, bool | None]) -> Any:
        """Return the status of a trial, with the ends of those processes that are gone without saying so.

        One that is gone, or silent for too long on another host, is Broken; Interrupted where it was told to stop.

        `alive`: what was found out about processes already; filled.
        """
        if trial.status is not Status.Running or trial.is_set:
            return trial.status
        processes = trial.processes or ([{**trial.process, "status": _RUNNING}] if trial.process else [])
        if not processes:
            return trial.status
        return status_of_all(self._status(process, trial, alive) for process in processes)

    def has_live_process(self, trial: Trial, alive: dict[Any, bool | None]) -> bool:
        """Return whether a process that has begun a trial, and not said that it ended, may still run."""
        processes = trial.processes or ([{**trial.process, "status": _RUNNING}] if trial.process else [])
        running = (process for process in processes if make_status(*process["status"]) is Status.Running)
        return any(self._is_alive(process, trial, alive) for process in running)

    def _status(self, process: dict[str, Any], trial: Trial, alive: dict[Any, bool | None]) -> Any:
        status = make_status(*process["status"])
        if status is not Status.Running or self._is_alive(process, trial, alive):
            return status
        return Status.Interrupted if process.get("signal") else Status.Broken

    def _is_alive(self, process: dict[str, Any], trial: Trial, alive: dict[Any, bool | None]) -> bool:
        key = identity_of(process)
        if key not in alive:
            alive[key] = is_process_alive(process)
        found = alive[key]
        if found is not None:
            return found
        now, latest = self.clock(), trial.latest
        if not 0 < latest <= now:
            # A clock was ahead, maybe for once: what came last counts.
            latest = float(trial.metadata.get("_last_change", 0.0))
        return now - latest <= self.timeout
