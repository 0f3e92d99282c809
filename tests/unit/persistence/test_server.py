"""Parts of a track server: its thread, its login, its byte budget, and what it does from time to time."""

from __future__ import annotations

import asyncio
import threading
from asyncio.sslproto import SSLProtocol
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.servers.track import running, serving
from track.errors import BackendUnavailable
from track.events import MetricsLogged, TrialCreated, encode
from track.metrics import briefs_of
from track.persistence import get_protocol
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.file import replaying
from track.persistence.file.lock import StoreLock
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, decode_reply, encode_message, frame, recv_frame
from track.persistence.server.calls import CALLS, Dispatcher
from track.persistence.server.listener import ByteBudget, Connection, Limits
from track.persistence.server.login import LONGEST_DELAY, Login, Session
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri
from track.persistence.state import placing
from track.structure import Project

ROOT = Path(__file__).parents[3]

# the thread


def test_dispatcher_works_in_order() -> None:
    """What is given to the dispatcher is done one after another, in one thread, and handed back."""

    async def use() -> list[Any]:
        dispatcher = Dispatcher(EphemeralProtocol())
        found = await asyncio.gather(*(dispatcher.run(lambda n: (n, threading.get_ident()), n) for n in range(100)))
        dispatcher.close()
        return found

    found = asyncio.run(use())

    assert [number for number, _ in found] == list(range(100))
    assert len({thread for _, thread in found} - {threading.get_ident()}) == 1


def test_dispatcher_hands_errors_back() -> None:
    """An error is raised where the result is awaited, and the dispatcher goes on."""

    async def use() -> int:
        dispatcher = Dispatcher(EphemeralProtocol())
        with pytest.raises(ZeroDivisionError):
            await dispatcher.run(lambda: 1 // 0)
        found = await dispatcher.run(lambda: 7)
        dispatcher.close()
        return found

    assert asyncio.run(use()) == 7


def test_dispatcher_whose_caller_is_gone() -> None:
    """What nobody waits for any more is done, and its result is let go."""

    async def use() -> int:
        dispatcher = Dispatcher(EphemeralProtocol())
        gate = threading.Event()
        waiting = dispatcher.run(gate.wait)
        waiting.cancel()
        gate.set()
        found = await dispatcher.run(lambda: 7)
        dispatcher.close()
        return found

    assert asyncio.run(use()) == 7


def test_dispatcher_that_was_never_used() -> None:
    """A dispatcher without work has no thread to wait for."""
    dispatcher = Dispatcher(EphemeralProtocol())

    dispatcher.close()

    assert "track-store" not in [thread.name for thread in threading.enumerate()]


# the login


def test_roles_contain_each_other() -> None:
    """Who may write may read, and an admin may do everything."""
    may = {
        role: [wanted for wanted in ("read", "write", "admin") if Session("", role).may(wanted)]
        for role in ("read", "write", "admin")
    }

    assert may == {"read": ["read"], "write": ["read", "write"], "admin": ["read", "write", "admin"]}


def test_every_call_has_a_role() -> None:
    """Only questions are for those who may read; what the server does to itself is for its admin."""
    assert sorted(name for name, kind in CALLS.items() if kind.role == "write") == ["decide", "receive"]
    assert [name for name, kind in CALLS.items() if kind.role == "admin"] == ["commit", "forget"]


@pytest.mark.parametrize("answer", [{"status": 1}, {}, None, True, {"return": "admin"}])
def test_login_wants_a_clear_yes(answer: Any) -> None:
    """Whatever a hook returns that is no clear yes keeps the client out."""

    async def use() -> Session | None:
        login = Login(0.0)
        found = await login.check("here", lambda: answer, "ann")
        login.close()
        return found

    assert asyncio.run(use()) is None


def test_one_guess_at_a_time() -> None:
    """After a wrong password an address guesses one at a time; a right one is let in after its turn."""
    most = 0
    now = 0

    def guess(password: str) -> dict[str, Any]:
        nonlocal most, now
        now += 1
        most = max(most, now)
        now -= 1
        return {"status": 0 if password == "right" else 1, "return": "read"}

    async def use() -> list[Session | None]:
        login = Login(0.001)
        guesses = [login.check("here", lambda word=word: guess(word), "ann") for word in ("a", "b", "c", "right")]
        found = await asyncio.gather(*guesses)
        login.close()
        return list(found)

    assert asyncio.run(use()) == [None, None, None, Session("ann", "read")]
    assert most == 1


def test_hook_that_raises_keeps_the_client_out(caplog: pytest.LogCaptureFixture) -> None:
    """A file of users that cannot be read lets nobody in, and that is said."""

    def check() -> dict[str, Any]:
        raise OSError("users.json cannot be read")

    async def use() -> Session | None:
        login = Login(0.0)
        found = await login.check("here", check, "ann")
        login.close()
        return found

    assert asyncio.run(use()) is None
    assert "users.json cannot be read" in caplog.text


def test_delay_is_as_it_is_documented() -> None:
    """After many wrong passwords the pause is the longest one that docs and docstrings name."""
    documented = (ROOT / "docs" / "howto" / "server.rst").read_text(encoding="utf-8")

    assert f"for the same user and the same address, up to {LONGEST_DELAY:g}\n" in documented
    for text in (Limits.__doc__, Login.__doc__):
        assert f"up to {LONGEST_DELAY:g}." in " ".join((text or "").split())


# the byte budget


def test_budget_makes_wait_and_lets_in() -> None:
    """What does not fit waits for what is there; little things never wait."""
    large = 1 << 20

    async def use() -> list[str]:
        budget = ByteBudget(large)
        first, second, third = (Connection(Limits(), budget) for _ in range(3))
        order: list[str] = []

        async def enter(name: str, connection: Connection, length: int) -> None:
            await budget.take(connection, length)
            order.append(name)

        await enter("first", first, large)
        waiting = asyncio.create_task(enter("second", second, large))
        await asyncio.sleep(0)
        await enter("small", third, 100)
        order.append("first leaves")
        budget.give_back(first)
        await waiting
        budget.give_back(second)
        return order

    assert asyncio.run(use()) == ["first", "small", "first leaves", "second"]


def test_budget_knows_who_keeps_others_waiting() -> None:
    """Who has taken bytes and does not send them is named, once somebody waits, and not before."""
    large = 1 << 20

    async def use() -> list[int]:
        budget = ByteBudget(large)
        first, second = (Connection(Limits(), budget) for _ in range(2))
        await budget.take(first, large)
        later = asyncio.get_running_loop().time() + 60
        found = [len(budget.slow(later))]
        waiting = asyncio.create_task(budget.take(second, large))
        await asyncio.sleep(0)
        found.append(len(budget.slow(later)))
        budget.fill(first)
        found.append(len(budget.slow(later)))
        budget.give_back(first)
        await waiting
        return found

    assert asyncio.run(use()) == [0, 1, 0]


def test_slow_sender_gives_its_bytes_back() -> None:
    """Who announces much and sends it slowly is sent away when others need the budget."""
    import socket
    import struct

    with serving("ephemeral:", waiting=1 << 17, frame_timeout=60.0) as port:
        slow = socket.create_connection(("127.0.0.1", port), 60)
        slow.sendall(frame(encode_message(Call("authenticate"))))
        recv_frame(slow)
        slow.sendall(struct.pack("<I", 1 << 17) + b"{")
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        events: Any = [TrialCreated("ab", 0, 1.0, description="x" * 100_000)]

        protocol.server.receive("w", 0, events)

        assert slow.recv(1) == b""
        slow.close()
        protocol.server.close()
        protocol.close()


# together


def test_batches_one_behind_another() -> None:
    """Batches that are sent before the ones before them are acknowledged are stored, and acknowledged, in order."""
    import socket

    with serving("ephemeral:") as port:
        connection = socket.create_connection(("127.0.0.1", port), 30)
        connection.sendall(frame(encode_message(Call("authenticate"))))
        recv_frame(connection)
        batches: list[list[Any]] = [[TrialCreated("ab", 0, 1.0)]]
        batches += [[MetricsLogged("ab_0", {"n": float(n)}, 1.0)] for n in range(50)]

        for number, events in enumerate(batches):
            call = Call("receive", number, {"writer": "w", "first": number})
            connection.sendall(frame(encode_message(call, b"".join(map(encode, events)))))
        replies = [decode_reply(recv_frame(connection))[0] for _ in batches]

        connection.close()
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        (found,) = protocol.fetch_trials()
        protocol.close()
    assert [(reply.id, reply.status) for reply in replies] == [(number, 0) for number in range(51)]
    assert list(found.metrics["n"].val) == list(range(50))


def test_server_moves_points_out_of_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While clients send, a server folds its file; what they ask for comes from the JSON and from beside it."""
    monkeypatch.setattr(placing, "FROM", 100)
    monkeypatch.setattr(replaying, "SLICE", 1 << 14)
    server = SocketServer(server_uri(f"file:{tmp_path}/runs.json", "127.0.0.1", 0, None))
    with running(server) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        protocol.server.receive("w", 0, [TrialCreated("ab", 0, 1.0)])
        for first in range(0, 3000, 100):
            events = [MetricsLogged("ab_0", {"n": float(n)}, 1.0 + n, n) for n in range(first, first + 100)]
            protocol.server.receive("w", first + 1, events)

        (found,) = protocol.fetch_trials()
        points = protocol.fetch_points("ab_0", ["n"], 2990)["n"]
        (brief,) = protocol.brief_trials()
        in_memory = server.backend.fetch_trials()[0].metrics["n"].points.tail
        protocol.server.close()
        protocol.close()

    assert (tmp_path / "runs.json.points-1").exists()
    assert in_memory < 1500
    assert dict(found.metrics["n"]) == {n: float(n) for n in range(3000)}
    assert points.steps == list(range(2990, 3000))
    assert briefs_of(brief.metrics)["n"].count == 3000


def test_server_shortens_its_journal(tmp_path: Path) -> None:
    """A server writes the JSON file and cuts the journal while it runs."""
    journal = tmp_path / "runs.json.journal"
    server = SocketServer(server_uri(f"file:{tmp_path}/runs.json", "127.0.0.1", 0, None))
    server.tidy_every = 0.05
    with running(server) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        events: Any = [TrialCreated("ab", 0, 1.0)]
        events += [MetricsLogged("ab_0", {"n": float(n)}, 1.0) for n in range(3000)]
        protocol.server.receive("w", 0, events)
        wait_until(lambda: journal.stat().st_size < 200)
        protocol.server.receive("w", 0, [*events, MetricsLogged("ab_0", {"n": -1.0}, 1.0)])

        (found,) = protocol.fetch_trials()
        assert list(found.metrics["n"].val) == [*range(3000), -1]
        protocol.server.close()
        protocol.close()


def test_served_store_of_a_database_is_not_delivered_twice(tmp_path: Path) -> None:
    """A database behind a server is used directly: what is acknowledged is in it."""
    uri = f"sqlite:{tmp_path}/runs.db"
    with serving(uri) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        protocol.server.receive("w", 0, [TrialCreated("ab", 0, 1.0)])

        other = get_protocol(uri)
        assert [trial.uid for trial in other.fetch_trials()] == ["ab_0"]
        assert other.left_behind() == 0
        for opened in (protocol.server, protocol, other):
            opened.close()


def test_encrypted_connection_that_was_closed_twice_can_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is closed by who serves it and by who accepted it, and the server that stops then breaks it."""
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    broken: list[Connection] = []

    class Server(SocketServer):
        async def exec(self, reader: Any, writer: Any, *arguments: Any) -> None:
            if not broken:
                connection = Connection(self.limits, ByteBudget(1), reader, writer)
                for _ in range(2):
                    self.close_connection(writer)
                connection.abort()
                await connection.close()
                broken.append(connection)
            await super().exec(reader, writer, *arguments)

    with running(Server(server_uri("ephemeral:", "127.0.0.1", 0, "AES", folder=tmp_path / "server"))) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}?security_layer=AES")
        with pytest.raises(BackendUnavailable):
            protocol.fetch_projects()

        assert protocol.fetch_projects() == []
        assert len(broken) == 1
        protocol.close()


def test_encrypted_connection_reads_into_a_small_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is encrypted by others in the same process keeps the buffer that asyncio gives it."""
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    before = SSLProtocol.max_size
    transports: list[Any] = []

    class Server(SocketServer):
        async def exec(self, reader: Any, writer: Any, *arguments: Any) -> None:
            transports.append(writer.transport)
            await super().exec(reader, writer, *arguments)

    with running(Server(server_uri("ephemeral:", "127.0.0.1", 0, "AES", folder=tmp_path / "server"))) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}?security_layer=AES")
        protocol.new_project(Project(name="digits", description="x" * 300_000))

        # What asyncio keeps can be seen nowhere else.
        assert len(getattr(transports[0]._ssl_protocol, "_ssl_buffer", b"")) <= 1 << 15
        assert SSLProtocol.max_size == before
        protocol.close()


def test_loop_goes_on_while_the_lock_is_held(tmp_path: Path) -> None:
    """While another process decides in the same file, a decision waits for it, and other calls do not."""
    with serving(f"file:{tmp_path}/runs.json") as port:
        first, second = (SocketClient(f"socket://127.0.0.1:{port}") for _ in range(2))
        first.new_project(Project(name="digits"))
        made: list[Project] = []
        thread = threading.Thread(target=lambda: made.append(first.new_project(Project(name="letters"))))

        with StoreLock(f"{tmp_path}/runs.json.lock", 30.0):
            thread.start()
            connected = SocketClient(f"socket://127.0.0.1:{port}")
            connected.link.connect()
            before = list(made)
        thread.join()

        assert before == []
        assert [project.name for project in second.fetch_projects()] == ["digits", "letters"]
        for protocol in (first, second, connected):
            protocol.close()
