"""Backpressure of a server: what waits its turn, so that memory does not grow with what clients ask for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
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

    Who reads slowly keeps a place as long as nobody waits for one. The next place is for whom has fewest.

    `count`: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self.taken: dict[Any, _Place] = {}
        self._waiting: list[tuple[asyncio.Future[None], Any, str]] = []

    def enter(self, owner: Hashable, group: str) -> bool:
        """Take a place, and return whether there was one, or the owner has one already; `group`: whose client it is."""
        if owner in self.taken:
            return True
        if not self._free:
            return False
        self._free -= 1
        self.taken[owner] = _Place(group, asyncio.get_running_loop().time())
        return True

    async def wait(self, owner: Hashable, group: str) -> None:
        """Wait for a place, and take it."""
        if self.enter(owner, group):
            return
        waiting = (asyncio.get_running_loop().create_future(), owner, group)
        self._waiting.append(waiting)
        try:
            await waiting[0]
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def sent(self, owner: Hashable, size: int) -> None:
        """Note that so many bytes were taken."""
        if owner in self.taken:
            self.taken[owner].sent += size

    def leave(self, owner: Hashable) -> None:
        """Give a place back, where the owner has one."""
        if self.taken.pop(owner, None) is None:
            return
        self._free += 1
        while self._waiting:
            have = Counter(place.group for place in self.taken.values())
            waiting = min(self._waiting, key=lambda one: have[one[2]])
            self._waiting.remove(waiting)
            future, following, group = waiting
            if not future.done():
                self.enter(following, group)
                future.set_result(None)
                return

    def slow(self, now: float) -> list[Any]:
        """Return who keeps others waiting: those who read less than 256 KiB a second, the slowest first."""
        rates = {owner: place.sent / (now - place.since) for owner, place in self.taken.items() if place.is_old(now)}
        slowest = sorted((owner for owner in rates if rates[owner] < _SLOWEST), key=rates.__getitem__)
        return slowest[: len(self._waiting)]


@dataclass
class _Place:
    group: str
    since: float
    sent: int = 0

    def is_old(self, now: float) -> bool:
        return now - self.since > _SLOW
