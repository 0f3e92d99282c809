"""What somebody between a client and a track server sees, and can do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.served import client
from tests.servers.track import running, serving
from track.errors import BackendUnavailable, UntrustedServer
from track.persistence.rpc.client import SocketClient
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri
from track.structure import Project

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]


class Tampering:
    """Passes bytes on to a server, changing or repeating some of what the client sends."""

    def __init__(self, port: int, change: Callable[[int, bytes], bytes]) -> None:
        self._change = change
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                for source, target, change in ((near, far, self._change), (far, near, _unchanged)):
                    thread = threading.Thread(target=_pump, args=(source, target, change))
                    self._threads.append(thread)
                    thread.start()

    def close(self) -> None:
        """Stop."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in list(self._threads):
            thread.join(30)


def _unchanged(number: int, data: bytes) -> bytes:
    return data


def _pump(source: socket.socket, target: socket.socket, change: Callable[[int, bytes], bytes]) -> None:
    number = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(change(number, data))
            number += 1
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _flipped(number: int, data: bytes) -> bytes:
    """Change a bit near the end of what follows the handshake."""
    if number < 3:
        return data
    changed = bytearray(data)
    changed[-20] ^= 1
    return bytes(changed)


def _replayed(number: int, data: bytes) -> bytes:
    """Send what follows the handshake twice."""
    return data if number < 3 else data + data


@pytest.mark.parametrize("change", [_flipped, _replayed])
def test_changed_bytes_under_aes(change: Callable[[int, bytes], bytes]) -> None:
    """A flipped or repeated byte under AES breaks the connection; it is never taken for another message."""
    with serving("ephemeral:", "AES") as port:
        between = Tampering(port, change)
        direct = client(port, "AES")
        direct.new_project(Project(name="digits"))
        protocol = SocketClient(f"socket://127.0.0.1:{between.port}?security_layer=AES&timeout=1")

        made = 0
        with contextlib.suppress(BackendUnavailable):
            for number in range(10):
                protocol.new_project(Project(name=f"changed {number}"))
                made += 1

        names = [project.name for project in direct.fetch_projects()]
        assert made < 10
        assert names == ["digits", *(f"changed {number}" for number in range(len(names) - 1))]
        direct.close()
        protocol.close()
        between.close()


def test_server_with_another_certificate_is_refused(tmp_path: Path) -> None:
    """A server whose certificate changed is refused, loudly, and is told nothing."""
    with serving("ephemeral:", "AES", folder=tmp_path / "one") as port:
        protocol = client(port, "AES")
        protocol.new_project(Project(name="digits"))
        protocol.close()

    with serving("ephemeral:", "AES", folder=tmp_path / "two") as other:
        known = tmp_path / "known_hosts"
        known.write_text(known.read_text().replace(f":{port}", f":{other}"))
        protocol = SocketClient(f"socket://ann:secret@127.0.0.1:{other}?security_layer=AES")

        with pytest.raises(UntrustedServer, match="somebody is listening in between"):
            protocol.fetch_projects()
        protocol.close()


def test_capture_of_an_encrypted_session_says_nothing(users: str) -> None:
    """Whoever records an AES session finds neither names nor passwords in it; in a plain one both."""
    for layer, is_readable in ((None, True), ("AES", False)):
        recorded: list[bytes] = []

        def record(number: int, data: bytes, recorded: list[bytes] = recorded) -> bytes:
            recorded.append(data)
            return data

        server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, layer, users=users))
        with running(server) as port:
            between = Tampering(port, record)
            protocol = SocketClient(f"socket://will:willwill@127.0.0.1:{between.port}?security_layer={layer}")
            protocol.new_project(Project(name="secret-project"))
            protocol.close()
            between.close()

        captured = b"".join(recorded)
        assert (b"secret-project" in captured, b"willwill" in captured) == (is_readable, is_readable)
