"""The client's side of a track server: frames, calls and replies, and the connection that carries them."""

from __future__ import annotations

from track.persistence.rpc.client import DEFAULT_PORT, LAYERS, SocketClient, is_loopback, security_layer
from track.persistence.rpc.wire import (
    LARGEST,
    Reply,
    decode_call,
    encode_reply,
    frame,
    read,
    read_length,
    read_payload,
    recv,
    send,
    to_bytes,
    to_obj,
    write,
)

__all__ = [
    "DEFAULT_PORT",
    "LARGEST",
    "LAYERS",
    "Reply",
    "SocketClient",
    "decode_call",
    "encode_reply",
    "frame",
    "is_loopback",
    "read",
    "read_length",
    "read_payload",
    "recv",
    "security_layer",
    "send",
    "to_bytes",
    "to_obj",
    "write",
]
