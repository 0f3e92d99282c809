"""Helpers of the tests of the track server: a store behind a server behind a proxy, and readers that share nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.proxy import FaultProxy
from tests.servers.track import Process, serving
from track.persistence import get_protocol
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, Reply, decode_reply, encode_message, frame, recv_frame
from track.persistence.sqlite import SqliteProtocol
from track.structure import Project, Trial

OPTIONS = "connect_timeout=5&timeout=20"


def backend(kind: str, folder: Path) -> str:
    """Return the URI of a store in a folder."""
    return f"{kind}:{folder}/runs.{'json' if kind == 'file' else 'db'}"


@contextmanager
def shared_store(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[str]:
    """Give the URI of an empty store that processes share: file, sqlite, postgresql, socket or mongodb."""
    match kind:
        case "postgresql":
            yield request.getfixturevalue("fast_server").new_database()
        case "mongodb":
            yield f"{request.getfixturevalue('mongo_servers')[False].new_database()}?directConnection=true"
        case "socket":
            server = Process(f"file:{folder}/store")
            server.start()
            yield f"socket://127.0.0.1:{server.port}"
            server.end()
        case _:
            yield f"{kind}:{folder}/store"


def reader(uri: str) -> Protocol:
    """Return a backend that reads the store past the server."""
    return FileProtocol(uri) if uri.startswith("file:") else SqliteProtocol(uri)


def numbers(store: Protocol, trial: Trial, name: str = "n") -> list[int]:
    """Return the values of a metric, in the order they were stored, each as often as it was."""
    (found,) = store.fetch_trials({"uid": trial.uid})
    return [int(value) for value in found.metrics[name].val] if name in found.metrics else []


def count_up(protocol: Protocol, trial: Trial, first: int, count: int, name: str = "n") -> None:
    """Log the numbers from `first` on, one a call, without a step: one that is stored twice shows twice."""
    for number in range(first, first + count):
        protocol.log_trial_metrics(trial, **{name: float(number)})


def new_trial(protocol: Protocol) -> Trial:
    """Return a trial in the project ``digits``."""
    protocol.new_project(Project(name="digits"))
    trial = protocol.new_trial(Trial(parameters={"lr": 0.1}, project_id="digits"))
    assert trial is not None
    return trial


def client(port: int, layer: str | None = None, options: str = "") -> SocketClient:
    """Return a client of a server on this machine."""
    protocol = get_protocol(f"socket://127.0.0.1:{port}?security_layer={layer}&{OPTIONS}{options}")
    assert isinstance(protocol, SocketClient)
    return protocol


@contextmanager
def proxied(uri: str, layer: str | None = None) -> Iterator[tuple[FaultProxy, SocketClient]]:
    """Give a proxy before a server of a store, and a client that goes through it."""
    with serving(uri, layer) as port:
        proxy = FaultProxy(port)
        protocol = client(proxy.port, layer)
        yield proxy, protocol
        proxy.heal()
        protocol.close()
        proxy.close()


@contextmanager
def killable(uri: str, *arguments: str) -> Iterator[Process]:
    """Give a server in a process of its own."""
    server = Process(uri, *arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Stranger:
    """A connection without the library's client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)

    def say(self, call: Call, lines: bytes = b"") -> None:
        """Send a call."""
        self.socket.sendall(frame(encode_message(call, lines)))

    def ask(self, name: str, lines: bytes = b"", **arguments: Any) -> Reply:
        """Return the reply to a call."""
        self.say(Call(name, 7, arguments), lines)
        return decode_reply(recv_frame(self.socket))[0]

    def is_closed(self) -> bool:
        """Return whether the server closes the connection, once it does."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


@contextmanager
def stranger(port: int) -> Iterator[Stranger]:
    """Give a connection of which the server knows nothing."""
    found = Stranger(port)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def visitor(port: int, user: str | None = None) -> Iterator[Stranger]:
    """Give a connection that was let in."""
    with stranger(port) as found:
        password = None if user is None else user * 2
        assert found.ask("authenticate", username=user, password=password).status == 0
        yield found
