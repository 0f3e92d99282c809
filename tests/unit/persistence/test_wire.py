"""Frames and messages between a client and a track server."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.errors import (
    BackendUnavailable,
    InvalidQuery,
    LockTimeout,
    OutcomeUnknown,
    RPCCallFailure,
    TrackError,
    TrialDoesNotExist,
)
from track.persistence.rpc.wire import (
    Call,
    Reply,
    decode_call,
    decode_reply,
    encode_message,
    error_reply,
    frame,
    raised,
    recv_frame,
)
from track.persistence.socketed import read, recv, send, to_bytes, to_obj, write
from track.structure import Project, Trial


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two sockets that are connected, and wait for each other at most 20 s."""
    near, far = socket.socketpair()
    near.settimeout(20)
    far.settimeout(20)
    yield near, far
    near.close()
    far.close()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(message=st.dictionaries(st.sampled_from(["status", "return", "error"]), PLAIN))
def test_message_survives_its_bytes(message: dict[str, Any]) -> None:
    """What is sent is what is received."""
    assert to_obj(to_bytes(message)) == message


def test_objects_travel() -> None:
    """A project or a trial arrives as one."""
    project, trial = Project(name="digits"), Trial(parameters={"lr": 0.1})

    assert to_obj(to_bytes(project)) == project
    assert to_obj(to_bytes(trial)).uid == trial.uid


def test_length_counts_itself() -> None:
    """A frame begins with its whole length, little-endian."""
    assert frame(b"abc") == struct.pack("<I", 7) + b"abc"


def test_messages_one_after_another(pair: tuple[socket.socket, socket.socket]) -> None:
    """Messages that arrive in one piece are told apart."""
    near, far = pair
    near.sendall(b"".join(frame(to_bytes({"n": number})) for number in range(3)))

    assert [recv(far) for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_message_in_pieces(pair: tuple[socket.socket, socket.socket]) -> None:
    """A message that arrives byte by byte, and is larger than a buffer, is whole."""
    near, far = pair
    message = {"text": "x" * 500_000}
    data = frame(to_bytes(message))

    def dribble() -> None:
        for start in range(6):
            near.sendall(data[start : start + 1])
        near.sendall(data[6:])

    thread = threading.Thread(target=dribble)
    thread.start()
    received = recv(far)
    thread.join()

    assert received == message


def test_send_and_receive(pair: tuple[socket.socket, socket.socket]) -> None:
    """The two ends understand each other."""
    near, far = pair

    send(near, {"status": 0})

    assert recv(far, timeout=20) == {"status": 0}


def test_nothing_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    """Who waits for a time only is told that nothing came."""
    with pytest.raises(TimeoutError):
        recv(pair[1], timeout=0.01)


@pytest.mark.parametrize("sent", [b"", b"\x06", b"\x06\x00\x00\x00{"])
def test_closed_peer(pair: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    """A peer that closes, at whatever byte, is an error and not a wait."""
    near, far = pair
    near.sendall(sent)
    near.shutdown(socket.SHUT_WR)

    with pytest.raises(ConnectionError, match="closed"):
        recv_frame(far)


@pytest.mark.parametrize("length", [0, 3, 4, 105, 1 << 31])
def test_length_that_cannot_be(pair: tuple[socket.socket, socket.socket], length: int) -> None:
    """A length that is too small or too large is refused before anything is read."""
    near, far = pair
    near.sendall(struct.pack("<I", length))

    with pytest.raises(RPCCallFailure, match="it may have 1 to 100"):
        recv_frame(far, largest=100)


@pytest.mark.parametrize("payload", [b"\xff", b"{", b"[1,", b"{}}"])
def test_bytes_that_are_no_message(payload: bytes) -> None:
    """What is no JSON is no message."""
    with pytest.raises(RPCCallFailure, match="not a message"):
        to_obj(payload)


def test_streams() -> None:
    """The asyncio side speaks the same, and sees the end of a stream as None."""

    async def talk() -> list[Any]:
        received: list[Any] = []
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await read(reader, timeout=20))
            received.append(await read(reader, timeout=20))
            await write(writer, {"answer": 42})
            received.append(await read(reader, timeout=20))
            writer.close()
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(frame(to_bytes({"n": 1})) + frame(to_bytes({"n": 2})))
        received.append(await read(reader, timeout=20))
        writer.close()
        await ended.wait()
        server.close()
        return received

    assert asyncio.run(talk()) == [{"n": 1}, {"n": 2}, {"answer": 42}, None]


def test_stream_in_time() -> None:
    """The asyncio side does not wait for ever either, and an unfinished frame is an error."""

    async def wait(data: bytes, is_ended: bool, timeout: float | None = None) -> Any:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        if is_ended:
            reader.feed_eof()
        return await read(reader, timeout)

    with pytest.raises(TimeoutError):
        asyncio.run(wait(b"\x10\x00", is_ended=False, timeout=0.01))
    for data in (b"\x10\x00", b"\x10\x00\x00\x00abc"):
        with pytest.raises(ConnectionError, match="middle"):
            asyncio.run(wait(data, is_ended=True))


def test_call_and_reply_with_lines() -> None:
    """Lines after a call, or a reply, arrive byte for byte."""
    call, reply = Call("receive", 3, {"writer": "w"}), Reply(3, 0, {"a": 1})
    lines = b'{"event":"time"}\n{"event":"time"}\n'

    assert decode_call(encode_message(call, lines)) == (call, lines)
    assert decode_reply(encode_message(reply, lines)) == (reply, lines)
    assert decode_call(encode_message(call)) == (call, b"")


def test_names_on_the_wire() -> None:
    """A call and a reply have the names of the original's protocol."""
    assert encode_message(Call("ping", 1)) == b'{"__rpc__":"ping","id":1,"args":{}}'
    assert encode_message(Reply(1, 0, True)) == b'{"id":1,"status":0,"return":true}'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TrialDoesNotExist("no trial"), TrialDoesNotExist),
        (InvalidQuery("no query"), InvalidQuery),
        (OutcomeUnknown("the database went away"), OutcomeUnknown),
        (LockTimeout("held"), BackendUnavailable),
        (OSError("disk"), RPCCallFailure),
        (type("OwnError", (InvalidQuery,), {})("own"), InvalidQuery),
    ],
)
def test_error_is_raised_as_its_class(error: Exception, kind: type) -> None:
    """An error travels as the name of a class of ours, and is raised as that."""
    found = raised(error_reply(1, error))

    assert type(found) is kind
    assert str(error) in str(found)


@pytest.mark.parametrize("name", ["", "SystemExit", "__doc__", "annotations", "Exception"])
def test_error_of_no_class_of_ours(name: str) -> None:
    """A server cannot name any other class."""
    found = raised(Reply(1, 1, error="text", kind=name))

    assert type(found) is RPCCallFailure
    assert isinstance(found, TrackError)
