"""Calls and replies: what the frames between a client and a track server carry.

One JSON object and, after a newline, perhaps lines of JSON: events as they are in a journal, or documents.
"""

from __future__ import annotations

from typing import Any

import msgspec

from track.errors import RPCCallFailure
from track.persistence.wire import LARGEST

__all__ = ["Call", "Reply", "decode_call", "decode_reply", "encode_call", "encode_reply"]

_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Call(msgspec.Struct, frozen=True):
    """What a client asks for: a name from the table of `track.persistence.calls`, and arguments."""

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


_encode = msgspec.json.Encoder().encode
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
