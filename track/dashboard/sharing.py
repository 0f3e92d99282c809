"""Answers that several ask for: the first one makes them, the others are given the same."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

_MOST, _MOST_BYTES = 100, 1 << 25


class Shared:
    """What was answered, and what is being made: nobody makes what another one is making, or has just made.

    Parameters
    ----------
    seconds: float
        For how long an answer is given again, where its stamp is the same.
    clock: callable
        Returns seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        # The oldest first: when it was begun, the stamp, and the answer.
        self._known: OrderedDict[Hashable, tuple[float, Hashable, Future[bytes]]] = OrderedDict()

    def get(self, key: Hashable, stamp: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return an answer that was made under this stamp, else make it; what goes wrong is raised by all who wait."""
        with self._lock:
            self._forget()
            _, known, answer = self._known.get(key, (0.0, None, None))
            is_mine = answer is None or known != stamp
            if is_mine:
                answer = Future()
                self._known.pop(key, None)
                self._known[key] = self._clock(), stamp, answer
        assert answer is not None
        if not is_mine:
            return answer.result()
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                if self._known.get(key, (None,))[-1] is answer:
                    del self._known[key]
            answer.set_exception(error)
            raise
        answer.set_result(made)
        return made

    def _forget(self) -> None:
        """Forget what is old, and of the others what has no room beside newer ones; what is being made stays."""
        since, room, count = self._clock() - self._seconds, _MOST_BYTES, _MOST
        for key, (begun, _, answer) in list(reversed(self._known.items())):
            if answer.done():
                size = len(answer.result())
                if begun < since or size > room or not count:
                    del self._known[key]
                else:
                    room, count = room - size, count - 1
