"""People who come in by name and password, from other machines: each gets a cookie for it, once."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from track.dashboard.answers import Refused
from track.errors import TrackError
from track.persistence.server import Login
from track.persistence.users import Users
from track.shown import shown

logger = logging.getLogger(__name__)
SECONDS = 12 * 3600.0
"""How long a cookie lets in; then the password is asked for again."""
_MOST = 1000
_MOST_TRIED = 16
_FIRST_DELAY = 1.0
_ASK = (("WWW-Authenticate", 'Basic realm="track", charset="UTF-8"'),)


class _Visit(NamedTuple):
    user: str
    mark: bytes
    until: float


class Entrance:
    """Knows who has shown a password: guesses of it are bounded as those at a server.

    Parameters
    ----------
    users: Users
        Who may come in; a change counts at the next request.
    clock: callable
        Returns seconds.
    """

    def __init__(self, users: Users, clock: Callable[[], float] = time.monotonic) -> None:
        self.users = users
        self._clock = clock
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._changing = threading.Lock()
        self._room = threading.BoundedSemaphore(_MOST_TRIED)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._login = Login(_FIRST_DELAY)

    def role_of(self, cookie: str) -> str | None:
        """Return what who has a cookie may do; None where it lets nobody in, or no longer."""
        with self._changing:
            visit = self._visits.get(cookie)
            if visit is None or visit.until < self._clock():
                self._visits.pop(cookie, None)
                return None
        try:
            is_same = visit.mark == self.users.mark(visit.user)
            return self.users.list().get(visit.user) if is_same else None
        except (TrackError, OSError):
            return None

    def enter(self, said: str, address: str) -> str:
        """Return a cookie for what a browser says of its user.

        Raises
        ------
        Refused
            It says nothing, or nothing that is right.
        """
        user, password = _credentials(said)
        if not self._room.acquire(blocking=False):
            raise Refused(503, "too many passwords are being tried: come again in some seconds")
        try:
            role = self._checked(user, password, address)
        finally:
            self._room.release()
        if role is None:
            raise Refused(401, "wrong user name or password", _ASK)
        cookie = secrets.token_urlsafe(32)
        with self._changing:
            self._visits[cookie] = _Visit(user, self.users.mark(user), self._clock() + SECONDS)
            while len(self._visits) > _MOST:
                self._visits.popitem(last=False)
        return cookie

    def _checked(self, user: str, password: str, address: str) -> str | None:
        try:
            role = self.users.recognize(user, password)
            if role is not None:
                return role
            proof = self.users.proof(user, password)
            check = partial(_answer, self.users, user, password)
            tell = partial(
                logger.warning, "%s was not let in from %s: wrong user name or password", shown(user), address
            )
            trying = self._login.check(address, check, user, proof, tell)
            session = asyncio.run_coroutine_threadsafe(trying, self._running()).result()
        except TrackError as error:
            raise Refused(503, f"nobody is let in at the moment: {error}") from error
        return None if session is None else session.role

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._changing:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="track-page-login", daemon=True).start()
            return self._loop


def _answer(users: Users, user: str, password: str) -> dict[str, Any]:
    role = users.check(user, password)
    return {"status": 1 if role is None else 0, "return": role}


def _credentials(said: str) -> tuple[str, str]:
    kind, _, word = said.partition(" ")
    if kind.lower() != "basic":
        raise Refused(401, "this page asks for a user name and a password", _ASK)
    try:
        user, sign, password = base64.b64decode(word.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        user = sign = password = ""
    if not sign:
        raise Refused(401, "this is no user name and password", _ASK)
    return user, password
