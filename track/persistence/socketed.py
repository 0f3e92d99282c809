"""A track server, ``python -m track serve``: any backend for many clients; and `SocketClient`, which talks to one."""

from __future__ import annotations

import asyncio
import socket as sockets
from asyncio import StreamReader, StreamWriter
from typing import Any
from urllib.parse import quote

import msgspec

from track.errors import RPCCallFailure
from track.persistence.rpc import HEADER, SocketClient, frame, length_of, recv_frame
from track.persistence.server import ServerSignalHandler, SocketServer
from track.serialization import from_json, to_json

__all__ = [
    "RPCCallFailure",
    "ServerSignalHandler",
    "SocketClient",
    "SocketServer",
    "read",
    "recv",
    "send",
    "server_uri",
    "start_track_server",
    "to_bytes",
    "to_obj",
    "write",
]


def start_track_server(
    protocol: str,
    hostname: str,
    port: int,
    security_layer: str | None = None,
    backend: str | None = None,
    **options: Any,
) -> None:
    """Serve a backend until the process is told to end.

    Parameters
    ----------
    protocol: str
        URI of the backend.
    hostname: str
        Address of this machine; without users it is ``127.0.0.1``, whatever is given.
    port: int
        0 lets the system choose one.
    security_layer: str, optional
        ``"AES"``, or ``"TLS"`` with a certificate of one's own.
    backend: str, optional
        Another name of `security_layer`.
    **options
        Other options of the server's URI: ``users="users.json"``; see `SERVER_OPTIONS`.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted.
    """
    SocketServer(server_uri(protocol, hostname, port, security_layer or backend, **options)).run_server()


def server_uri(protocol: str, hostname: str, port: int, security_layer: str | None, **options: Any) -> str:
    """Return the URI of a server; see `start_track_server`."""
    given = {"backend": protocol, "security_layer": security_layer, **options}
    query = "&".join(f"{name}={quote(str(value), safe='/:')}" for name, value in given.items() if value is not None)
    host = f"[{hostname}]" if ":" in hostname else hostname
    return f"socket://{host}:{port}?{query}"


# messages, as the original named them


def to_bytes(message: Any) -> bytes:
    """Return a message as JSON: plain data, projects, groups and trials.

    Examples
    --------
    >>> to_bytes({"status": 0, "return": [1, 2]})
    b'{"status":0,"return":[1,2]}'
    """
    return msgspec.json.encode(to_json(message))


def to_obj(message: bytes) -> Any:
    """Return what `to_bytes` was given.

    Raises
    ------
    RPCCallFailure
        The bytes are no JSON.
    """
    try:
        return from_json(msgspec.json.decode(message))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RPCCallFailure(f"not a message: {error}") from error


def send(socket: sockets.socket, msg: Any) -> None:
    """Send a message over a blocking socket."""
    socket.sendall(frame(to_bytes(msg)))


def recv(socket: sockets.socket, timeout: float | None = None) -> Any:
    """Return the next message of a blocking socket.

    Parameters
    ----------
    socket: socket
    timeout: float, optional
        Seconds to wait, > 0; by default as the socket is set.

    Raises
    ------
    TimeoutError
        Nothing came in time.
    ConnectionError
        The connection was closed.
    RPCCallFailure
        What came is no message.
    """
    if timeout is not None:
        socket.settimeout(timeout)
    return to_obj(recv_frame(socket))


async def read(reader: StreamReader, timeout: float | None = None) -> Any:
    """Return the next message, None at the end of the stream; TimeoutError after `timeout` seconds."""
    try:
        payload = await asyncio.wait_for(_read_frame(reader), timeout)
    except asyncio.TimeoutError as error:
        raise TimeoutError(f"no message came within {timeout} s") from error
    return None if payload is None else to_obj(payload)


async def _read_frame(reader: StreamReader) -> bytes | None:
    first = await reader.read(1)
    if not first:
        return None
    try:
        header = first + await reader.readexactly(HEADER - 1)
        return await reader.readexactly(length_of(header))
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the connection was closed in the middle of a frame") from error


async def write(writer: StreamWriter, msg: Any) -> None:
    """Send a message, and wait until most of it is on its way."""
    writer.write(frame(to_bytes(msg)))
    await writer.drain()
