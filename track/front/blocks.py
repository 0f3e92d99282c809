"""A timed block of a trial, or its whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from track.aggregators.aggregator import Aggregator, StatAggregator
from track.persistence.protocol import Factory, Protocol
from track.structure import Trial

_once = StatAggregator.lazy(1)


class LoggerChronoContext:
    """Times a block of a trial; ``name=None`` is the trial's own run time.

    Entering it gives `acc`, the aggregator of all blocks of this name so far: a `timer` for `show_eta`.
    """

    __slots__ = ("_arguments", "_name", "_protocol", "_started", "_trial", "acc")

    def __init__(  # noqa: PLR0917 - the published signature
        self,
        protocol: Protocol,
        trial: Trial,
        acc: Aggregator | None = None,
        name: str | None = None,
        aggregator: Factory = _once,
        start_callback: Callable[[], Any] | None = None,
        end_callback: Callable[[], Any] | None = None,
    ) -> None:
        self._protocol = protocol
        self._trial = trial
        self.acc = StatAggregator(0) if acc is None else acc
        self._name = name
        self._arguments = (aggregator, start_callback, end_callback)
        self._started = 0.0

    def __enter__(self) -> Aggregator:
        if self._name is None:
            self._protocol.log_trial_start(self._trial)
        else:
            self._protocol.log_trial_chrono_start(self._trial, self._name, *self._arguments)
        self._started = time.perf_counter()
        return self.acc

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if self._name is None:
            self._protocol.log_trial_finish(self._trial, exc_type, exc_val, exc_tb)
        else:
            self._protocol.log_trial_chrono_finish(self._trial, self._name, exc_type, exc_val, exc_tb)
        if exc_type is None:
            self.acc.append(time.perf_counter() - self._started)
