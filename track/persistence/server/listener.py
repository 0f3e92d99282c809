"""The asyncio side of a track server: connections, their deadlines, and frames in and out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from asyncio import sslproto
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any

from track.errors import RPCCallFailure
from track.persistence.rpc import LARGEST, frame, read_length, read_payload
from track.utils.tls import check_cipher

logger = logging.getLogger(__name__)
_NEVER = float("inf")
_SWEEP = 0.25
_PAUSE = 0.1
_SMALL = 1 << 16
_SLOW = 2.0
_TLS_BUFFER = 1 << 15
_FIRST_FRAME = 1 << 14


class Connection:
    """One client: its streams, and until when it has to do something.

    Parameters
    ----------
    limits: Limits
    room: Room
        For what it sends.
    streams: pair of reader and writer, optional
        Of a connection that somebody else has made.
    """

    def __init__(
        self, limits: Limits, room: Room, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    ) -> None:
        self._limits = limits
        self._room = room
        self._clock = asyncio.get_running_loop().time
        self.task: asyncio.Task[None] | None = None
        self._streams = streams
        self.is_busy = False
        self.is_known = False
        self.due = self._clock() + limits.authentication_timeout

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Reader and writer, once it is open."""
        assert self._streams is not None
        return self._streams

    async def open(self, plain: socket.socket, context: ssl.SSLContext | None) -> None:
        """Make streams of a socket that was accepted."""
        reader = asyncio.StreamReader(limit=_SMALL)
        protocol = asyncio.StreamReaderProtocol(reader)
        patience = None if context is None else self._limits.authentication_timeout
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, plain, ssl=context, ssl_handshake_timeout=patience
        )
        if context is not None:
            check_cipher(transport.get_extra_info("ssl_object"))
        self._streams = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def allow(self, seconds: float) -> None:
        """Set the time after which the connection is closed; who is not known has what it was given at first."""
        if self.is_known:
            self.due = self._clock() + seconds

    async def receive(self) -> bytes | None:
        """Return the next frame, None when the client is gone.

        Raises
        ------
        RPCCallFailure
            The frame is too large.
        """
        reader, _ = self.streams
        self.is_busy = False
        self._room.give_back(self)
        self.allow(self._limits.idle_timeout)
        length = await read_length(reader, self._limits.frame if self.is_known else _FIRST_FRAME)
        if length is None:
            return None
        # Meanwhile, and once it is here, it is the server that is waited for.
        self.allow(_NEVER)
        await self._room.take(self, length)
        self.allow(self._limits.frame_timeout)
        payload = await read_payload(reader, length)
        self._room.fill(self)
        self.is_busy = True
        self.allow(_NEVER)
        return payload

    async def send(self, payload: bytes) -> None:
        """Send a frame, and wait while the client does not take it."""
        _, writer = self.streams
        self.allow(self._limits.frame_timeout)
        writer.write(frame(payload))
        await writer.drain()

    def abort(self) -> None:
        """Break the connection."""
        if self._streams is not None:
            self.streams[1].transport.abort()
        elif self.task is not None:
            self.task.cancel()

    async def close(self) -> None:
        """Close the connection, once what was sent has left."""
        self._room.give_back(self)
        if self._streams is not None:
            self.due = self._clock() + self._limits.stop_timeout
            if not self.streams[1].is_closing():
                self.streams[1].close()
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
                await self.streams[1].wait_closed()


class Room:
    """How much may be on its way in at the same time: more waits its turn.

    Parameters
    ----------
    size: int
        Bytes.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._taken: dict[Connection, int] = {}
        self._unfilled: dict[Connection, float] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, connection: Connection, length: int) -> None:
        """Wait until there is room for so many bytes; for few there always is."""
        if length <= _SMALL:
            return
        while self._free < min(length, self._size):
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._free -= length
        self._taken[connection] = length
        self._unfilled[connection] = asyncio.get_running_loop().time()

    def fill(self, connection: Connection) -> None:
        """Note that the bytes have come."""
        self._unfilled.pop(connection, None)

    def give_back(self, connection: Connection) -> None:
        """Let the next one in."""
        self._unfilled.pop(connection, None)
        self._free += self._taken.pop(connection, 0)
        if self._free > 0:
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(None)

    def slow(self, now: float) -> list[Connection]:
        """Return who keeps others waiting: room was taken some time ago, and the bytes do not come."""
        if not self._waiting:
            return []
        return [connection for connection, since in self._unfilled.items() if now - since > _SLOW]


class Listener:
    """Accepts connections and sees to their limits.

    Parameters
    ----------
    limits: Limits
    handle: callable
        What to do with a connection, until it is closed.
    """

    def __init__(self, limits: Limits, handle: Callable[[Connection], Awaitable[None]]) -> None:
        self.limits = limits
        self.room = Room(limits.waiting)
        self._handle = handle
        self._connections: dict[Connection, None] = {}
        self._strangers: dict[Connection, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._connections)

    def start(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Begin to accept."""
        listener.setblocking(False)
        if context is not None:
            # asyncio keeps a buffer of this size for each connection: 256 KiB, which idle clients need not have.
            sslproto.SSLProtocol.max_size = _TLS_BUFFER  # type: ignore[attr-defined]
        self._tasks = [asyncio.create_task(self._accept(listener, context)), asyncio.create_task(self._sweep())]

    async def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                plain, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Out of descriptors, perhaps: some connections will end.
                logger.warning("no connection can be accepted: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            self._welcome(plain, context)

    def _welcome(self, plain: socket.socket, context: ssl.SSLContext | None) -> None:
        if len(self._connections) >= self.limits.clients:
            logger.warning("a connection is refused: there are %d already", len(self._connections))
            plain.close()
            return
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Connection(self.limits, self.room)
        self._connections[connection] = None
        self._strangers[connection] = None
        if len(self._strangers) > self.limits.strangers:
            # Who means well has said who it is long ago.
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()
        connection.task = asyncio.create_task(self._serve(connection, plain, context))
        connection.task.add_done_callback(lambda _: self._forget(connection, plain))

    def _forget(self, connection: Connection, plain: socket.socket) -> None:
        self._connections.pop(connection, None)
        self._strangers.pop(connection, None)
        # One that was told to go before it began has nobody else to close it.
        plain.close()

    def know(self, connection: Connection) -> None:
        """Note that a client has said who it is."""
        connection.is_known = True
        self._strangers.pop(connection, None)

    async def _serve(self, connection: Connection, plain: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            await connection.open(plain, context)
            await self._handle(connection)
        except RPCCallFailure as error:
            logger.info("a connection is closed: %s", error)
        except (OSError, ssl.SSLError, asyncio.CancelledError) as error:
            logger.debug("a connection was broken: %r", error)
        except Exception:
            # Whatever one client does, the others are served.
            logger.exception("a connection failed")
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await connection.close()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            now = loop.time()
            for connection in [*self.room.slow(now), *(one for one in self._connections if one.due < now)]:
                logger.info("a connection is closed: its client was silent for too long")
                connection.due = _NEVER
                connection.abort()

    async def stop(self) -> None:
        """Accept nothing more, let what is under way be answered, and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._is_stopping = True
        for connection in list(self._connections):
            if not connection.is_busy:
                connection.abort()
        tasks = [one.task for one in self._connections if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.stop_timeout)
        for connection in list(self._connections):
            connection.abort()

    @property
    def is_stopping(self) -> bool:
        """Whether the server ends after what is under way."""
        return self._is_stopping


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Parameters
    ----------
    clients: int
        Connections at the same time; one more is closed at once.
    strangers: int
        Connections that have not said who they are; for one more, the oldest of them is closed.
    frame: int
        Bytes of one message.
    waiting: int
        Bytes of all messages that are on their way in at the same time; beyond, the next one waits its turn.
    authentication_timeout: float
        Seconds to say who one is, the handshake of the encryption included.
    frame_timeout: float
        Seconds for a message that has begun, in either direction.
    idle_timeout: float
        Seconds without a message before a connection is closed; the client makes a new one when it needs it.
    failure_delay: float
        Seconds before a wrong password is answered, and twice as long after each further one from the same
        address, up to 30.
    stop_timeout: float
        Seconds for what is under way when the server is told to stop.
    """

    clients: int = 2000
    strangers: int = 200
    frame: int = LARGEST
    waiting: int = 256 << 20
    authentication_timeout: float = 10.0
    frame_timeout: float = 30.0
    idle_timeout: float = 600.0
    failure_delay: float = 1.0
    stop_timeout: float = 5.0


LIMITS: dict[str, Any] = {one.name: (type(one.default), one.default) for one in fields(Limits)}
"""What may follow the ``?`` of a server's URI: how each limit is read, and its default."""


def read_limits(given: dict[str, Any]) -> Limits:
    """Return the limits among the options of a URI, as `read_options` gives them."""
    return Limits(**{name: given[name] for name in LIMITS})
