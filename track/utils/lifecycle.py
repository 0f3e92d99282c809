"""The life of a process: what is done at its end and after a fork, and how long to wait for a turn, or to try again.

At the end, in this order: what has something left to say (`at_exit` with ``is_early``), then what sends, all at the
same time (`add`), then what saves files. All of it in one hook of the interpreter, and one after a fork.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from track.errors import BackendUnavailable

logger = logging.getLogger(__name__)
Hook = Callable[[], None]

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


class Forked(Protocol):
    """What holds locks, files or connections, which a child of this process must not share."""

    def after_fork(self) -> None:
        """In a child: make what is one's own anew."""


class Rested(Protocol):
    """What must be at rest when this process forks: a child would inherit the middle of what it does."""

    def before_fork(self) -> None:
        """Come to rest, and stay so until `after_fork_here`; called by the thread that forks."""

    def after_fork_here(self) -> None:
        """In the parent: go on."""


_early: list[Hook] = []
_late: list[Hook] = []
_endings: set[Ending] = set()
"""Keeps them until they have ended, whoever forgets them."""
_forked: weakref.WeakSet[Any] = weakref.WeakSet()
_rested: dict[int, weakref.ref[Any]] = {}
_fork_hooks: list[Hook] = []
_inherited: list[Any] = []
_finalized = 0


# threads


def started(run: Callable[[], Any], name: str) -> threading.Thread | None:
    """Return a thread that runs this and holds up no end; None at the end of the program, or where there are many."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


# the end


def at_exit(hook: Hook, is_early: bool = False) -> None:
    """Call `hook` when the interpreter ends, once: before what sends and saves, or after it."""
    hooks = _early if is_early else _late
    if hook not in hooks:
        hooks.append(hook)
    _hook_exit()
    _hook_child()


def add(ending: Ending) -> None:
    """Let something be told of the end, and live until then."""
    _endings.add(ending)
    _hook_exit()
    _hook_child()
    at_fork(_forget_endings)


def discard(ending: Ending) -> None:
    """Forget something that has ended."""
    _endings.discard(ending)


@functools.cache
def _hook_exit() -> None:
    import atexit

    # What others finalize at exit, a driver's connections or a temporary folder, comes after: hooks are called in the
    # order opposite to that in which they are registered, and the first finalizer of a process registers that of all.
    weakref.finalize(_exit, int)
    atexit.register(_exit)


def _hook_child() -> None:
    """A child of multiprocessing ends without `atexit`, and has forgotten what its parent has registered."""
    global _finalized  # noqa: PLW0603
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return
    if _finalized != os.getpid():
        _finalized = os.getpid()
        util.Finalize(None, _exit, exitpriority=0)


def go_first() -> None:
    """Let all of it be done before what a package does at exit that has been imported, or has begun, since."""
    import atexit

    atexit.unregister(_exit)
    atexit.register(_exit)


def _exit() -> None:
    for hook in _early:
        _call(hook)
    _end_all()
    for hook in _late:
        _call(hook)


def _end_all() -> None:
    deadline = time.monotonic() + SECONDS
    endings = list(_endings)
    # All at the same time.
    for ending in endings:
        ending.hurry()
    for ending in endings:
        ending.close(max(0.2, deadline - time.monotonic()))


def _call(hook: Hook) -> None:
    try:
        hook()
    except Exception:
        logger.exception("a hook at the end of the process raised")


# a fork


def at_fork(hook: Hook) -> None:
    """Call `hook` in every child of this process, once, before anything else runs there."""
    if hook not in _fork_hooks:
        _fork_hooks.append(hook)
    _hook_fork()


def watch_forks(forked: Forked) -> None:
    """Let something that is used until it is collected know that it is in a child."""
    _forked.add(forked)
    _hook_fork()


def rest_at_forks(rested: Rested) -> None:
    """Let something that is used until it is collected come to rest before each fork."""
    key = id(rested)
    _rested[key] = weakref.ref(rested, lambda _: _rested.pop(key, None))
    _hook_fork()


def keep_inherited(connection: Any) -> None:
    """In a child: keep a connection of the parent for good; collecting it would say goodbye in the parent's name."""
    _inherited.append(connection)


@functools.cache
def _hook_fork() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork)


def _before_fork() -> None:
    for rested in _all_rested():
        rested.before_fork()


def _after_fork_here() -> None:
    for rested in _all_rested():
        rested.after_fork_here()


def _all_rested() -> list[Any]:
    # At once: other threads make and forget such things meanwhile.
    return [rested for reference in list(_rested.values()) if (rested := reference()) is not None]


def _after_fork() -> None:
    for hook in _fork_hooks:
        hook()
    for forked in list(_forked):
        forked.after_fork()


def _forget_endings() -> None:
    for ending in list(_endings):
        ending.after_fork()
    _endings.clear()


# waiting


@contextmanager
def turn(lock: Any, place: str, patience: float, deadline: float | None = None) -> Iterator[None]:
    """Hold a lock; BackendUnavailable, which names `place`, when another thread holds it for too long.

    The patience is in seconds; the deadline, on the monotonic clock, is by default the end of it.
    """
    seconds = patience if deadline is None else max(0.0, deadline - time.monotonic())
    if not lock.acquire(timeout=seconds):
        raise BackendUnavailable(f"{place} did not answer another thread within {patience:g} s")
    try:
        yield
    finally:
        lock.release()


def backoff(attempt: int, first: float = 0.002, longest: float = 0.5) -> float:
    """Return how long to wait before an attempt: exponential backoff with jitter, so that clients do not meet again.

    `attempt`: how many have failed, from 1 on. `first`: seconds that the wait is about twice of after the first
    failure, > 0. `longest`: seconds that it never exceeds.

    Examples
    --------
    >>> 0.002 <= backoff(1) <= 0.004, 0.25 <= backoff(99) <= 0.5
    (True, True)
    """
    import random

    # Not the generator that the program may have given a seed.
    return random.SystemRandom().uniform(0.5, 1.0) * min(first * 2.0 ** min(attempt, 30), longest)
