"""Who the clients of a track server are, and what they are answered: `SocketServer` without its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

from track.persistence.answering import Answering
from track.persistence.calls import CALLS, CallKind
from track.persistence.gate import Gate, Session
from track.persistence.limits import Limits
from track.persistence.messages import Reply, decode_call, encode_reply
from track.persistence.multiplexer import ProtocolMultiplexer
from track.persistence.protocol import Protocol
from track.persistence.served import Served
from track.persistence.serving import Connection, Listener
from track.persistence.users import Users

__all__ = ["Reception"]

logger = logging.getLogger(__name__)


class Reception(ProtocolMultiplexer):
    """Lets clients in and answers their calls.

    Parameters
    ----------
    backend: Protocol
        What is served.
    limits: Limits
    users: Users or None
        Who may come in; None for everybody.
    """

    def __init__(self, backend: Protocol, limits: Limits, users: Users | None) -> None:
        super().__init__(backend)
        self.limits = limits
        self.users = users
        self._answering = Answering(Served(backend))
        self._gate = Gate(limits.failure_delay)
        self._serving = Listener(limits, self._handle)
        self._sessions: dict[asyncio.StreamReader, Session] = {}
        self._connections: dict[asyncio.StreamReader, Connection] = {}

    # who may do what

    def authenticate(self, reader: asyncio.StreamReader, username: str | None, password: str | None) -> dict[str, Any]:
        """Return whether a client may come in; for a subclass to override, and called in a thread of its own.

        Parameters
        ----------
        reader: StreamReader
            The client's stream, which tells it from others.
        username, password: str or None
            As the client sends them.

        Returns
        -------
        dict
            ``{"status": 0, "return": role}``: ``"read"``, ``"write"`` or ``"admin"``, and True means ``"write"``. Any
            other `status` refuses.
        """
        if self.users is None:
            return {"status": 0, "return": "admin"}
        role = self.users.check(username or "", password or "")
        return {"status": 1} if role is None else {"status": 0, "return": role}

    def is_authenticated(self, reader: asyncio.StreamReader) -> bool:
        """Return whether the client of a stream was let in."""
        return reader in self._sessions

    def get_username(self, reader: asyncio.StreamReader) -> str | None:
        """Return the name of the client of a stream, None when it has none or was not let in."""
        session = self._sessions.get(reader)
        return None if session is None else session.user

    @property
    def _is_open_to_all(self) -> bool:
        return self.users is None and type(self).authenticate is Reception.authenticate

    # serving

    async def handle_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one client until it is gone."""
        if reader not in self._connections:
            self._connections[reader] = Connection(self.limits, self._serving.room, (reader, writer))
        connection = self._connections[reader]
        try:
            payload = await connection.receive()
            if payload is not None and await self._let_in(connection, payload):
                await self._serve_calls(connection)
        finally:
            del self._connections[reader]
            self._sessions.pop(reader, None)
            self.close_connection(writer)

    async def _serve_calls(self, connection: Connection) -> None:
        while not self._serving.is_stopping:
            payload = await connection.receive()
            if payload is None:
                return
            call, lines = decode_call(payload)
            kind = CALLS.get(call.name)
            await self.exec(*connection.streams, call.name, kind, call.args, {"id": call.id, "lines": lines})

    async def _let_in(self, connection: Connection, payload: bytes) -> bool:
        """Answer the first call, which says who the client is, and return whether it was let in."""
        reader, writer = connection.streams
        call, _ = decode_call(payload)
        user, password = call.args.get("username"), call.args.get("password")
        if call.name != "authenticate" or not all(text is None or isinstance(text, str) for text in (user, password)):
            await self._refuse(connection, call.id, "say who you are first: authenticate")
            return False
        address = str((writer.get_extra_info("peername") or ("",))[0])
        session = await self._gate.check(address, lambda: self.authenticate(reader, user, password), user)
        if session is None:
            logger.warning("%s was not let in from %s: wrong user name or password", user, address)
            await self._refuse(connection, call.id, f"user {user!r} was not let in: wrong user name or password")
            return False
        self._sessions[reader] = session
        self._serving.know(connection)
        await connection.send(encode_reply(Reply(call.id, 0, True, largest=self.limits.frame)))
        return True

    async def _refuse(self, connection: Connection, number: int, text: str) -> None:
        await connection.send(encode_reply(Reply(number, 1, error=text, kind="RPCCallFailure")))

    async def exec(  # noqa: PLR0917 - as the original
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        proc_name: str,
        proc: CallKind | None,
        args: dict[str, Any],
        cache: dict[str, Any] | None = None,
    ) -> None:
        """Do what a client asks for, and answer it.

        Parameters
        ----------
        reader, writer: streams
        proc_name: str
            What it asks for.
        proc: CallKind or None
            That, in the table of calls; None refuses.
        args: dict
        cache: dict, optional
            The number of the call, ``id``, and the bytes after it, ``lines``.
        """
        connection, session = self._connections[reader], self._sessions.get(reader)
        number, lines = (cache or {}).get("id", 0), (cache or {}).get("lines", b"")
        if session is None:
            await self._refuse(connection, number, "say who you are first: authenticate")
        elif proc is None:
            await self._refuse(connection, number, f"there is no call {proc_name!r}")
        elif not session.may(proc.role):
            text = f"user {session.user!r} may {session.role}; {proc_name!r} is for those who may {proc.role}"
            await self._refuse(connection, number, text)
        else:
            await self._answer(connection, session.user, proc, number, self.process_args(args), lines)

    async def _answer(  # noqa: PLR0917
        self, connection: Connection, user: str, kind: CallKind, number: int, args: dict[str, Any], lines: bytes
    ) -> None:
        answered = await self._answering.answer(user, kind, number, args, lines)
        await connection.send(encode_reply(answered.reply, answered.lines))
        while answered.rest is not None:
            answered = await self._answering.go_on(answered)
            await connection.send(encode_reply(answered.reply, answered.lines))

    def process_args(self, args: dict[str, Any], cache: Any = None) -> dict[str, Any]:
        """Return the arguments of a call as they are used; for a subclass that wants to see them. They are plain."""
        return args

    @staticmethod
    def close_connection(writer: asyncio.StreamWriter) -> None:
        """Close the connection of a client, once what was sent has left."""
        # A second time, asyncio's encrypted transport forgets what it needs to be aborted.
        if not writer.is_closing():
            writer.close()

    @staticmethod
    async def wait_closed(writer: asyncio.StreamWriter) -> None:
        """Return when a connection that is being closed is closed."""
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    async def _handle(self, connection: Connection) -> None:
        reader, writer = connection.streams
        self._connections[reader] = connection
        await self.handle_client(reader, writer)
