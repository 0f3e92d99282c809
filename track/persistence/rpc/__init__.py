"""The client's side of a track server, and what both sides speak: frames, calls and replies."""

from __future__ import annotations

from track.persistence.rpc.client import DEFAULT_PORT, LAYERS, SocketClient, port_of, security_layer
from track.persistence.rpc.wire import (
    FETCHES,
    HEADER,
    KINDS,
    LARGEST,
    SHORT,
    Call,
    KindName,
    LongCall,
    Reply,
    decode_call,
    encode_message,
    error_reply,
    frame,
    length_of,
    recv_frame,
    version,
    without_place,
)

__all__ = [
    "DEFAULT_PORT",
    "FETCHES",
    "HEADER",
    "KINDS",
    "LARGEST",
    "LAYERS",
    "SHORT",
    "Call",
    "KindName",
    "LongCall",
    "Reply",
    "SocketClient",
    "decode_call",
    "encode_message",
    "error_reply",
    "frame",
    "length_of",
    "port_of",
    "recv_frame",
    "security_layer",
    "version",
    "without_place",
]
