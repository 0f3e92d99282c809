"""Fewer calls of a function: every so many calls, every so many seconds, or once per argument.

A call that is left out returns None.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["ThrottleRepeatedCalls", "Throttler", "TimeThrottler", "is_throttled", "throttle_repeated", "throttled"]

_R = TypeVar("_R")
_Clock = Callable[[], float]
_MOST_REMEMBERED = 1024


class Throttler(Generic[_R]):
    """A function that runs on the first of every `throttle` calls.

    Parameters
    ----------
    throttle: int
        Number of calls, >= 1, for one run.

    Raises
    ------
    ValueError
        `throttle` is below 1.

    Examples
    --------
    >>> third = Throttler(str, throttle=3)
    >>> [third(i) for i in range(5)]
    ['0', None, None, '3', None]
    """

    def __init__(self, fun: Callable[..., _R], throttle: int = 1) -> None:
        if throttle < 1:
            raise ValueError(f"throttle is a number of calls >= 1, not {throttle!r}")
        self.fun = fun
        self.throttle = throttle
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> _R | None:
        is_due = self.calls % self.throttle == 0
        self.calls += 1
        return self.fun(*args, **kwargs) if is_due else None


class TimeThrottler(Generic[_R]):
    """A function that runs on its first call, and then at most once per period.

    Parameters
    ----------
    every: float
        The period in seconds, >= 0.
    clock: Callable
        Tells the time in seconds.

    Raises
    ------
    ValueError
        `every` is negative.
    """

    def __init__(self, fun: Callable[..., _R], every: float = 10, *, clock: _Clock = time.monotonic) -> None:
        self.fun = fun
        self.every = _check_period(every)
        self.clock = clock
        self.last: float | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> _R | None:
        now = self.clock()
        if self.last is not None and now - self.last < self.every:
            return None
        self.last = now
        return self.fun(*args, **kwargs)


class ThrottleRepeatedCalls(Generic[_R]):
    """A function that runs at most once per period for the same arguments.

    Arguments that cannot be hashed are told apart by their `repr`. The thousand or so latest combinations
    are remembered; one forgotten early runs early.

    Parameters
    ----------
    every: float
        The period in seconds, >= 0.
    clock: Callable
        Tells the time in seconds.

    Raises
    ------
    ValueError
        `every` is negative.
    """

    def __init__(self, fun: Callable[..., _R], every: float = 10, *, clock: _Clock = time.monotonic) -> None:
        self.fun = fun
        self.every = _check_period(every)
        self.clock = clock
        # In the order of the runs, so that the ones to forget come first.
        self._runs: dict[Hashable, float] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> _R | None:
        now = self.clock()
        self._forget_old(now)
        key = _identify(args, kwargs)
        if key in self._runs:
            return None
        self._runs[key] = now
        return self.fun(*args, **kwargs)

    def _forget_old(self, now: float) -> None:
        while self._runs:
            key, run = next(iter(self._runs.items()))
            if now - run < self.every and len(self._runs) < _MOST_REMEMBERED:
                return
            self._runs.pop(key, None)


def _check_period(every: float) -> float:
    if not every >= 0:
        raise ValueError(f"every is a number of seconds >= 0, not {every!r}")
    return every


def _identify(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    key = (args, tuple(sorted(kwargs.items(), key=lambda item: item[0])))
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key


def throttled(
    fun: Callable[..., _R], throttle: int | None = None, every: float | None = None, *, clock: _Clock = time.monotonic
) -> Callable[..., _R | None]:
    """Return `fun` running less often, or `fun` itself when neither limit is given.

    Parameters
    ----------
    throttle: int, optional
        Run on the first of so many calls, >= 1.
    every: float, optional
        Run at most once in so many seconds, >= 0; wins over `throttle`.
    clock: Callable
        Tells the time in seconds.

    Raises
    ------
    ValueError
        A limit is out of bounds.
    """
    if every is not None:
        return TimeThrottler(fun, every, clock=clock)
    return fun if throttle is None else Throttler(fun, throttle)


def throttle_repeated(
    fun: Callable[..., _R], every: float | None = None, *, clock: _Clock = time.monotonic
) -> Callable[..., _R | None]:
    """Return `fun` running at most once per `every` seconds (10 unless given) for the same arguments.

    Raises
    ------
    ValueError
        `every` is negative.
    """
    return ThrottleRepeatedCalls(fun, 10 if every is None else every, clock=clock)


def is_throttled(fun: Callable[..., Any]) -> bool:
    """Return whether `fun` came from `throttled`, with a limit."""
    return isinstance(fun, (Throttler, TimeThrottler))
