"""How long a block took, appended to an aggregator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

from track.errors import NotFound

if TYPE_CHECKING:
    from types import TracebackType

    from track.aggregators.aggregator import Aggregator

__all__ = ["ChronoContext", "Timers"]

logger = logging.getLogger(__name__)
_Callback = Callable[[], object]


class ChronoContext:
    """Context manager that appends the seconds its block took to `acc`, unless the block raised.

    The clock is monotonic. One object times one block at a time; nested and concurrent blocks need one each.

    Parameters
    ----------
    acc: Aggregator
        Gets the seconds, and is what ``as`` binds.
    start_callback: Callable, optional
        Called before the clock starts, for instance to wait for a device.
    end_callback: Callable, optional
        Called before the clock stops, also when the block raised.

    Examples
    --------
    >>> from track.aggregators.aggregator import StatAggregator
    >>> with ChronoContext(StatAggregator(skip_obs=0)) as seconds:
    ...     _ = sum(range(1000))
    >>> seconds.avg > 0
    True
    """

    __slots__ = ("acc", "end_callback", "start_callback", "started")

    def __init__(
        self,
        acc: Aggregator,
        start_callback: _Callback | None = None,
        end_callback: _Callback | None = None,
    ) -> None:
        self.acc = acc
        self.start_callback = start_callback
        self.end_callback = end_callback
        self.started = 0.0

    def __enter__(self) -> Aggregator:
        if self.start_callback is not None:
            self.start_callback()
        self.started = perf_counter()
        return self.acc

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if self.end_callback is not None:
            _call_back(self.end_callback, exc_type is not None)
        if exc_type is None:
            self.acc.append(perf_counter() - self.started)


class Timers:
    """Timers by name that are started and stopped by calls; those of one name nest, and do not mix between threads."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, str, int], list[tuple[float, Any, _Callback | None]]] = {}

    def start(
        self, trial: str, name: str, given: Any, start_callback: _Callback | None, end_callback: _Callback | None
    ) -> None:
        """Start a timer.

        Parameters
        ----------
        given: any
            What `stop` gives back.
        start_callback, end_callback: callable, optional
            As for `ChronoContext`.
        """
        if start_callback is not None:
            start_callback()
        timers = self.running.setdefault((trial, name, get_ident()), [])
        timers.append((perf_counter(), given, end_callback))

    def stop(self, trial: str, name: str, has_raised: bool) -> tuple[float | None, Any]:
        """Stop the innermost timer of this name in this thread; return its seconds (None after an error) and `given`.

        Raises
        ------
        NotFound
            No timer of this name was started in this thread.
        """
        timers = self.running.get((trial, name, get_ident()))
        if not timers:
            raise NotFound(f"no timer {name!r} was started in this thread")
        started, given, end_callback = timers.pop()
        if end_callback is not None:
            _call_back(end_callback, has_raised)
        return (None if has_raised else perf_counter() - started), given


def _call_back(end_callback: _Callback, has_raised: bool) -> None:
    """Call the end callback of a block; what it raises after the block did is logged, and hides nothing."""
    try:
        end_callback()
    except Exception:
        if not has_raised:
            raise
        # Raised from here it would hide the exception of the block.
        logger.exception("the end callback of a chrono raised, after its block did")
