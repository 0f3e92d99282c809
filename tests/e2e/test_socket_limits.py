"""Too much, too slow, too many: a track server has limits, and serves the others meanwhile."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from tests.e2e.served import Stranger, client, count_up, new_trial, stranger, visitor
from tests.servers import wait_until
from tests.servers.track import serving
from track.errors import BackendUnavailable
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, encode_message, frame
from track.structure import Project

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]


def test_frame_over_the_limit() -> None:
    """A frame that is announced larger than allowed closes the connection; nothing of it is kept."""
    with serving("ephemeral:", frame=100_000) as port:
        with visitor(port) as found:
            found.socket.sendall(struct.pack("<I", 200_000))

            assert found.is_closed()
        with stranger(port) as found:
            # Who is not known may say even less.
            found.socket.sendall(struct.pack("<I", 50_000))

            assert found.is_closed()


def test_event_over_the_limit_is_kept_by_the_client(spills: Path) -> None:
    """An event that the server will never take is put aside and counted; those before and after it are stored."""
    with serving("ephemeral:", frame=100_000) as port:
        protocol = client(port)
        trial = new_trial(protocol)
        count_up(protocol, trial, 1, 1)
        protocol.log_trial_metadata(trial, text="x" * 200_000)
        count_up(protocol, trial, 2, 1)

        protocol.flush(60)

        (found,) = protocol.fetch_trials()
        assert list(found.metrics["n"].val) == [1.0, 2.0]
        assert protocol.unsaved() == 1
        assert len(list(spills.rglob("*.refused"))) == 1
        protocol.close()


def test_batch_over_the_limit_is_sent_in_parts() -> None:
    """Events that are too many for one frame arrive in several."""
    with serving("ephemeral:", frame=20_000) as port:
        protocol = client(port)
        trial = new_trial(protocol)

        count_up(protocol, trial, 1, 3000)
        protocol.flush(60)

        (found,) = protocol.fetch_trials()
        assert list(found.metrics["n"].val) == list(range(1, 3001))
        protocol.close()


@pytest.mark.parametrize("layer", [None, "AES"])
def test_half_open_flood(layer: str | None) -> None:
    """Connections that never say who they are, or shake hands, keep nobody out; the oldest of them are closed."""
    with serving("ephemeral:", layer, strangers=10, clients=1000) as port:
        silent = [Stranger(port) for _ in range(60)]

        protocol = client(port, layer)
        project = protocol.new_project(Project(name="digits"))

        assert project.name == "digits"
        assert all(one.is_closed() for one in silent[:40])
        for one in silent:
            one.close()
        protocol.close()


def test_stranger_has_little_time() -> None:
    """Who does not say who it is, or says it too slowly, is sent away."""
    with serving("ephemeral:", authentication_timeout=0.2) as port:
        with stranger(port) as found:
            assert found.is_closed()
        with stranger(port) as found:
            found.socket.sendall(b"\x40\x00")

            assert found.is_closed()


def test_idle_client_is_sent_away_and_comes_back() -> None:
    """A client that is silent for long loses its connection, and does not notice."""
    with serving("ephemeral:", idle_timeout=0.2) as port:
        protocol = client(port)
        protocol.new_project(Project(name="digits"))
        with visitor(port) as later:
            # Who came first was sent away first.
            assert later.is_closed()

        found = protocol.get_project(Project(name="digits"))

        assert found is not None
        protocol.close()


def test_frame_that_never_ends() -> None:
    """Who begins a frame and does not end it is sent away, while others are served."""
    with serving("ephemeral:", frame_timeout=0.2) as port, visitor(port) as found:
        found.socket.sendall(struct.pack("<I", 1000) + b"{")

        assert found.is_closed()


def test_client_that_does_not_read_its_answers() -> None:
    """Who asks and never reads holds up nobody, and is sent away."""
    with serving("ephemeral:", frame_timeout=1.0) as port:
        protocol = client(port)
        trial = new_trial(protocol)
        protocol.log_trial_metadata(trial, text="x" * 4_000_000)
        protocol.flush(60)
        with visitor(port) as found:
            for number in range(20):
                found.say(Call("fetch_trials", number))

            # Served meanwhile.
            assert protocol.fetch_projects()[0].name == "digits"
            received = len(found.socket.recv(1))
            assert received == 1
            wait_until(lambda: _is_reset(found.socket))
        protocol.close()


def _is_reset(connection: socket.socket) -> bool:
    """Return whether the server has broken the connection; what it sent before is not read."""
    try:
        connection.sendall(frame(encode_message(Call("ping"))))
    except OSError:
        return True
    return False


def test_more_clients_than_allowed() -> None:
    """One client too many is closed at once; when another leaves, the next is let in."""
    with serving("ephemeral:", clients=2) as port, visitor(port), visitor(port) as second:
        with stranger(port) as third:
            assert third.is_closed()
        second.close()

        protocol = client(port)
        wait_until(lambda: _answers(protocol))
        protocol.close()


def _answers(protocol: SocketClient) -> bool:
    try:
        protocol.fetch_projects()
    except BackendUnavailable:
        return False
    return True
