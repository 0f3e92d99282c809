"""Parts of a track server: its thread, its gate, its room, and what it does from time to time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.servers.track import running, serving
from track.events import MetricsLogged, TrialCreated, encode
from track.persistence.file.lock import StoreLock
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, decode_reply, encode_call, frame, recv_frame
from track.persistence.server.backend import Served
from track.persistence.server.calls import CALLS, Worker
from track.persistence.server.listener import Connection, Limits, Room
from track.persistence.server.login import Gate, Session
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri
from track.structure import Project

# the thread


def test_worker_works_in_order() -> None:
    """What is given to a worker is done one after another, in one thread, and handed back."""

    async def use() -> list[Any]:
        worker = Worker("test")
        found = await asyncio.gather(*(worker.run(lambda n: (n, threading.get_ident()), n) for n in range(100)))
        worker.close()
        return found

    found = asyncio.run(use())

    assert [number for number, _ in found] == list(range(100))
    assert len({thread for _, thread in found} - {threading.get_ident()}) == 1


def test_worker_hands_errors_back() -> None:
    """An error is raised where the result is awaited, and the worker goes on."""

    async def use() -> int:
        worker = Worker("test")
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        found = await worker.run(lambda: 7)
        assert worker.is_idle
        worker.close()
        return found

    assert asyncio.run(use()) == 7


def test_worker_whose_caller_is_gone() -> None:
    """What nobody waits for any more is done, and its result is let go."""

    async def use() -> int:
        worker = Worker("test")
        gate = threading.Event()
        waiting = worker.run(gate.wait)
        waiting.cancel()
        gate.set()
        found = await worker.run(lambda: 7)
        worker.close()
        return found

    assert asyncio.run(use()) == 7


def test_worker_that_was_never_used() -> None:
    """A worker without work has no thread to wait for."""
    worker = Worker("test")

    worker.close()

    assert "test" not in [thread.name for thread in threading.enumerate()]


# the gate


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
    assert [name for name, kind in CALLS.items() if kind.role == "admin"] == ["commit"]


@pytest.mark.parametrize("answer", [{"status": 1}, {}, None, True, {"return": "admin"}])
def test_gate_opens_for_a_clear_yes_only(answer: Any) -> None:
    """Whatever a hook returns that is no clear yes keeps the client out."""

    async def use() -> Session | None:
        gate = Gate(0.0)
        found = await gate.check("here", lambda: answer, "ann")
        gate.close()
        return found

    assert asyncio.run(use()) is None


def test_gate_lets_one_guess_at_a_time() -> None:
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
        gate = Gate(0.001)
        guesses = [gate.check("here", lambda word=word: guess(word), "ann") for word in ("a", "b", "c", "right")]
        found = await asyncio.gather(*guesses)
        gate.close()
        return list(found)

    assert asyncio.run(use()) == [None, None, None, Session("ann", "read")]
    assert most == 1


def test_hook_that_raises_keeps_the_client_out(caplog: pytest.LogCaptureFixture) -> None:
    """A file of users that cannot be read lets nobody in, and that is said."""

    def check() -> dict[str, Any]:
        raise OSError("users.json cannot be read")

    async def use() -> Session | None:
        gate = Gate(0.0)
        found = await gate.check("here", check, "ann")
        gate.close()
        return found

    assert asyncio.run(use()) is None
    assert "users.json cannot be read" in caplog.text


# the room


def test_room_makes_wait_and_lets_in() -> None:
    """What does not fit waits for what is there; little things never wait."""
    large = 1 << 20

    async def use() -> list[str]:
        room = Room(large)
        first, second, third = (Connection(Limits(), room) for _ in range(3))
        order: list[str] = []

        async def enter(name: str, connection: Connection, length: int) -> None:
            await room.take(connection, length)
            order.append(name)

        await enter("first", first, large)
        waiting = asyncio.create_task(enter("second", second, large))
        await asyncio.sleep(0)
        await enter("small", third, 100)
        order.append("first leaves")
        room.give_back(first)
        await waiting
        room.give_back(second)
        return order

    assert asyncio.run(use()) == ["first", "small", "first leaves", "second"]


def test_room_knows_who_keeps_others_waiting() -> None:
    """Who has taken room and does not fill it is named, once somebody waits, and not before."""
    large = 1 << 20

    async def use() -> list[int]:
        room = Room(large)
        first, second = (Connection(Limits(), room) for _ in range(2))
        await room.take(first, large)
        later = asyncio.get_running_loop().time() + 60
        found = [len(room.slow(later))]
        waiting = asyncio.create_task(room.take(second, large))
        await asyncio.sleep(0)
        found.append(len(room.slow(later)))
        room.fill(first)
        found.append(len(room.slow(later)))
        room.give_back(first)
        await waiting
        return found

    assert asyncio.run(use()) == [0, 1, 0]


def test_slow_sender_makes_room() -> None:
    """Who announces much and sends it slowly is sent away when others need the room."""
    import socket
    import struct

    with serving("ephemeral:", waiting=1 << 17, frame_timeout=60.0) as port:
        slow = socket.create_connection(("127.0.0.1", port), 60)
        slow.sendall(frame(encode_call(Call("authenticate"))))
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
        connection.sendall(frame(encode_call(Call("authenticate"))))
        recv_frame(connection)
        batches: list[list[Any]] = [[TrialCreated("ab", 0, 1.0)]]
        batches += [[MetricsLogged("ab_0", {"n": float(n)}, 1.0)] for n in range(50)]

        for number, events in enumerate(batches):
            call = Call("receive", number, {"writer": "w", "first": number})
            connection.sendall(frame(encode_call(call, b"".join(map(encode, events)))))
        replies = [decode_reply(recv_frame(connection))[0] for _ in batches]

        connection.close()
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        (found,) = protocol.fetch_trials()
        protocol.close()
    assert [(reply.id, reply.status) for reply in replies] == [(number, 0) for number in range(51)]
    assert list(found.metrics["n"].val) == list(range(50))


def test_server_shortens_its_journal(tmp_path: Path) -> None:
    """A server that owns its process writes the JSON file and cuts the journal while it runs."""
    server = SocketServer(server_uri(f"file:{tmp_path}/runs.json", "127.0.0.1", 0, None))
    server.own_process()
    with running(server) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}")
        events: Any = [TrialCreated("ab", 0, 1.0)]
        events += [MetricsLogged("ab_0", {"n": float(n)}, 1.0) for n in range(3000)]
        protocol.server.receive("w", 0, events)
        before = (tmp_path / "runs.json.journal").stat().st_size
        assert server._loop is not None

        asyncio.run_coroutine_threadsafe(server._answering.tidy(), server._loop).result(60)
        after = (tmp_path / "runs.json.journal").stat().st_size
        protocol.server.receive("w", 0, [*events, MetricsLogged("ab_0", {"n": -1.0}, 1.0)])

        (found,) = protocol.fetch_trials()
        assert before > 100_000
        assert after < 200
        assert list(found.metrics["n"].val) == [*range(3000), -1]
        protocol.server.close()
        protocol.close()


def test_served_store_of_a_database_is_not_delivered_twice(tmp_path: Path) -> None:
    """A database behind a server is used directly: what is acknowledged is in it."""
    from track.persistence import get_protocol

    served = Served(get_protocol(f"sqlite:{tmp_path}/runs.db"))

    served.receive("w", 0, encode(TrialCreated("ab", 0, 1.0)))

    other = get_protocol(f"sqlite:{tmp_path}/runs.db")
    assert [trial.uid for trial in other.fetch_trials()] == ["ab_0"]
    assert served.protocol.left_behind() == 0
    for protocol in (served.protocol, other):
        protocol.close()


def test_encrypted_connection_that_was_closed_twice_can_be_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is closed by who serves it and by who accepted it, and the server that stops then breaks it."""
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, "AES", folder=tmp_path / "server"))
    with running(server) as port:
        protocol = SocketClient(f"socket://127.0.0.1:{port}?security_layer=AES")
        protocol.fetch_projects()
        (connection,) = server._connections.values()

        async def close_twice_and_abort() -> None:
            for _ in range(2):
                server.close_connection(connection.streams[1])
            connection.abort()
            await connection.close()

        assert server._loop is not None
        asyncio.run_coroutine_threadsafe(close_twice_and_abort(), server._loop).result(60)

        assert protocol.fetch_projects() == []
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
            connected._link.connect()
            before = list(made)
        thread.join()

        assert before == []
        assert [project.name for project in second.fetch_projects()] == ["digits", "letters"]
        for protocol in (first, second, connected):
            protocol.close()
