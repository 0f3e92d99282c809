"""How long a block took, appended to an aggregator."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from track.aggregators.aggregator import Aggregator

__all__ = ["ChronoContext"]

logger = logging.getLogger(__name__)


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
        start_callback: Callable[[], object] | None = None,
        end_callback: Callable[[], object] | None = None,
    ) -> None:
        self.acc = acc
        self.start_callback = start_callback
        self.end_callback = end_callback
        self.started = 0.0

    def __enter__(self) -> Aggregator:
        """Start the clock and return the aggregator."""
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
        """Append the seconds since `__enter__`; an exception of the block passes unchanged."""
        if exc_type is not None:
            self._end_after_error()
            return
        if self.end_callback is not None:
            self.end_callback()
        self.acc.append(perf_counter() - self.started)

    def _end_after_error(self) -> None:
        if self.end_callback is None:
            return
        try:
            self.end_callback()
        except Exception:
            # Raised from here it would hide the exception of the block.
            logger.exception("the end callback of a chrono raised, after its block did")
