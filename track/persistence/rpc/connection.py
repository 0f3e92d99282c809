"""One blocking connection to a track server: it is made when it is needed, and made again when it breaks."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from track.errors import BackendUnavailable, OutcomeUnknown, RPCCallFailure, TrackError
from track.persistence.rpc.wire import LARGEST, Call, Reply, decode_reply, encode_message, frame, raised, recv_frame
from track.utils.clocks import StoreClock
from track.utils.lifecycle import backoff, keep_inherited, watch_forks

_Credentials = Callable[[], tuple[str | None, str | None]]
_RECONNECTIONS = 2
_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_CLOSE = 1.0


@dataclass(frozen=True)
class Address:
    """Where a server is, and how it is spoken to.

    `layer`: ``AES``, ``TLS`` or None. `known_hosts`: a file of the servers that are trusted, where another one than the
    user's is configured. `connect_timeout`: seconds to be connected and known. `timeout`: seconds for an answer.
    """

    host: str
    port: int
    layer: str | None
    fingerprint: str | None
    cafile: str | None
    known_hosts: str | None
    connect_timeout: float
    timeout: float

    def __str__(self) -> str:
        return f"the track server at {self.host}:{self.port}"


class Link:
    """Calls to a server, one after another, from any thread.

    `credentials`: returns user name and password, asked at each connection.
    """

    def __init__(self, address: Address, credentials: _Credentials) -> None:
        self.address = address
        self.token: Any = None
        self.largest = LARGEST
        self.connections = 0
        """How many there were: another one may be to another server."""
        self.clock = StoreClock()
        self._credentials = credentials
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._number = 0
        watch_forks(self)

    def call(
        self, name: str, arguments: dict[str, Any], lines: bytes = b"", is_settled: bool = False
    ) -> tuple[Any, bytes]:
        """Return the value and the documents that a call is answered.

        `lines`: of events. `is_settled`: whether the caller must know if it was done: it is made again until the server
        says so, which knows it. Raises BackendUnavailable: the server does not answer. OutcomeUnknown: it went away in
        the middle and did not come back in time, and the caller must know. TrackError: as the server says.
        """
        with self.turn():
            reply, documents = self._answered(name, arguments, lines, is_settled)
        if reply.status:
            raise raised(reply)
        return reply.value, documents

    def _answered(self, name: str, arguments: dict[str, Any], lines: bytes, is_settled: bool) -> tuple[Reply, bytes]:
        deadline = time.monotonic() + self.address.timeout
        attempt, has_begun = 0, False
        while True:
            was_connected = self._socket is not None
            try:
                self.connect()
                has_begun = is_settled
                return self._exchange(name, arguments, lines, deadline)
            except (OSError, TrackError) as error:
                is_in = self._socket is not None
                self._forget()
                attempt += 1
                if has_begun:
                    self._pause_or_give_up(error, attempt, deadline)
                elif not was_connected or attempt > _RECONNECTIONS or time.monotonic() > deadline:
                    raise self._unavailable(error, is_in) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other threads from calling meanwhile."""
        if not self._lock.acquire(timeout=self.address.timeout):
            raise BackendUnavailable(f"{self.address} did not answer another thread within {self.address.timeout:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def _pause_or_give_up(self, error: Exception, attempt: int, deadline: float) -> None:
        if time.monotonic() > deadline:
            text = f"{self._unavailable(error)} (what was decided may be stored, or not)"
            raise OutcomeUnknown(text) from error
        time.sleep(backoff(attempt, _PAUSE, _LONGEST_PAUSE))

    def _unavailable(self, error: Exception, is_in: bool = False) -> BackendUnavailable:
        if isinstance(error, BackendUnavailable):
            return error
        if is_in and isinstance(error, TimeoutError):
            return BackendUnavailable(f"{self.address} has not answered within {self.address.timeout:g} s")
        if isinstance(error, ssl.SSLError) and self.address.layer is not None:
            return BackendUnavailable(f"{self.address} does not agree on {self.address.layer}: {error}")
        text = " ".join(str(error).split()) or type(error).__name__
        return BackendUnavailable(f"{self.address} cannot be reached ({text}): is it running, on this host and port?")

    # the connection

    def connect(self) -> None:
        """Connect, and be let in, unless that was done; called with the turn."""
        if self._socket is not None:
            return
        self.connections += 1
        deadline = time.monotonic() + self.address.connect_timeout
        attempt = 0
        while (reply := self._asked_in(deadline)) is None:
            attempt += 1
            time.sleep(min(backoff(attempt, _PAUSE, _LONGEST_PAUSE), max(0.0, deadline - time.monotonic())))
        self.token, self.largest = reply.value, reply.largest
        # One of before does not say.
        if reply.now is not None:
            self.clock.note(reply.now)

    def _asked_in(self, deadline: float) -> Reply | None:
        """Connect, say who this is, and return the reply; None where it is to be said again.

        Raises BackendUnavailable: there is no answer. TrackError: this client is not let in.
        """
        patience = max(0.05, deadline - time.monotonic())
        connection = socket.create_connection((self.address.host, self.address.port), patience)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._encrypted(connection)
            self._socket = connection
            user, password = self._credentials()
            reply = self._let_in({"username": user, "password": password}, deadline)
            if not reply.status:
                return reply
            error = raised(reply)
            if isinstance(error, RPCCallFailure):
                raise error
            if time.monotonic() > deadline:
                raise BackendUnavailable(f"{self.address}: this client is waiting to be let in: {error}") from error
        except BaseException:
            self._socket = None
            connection.close()
            raise
        # Others who are about to be let in were too many.
        self._forget()
        return None

    def _let_in(self, who: dict[str, Any], deadline: float) -> Reply:
        try:
            return self._exchange("authenticate", who, b"", deadline)[0]
        except TimeoutError as error:
            raise BackendUnavailable(
                f"{self.address} has not answered within {self.address.connect_timeout:g} s: somebody listens "
                "there, and this client is waiting to be let in, as many others may be"
            ) from error
        except ConnectionError as error:
            raise BackendUnavailable(
                f"{self.address} closed the connection while this client was waiting to be let in: perhaps too many are"
            ) from error

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        address = self.address
        if address.layer is None:
            return plain
        from track.utils.encrypted import client_context, verified_context, wrap_socket

        context = client_context() if address.layer == "AES" else verified_context(address.cafile)
        return wrap_socket(
            plain,
            context=context,
            hostname=address.host,
            fingerprint=address.fingerprint,
            known_hosts=address.known_hosts,
        )

    def _forget(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _exchange(self, name: str, arguments: dict[str, Any], lines: bytes, deadline: float) -> tuple[Reply, bytes]:
        assert self._socket is not None
        self._number += 1
        payload = encode_message(Call(name, self._number, arguments), lines)
        self._socket.settimeout(max(0.05, deadline - time.monotonic()))
        self._socket.sendall(frame(payload))
        found = []
        while True:
            reply, documents = decode_reply(recv_frame(self._socket))
            if reply.id != self._number:
                raise ConnectionResetError("the server answers something else")
            found.append(documents)
            if not reply.more:
                return reply, b"".join(found)

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        # A thread that is stuck with it lets go of it later.
        if self._lock.acquire(timeout=_CLOSE):
            try:
                self._forget()
            finally:
                self._lock.release()

    def after_fork(self) -> None:
        """In a child: the connection, and a thread that may hold the lock, are the parent's."""
        keep_inherited(self._socket)
        self._lock, self._socket = threading.RLock(), None
