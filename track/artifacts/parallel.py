"""Do the same to many things, several at a time where the place they go to is far away."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Item", "each"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCH = 512


def each(action: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield ``action(item)`` in the order of the items.

    Parameters
    ----------
    action: callable
        The first error ends it; what is going on at that time is waited for.
    items: iterable
    workers: int
        How many at a time, > 0; with 1 no thread is started.

    Examples
    --------
    >>> list(each(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers == 1:
        yield from map(action, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="track-artifacts") as pool:
        while batch := list(itertools.islice(waiting, _BATCH)):
            futures = [pool.submit(action, item) for item in batch]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()
