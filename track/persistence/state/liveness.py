"""Whether a trial that is stored as running still runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from track.structure import Status, Trial
from track.utils.system import is_process_alive

HEARTBEAT_TIMEOUT = 300.0
"""Seconds of silence after which a trial that runs on another host is shown Broken."""


class Liveness:
    """Tells trials that run from those whose process is gone.

    Parameters
    ----------
    timeout: float
        Seconds without an event after which a trial of another host counts as gone.
    clock: callable
        Returns unix seconds.
    """

    def __init__(self, timeout: float = HEARTBEAT_TIMEOUT, clock: Callable[[], float] = time.time) -> None:
        self.timeout = timeout
        self.clock = clock

    def is_broken(self, trial: Trial, alive: dict[Any, bool | None]) -> bool:
        """Return whether the process that runs the trial is gone, or silent for too long on another host.

        Parameters
        ----------
        alive: dict
            What was found out about processes already; filled.
        """
        process = trial.process
        if process is None or trial.status is not Status.Running:
            return False
        key = (process.get("host"), process.get("pid"), process.get("started"))
        if key not in alive:
            alive[key] = is_process_alive(process)
        if alive[key] is not None:
            return not alive[key]
        last = trial.metadata.get("_last_change", 0.0)
        return bool(self.clock() - last > self.timeout)
