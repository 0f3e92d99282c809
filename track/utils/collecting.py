"""Making many objects at once, which the collector of garbage need not look through again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_MANY = 1000
_few = nullcontext()


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Let no garbage be collected inside, where all that is made is kept: it would take as long as making it.

    Examples
    --------
    >>> with nothing_collected():
    ...     gc.isenabled()
    False
    """
    # Another thread may be in the middle of the same, or the program has its own way.
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def making(count: int) -> AbstractContextManager[None]:
    """Return a block in which so many things are made, at the most: nothing is collected where they are many."""
    return nothing_collected() if count >= _MANY else _few
