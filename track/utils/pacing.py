"""Long work of one thread that leaves others their turn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_STRETCH, _PAUSE = 0.01, 0.0001
"""After so many seconds others have their turn, for so many at least."""


def paced(items: Iterable[Item]) -> Iterator[Item]:
    """Yield what takes time to make; now and then other threads have their turn.

    Who reads from a disk again and again lets nobody in otherwise, however short Python's switch interval is: whenever
    it has given the interpreter's lock back, it has taken it again before another one has woken up.

    Examples
    --------
    >>> list(paced([1, 2, 3]))
    [1, 2, 3]
    """
    pause = time.monotonic() + _STRETCH
    for item in items:
        yield item
        if time.monotonic() > pause:
            time.sleep(_PAUSE)
            pause = time.monotonic() + _STRETCH
