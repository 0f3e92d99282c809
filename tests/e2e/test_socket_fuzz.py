"""Whatever bytes come, a track server neither crashes, hangs nor grows, and serves the others."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.deliveries import rounds
from tests.e2e.served import client
from tests.servers import wait_until
from tests.servers.track import serving
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, decode_reply, encode_message, frame, recv_frame
from track.persistence.server.calls import CALLS
from track.structure import Project

pytestmark = pytest.mark.network

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
LIMITS: dict[str, Any] = {"frame": 1 << 16, "authentication_timeout": 5.0, "frame_timeout": 1.0, "strangers": 50}


class Server:
    """A server in this process, and a client that must always be served."""

    def __init__(self, port: int, protocol: SocketClient) -> None:
        self.port = port
        self.protocol = protocol

    def send(self, data: bytes, is_known: bool = True) -> None:
        """Send bytes over a connection of their own, and read until the server has nothing to say."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 30)) as connection:
            if is_known:
                connection.sendall(frame(encode_message(Call("authenticate"))))
                assert decode_reply(recv_frame(connection))[0].status == 0
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def ask(self, name: str, arguments: Any, lines: bytes) -> int:
        """Return the status of the reply to a call that may be anything."""
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 30)) as connection:
            connection.sendall(frame(encode_message(Call("authenticate"))))
            recv_frame(connection)
            head = msgspec.json.encode({"__rpc__": name, "id": 5, "args": arguments})
            connection.sendall(frame(head + b"\n" + lines))
            return decode_reply(recv_frame(connection))[0].status

    def check(self) -> None:
        """Check that others are served."""
        assert [project.name for project in self.protocol.fetch_projects({"uid": "digits"})] == ["digits"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server that serves all tests of this file, whatever they did to it."""
    with serving("ephemeral:", **LIMITS) as port:
        protocol = client(port)
        protocol.new_project(Project(name="digits"))
        yield Server(port, protocol)
        protocol.close()


@settings(max_examples=rounds(60, 2000))
@given(data=st.binary(max_size=300), is_known=st.booleans())
def test_any_bytes(server: Server, data: bytes, is_known: bool) -> None:
    """Bytes that mean nothing close their own connection, and no other."""
    server.send(data, is_known)

    server.check()


@settings(max_examples=rounds(60, 2000))
@given(payloads=st.lists(st.binary(min_size=1, max_size=80) | st.builds(msgspec.json.encode, PLAIN), max_size=5))
def test_any_frames(server: Server, payloads: list[bytes]) -> None:
    """Whole frames with anything in them, one after another, harm nobody."""
    server.send(b"".join(map(frame, payloads)))

    server.check()


@settings(max_examples=rounds(100, 3000))
@given(
    name=st.sampled_from(sorted(CALLS)),
    arguments=st.dictionaries(
        st.sampled_from(["writer", "first", "expected", "query", "brief", "kind", "uid", "x"]), PLAIN, max_size=4
    ),
    lines=st.binary(max_size=80) | st.builds(msgspec.json.encode, PLAIN),
)
def test_any_arguments(server: Server, name: str, arguments: dict[str, Any], lines: bytes) -> None:
    """A call of the table with any arguments is answered, with a value or an error."""
    status = server.ask(name, arguments, lines)

    assert status in (0, 1)
    server.check()


def test_deeply_nested_message(server: Server) -> None:
    """A message that is nested too deep is refused, as a call, as an argument and as an event."""
    deep = b"[" * 20_000 + b"]" * 20_000
    event = b'{"event":"fields_merged","kind":"trial","uid":"x","field":"tags","values":{"a":%s},"at":1}' % deep

    server.send(frame(deep))
    server.send(frame(b'{"__rpc__":"ping","args":{"a":%s}}' % deep))
    status = server.ask("receive", {"writer": "w", "first": 0}, event)

    assert status == 1
    server.check()


def _fuzz(server: Server, seed: int, count: int, failures: list[BaseException]) -> None:
    choice = random.Random(seed)
    calls = [frame(encode_message(Call(name, 1, {"writer": "w", "first": 0}), b'{"event":"time"}')) for name in CALLS]
    try:
        for _ in range(count):
            data = bytearray(choice.choice(calls) + choice.randbytes(choice.randint(0, 400)))
            for _ in range(choice.randint(0, 4)):
                data[choice.randrange(len(data))] = choice.randrange(256)
            server.send(bytes(data[: choice.randint(1, len(data))]), choice.random() < 0.7)
    except BaseException as error:
        failures.append(error)


def test_many_at_once(server: Server) -> None:
    """Broken calls from many sides at once leave nothing behind: no connection, no task, no memory."""
    failures: list[BaseException] = []
    server.check()
    opened = len(os.listdir("/proc/self/fd"))
    _fuzz(server, 0, 50, failures)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= opened)
    gc.collect()
    before = len(gc.get_objects())

    threads = [
        threading.Thread(target=_fuzz, args=(server, seed, rounds(50, 20_000), failures)) for seed in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    server.check()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= opened)
    gc.collect()
    assert len(gc.get_objects()) < before + 2000


def test_length_of_every_size(server: Server) -> None:
    """Any announced length, with nothing after it, ends in a closed connection."""
    for length in (0, 1, 3, 4, 5, 100, (1 << 16) + 4, (1 << 16) + 5, 1 << 31, (1 << 32) - 1):
        server.send(struct.pack("<I", length))

    server.check()
