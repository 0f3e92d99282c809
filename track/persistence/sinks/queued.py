"""Base of the sinks whose tool is slow or far away: what it is told waits in a queue, and a thread tells it."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from track.persistence.sink import SinkProtocol
from track.structure import Trial

logger = logging.getLogger(__name__)
_MOST = 200_000


class QueuedSink(SinkProtocol):
    """A sink whose ``run_`` methods run in a thread of its own, in the order in which things were said.

    A log call waits for the queue alone. What has no room there is counted, and said once. The end of a trial waits
    for what is in the queue, for some time; in a forked child another thread begins, with runs of its own.

    Parameters
    ----------
    uri: str
        Where the tool stores.
    patience: float
        How long the end of a trial, and `flush`, wait, in seconds.

    Attributes
    ----------
    at: float
        In a ``run_`` method: when it was said, unix seconds.
    """

    def __init__(self, uri: str, patience: float = 60.0) -> None:
        super().__init__(uri)
        self.at = 0.0
        self._patience = patience
        self._starting = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._seen: set[str] = set()
        self._is_late_said = self._is_full_said = False

    def idle(self) -> None:
        """Do what was put off, in the thread: nothing waits in the queue."""

    # what the log calls do

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Return the trial; its run begins in the thread, so a tool that is away keeps nobody waiting."""
        self._own()
        while trial.uid in self._seen:
            if not auto_increment:
                return None
            trial.revision += 1
        self._tell(trial, _nothing)
        return trial

    def log_trial_finish(self, trial: Trial, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """Note when and how the trial ended, and wait for the tool to have it, though not for ever."""
        super().log_trial_finish(trial, exc_type, exc_val, exc_tb)
        self._wait(self._patience)

    def _tell(self, trial: Trial, verb: Callable[..., None], /, *args: Any) -> None:
        self._own()
        if trial.uid not in self._seen:
            # As it is now: the program goes on with it.
            self._seen.add(trial.uid)
            trial = replace(
                trial, parameters=dict(trial.parameters), tags=_copied(trial.tags), metadata=_copied(trial.metadata)
            )
        # Its end, and what is known of it, always have room.
        if self._waiting.qsize() < _MOST or verb != self.run_numbers:
            self._put((time.time(), self._say, trial, verb, *args))
            return
        self._missed += 1
        if not self._is_full_said:
            self._is_full_said = True
            logger.warning(
                "%r is too slow: %d things wait for it, and numbers that come now are lost to it", self, _MOST
            )

    def _say(self, trial: Trial, verb: Callable[..., None], *args: Any) -> None:
        super()._tell(trial, verb, *args)
        if verb == self.run_end:
            # Should the trial go on, its run is begun again.
            self._runs.pop(trial.uid, None)

    def flush(self, timeout: float | None = None) -> None:
        """Wait for the tool to have what it was told, for at most so many seconds."""
        self._put((0.0, super().flush))
        self._wait(self._patience if timeout is None else timeout)

    def close(self) -> None:
        """End every run, once what waits was told."""
        self._put((0.0, super().close))
        self._wait(self._patience)

    # the queue

    def _own(self) -> None:
        """Begin anew in a forked child: the thread and the runs are the parent's."""
        if self._pid != os.getpid():
            self._starting, self._opening = threading.Lock(), threading.Lock()
            self._runs, self._ended = {}, set()
            self._begin()

    def _put(self, said: tuple[Any, ...]) -> None:
        self._own()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="track-sink", daemon=True)
                    self._thread.start()
        self._waiting.put(said)

    def _wait(self, seconds: float) -> None:
        if self._thread is None or self._pid != os.getpid() or threading.current_thread() is self._thread:
            return
        done = threading.Event()
        self._put((0.0, self._answer, done))
        if not done.wait(seconds) and not self._is_late_said:
            self._is_late_said = True
            logger.warning(
                "%r has not taken everything in %g s: it is told the rest while the program runs", self, seconds
            )

    def _answer(self, done: threading.Event) -> None:
        self._attempt(self.idle)
        done.set()

    def _work(self) -> None:
        waiting = self._waiting
        while True:
            if waiting.empty():
                self._attempt(self.idle)
            self.at, act, *args = waiting.get()
            act(*args)


def _nothing(run: Any) -> None:
    """Say nothing: the run begins."""


def _copied(facts: Any) -> Any:
    return dict(facts) if isinstance(facts, dict) else list(facts) if isinstance(facts, list) else facts
