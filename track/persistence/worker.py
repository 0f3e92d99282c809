"""One thread that works for an asyncio loop, with little ado: a call costs some microseconds."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Worker"]

Result = TypeVar("Result")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Worker:
    """Runs functions one after another in a thread of its own.

    What is done while the loop is busy is handed back together: a loop that is woken once for many results is what
    makes this faster than an executor.

    Parameters
    ----------
    name: str
        The thread's.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_waking = False
        self._waited_for = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._has_begun = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done, and nothing waits; to be asked in the loop."""
        return self._waited_for == 0

    def run(self, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Return what will be ``function(*arguments)``; to be called in a running loop."""
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waited_for += 1
        self._jobs.put((future, partial(function, *arguments)))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                self._done.append((future, function(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                self._done.append((future, None, error))
            if not self._is_waking:
                self._is_waking = True
                try:
                    future.get_loop().call_soon_threadsafe(self._hand_back)
                except RuntimeError:
                    # The loop has ended: nobody waits any more.
                    return

    def _hand_back(self) -> None:
        # First: what is done from now on wakes the loop again.
        self._is_waking = False
        while self._done:
            future, result, error = self._done.popleft()
            self._waited_for -= 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Wait until everything that was begun is done."""
        self._jobs.put(None)
        if self._has_begun:
            self._thread.join()
