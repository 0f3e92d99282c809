"""The asyncio side of a track server: connections, their deadlines, and frames in and out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from track.errors import RPCCallFailure
from track.persistence.rpc import (
    HEADER,
    LARGEST,
    Call,
    LongCall,
    Reply,
    decode_call,
    encode_message,
    frame,
    length_of,
)
from track.persistence.server.backpressure import ByteBudget, Places
from track.persistence.server.login import Session
from track.shown import clean
from track.utils.encrypted import check_cipher

logger = logging.getLogger(__name__)
_NEVER = float("inf")
_SWEEP = 0.25
_PAUSE = 0.1
_QUIET = 60.0
_SMALL = 1 << 16
_ANSWERS = 32
_TLS_BUFFER = 1 << 15
_FIRST_FRAME = 1 << 14


class Connection:
    """One client: its streams, who it is, and until when it has to do something.

    `budget`: for what it sends. `reader`, `writer`: of a connection that somebody else has accepted; otherwise `open`
    makes the writer. `places`: for what it is sent.
    """

    def __init__(
        self,
        limits: Limits,
        budget: ByteBudget,
        reader: asyncio.StreamReader | None = None,
        writer: asyncio.StreamWriter | None = None,
        places: Places | None = None,
    ) -> None:
        self.reader = reader or _Reader(limit=_SMALL)
        self.writer = writer
        self.places = places or Places(_ANSWERS)
        self.address = ""
        self.is_tried = self.is_refused = False
        self.task: asyncio.Task[None] | None = None
        self.session: Session | None = None
        self.is_busy = False
        self._limits = limits
        self._budget = budget
        self._clock = asyncio.get_running_loop().time
        self.due = self._clock() + limits.authentication_timeout

    async def open(self, plain: socket.socket, context: ssl.SSLContext | None) -> asyncio.StreamWriter:
        """Shake hands over a socket that was accepted, and return its stream to write to."""
        protocol = asyncio.StreamReaderProtocol(self.reader)
        patience = None if context is None else self._limits.authentication_timeout
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, plain, ssl=context, ssl_handshake_timeout=patience
        )
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)
        if context is not None:
            check_cipher(transport.get_extra_info("ssl_object"))
            _shrink_buffer(transport)
        return self.writer

    @property
    def group(self) -> str:
        """Whose client it is: a user's, or of whom is at its address."""
        user = "" if self.session is None else self.session.user
        return user or self.address

    def allow(self, seconds: float) -> None:
        """Set the time after which the connection is closed; until it is authenticated, that is set once."""
        if self.session is not None:
            self.due = self._clock() + seconds

    async def receive(self) -> tuple[Call | LongCall, bytes]:
        """Return the next call and the lines after it.

        Raises asyncio.IncompleteReadError: the client is gone. RPCCallFailure: the frame is too large, or no call.
        """
        self.is_busy = False
        self._budget.give_back(self)
        self.allow(self._limits.idle_timeout)
        header = await self.reader.readexactly(HEADER)
        length = length_of(header, _FIRST_FRAME if self.session is None else self._limits.frame)
        # Meanwhile, and once it is here, it is the server that is waited for.
        self.allow(_NEVER)
        await self._budget.take(self, length)
        self.allow(self._limits.frame_timeout)
        payload = await self.reader.readexactly(length)
        self._budget.fill(self)
        self.is_busy = True
        self.allow(_NEVER)
        return decode_call(payload)

    async def send(self, reply: Reply, documents: bytes = b"") -> None:
        """Send a reply, and wait while the client does not take it."""
        assert self.writer is not None
        self.allow(self._limits.frame_timeout)
        self.writer.write(frame(encode_message(reply, documents)))
        await self.writer.drain()
        self.places.sent(self, len(documents))

    @contextlib.contextmanager
    def while_here(self) -> Iterator[None]:
        """Cancel what is done in the block, for a client that waits for it, when the client is gone."""
        reader, task = self.reader, asyncio.current_task()
        if isinstance(reader, _Reader) and task is not None:
            reader.when_ended(task.cancel)
        try:
            yield
        finally:
            if isinstance(reader, _Reader):
                reader.when_ended(None)

    def abort(self) -> None:
        """Break the connection."""
        if self.writer is not None:
            self.writer.transport.abort()
        elif self.task is not None:
            self.task.cancel()

    async def close(self) -> None:
        """Close the connection, once what was sent has left."""
        self._budget.give_back(self)
        if self.writer is not None:
            self.due = self._clock() + self._limits.stop_timeout
            if not self.writer.is_closing():
                self.writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError):
                await self.writer.wait_closed()


class _Reader(asyncio.StreamReader):
    """Tells that the client is gone when it is so, and not only who reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._has_ended = False
        self._tell: Callable[[], Any] | None = None

    def when_ended(self, tell: Callable[[], Any] | None) -> None:
        """Call `tell` when nothing more will come, or at once where that is so already; None: do not."""
        self._tell = tell
        if self._has_ended and tell is not None:
            tell()

    def feed_eof(self) -> None:
        super().feed_eof()
        self._end()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._end()

    def _end(self) -> None:
        self._has_ended = True
        if self._tell is not None:
            self._tell()


def _shrink_buffer(transport: Any) -> None:
    """Let an encrypted connection read 32 KiB at once: asyncio keeps 256 KiB for each, which idle clients need not."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if hasattr(protocol, "_ssl_buffer"):
        protocol.max_size = _TLS_BUFFER
        protocol._ssl_buffer = bytearray(_TLS_BUFFER)
        protocol._ssl_buffer_view = memoryview(protocol._ssl_buffer)


class Listener:
    """Accepts connections and sees to their limits.

    `handle`: what to do with the two streams of a connection, until it is closed.

    Attributes
    ----------
    connections: dict of Connection
        By the stream they are read from.
    """

    def __init__(
        self, limits: Limits, handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        self.limits = limits
        self.budget = ByteBudget(limits.waiting)
        self.places = Places(_ANSWERS)
        """Those who are being sent an answer that is long."""
        self.connections: dict[asyncio.StreamReader, Connection] = {}
        self._handle = handle
        self._unauthenticated: OrderedDict[Connection, None] = OrderedDict()
        """The refused come first, then the oldest."""
        self._tasks: list[asyncio.Task[None]] = []
        self._quiet_until = 0.0
        self.is_stopping = False
        """Whether the server ends after what is under way."""

    def start(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        """Begin to accept."""
        listening.setblocking(False)
        self._tasks = [asyncio.create_task(self._accept(listening, context)), asyncio.create_task(self._sweep())]

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                plain, address = await loop.sock_accept(listening)
            except OSError as error:
                # Out of descriptors, perhaps: some connections will end.
                self._say("no connection can be accepted: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            self._welcome(plain, str(address[0]), context)
            # One that is there already is given at once: those who are in have their turns between two of them.
            await asyncio.sleep(0)

    def _welcome(self, plain: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        if len(self.connections) >= self.limits.clients:
            self._say("connections are refused: there are %d already", len(self.connections))
            plain.close()
            return
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Connection(self.limits, self.budget, places=self.places)
        connection.address = address
        task = asyncio.create_task(self._serve(connection, plain, context))
        # One that was told to go before it began has nobody else to close it.
        task.add_done_callback(lambda _: plain.close())
        self._remember(connection, task)
        if len(self._unauthenticated) > self.limits.strangers:
            self._send_one_away()

    def _say(self, text: str, detail: Any) -> None:
        """Warn of what clients can bring about, and may as often as they like: once a minute."""
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.warning(text, detail)

    def _send_one_away(self) -> None:
        """Break one of the connections of the address that has most: refused, silent or the oldest that is tried.

        Who means well has said who it is long ago; but neither those who say nothing nor those who guess take more than
        half of the places from the others.
        """
        (most, _), *_ = Counter(one.address for one in self._unauthenticated).most_common(1)
        theirs = [one for one in self._unauthenticated if one.address == most]
        silent = [one for one in theirs if not one.is_tried]
        tried = [one for one in theirs if one.is_tried]
        are_many = len(silent) * 2 > len(theirs) or not tried
        first = theirs[0] if theirs[0].is_refused else silent[0] if are_many else tried[0]
        del self._unauthenticated[first]
        first.abort()

    def _remember(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Know a connection as long as its task runs."""
        connection.task = task
        self.connections[connection.reader] = connection
        self._unauthenticated[connection] = None
        task.add_done_callback(lambda _: self._forget(connection))

    def _forget(self, connection: Connection) -> None:
        self.connections.pop(connection.reader, None)
        self._unauthenticated.pop(connection, None)
        self.budget.give_back(connection)
        self.places.leave(connection)

    def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        """Return the connection of two streams; a new one where somebody else has accepted it."""
        if reader not in self.connections:
            task = asyncio.current_task()
            assert task is not None
            self._remember(Connection(self.limits, self.budget, reader, writer, self.places), task)
        return self.connections[reader]

    def refuse(self, connection: Connection) -> None:
        """Note that a client has said a wrong password: it is the first to be sent away."""
        connection.is_tried, connection.is_refused = False, True
        if connection in self._unauthenticated:
            self._unauthenticated.move_to_end(connection, last=False)

    def let_in(self, connection: Connection, session: Session) -> None:
        """Note who a client is."""
        connection.session = session
        self._unauthenticated.pop(connection, None)

    async def _serve(self, connection: Connection, plain: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            writer = await connection.open(plain, context)
            await self._handle(connection.reader, writer)
        except RPCCallFailure as error:
            logger.info("a connection is closed: %s", clean(str(error)))
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
            late = [one for one in self.connections.values() if one.due < now]
            for connection in [*self.budget.slow(now), *self.places.slow(now), *late]:
                logger.info("a connection is closed: its client was silent for too long")
                connection.due = _NEVER
                connection.abort()

    async def stop(self) -> None:
        """Accept nothing more, let what is under way be answered, and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.is_stopping = True
        for connection in list(self.connections.values()):
            if not connection.is_busy:
                connection.abort()
        tasks = [one.task for one in self.connections.values() if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.stop_timeout)
        for connection in list(self.connections.values()):
            connection.abort()


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    `clients`: connections at the same time; one more is closed at once. `strangers`: unauthenticated connections; for
    one more, one of the address that has most is closed: refused, silent, or the oldest. `frame`: bytes of one message.
    `waiting`: the byte budget of all messages that are on their way in; beyond, the next one waits its turn.
    `authentication_timeout`: seconds to say who one is, the handshake of the encryption included. `frame_timeout`:
    seconds for a message that has begun, in either direction. `idle_timeout`: seconds without a message before a
    connection is closed; the client makes a new one when it needs it. `failure_delay`: seconds before a wrong password
    is answered, and twice as long after each further one of the same user from the same address, up to 4.
    `stop_timeout`: seconds for what is under way when the server is told to stop.
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


_SENSIBLE: dict[str, tuple[float, float]] = {
    "clients": (1, 1_000_000),
    "strangers": (1, 1_000_000),
    "frame": (1 << 13, 1 << 30),
    "waiting": (1 << 16, 1 << 40),
    "authentication_timeout": (0.01, 3600.0),
    "frame_timeout": (0.01, 86_400.0),
    "idle_timeout": (0.01, 31_536_000.0),
    "failure_delay": (0.001, 3600.0),
    "stop_timeout": (0.0, 3600.0),
}
"""The least and the most that makes sense."""


def _reader(name: str, kind: type) -> Callable[[str], Any]:
    least, most = _SENSIBLE[name]

    def read(text: str) -> Any:
        number = kind(text)
        if not least <= number <= most:
            raise ValueError(f"it should be {least:,} to {most:,}")
        return number

    return read


LIMITS: dict[str, Any] = {one.name: (_reader(one.name, type(one.default)), one.default) for one in fields(Limits)}
"""What may follow the ``?`` of a server's URI: how each limit is read, and its default."""


def read_limits(given: dict[str, Any]) -> Limits:
    """Return the limits among the options of a URI, as `read_options` gives them."""
    return Limits(**{name: given[name] for name in LIMITS})
