"""Who is let into a track server, and who is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.served import count_up, new_trial, stranger
from tests.servers.track import serving
from track import TrackClient
from track.errors import InvalidUri, RPCCallFailure
from track.persistence.rpc.client import SocketClient
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri
from track.persistence.users import Users
from track.structure import Project

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]
LIMITS: dict[str, Any] = {"failure_delay": 0.01}


@pytest.mark.parametrize("name", ["fetch_trials", "receive", "decide", "commit", "ping", "nonsense"])
def test_call_before_authentication(users: str, name: str) -> None:
    """Who has not said who it is gets nothing, whatever it asks, and is sent away."""
    with serving("ephemeral:", users=users, **LIMITS) as port, stranger(port) as found:
        reply = found.ask(name)

        assert (reply.status, reply.kind, reply.value) == (1, "RPCCallFailure", None)
        assert "authenticate" in reply.error
        assert found.is_closed()


@pytest.mark.parametrize(
    ("user", "password"), [("will", "wrong"), ("nobody", "x"), ("will", ""), (None, None), ("", ""), (["will"], 3)]
)
def test_wrong_password(users: str, user: Any, password: Any) -> None:
    """A wrong password, an unknown user or none at all: refused, with the same words, and sent away."""
    with serving("ephemeral:", users=users, **LIMITS) as port, stranger(port) as found:
        reply = found.ask("authenticate", username=user, password=password)

        assert reply.status == 1
        assert found.is_closed()


def test_client_is_told_of_a_wrong_password(users: str) -> None:
    """A decision with a wrong password raises, and says why."""
    with serving("ephemeral:", users=users, **LIMITS) as port:
        protocol = SocketClient(f"socket://will:wrong@127.0.0.1:{port}")

        with pytest.raises(RPCCallFailure, match="wrong user name or password"):
            protocol.new_project(Project(name="digits"))

        protocol.close()


def test_events_wait_for_the_right_password(users: str) -> None:
    """What is logged with a password that is wrong by now is kept, and stored once it is right again."""
    with serving("ephemeral:", users=users, **LIMITS) as port:
        protocol = SocketClient(f"socket://will:willwill@127.0.0.1:{port}")
        trial = new_trial(protocol)
        Users(users).add("will", "changed", "write")
        protocol.close()
        count_up(protocol, trial, 1, 10)
        protocol.flush(1)
        waiting = protocol.unsaved()
        Users(users).add("will", "willwill", "write")

        protocol.flush(60)

        assert waiting == 10
        assert protocol.unsaved() == 0
        protocol.close()


def test_server_without_users_listens_on_this_machine_only(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever address is given, without users it is the loopback one, and that is said."""
    server = SocketServer(server_uri("ephemeral:", "0.0.0.0", 0, None))

    host, _ = server.listen()

    server.close()
    assert host == "127.0.0.1"
    assert "has no users" in caplog.text


def test_server_with_users_listens_where_it_is_told(users: str) -> None:
    """With users the address is the one that was given."""
    server = SocketServer(server_uri("ephemeral:", "0.0.0.0", 0, None, users=users))

    host, _ = server.listen()

    server.close()
    assert host == "0.0.0.0"


def test_password_is_not_sent_in_the_clear() -> None:
    """A password for another machine needs encryption, or a word that it does not matter."""
    with pytest.raises(InvalidUri, match=r"insecure=1") as caught:
        TrackClient("socket://ann:secret@db.example.org")

    assert "secret" not in str(caught.value)
    for uri in (
        "socket://ann:secret@db.example.org?insecure=1",
        "socket://ann:secret@db.example.org?security_layer=AES",
        "socket://ann:secret@localhost",
        "socket://db.example.org",
    ):
        assert "secret" not in repr(SocketClient(uri))
