"""What an engine starts many copies of: `work`, which runs the experiments of a set until none waits."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from track.errors import InvalidCall
from track.experiment.parts import put_back_into_queue
from track.manager.bodies import Bodies
from track.manager.moving import require_program
from track.manager.notice import Notice
from track.manager.queue import Queue, Told
from track.manager.sets import ExperimentSet
from track.utils.files import absolute_path

logger = logging.getLogger(__name__)
_PAUSE = 1.0


class Ran(int):
    """How many experiments ran; `failed` of them have ended as an error.

    Parameters
    ----------
    done: int
    failed: int
    """

    failed: int

    def __new__(cls, done: int, failed: int = 0) -> Ran:
        """Make the number."""
        self = super().__new__(cls, done)
        self.failed = failed
        return self


def work(
    root: str | os.PathLike[str],
    *,
    trials: int | None = None,
    attempts: int = 3,
    retry_errors: bool = False,
    isolate: bool = True,
    wait: float = 0.0,
    stop_after_errors: int | None = None,
) -> Ran:
    """Run the experiments of a set that wait, one after the other, and return how many ran here, and have ``failed``.

    Any number of workers may do that at the same time, on any machines that reach the store: each experiment has one
    owner. One whose worker was killed waits again. At SIGTERM, SIGUSR1 and Ctrl-C the present one is given back, and
    the worker ends. To go on after any end is to call it again.

    Parameters
    ----------
    root: path
        The folder of the set.
    trials: int, optional
        How many to run at most; by default all.
    attempts: int
        How often an experiment is begun whose workers are killed; it ends as an error then.
    retry_errors: bool
        Whether experiments that have failed are run again, up to `attempts` times in all.
    isolate: bool
        Whether each runs in a process of its own, which may crash; otherwise in this one, which must be able to import
        it.
    wait: float
        Seconds for which to look again where none waits: others may give some back.
    stop_after_errors: int, optional
        How many that fail here end the worker.

    Raises
    ------
    InvalidCall
        There is no set (a ValueError too).
    BackendUnavailable
        The store was away for an hour.
    """
    if trials is not None and trials < 0:
        raise InvalidCall(f"trials is how many to run at most, not {trials}")
    root = absolute_path(os.fspath(root))
    with Notice() as notice:
        try:
            done = _Worker(root, notice, attempts, retry_errors, isolate).run(trials, wait, stop_after_errors)
        except Told:
            done = Ran(0)
    return done


class _Worker:
    def __init__(self, root: str, notice: Notice, attempts: int, retry_errors: bool, isolate: bool) -> None:
        self._notice = notice
        self._set = ExperimentSet(root)
        if isolate:
            require_program(self._set)
        self._queue = Queue(self._set, notice, attempts, retry_errors)
        self._bodies, self._isolate = Bodies(self._set, self._queue, notice), isolate
        self._done = self._errors = 0

    def run(self, trials: int | None, wait: float, stop_after_errors: int | None) -> Ran:
        """Run what waits, and return how many."""
        try:
            deadline = time.monotonic() + wait
            while not self._notice.is_told and (trials is None or self._done < trials):
                if self._run_next():
                    deadline = time.monotonic() + wait
                elif time.monotonic() < deadline:
                    self._notice.pause(min(_PAUSE, wait))
                else:
                    break
                if stop_after_errors is not None and self._errors >= stop_after_errors:
                    break
        except Told:
            pass
        finally:
            self._bodies.close()
            self._queue.release()
            self._set.close()
        if self._notice.is_told:
            self._end_as_told()
        return Ran(self._done, self._errors)

    def _run_next(self) -> bool:
        """Run the next one, and return whether there was one."""
        trial = self._queue.next()
        if trial is None:
            return False
        if self._notice.is_told:
            self._queue.give_back(trial)
            return True
        is_well = self._bodies.run(trial, self._isolate)
        if is_well is not None:
            self._done += 1
            self._errors += not is_well
        return True

    def _end_as_told(self) -> None:
        if self._notice.signum == signal.SIGUSR1:
            put_back_into_queue()
        self._notice.pass_on()


def _again(*args: Any, **kwargs: Any) -> Any:
    """Return what submitit is to start when it has stopped a job: the same; the queue knows the rest."""
    from submitit.helpers import DelayedSubmission  # type: ignore[import-not-found, unused-ignore]

    return DelayedSubmission(work, *args, **kwargs)


work.__dict__.update(checkpoint=_again, __submitit_checkpoint__=_again)
