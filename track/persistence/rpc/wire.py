"""Messages between a client and a track server: frames, and what is in them.

A frame is a length of four bytes, little-endian, itself included, and so many bytes less four. What it carries is
one JSON object and, after a newline, perhaps lines of JSON: the same bytes as in a journal.
"""

from __future__ import annotations

import socket as sockets
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from track.errors import RPCCallFailure
from track.serialization import from_json, to_json

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

LARGEST = 8 << 20
"""Bytes in one frame, at most."""
_CHUNK = 1 << 16
_LENGTH = struct.Struct("<I")
_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


# messages


def to_bytes(message: Any) -> bytes:
    """Return a message as JSON: plain data, projects, groups and trials.

    Examples
    --------
    >>> to_bytes({"status": 0, "return": [1, 2]})
    b'{"status":0,"return":[1,2]}'
    """
    return _encode(to_json(message))


def to_obj(message: bytes) -> Any:
    """Return what `to_bytes` was given.

    Raises
    ------
    RPCCallFailure
        The bytes are no JSON.
    """
    try:
        return from_json(msgspec.json.decode(message))
    except _BROKEN as error:
        raise RPCCallFailure(f"not a message: {error}") from error


# frames


def frame(payload: bytes) -> bytes:
    r"""Return a payload with its length before it.

    Examples
    --------
    >>> frame(b"{}")
    b'\x06\x00\x00\x00{}'
    """
    return _LENGTH.pack(len(payload) + _LENGTH.size) + payload


def _checked(header: bytes, largest: int) -> int:
    length: int = _LENGTH.unpack(header)[0] - _LENGTH.size
    if not 0 < length <= largest:
        raise RPCCallFailure(f"a frame of {length} bytes was announced; it may have 1 to {largest}")
    return length


def recv_frame(socket: sockets.socket, largest: int = LARGEST) -> bytes:
    """Return the payload of the next frame of a blocking socket.

    Raises
    ------
    ConnectionError
        The connection was closed.
    RPCCallFailure
        The frame is too large, or what comes is none.
    """
    length = _checked(_recv_exactly(socket, bytearray(), _LENGTH.size), largest)
    return _recv_exactly(socket, bytearray(), length)


def recv_answer(socket: sockets.socket, waiting: bytearray, largest: int = LARGEST) -> bytes:
    """Return the payload of the next frame, as `recv_frame` does, with fewer questions to the system.

    Parameters
    ----------
    socket: socket
    waiting: bytearray
        What was read already; what is read beyond the frame is left there.
    largest: int
    """
    while len(waiting) < _LENGTH.size:
        _recv_more(socket, waiting)
    end = _LENGTH.size + _checked(bytes(waiting[: _LENGTH.size]), largest)
    payload = _recv_exactly(socket, waiting[_LENGTH.size : end], end - _LENGTH.size)
    del waiting[:end]
    return payload


def _recv_more(socket: sockets.socket, waiting: bytearray) -> None:
    data = socket.recv(_CHUNK)
    if not data:
        raise ConnectionResetError("the connection was closed")
    waiting += data


def _recv_exactly(socket: sockets.socket, begun: bytearray, length: int) -> bytes:
    missing = length - len(begun)
    if missing <= 0:
        return bytes(begun)
    data = begun + bytes(missing)
    view = memoryview(data)[length - missing :]
    while view:
        count = socket.recv_into(view)
        if not count:
            raise ConnectionResetError("the connection was closed")
        view = view[count:]
    return bytes(data)


async def read_length(reader: StreamReader, largest: int = LARGEST) -> int | None:
    """Return the length of the next frame's payload, None when the connection was closed before one began.

    Raises
    ------
    ConnectionError
        The connection was closed in the middle of a frame.
    RPCCallFailure
        The frame is too large, or what comes is none.
    """
    from asyncio import IncompleteReadError

    try:
        return _checked(await reader.readexactly(_LENGTH.size), largest)
    except IncompleteReadError as error:
        if error.partial:
            raise ConnectionResetError("the connection was closed in the middle of a frame") from error
        return None


async def read_payload(reader: StreamReader, length: int) -> bytes:
    """Return the payload whose length was read.

    Raises
    ------
    ConnectionError
        The connection was closed before its end.
    """
    from asyncio import IncompleteReadError

    try:
        return await reader.readexactly(length)
    except IncompleteReadError as error:
        raise ConnectionResetError("the connection was closed in the middle of a frame") from error


async def read_frame(reader: StreamReader, largest: int = LARGEST) -> bytes | None:
    """Return the payload of the next frame, as `read_length` and `read_payload` do."""
    length = await read_length(reader, largest)
    return None if length is None else await read_payload(reader, length)


# both, as the original named them


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
    import asyncio

    try:
        payload = await asyncio.wait_for(read_frame(reader), timeout)
    except asyncio.TimeoutError as error:
        raise TimeoutError(f"no message came within {timeout} s") from error
    return None if payload is None else to_obj(payload)


async def write(writer: StreamWriter, msg: Any) -> None:
    """Send a message, and wait until most of it is on its way."""
    writer.write(frame(to_bytes(msg)))
    await writer.drain()


class Call(msgspec.Struct, frozen=True):
    """What a client asks for: a name from the table of `track.persistence.server.calls`, and arguments."""

    name: str = msgspec.field(name="__rpc__")
    id: int = 0
    args: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server answers: `status` 0 and a value, or 1, an error and the name of its class.

    `more` says that further lines of the same answer follow in a frame of their own.
    """

    id: int
    status: int
    value: Any = msgspec.field(name="return", default=None)
    error: str = ""
    kind: str = ""
    more: bool = False
    largest: int = LARGEST


_call_decoder = msgspec.json.Decoder(Call)
_reply_decoder = msgspec.json.Decoder(Reply)


def encode_call(call: Call, lines: bytes = b"") -> bytes:
    """Return the bytes of a call, with lines of events."""
    return _encode(call) + b"\n" + lines if lines else _encode(call)


def encode_reply(reply: Reply, lines: bytes = b"") -> bytes:
    """Return the bytes of a reply, with lines of documents."""
    return _encode(reply) + b"\n" + lines if lines else _encode(reply)


def decode_call(payload: bytes) -> tuple[Call, bytes]:
    """Return the call, and the lines after it.

    Raises
    ------
    RPCCallFailure
        The bytes are no call.
    """
    head, _, lines = payload.partition(b"\n")
    try:
        return _call_decoder.decode(head), lines
    except _BROKEN as error:
        raise RPCCallFailure(f"not a call: {error}") from error


def decode_reply(payload: bytes) -> tuple[Reply, bytes]:
    """Return the reply, and the lines after it.

    Raises
    ------
    RPCCallFailure
        The bytes are no reply.
    """
    head, _, lines = payload.partition(b"\n")
    try:
        return _reply_decoder.decode(head), lines
    except _BROKEN as error:
        raise RPCCallFailure(f"who answers is no track server: {error}") from error
