"""What a trial uses of its machine, recorded while it runs: by one thread a process, for all trials that ask for it."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from track.briefs import SYSTEM
from track.configuration import ATTEMPT_VARIABLE, options
from track.errors import InvalidCall, missing_extra
from track.front.environment import runs_elsewhere
from track.utils.lifecycle import at_fork, started
from track.utils.system import ancestors

if TYPE_CHECKING:
    from typing_extensions import Self

    from track.persistence.protocol import Protocol
    from track.structure import Trial

logger = logging.getLogger(__name__)
PEAK = ".peak"
"""How the names of those end that are the greatest of a tick, not the mean."""
_EVERY, _LOOK, _SHORTEST = 10.0, 1.0, 0.01
_PATIENCE = 2.0
_ON, _OFF = frozenset({"on", "true", "yes"}), frozenset({"", "off", "false", "no"})
Record = Callable[[dict[str, float]], None]
Reader = Callable[[], Mapping[str, float]]


class SystemVerbs:
    """The verbs of a trial that are about its machine; `TrialLogger` has them."""

    if TYPE_CHECKING:
        protocol: Protocol
        has_started: bool
        has_finished: bool
        _trial: Any

    _asked_every: float | None = None
    _monitored: Monitored | None = None

    def monitor(self, every: float = _EVERY) -> Self:
        """Record what the process and its machine use while the trial runs: processors, memory, disk, network, GPUs.

        It is looked at each second, from a thread. Mean and maximum of some seconds are metrics without steps:
        ``system/cpu``, ``system/cpu.peak``, ``system/memory``, ... (Linux; GPUs of NVIDIA by the extra ``gpu``). For
        every trial: ``TRACK_MONITOR=10``.

        Parameters
        ----------
        every: float
            How many seconds, 0.01 or more; 0 ends it.

        Raises
        ------
        InvalidCall
            It is no such number.

        Examples
        --------
        >>> from track import TrackClient
        >>> with TrackClient("ephemeral:").new_trial().monitor(every=60) as trial:
        ...     trial.log_metrics(step=0, loss=0.5)
        """
        self._asked_every = checked_every(every)
        if self.has_started and not self.has_finished:
            self._end_monitor()
            self._begin_monitor()
        return self

    def _begin_monitor(self, said: Any = None) -> None:
        """Begin, where it was asked for; `said`: by the option ``monitor``, where that is known already."""
        try:
            every = self._asked_every
            if every is None:
                every = _configured_every(options("monitor", "") if said is None else said)
                # The ranks of a job share their machines: the first one follows the option. A worker is none.
                workers = ancestors() if every and ATTEMPT_VARIABLE in os.environ else ()
                every = 0.0 if every and runs_elsewhere(self._trial, workers) else every
            if every and is_possible():
                monitored = self._monitored = Monitored(recorder(self.protocol, self._trial), every)
                monitor().add(monitored)
                if self.has_finished:
                    # The handler of a signal, or another thread, has ended it meanwhile.
                    monitor().remove(monitored)
        except Exception as error:  # noqa: BLE001 - no training stops for it
            tell(f"{type(error).__name__}: {error}")

    def _end_monitor(self) -> None:
        monitored, self._monitored = self._monitored, None
        # A forked child has a copy of its parent's.
        if monitored is not None and monitored.pid == os.getpid():
            monitor().remove(monitored)


def checked_every(every: Any) -> float:
    """Return how many seconds a tick has, 0 for none; InvalidCall where that is no number of seconds."""
    try:
        seconds = float(every)
    except (TypeError, ValueError):
        seconds = math.nan
    if seconds == 0 or _SHORTEST <= seconds < math.inf:
        return seconds
    raise InvalidCall(f"every={every!r}: give the seconds between two records, {_SHORTEST} or more, or 0 for none")


def _configured_every(said: Any) -> float:
    """Return how many seconds the option says; 0 where it says nothing, or what is no number, which is told."""
    word = said.strip().lower() if isinstance(said, str) else said
    if word is False or (isinstance(word, str) and word in _OFF):
        return 0.0
    if word is True or (isinstance(word, str) and word in _ON):
        return _EVERY
    try:
        return checked_every(word)
    except InvalidCall as error:
        tell(f"the option monitor (TRACK_MONITOR) is {said!r}: {error}")
        return 0.0


def recorder(protocol: Protocol, trial: Trial) -> Record:
    """Return what records numbers of a trial, without steps."""

    def record(values: dict[str, float]) -> None:
        protocol.log_trial_metrics(trial, None, None, **values)

    return record


class Monitored:
    """A trial, and what was seen since that was last recorded.

    Parameters
    ----------
    record: callable
        Takes numbers by name.
    every: float
        Seconds after which they are recorded.
    """

    def __init__(self, record: Record, every: float) -> None:
        self.every = every
        self.pid = os.getpid()
        self.due = 0.0
        self._record = record
        self._lock = threading.Lock()
        self._is_over = False
        self._sums: dict[str, list[float]] = {}

    def take(self, seen: Mapping[str, float], now: float) -> None:
        """Take what was seen at a look, and record what it comes to where it is time."""
        with self._lock:
            if self._is_over:
                return
            for name, value in seen.items():
                known = self._sums.get(name)
                if known is None:
                    self._sums[name] = [value, value, 1]
                else:
                    known[0] += value
                    known[2] += 1
                    known[1] = max(known[1], value)
            if now >= self.due:
                # One that was late, as after a machine has slept, is not made up for.
                self.due = self.due + self.every if self.due + self.every > now else now + self.every
                self._tell()

    def close(self) -> None:
        """Record what is left. It does not wait long for a store that another thread waits for."""
        has_turn = self._lock.acquire(timeout=_PATIENCE)
        self._is_over = True
        if has_turn:
            self._tell()
            self._lock.release()

    def _tell(self) -> None:
        values: dict[str, float] = {}
        for name, (total, greatest, count) in self._sums.items():
            values[f"{SYSTEM}{name}"] = _short(total / count)
            values[f"{SYSTEM}{name}{PEAK}"] = _short(greatest)
        self._sums.clear()
        if not values:
            return
        try:
            self._record(values)
        except Exception as error:  # noqa: BLE001 - no training stops for it
            tell(f"{type(error).__name__}: {error}")


def _short(value: float) -> float:
    """Return a number with as many digits as it is worth."""
    return float(f"{value:.5g}")


class SystemMonitor:
    """Looks at the machine for all trials of this process that ask for it, each second; without any it has no thread.

    Parameters
    ----------
    make_readers: callable
        Returns what reads numbers by name; called in the thread, before the first look.
    clock: callable
        Returns seconds that never go back.
    """

    def __init__(self, make_readers: Callable[[], list[Reader]], clock: Callable[[], float]) -> None:
        self._make_readers = make_readers
        self._clock = clock
        # Who ends a trial in the handler of a signal may hold it.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._monitored: list[Monitored] = []
        self._readers: list[Reader] | None = None
        self._thread: threading.Thread | None = None

    def add(self, monitored: Monitored) -> None:
        """Look for a trial, too."""
        with self._lock:
            monitored.due = self._clock() + monitored.every
            self._monitored.append(monitored)
            if self._thread is None:
                self._readers = None
                self._thread = started(self._run, "track-monitor")
            elif monitored.every < _LOOK:
                self._wake.set()

    def remove(self, monitored: Monitored) -> None:
        """Look no more for a trial; what was seen of it is recorded."""
        with self._lock:
            if monitored in self._monitored:
                self._monitored.remove(monitored)
        monitored.close()

    def look(self) -> None:
        """Look once, for all trials."""
        seen, now = self._read(), self._clock()
        with self._lock:
            monitored = list(self._monitored)
        for one in monitored:
            one.take(seen, now)

    def _read(self) -> dict[str, float]:
        if self._readers is None:
            # A rate is known from the second time on.
            self._readers = self._make_readers()
            for read in self._readers:
                read()
            return {}
        seen: dict[str, float] = {}
        for read in self._readers:
            seen.update(read())
        return seen

    def _run(self) -> None:
        due = self._clock()
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - drivers and containers fail in many ways
                tell(f"{type(error).__name__}: {error}")
            with self._lock:
                if not self._monitored:
                    # The next trial begins another one: nothing is left behind by a process that is done with it.
                    self._thread = None
                    return
                pause = min(_LOOK, *(one.every for one in self._monitored))
                self._wake.clear()
            due = max(due + pause, self._clock())
            self._wake.wait(due - self._clock())


def _readers() -> list[Reader]:
    from track.utils.gpus import gpu_readers, is_unheard
    from track.utils.usage import Usage

    if is_unheard():
        tell(str(missing_extra("GPUs of NVIDIA are asked by nvidia-ml-py", "gpu")))
    return [Usage().read, *gpu_readers()]


_monitor = SystemMonitor(_readers, time.monotonic)


def monitor() -> SystemMonitor:
    """Return the one of this process."""
    return _monitor


def _forget() -> None:
    """In a child: nothing is monitored there unless that is asked for there."""
    global _monitor  # noqa: PLW0603
    _monitor = SystemMonitor(_readers, time.monotonic)


def is_possible() -> bool:
    """Return whether this system tells what is used; where it does not that is told."""
    from track.utils.usage import can_be_read

    at_fork(_forget)
    is_there = can_be_read()
    if not is_there:
        tell("it is read from /proc, as Linux has it")
    return is_there


_told: set[str] = set()


def tell(reason: str) -> None:
    """Say once why nothing is recorded."""
    if reason not in _told:
        _told.add(reason)
        logger.warning("what the system does is not recorded (%s)", reason)
