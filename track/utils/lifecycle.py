"""The end of the process, and a fork of it: who is told, and how long the end may take."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Protocol

from track.utils.signal import run_hooks_first

SECONDS = 5.0
"""How long the end of the interpreter may be held up."""


class Ending(Protocol):
    """What has something to do at the end."""

    def hurry(self) -> None:
        """Begin with what is to be done at the end."""

    def close(self, seconds: float) -> None:
        """End, within about this time."""

    def after_fork(self) -> None:
        """In a child: leave everything to the parent."""


_known: set[Ending] = set()
"""Keeps them until they have ended, whoever forgets them."""
_is_hooked = False
_finalized = 0


def add(ending: Ending) -> None:
    """Let something be told of the end, and live until then."""
    global _is_hooked, _finalized  # noqa: PLW0603
    _known.add(ending)
    if not _is_hooked:
        _is_hooked = True
        atexit.register(_close_all)
        run_hooks_first()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget_all)
    # A process that multiprocessing has forked ends without `atexit`; it forgets what its parent has registered.
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _finalized != os.getpid():
        _finalized = os.getpid()
        util.Finalize(None, _close_all, exitpriority=0)


def discard(ending: Ending) -> None:
    """Forget something that has ended."""
    _known.discard(ending)


def _close_all() -> None:
    deadline = time.monotonic() + SECONDS
    known = list(_known)
    # All at the same time.
    for ending in known:
        ending.hurry()
    for ending in known:
        ending.close(max(0.2, deadline - time.monotonic()))


def _forget_all() -> None:
    for ending in list(_known):
        ending.after_fork()
    _known.clear()
