"""The time of this process, which never goes back."""

from __future__ import annotations

from collections.abc import Callable
from time import time

_latest = 0.0


def now(read: Callable[[], float] = time) -> float:
    """Return unix seconds, never fewer than before in this process: what it says later is later, whatever its clock.

    `read`: the clock of the machine.
    """
    global _latest  # noqa: PLW0603 - one number for all threads, and two of them may well be given the same one
    at = read()
    if at >= _latest:
        _latest = at
        return at
    return _latest
