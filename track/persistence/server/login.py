"""Who is let into a server: exponential backoff after wrong passwords, and then one guess at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from track.errors import TrackError
from track.persistence.users import ROLES

logger = logging.getLogger(__name__)
LONGEST_DELAY = 4.0
"""Seconds before a wrong password is answered, at most."""
_REMEMBERED = 1024


@dataclass(frozen=True)
class Session:
    """A client that was let in."""

    user: str
    role: str

    def may(self, role: str) -> bool:
        """Return whether this client may do what needs a role."""
        return ROLES.index(role) <= ROLES.index(self.role)


class _Failures:
    """The wrong passwords of one address."""

    def __init__(self) -> None:
        self.count = 0
        self.turn = asyncio.Lock()


class Login:
    """Checks passwords in a thread of its own, so that nobody who is in waits for it.

    `delay`: seconds before the first wrong password of an address is answered; twice as long at each further one, up to
    4.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._thread = ThreadPoolExecutor(1, "track-authenticate")
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    async def check(self, address: str, check: Callable[[], dict[str, Any]], user: str | None) -> Session | None:
        """Return the session of a client, None when it is not let in.

        `address`: where it comes from. `check`: slow; its answer is that of `SocketServer.authenticate`.
        """
        failures = self._failures.get(address)
        if failures is None:
            session = await self._checked(check, user)
            if session is not None:
                return session
            failures = self._remember(address)
            async with failures.turn:
                await self._wait(failures)
            return None
        # After a wrong password, an address has one guess at a time.
        async with failures.turn:
            session = await self._checked(check, user)
            if session is None:
                await self._wait(failures)
            else:
                self._failures.pop(address, None)
            return session

    def _remember(self, address: str) -> _Failures:
        failures = self._failures.setdefault(address, _Failures())
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        return failures

    async def _wait(self, failures: _Failures) -> None:
        failures.count += 1
        await asyncio.sleep(min(self._delay * 2.0 ** min(failures.count - 1, 10), LONGEST_DELAY))

    async def _checked(self, check: Callable[[], dict[str, Any]], user: str | None) -> Session | None:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, check)
        except (TrackError, OSError, ValueError) as error:
            logger.error("nobody is let in: %s", error)
            return None
        if not isinstance(answer, dict) or answer.get("status") != 0:
            return None
        role = answer.get("return")
        return Session(user or "", role if role in ROLES else "write")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
