"""A timed block of a trial, or its whole run."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any

from track.aggregators.aggregator import TIMES_AGGREGATOR, Aggregator, StatAggregator
from track.chrono import _call_back
from track.persistence.protocol import Factory, Protocol
from track.structure import Trial


class LoggerChronoContext:
    """Times a block of a trial; ``name=None`` is the trial's own run time.

    Entering it gives `acc`, the aggregator of all blocks of this name so far: a `timer` for `show_eta`. It has a clock
    of its own: blocks of one name may overlap, in tasks and generators, and end in another thread.
    """

    __slots__ = ("_aggregator", "_end_callback", "_name", "_protocol", "_start_callback", "_started", "_trial", "acc")

    def __init__(  # noqa: PLR0917 - the published signature
        self,
        protocol: Protocol,
        trial: Trial,
        acc: Aggregator | None = None,
        name: str | None = None,
        aggregator: Factory = TIMES_AGGREGATOR,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        self._protocol = protocol
        self._trial = trial
        self.acc = StatAggregator(0) if acc is None else acc
        self._name = name
        self._aggregator = aggregator
        self._start_callback = start_callback
        self._end_callback = end_callback
        self._started = 0.0

    def __enter__(self) -> Aggregator:
        if self._name is None:
            self._protocol.log_trial_start(self._trial)
        elif not self._protocol.takes_times:
            callbacks = (self._start_callback, self._end_callback)
            self._protocol.log_trial_chrono_start(self._trial, self._name, self._aggregator, *callbacks)
        elif self._start_callback is not None:
            self._start_callback()
        self._started = perf_counter()
        return self.acc

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if self._name is None:
            self._protocol.log_trial_finish(self._trial, exc_type, exc_val, exc_tb)
        elif not self._protocol.takes_times:
            self._protocol.log_trial_chrono_finish(self._trial, self._name, exc_type, exc_val, exc_tb)
        elif self._end_callback is not None:
            _call_back(self._end_callback, exc_type is not None)
        if exc_type is not None:
            return
        seconds = perf_counter() - self._started
        if self._name is not None and self._protocol.takes_times:
            self._protocol.log_trial_time(self._trial, self._name, seconds, self._aggregator)
        self.acc.append(seconds)
