"""Backpressure of a server: what waits its turn, so that memory does not grow with what clients ask for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Any

SMALL = 1 << 16
"""Bytes that never wait."""
_SLOW = 2.0
_SLOWEST = 1 << 18


class ByteBudget:
    """Backpressure: how much may be on its way in at the same time; more waits its turn.

    `size`: bytes.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._taken: dict[Any, int] = {}
        self._unfilled: dict[Any, float] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, owner: Hashable, length: int) -> None:
        """Wait until so many bytes are free; few always are."""
        if length <= SMALL:
            return
        while self._free < min(length, self._size):
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._free -= length
        self._taken[owner] = length
        self._unfilled[owner] = asyncio.get_running_loop().time()

    def fill(self, owner: Hashable) -> None:
        """Note that the bytes have come."""
        self._unfilled.pop(owner, None)

    def give_back(self, owner: Hashable) -> None:
        """Let the next one in."""
        self._unfilled.pop(owner, None)
        self._free += self._taken.pop(owner, 0)
        if self._free > 0:
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(None)

    def slow(self, now: float) -> list[Any]:
        """Return who keeps others waiting: bytes were taken some time ago, and do not come."""
        if not self._waiting:
            return []
        return [owner for owner, since in self._unfilled.items() if now - since > _SLOW]


class Places:
    """The clients that are being sent a long answer: what it is made of stays in memory until they have read it.

    Who reads slowly keeps a place as long as nobody waits for one.

    `count`: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._since: dict[Any, float] = {}
        self._sent: dict[Any, int] = {}
        self._waiting: deque[tuple[asyncio.Future[None], Any]] = deque()

    def enter(self, owner: Hashable) -> bool:
        """Take a place, and return whether there was one, or the owner has one already."""
        if owner in self._since:
            return True
        if not self._free:
            return False
        self._free -= 1
        self._begin(owner)
        return True

    def _begin(self, owner: Hashable) -> None:
        self._since[owner], self._sent[owner] = asyncio.get_running_loop().time(), 0

    async def wait(self, owner: Hashable) -> None:
        """Wait for a place, and take it."""
        if self.enter(owner):
            return
        waiting = (asyncio.get_running_loop().create_future(), owner)
        self._waiting.append(waiting)
        try:
            await waiting[0]
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def sent(self, owner: Hashable, size: int) -> None:
        """Note that so many bytes were taken."""
        if owner in self._sent:
            self._sent[owner] += size

    def leave(self, owner: Hashable) -> None:
        """Give a place back, where the owner has one."""
        if self._since.pop(owner, None) is None:
            return
        self._sent.pop(owner, None)
        while self._waiting:
            future, following = self._waiting.popleft()
            if not future.done():
                self._begin(following)
                future.set_result(None)
                return
        self._free += 1

    def slow(self, now: float) -> list[Any]:
        """Return who keeps others waiting: the slowest of those who read less than 256 KiB a second."""
        if not self._waiting:
            return []
        ages = {owner: now - since for owner, since in self._since.items()}
        rates = {owner: self._sent[owner] / age for owner, age in ages.items() if age > _SLOW}
        slowest = min(rates, key=rates.__getitem__, default=None)
        return [slowest] if slowest is not None and rates[slowest] < _SLOWEST else []
