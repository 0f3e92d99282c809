"""Messages between a client and a track server: frames, the calls and replies in them, and what both sides name alike.

A frame is a length of four bytes, little-endian, itself included, and so many bytes less four. What it carries is
one JSON object and, after a newline, perhaps lines of JSON: the same bytes as in a journal. Calls are made in
`track.persistence.rpc.remote`, and answered in `track.persistence.server.calls`.
"""

from __future__ import annotations

import logging
import socket as sockets
import struct
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from track import errors
from track.errors import BackendUnavailable, LockTimeout, RPCCallFailure, TrackError, UnknownSubject
from track.persistence.contract import REFUSALS
from track.plain import to_plain
from track.shown import clean
from track.structure import Project, Trial, TrialGroup

logger = logging.getLogger(__name__)
Message = TypeVar("Message")

LARGEST = 8 << 20
"""Bytes in one frame, at most."""
_LENGTH = struct.Struct("<I")
HEADER = _LENGTH.size
"""Bytes before the payload of a frame: its length."""
_encode = msgspec.json.Encoder().encode


# frames


def frame(payload: bytes) -> bytes:
    r"""Return a payload with its length before it.

    Examples
    --------
    >>> frame(b"{}")
    b'\x06\x00\x00\x00{}'
    """
    return _LENGTH.pack(len(payload) + HEADER) + payload


def recv_frame(socket: sockets.socket, largest: int = LARGEST) -> bytes:
    """Return the payload of the next frame of a blocking socket.

    Raises ConnectionError: the connection was closed. RPCCallFailure: the frame is too large, or what comes is none.
    """
    return _recv_exactly(socket, length_of(_recv_exactly(socket, HEADER), largest))


def _recv_exactly(socket: sockets.socket, length: int) -> bytes:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = socket.recv_into(view)
        if not count:
            raise ConnectionResetError("the connection was closed")
        view = view[count:]
    return bytes(data)


def length_of(header: bytes, largest: int = LARGEST) -> int:
    """Return the length of the payload after a header; RPCCallFailure where it is none, or too large."""
    length: int = _LENGTH.unpack(header)[0] - HEADER
    if not 0 < length <= largest:
        raise RPCCallFailure(f"a frame of {length} bytes was announced; it may have 1 to {largest}")
    return length


# calls and replies


_Number = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Call(msgspec.Struct, frozen=True):
    """What a client asks for: a name from the table of `track.persistence.server.calls`, and arguments."""

    name: str = msgspec.field(name="__rpc__")
    id: _Number = 0
    args: dict[str, Any] = {}


class LongCall(msgspec.Struct, frozen=True):
    """A call whose arguments are left as bytes: decoded they take twenty times as much memory."""

    name: str = msgspec.field(name="__rpc__")
    id: _Number = 0
    args: msgspec.Raw = msgspec.Raw(b"{}")


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server answers: `status` 0 and a value, or 1, an error and the name of its class.

    `more` says that further lines of the same answer follow in a frame of their own. `now` is what time it is there,
    in the first.
    """

    id: int
    status: int
    value: Any = msgspec.field(name="return", default=None)
    error: str = ""
    kind: str = ""
    more: bool = False
    largest: int = LARGEST
    now: float | None = None


SHORT = 1 << 14
"""Bytes of a call that is decoded as soon as it is here."""
_call_decoder = msgspec.json.Decoder(Call)
_long_decoder = msgspec.json.Decoder(LongCall)
_reply_decoder = msgspec.json.Decoder(Reply)


def encode_message(message: Call | Reply, lines: bytes = b"") -> bytes:
    """Return the bytes of a call with lines of events, or of a reply with lines of documents."""
    return _encode(message) + b"\n" + lines if lines else _encode(message)


def decode_call(payload: bytes) -> tuple[Call | LongCall, bytes]:
    """Return the call, and the lines after it; RPCCallFailure where the bytes are none."""
    if len(payload) < SHORT or payload.find(b"\n", 0, SHORT) >= 0:
        return _decoded(_call_decoder, payload, "not a call")
    return _decoded(_long_decoder, payload, "not a call")


def decode_reply(payload: bytes) -> tuple[Reply, bytes]:
    """Return the reply, and the lines after it; RPCCallFailure where the bytes are none."""
    return _decoded(_reply_decoder, payload, "who answers is no track server")


def _decoded(decoder: msgspec.json.Decoder[Message], payload: bytes, problem: str) -> tuple[Message, bytes]:
    head, _, lines = payload.partition(b"\n")
    try:
        return decoder.decode(head), lines
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RPCCallFailure(f"{problem}: {error}") from error


# errors

_ERRORS: dict[str, type[TrackError]] = {
    name: kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, TrackError)
}


def error_reply(number: int, error: Exception, place: Sequence[str] = ()) -> Reply:
    """Return what a client is told of an error: a class of `track.errors`, and the message.

    `place`: how a message may name the store. Where the server keeps it is none of a client's business, who would look
    for it on another machine.
    """
    if isinstance(error, LockTimeout):
        error = BackendUnavailable(f"the server is busy: {error}")
    if isinstance(error, TrackError):
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
        numbers = error.numbers if isinstance(error, UnknownSubject) else None
        return Reply(number, 1, numbers, error=without_place(place, clean(str(error))), kind=kind)
    text = clean(f"{type(error).__name__}: {error}")
    # Not the error itself: it may name what a client has sent.
    logger.error("a call failed: %s\n%s", text, "".join(traceback.format_tb(error.__traceback__)))
    kind = "InvalidEvent" if isinstance(error, REFUSALS) else "RPCCallFailure"
    return Reply(number, 1, error=f"the server failed: {without_place(place, text)}", kind=kind)


def without_place(place: Sequence[str], text: str) -> str:
    """Return a text in which the names of a store are ``the server's store``."""
    for name in place:
        text = text.replace(name, "the server's store")
    return text


def raised(reply: Reply) -> TrackError:
    """Return the error that a reply tells of: of the class that it names, if that is one of ours."""
    error = _ERRORS.get(reply.kind, RPCCallFailure)(reply.error)
    if isinstance(error, UnknownSubject) and isinstance(reply.value, list):
        error.numbers = [number for number in reply.value if type(number) is int]
    return error


# what is stored

KindName: TypeAlias = Literal["trial", "trial_group", "project"]
KINDS: dict[str, type] = {"trial": Trial, "trial_group": TrialGroup, "project": Project}
"""What a backend stores, by the name it has in documents."""
NAMES = {kind: name for name, kind in KINDS.items()}
FETCHES: dict[type, str] = {Trial: "fetch_trials", TrialGroup: "fetch_groups", Project: "fetch_projects"}
"""The call, and the method of a backend, that returns what is stored of a kind."""


def version(found: Any) -> Any:
    """Return what is another after each change of a trial, a group or a project: what a compare-and-set compares."""
    if isinstance(found, Trial):
        return found.metadata.get("_update_count") if isinstance(found.metadata, dict) else None
    return to_plain(found.metadata)
