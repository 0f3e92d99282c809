"""Who is let into a server: guesses of a password in turns, and a pause after each wrong one.

A right password never waits for wrong ones. One that was right before is known without work. Any other is tried, one
at a time, newest first; who was tried longest ago has the next turn, by address and then by user. So neither another
address nor another name keeps anybody waiting. Of one user from one address 32 wrong ones are tried as they come, and
then four a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from track.errors import BackendUnavailable, TrackError
from track.persistence.users import ROLES
from track.shown import clean

logger = logging.getLogger(__name__)
LONGEST_DELAY = 4.0
"""Seconds before a wrong password is answered, at most."""
_REMEMBERED = 1024
_WAITING = 8
"""Different passwords of one user from one address that wait for their turn."""
_AS_THEY_COME = 32
_PACE = 0.25
_Key = tuple[str, str]
_Check = Callable[[], dict[str, Any]]
_Answer = str | float
"""A role; or, for a wrong password, when it is answered: a time of the loop."""


@dataclass(frozen=True)
class Session:
    """A client that was let in."""

    user: str
    role: str

    def may(self, role: str) -> bool:
        """Return whether this client may do what needs a role."""
        return ROLES.index(role) <= ROLES.index(self.role)


class _Failures:
    """The wrong passwords of one user from one address: how many, and from when on another may be tried.

    Some are tried as they come, so that the right one is among them; then it is so many a second.
    """

    def __init__(self) -> None:
        self.count = 0
        self.free_at = 0.0

    def add(self, now: float, pace: float) -> None:
        """Note one more."""
        self.count += 1
        self.free_at = max(self.free_at, now - _AS_THEY_COME * pace) + pace


class _Guess:
    """A password that waits for its turn, and who waits for the answer: all who have sent the same."""

    def __init__(self, key: _Key, check: _Check, proof: bytes | None, number: int) -> None:
        self.key = key
        self.check = check
        self.proof = proof
        self.number = number
        self.waiting: set[asyncio.Future[_Answer]] = set()

    def tell(self, answer: _Answer | None, error: BaseException | None = None) -> None:
        """Give those who wait the answer, or an error."""
        for future in self.waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(answer)  # type: ignore[arg-type]
            else:
                future.set_exception(error)


class Login:
    """Checks passwords in a thread of its own, so that nobody who is in waits for it.

    `delay`: seconds before the first wrong password of a user from an address is answered; twice as long at each
    further one, up to 4.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        # One tries what is dear. The other knows what was right before, which takes no time.
        self._guessing = ThreadPoolExecutor(1, "track-authenticate")
        self._knowing = ThreadPoolExecutor(1, "track-authenticate-known")
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()
        self._served: OrderedDict[str | _Key, int] = OrderedDict()
        self._guesses: list[_Guess] = []
        self._now: _Guess | None = None
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._count = 0
        self._said = ""

    async def known(self, recognize: Callable[[], str | None], user: str | None) -> Session | None:
        """Return the session of a client whose password was right before; None for any other.

        `recognize`: takes no time; its answer is that of `Users.recognize`.
        """
        try:
            role = await asyncio.get_running_loop().run_in_executor(self._knowing, recognize)
        except (TrackError, OSError, ValueError):
            # Said when it is tried.
            return None
        return None if role is None else Session(user or "", role)

    async def check(
        self,
        address: str,
        check: _Check,
        user: str | None,
        proof: bytes | None = None,
        refused: Callable[[], None] = lambda: None,
    ) -> Session | None:
        """Return the session of a client, None when it is not let in; it is cancelled when the client is gone.

        Raises BackendUnavailable: too many different passwords of this user wait, from this address.

        `address`: where it comes from. `check`: slow; its answer is that of `SocketServer.authenticate`. `proof`: the
        same for all who send the same, of whom one is checked. `refused`: called before the pause.
        """
        loop = asyncio.get_running_loop()
        guess = self._guess((address, (user or "")[:_REMEMBERED]), check, proof)
        future: asyncio.Future[_Answer] = loop.create_future()
        guess.waiting.add(future)
        self._go_on()
        try:
            found = await future
        finally:
            guess.waiting.discard(future)
            if not guess.waiting and guess in self._guesses:
                self._guesses.remove(guess)
        if isinstance(found, str):
            return Session(user or "", found)
        refused()
        await asyncio.sleep(found - loop.time())
        return None

    def _guess(self, key: _Key, check: _Check, proof: bytes | None) -> _Guess:
        """Return the guess to wait for: one of the same that waits already, or a new one."""
        if proof is not None:
            mine = [guess for guess in self._guesses if guess.key == key and guess.proof is not None]
            for guess in [*mine, *([] if self._now is None else [self._now])]:
                if (guess.key, guess.proof) == (key, proof):
                    return guess
            if len(mine) >= _WAITING:
                self._give_up(mine[0])
        self._count += 1
        guess = _Guess(key, check, proof, self._count)
        self._guesses.append(guess)
        return guess

    def _give_up(self, guess: _Guess) -> None:
        self._guesses.remove(guess)
        text = "too many passwords of this user are waiting to be tried"
        guess.tell(None, BackendUnavailable(text))

    def _go_on(self) -> None:
        """Try the next password, unless one is tried."""
        if self._now is not None or not self._guesses:
            return
        loop = asyncio.get_running_loop()
        free = {guess: self._free_at(guess) for guess in self._guesses}
        may = [guess for guess, at in free.items() if at <= loop.time()]
        if not may:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(min(free.values()), self._go_on)
            return
        self._now = min(may, key=self._place_in_line)
        self._guesses.remove(self._now)
        self._task = asyncio.create_task(self._try(self._now))

    def _free_at(self, guess: _Guess) -> float:
        failures = self._failures.get(guess.key)
        return 0.0 if failures is None else failures.free_at

    def _place_in_line(self, guess: _Guess) -> tuple[int, int, int]:
        return self._served.get(guess.key[0], 0), self._served.get(guess.key, 0), -guess.number

    async def _try(self, guess: _Guess) -> None:
        for name in (guess.key[0], guess.key):
            self._count += 1
            _note(self._served, name, self._count)
        try:
            role = await self._checked(guess)
            if role is None:
                guess.tell(self._refuse(guess.key))
            else:
                self._failures.pop(guess.key, None)
                guess.tell(role)
        except BaseException as error:
            # Of a hook of somebody's own; who waits is told.
            guess.tell(None, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._now = None
            self._go_on()

    def _refuse(self, key: _Key) -> float:
        """Note a wrong password, and return when it is answered."""
        failures = self._failures.get(key) or _Failures()
        _note(self._failures, key, failures)
        now = asyncio.get_running_loop().time()
        failures.add(now, _PACE * min(self._delay, 1.0))
        return now + min(self._delay * 2.0 ** min(failures.count - 1, 10), LONGEST_DELAY)

    async def _checked(self, guess: _Guess) -> str | None:
        try:
            role = role_of(await asyncio.get_running_loop().run_in_executor(self._guessing, guess.check))
        except (TrackError, OSError, ValueError) as error:
            text = f"nobody is let in: {clean(str(error))}"
            if text != self._said:
                # Not at each guess.
                logger.error("%s", text)
            self._said = text
            return None
        self._said = ""
        return role

    def close(self) -> None:
        """End the threads."""
        for threads in (self._guessing, self._knowing):
            threads.shutdown(wait=False, cancel_futures=True)


def role_of(answer: Any) -> str | None:
    """Return the role that an answer of `SocketServer.authenticate` gives; None where it is no clear yes."""
    if not isinstance(answer, dict) or answer.get("status") != 0:
        return None
    role = answer.get("return")
    return role if isinstance(role, str) and role in ROLES else "write"


def _note(known: OrderedDict[Any, Any], name: Any, value: Any) -> None:
    """Remember something of the last who came; the oldest is forgotten."""
    known[name] = value
    known.move_to_end(name)
    while len(known) > _REMEMBERED:
        known.popitem(last=False)
