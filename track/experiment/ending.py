"""The end that a scheduler announces by SIGUSR1: the time is over, or the job is put back into the queue."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from track.configuration import options
from track.home import known
from track.utils.signal import is_handled

logger = logging.getLogger(__name__)


class TimeLimit(KeyboardInterrupt):
    """The scheduler has said that the time of this job is over."""


class TimeLimitSignal:
    """Turns SIGUSR1 into `TimeLimit` while a block runs, in the main thread, unless the program uses the signal."""

    def __init__(self) -> None:
        self._previous: Any = None

    def __enter__(self) -> TimeLimitSignal:
        try:
            if options("process.hooks", True) and not is_handled(signal.SIGUSR1):
                self._previous = signal.signal(signal.SIGUSR1, _raise)
        except ValueError:
            # Another thread: Python lets only the main one set handlers.
            pass
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None and signal.getsignal(signal.SIGUSR1) is _raise:
            signal.signal(signal.SIGUSR1, self._previous)
        self._previous = None


def _raise(signum: int, frame: Any) -> None:
    raise TimeLimit("SIGUSR1: the scheduler has said that the time is over")


def put_back_into_queue() -> bool:
    """Ask Slurm to run this job again, where there is one that can be, and return whether it will be."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not options("experiment.requeue", known("requeue")):
        return False
    import subprocess

    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("job %s is not put back into the queue: %s", job, error)
        return False
    return True
