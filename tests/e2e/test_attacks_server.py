"""Attacks on a track server: nobody can harm it, or lock others out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.children import start_python
from tests.e2e.disks import full
from tests.e2e.served import client, count_up, new_trial, stranger, visitor
from tests.servers import wait_until
from tests.servers.track import running, serving
from track.errors import BackendUnavailable, InvalidQuery
from track.events import TrialCreated, encode
from track.persistence.query import parse_query
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.wire import Call, decode_call, decode_reply, encode_message, frame, recv_frame
from track.persistence.server.server import SocketServer
from track.persistence.socketed import server_uri
from track.structure import Trial

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]

# waiting to be let in


class Work:
    """Counts the passwords that are tried; each waits until it may go on."""

    def __init__(self) -> None:
        self.tried = 0
        self.most = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._now = 0
        self._lock = threading.Lock()

    def scrypt(self, *arguments: Any, **cost: Any) -> bytes:
        """Do what `hashlib.scrypt` does."""
        with self._lock:
            self.tried += 1
            self._now += 1
            self.most = max(self.most, self._now)
        self.may_go_on.wait(60)
        try:
            return _scrypt(*arguments, **cost)
        finally:
            with self._lock:
                self._now -= 1


_scrypt = hashlib.scrypt


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Give a count of the passwords that a server of this process tries."""
    counted = Work()
    monkeypatch.setattr(hashlib, "scrypt", counted.scrypt)
    return counted


def _guess(port: int, user: str, password: str, source: str = "127.0.0.1") -> socket.socket:
    """Return a connection that has said a password and waits for the answer."""
    connection = socket.create_connection(("127.0.0.1", port), 60, (source, 0))
    with contextlib.suppress(ConnectionError):
        connection.sendall(frame(encode_message(Call("authenticate", 1, {"username": user, "password": password}))))
    return connection


def _is_let_in(connection: socket.socket) -> bool:
    return decode_reply(recv_frame(connection))[0].status == 0


GUESSED: dict[str, Callable[[int], str]] = {
    "the same user": lambda number: "will",
    "another user": lambda number: "rita",
    "nobody": lambda number: f"nobody{number}",
}


@pytest.mark.parametrize("kind", GUESSED)
@pytest.mark.parametrize("is_gone", [False, True], ids=["waiting", "gone"])
def test_right_password_among_three_thousand_wrong_ones(users: str, work: Work, kind: str, is_gone: bool) -> None:
    """However many guess at once, from the same address and of the same user, the right one has the next turn."""
    name = GUESSED[kind]
    with serving("ephemeral:", users=users) as port, contextlib.ExitStack() as opened:
        for number in range(3000):
            connection = _guess(port, name(number), f"wrong{number}")
            if is_gone:
                connection.close()
            else:
                opened.callback(connection.close)
        with stranger(port) as quiet:
            # Accepted after all of them: they have been heard.
            assert quiet.ask("ping").status == 1
        before = work.tried

        right = _guess(port, "will", "willwill")
        assert _is_let_in(right)

        assert work.tried - before <= 3
        assert work.most == 1
        right.close()


def test_password_that_was_right_before_needs_no_turn(users: str, work: Work) -> None:
    """While a password is being tried, one that was right before is let in without any work."""
    with serving("ephemeral:", users=users) as port, contextlib.ExitStack() as opened:
        first = _guess(port, "will", "willwill")
        assert _is_let_in(first)
        work.may_go_on.clear()
        for number in range(20):
            opened.callback(_guess(port, "will", f"wrong{number}").close)
        wait_until(lambda: work.tried == 2)

        again = _guess(port, "will", "willwill")
        is_let_in = _is_let_in(again)

        work.may_go_on.set()
        assert is_let_in
        assert work.tried == 2
        first.close()
        again.close()


def test_many_clients_of_one_user_come_at_once(users: str, work: Work) -> None:
    """A job of a hundred processes whose password was never said before is one guess, and all are let in."""
    with serving("ephemeral:", users=users) as port:
        work.may_go_on.clear()
        waiting = [_guess(port, "will", "willwill") for _ in range(100)]
        wait_until(lambda: work.tried == 1)
        work.may_go_on.set()

        let_in = [_is_let_in(one) for one in waiting]

        assert all(let_in)
        assert work.tried <= 2
        for one in waiting:
            one.close()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
def test_pause_of_others_is_not_ones_own(users: str, work: Work, source: str) -> None:
    """A user whose name others guess at is let in while they wait for their answers, from wherever."""
    with serving("ephemeral:", users=users, failure_delay=3600) as port:
        wrong = [_guess(port, "will", f"wrong{number}", source) for number in range(5)]
        wait_until(lambda: work.tried == 5)

        right = _guess(port, "will", "willwill")

        assert _is_let_in(right)
        for one in (*wrong, right):
            one.close()


def test_nothing_is_done_for_who_is_gone(users: str, work: Work) -> None:
    """A client that was killed while it waited for its turn costs nothing any more."""
    with serving("ephemeral:", users=users) as port:
        work.may_go_on.clear()
        waiting = [_guess(port, f"nobody{number}", "x") for number in range(50)]
        wait_until(lambda: work.tried == 1)
        for one in waiting:
            # As the system does for a process that is killed: with what it has not read, a reset.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        with stranger(port) as quiet:
            assert quiet.ask("ping").status == 1
        work.may_go_on.set()

        right = _guess(port, "will", "willwill")

        assert _is_let_in(right)
        assert work.tried <= 3
        right.close()


KILLED = """
import socket, sys, time
from track.persistence.rpc.wire import Call, encode_message, frame
opened = []
for number in range(100):
    opened.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60))
    call = Call("authenticate", 1, {"username": "will", "password": f"wrong{number}"})
    opened[-1].sendall(frame(encode_message(call)))
print("said", flush=True)
time.sleep(600)
"""


def test_killed_guesser_is_forgotten(users: str, work: Work) -> None:
    """A process with a hundred guesses that is killed leaves no connection and no guess behind."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None, users=users))
    with running(server) as port:
        child = start_python("-c", KILLED, str(port))
        assert child.stdout is not None
        assert child.stdout.readline() == "said\n"
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()

        wait_until(lambda: not server._listener.connections)

        tried = work.tried
        right = _guess(port, "will", "willwill")
        assert _is_let_in(right)
        assert work.tried - tried <= 2
        right.close()


def test_number_of_those_who_wait_is_bounded(users: str, work: Work) -> None:
    """Of one user from one address few different passwords wait; the others are told to come again, not refused."""
    with serving("ephemeral:", users=users) as port:
        work.may_go_on.clear()
        waiting = [_guess(port, "will", f"wrong{number}") for number in range(30)]

        told = [decode_reply(recv_frame(one))[0] for one in waiting[1:22]]

        work.may_go_on.set()
        assert {reply.kind for reply in told} == {"BackendUnavailable"}
        assert all("waiting" in reply.error for reply in told)
        for one in waiting:
            one.close()


def test_client_that_waits_says_so(users: str, work: Work) -> None:
    """A client whose turn does not come says that it waits to be let in, and does not ask whether the server runs."""
    with serving("ephemeral:", users=users) as port:
        work.may_go_on.clear()
        made = SocketClient(f"socket://will:willwill@127.0.0.1:{port}?connect_timeout=0.3")

        with pytest.raises(BackendUnavailable, match="waiting to be let in") as caught:
            made.fetch_projects()

        work.may_go_on.set()
        assert "is it running" not in str(caught.value)
        made.close()


def test_client_comes_again_when_too_many_wait(users: str, work: Work) -> None:
    """A client that is told to come again does so, and is let in."""
    with serving("ephemeral:", users=users) as port:
        work.may_go_on.clear()
        made = SocketClient(f"socket://will:willwill@127.0.0.1:{port}?connect_timeout=60")
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(made.fetch_projects()))
        blocked = _guess(port, "will", "wrong")
        wait_until(lambda: work.tried == 1)
        thread.start()
        others = [_guess(port, "will", f"wrong{number}") for number in range(30)]
        for one in others[:8]:
            recv_frame(one)

        work.may_go_on.set()
        thread.join(60)

        assert found == [[]]
        for one in (blocked, *others):
            one.close()
        made.close()


def test_silent_ones_are_sent_away_before_who_has_spoken(users: str, work: Work) -> None:
    """Who has said a password is not sent away for those who say nothing, nor for those of another address."""
    with serving("ephemeral:", users=users, strangers=10) as port, contextlib.ExitStack() as opened:
        work.may_go_on.clear()
        right = _guess(port, "will", "willwill")
        wait_until(lambda: work.tried == 1)
        for number in range(200):
            silent = socket.create_connection(("127.0.0.1", port), 60, (f"127.0.0.{1 + number % 2}", 0))
            opened.callback(silent.close)

        work.may_go_on.set()

        assert _is_let_in(right)
        right.close()


# long calls


def _marks(trial_count: int, port: int) -> list[Any]:
    """Return trials that were made through a server."""
    made = client(port)
    events = [TrialCreated(f"ab{number}", 0, 1.0, parameters={"n": number}) for number in range(trial_count)]
    made.server.receive("seed", 0, events)
    found = made.fetch_trials()
    made.server.close()
    made.close()
    return found


def test_decision_with_many_conditions(own_folders: Path) -> None:
    """Two hundred thousand conditions of a decision are looked at outside of the loop, and each thing once."""
    looked: list[Any] = []
    server = SocketServer(server_uri(f"file:{own_folders}/runs.json", "127.0.0.1", 0, None))
    fetch = server.backend.fetch_trials
    with running(server) as port:
        trials = _marks(1, port)
        version = trials[0].metadata["_update_count"]
        server.backend.fetch_trials = lambda query=None: looked.append(query) or fetch(query)  # type: ignore[method-assign]
        expected = [["trial", "ab0_0", version]] * 200_000
        with visitor(port) as found:
            call = Call("decide", 1, {"writer": "w", "first": 0, "expected": expected})
            found.say(call, encode(TrialCreated("cd", 0, 1.0)))
            reply = decode_reply(recv_frame(found.socket))[0]

    assert (reply.status, reply.value) == (0, True)
    assert len(looked) <= 3


def test_conditions_that_do_not_hold_end_a_decision() -> None:
    """The first condition that does not hold is the last that is looked at, of two hundred thousand."""
    looked: list[Any] = []
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    fetch = server.backend.fetch_trials
    server.backend.fetch_trials = lambda query=None: looked.append(query) or fetch(query)  # type: ignore[method-assign]
    with running(server) as port, visitor(port) as found:
        expected = [["trial", f"x{number}_0", 1] for number in range(200_000)]
        call = Call("decide", 1, {"writer": "w", "first": 0, "expected": expected})
        found.say(call, encode(TrialCreated("cd", 0, 1.0)))
        reply = decode_reply(recv_frame(found.socket))[0]

    assert (reply.status, reply.value) == (0, False)
    assert len(looked) == 1


def test_long_call_is_made_in_the_thread_of_the_store(own_folders: Path) -> None:
    """The loop, which serves all, neither decodes nor looks at what is long."""
    seen: dict[str, int] = {}
    server = SocketServer(server_uri(f"file:{own_folders}/runs.json", "127.0.0.1", 0, None))
    fetch = server.backend.fetch_trials

    def noted(query: Any = None) -> Any:
        seen["store"] = threading.get_ident()
        return fetch(query)

    with running(server) as port:
        _marks(3, port)
        server.backend.fetch_trials = noted  # type: ignore[method-assign]
        loop = next(thread.ident for thread in threading.enumerate() if thread.name == "track-server")
        with visitor(port) as found:
            condition = [["parameters.n", "$in", [1, *range(10, 300_000)]]]
            found.say(Call("fetch_trials", 1, {"query": condition}))
            reply = decode_reply(recv_frame(found.socket))[0]

    assert (reply.status, reply.value) == (0, 1)
    assert seen["store"] != loop


class _Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Counted.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_many_choices_are_a_set() -> None:
    """A value is found among three hundred thousand without being compared with each."""
    query = parse_query({"parameters.n": {"$in": list(range(300_000))}}, Trial)
    trials = [Trial(parameters={"n": _Counted(number)}) for number in range(299_000, 300_500)]

    found = [trial for trial in trials if query.matches(trial)]

    assert len(found) == 1000
    assert _Counted.compared <= 3 * len(trials)


def test_many_choices_of_a_status_are_a_set() -> None:
    """A status is found among three hundred thousand texts without being compared with each."""
    query = parse_query({"status": {"$nin": [f"s{number}" for number in range(300_000)]}}, Trial)
    choices = query.conditions[0].operand
    choices.__class__ = type("Uncompared", (type(choices),), {"__contains__": None})

    assert query.matches(Trial())


def test_choices_of_one_hash_are_a_set() -> None:
    """Numbers that Python's own hash does not tell apart are told apart, and equal ones are still equal."""
    class_of_one_hash = [number * (2**61 - 1) for number in range(1, 200_000)]
    query = parse_query({"parameters.n": {"$in": [*class_of_one_hash, [2**61 - 1]]}}, Trial)

    found = [
        query.matches(Trial(parameters={"n": value}))
        for value in (199_999 * (2**61 - 1), float(2**61 - 1), [2**61 - 1], 2**61, 3)
    ]

    assert found == [True, False, True, False, False]


def test_large_question_has_bounds() -> None:
    """More conditions than anybody writes, and a name of a thousand parts, are refused before the store is asked."""
    with serving("ephemeral:") as port, visitor(port) as found:
        many = found.ask("fetch_trials", query=[["name", "$ne", "x"]] * 200_000)
        deep = found.ask("fetch_trials", query=[["parameters" + ".a" * 100_000, "$eq", 1]])

    assert (many.kind, deep.kind) == (InvalidQuery.__name__, InvalidQuery.__name__)
    assert len(deep.error) < 1000


def _joined(queries: list[Any]) -> list[Any]:
    return [["$or", "$or", queries]]


def _doubled(times: int) -> list[Any]:
    query: list[Any] = [["parameters.n", "$eq", 1]]
    for _ in range(times):
        query = _joined([query, query])
    return query


@pytest.mark.parametrize(
    "question",
    [
        {"query": _doubled(15)},
        {"query": _joined([[]] * 500_000)},
        {"query": _joined([[[[]]]] * 500_000)},
        {"query": [["$not", "$not", [[["parameters.n", "$eq", 1]]] * 200_000]]},
        {"sort": ["parameters.n"] * 300_000},
        {"sort": ["parameters" + ".n" * 500_000]},
    ],
    ids=["doubled", "empty", "no queries", "many in one", "keys", "a long key"],
)
def test_large_question_is_not_made_sense_of(question: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is larger than anybody writes is refused before its conditions are read, and the store asked."""
    asked: list[Any] = []
    monkeypatch.setattr("track.persistence.server.calls.parse_query", lambda *given: asked.append(given))

    with serving("ephemeral:") as port, visitor(port) as found:
        reply = found.ask("fetch_trials", **question)

    assert (reply.kind, asked) == (InvalidQuery.__name__, [])
    assert len(reply.error) < 1000


def test_waiting_calls_are_bytes() -> None:
    """A call that waits for its turn is not decoded: a few bytes would become twenty times as many."""
    payload = encode_message(Call("fetch_trials", 1, {"query": [["a", "$in", [[]] * 1_000_000]]}))

    call, _ = decode_call(payload)

    assert isinstance(call.args, msgspec.Raw)
    assert len(call.args) <= len(payload)


def test_unread_answers_are_few() -> None:
    """Of clients that never read, few have an answer in memory; who reads is answered meanwhile."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    with running(server) as port, contextlib.ExitStack() as opened:
        protocol = client(port)
        for number in range(3):
            assert protocol.new_trial(Trial(parameters={"n": number}, description="x" * 2_000_000)) is not None
        for _ in range(45):
            silent = opened.enter_context(visitor(port))
            silent.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.say(Call("fetch_trials", 1, {}))

        wait_until(lambda: len(server._listener.places.taken) == 32)

        # In its turn, after the slow ones were sent away.
        found = protocol.fetch_trials()

        assert len(found) == 3
        assert len(server._listener.places.taken) <= 32
        protocol.close()


def test_question_of_who_is_gone_is_not_asked(own_folders: Path) -> None:
    """A question that waits for its turn is not asked of the store any more when its client is gone."""
    asked: list[Any] = []
    gate = threading.Event()
    server = SocketServer(server_uri(f"file:{own_folders}/runs.json", "127.0.0.1", 0, None))
    fetch = server.backend.fetch_groups

    def waiting(query: Any = None) -> Any:
        asked.append(query)
        gate.wait(60)
        return fetch(query)

    server.backend.fetch_groups = waiting  # type: ignore[method-assign]
    with running(server) as port, visitor(port) as first:
        first.say(Call("fetch_groups", 1, {}))
        wait_until(lambda: len(asked) == 1)
        for _ in range(20):
            with visitor(port) as found:
                found.say(Call("fetch_groups", 1, {}))
        wait_until(lambda: len(server._listener.connections) == 1)

        gate.set()
        assert decode_reply(recv_frame(first.socket))[0].status == 0
        assert first.ask("fetch_projects").status == 0

    assert len(asked) == 1


def test_one_long_question_lets_short_calls_through(own_folders: Path) -> None:
    """While a question about everything is looked at, who logs over another connection is heard by the loop."""
    gate = threading.Event()
    server = SocketServer(server_uri(f"file:{own_folders}/runs.json", "127.0.0.1", 0, None))
    fetch = server.backend.fetch_groups
    server.backend.fetch_groups = lambda query=None: gate.wait(60) and fetch(query)  # type: ignore[method-assign]
    with running(server) as port, visitor(port) as first:
        first.say(Call("fetch_groups", 1, {}))
        with visitor(port) as found:
            # Answered by the loop, which waits for nobody.
            refused = found.ask("nonsense")
        gate.set()
        assert decode_reply(recv_frame(first.socket))[0].status == 0

    assert "no call 'nonsense'" in refused.error


# names in logs and errors

EVIL = "ann\x1b[2J\x1b]0;root\x07\r\nERROR all is lost \u202e\u2028"


def _is_clean(text: str) -> bool:
    return all(one.isprintable() for one in text) and len(text) < 4000


def test_names_are_harmless_in_logs_and_errors(users: str, caplog: pytest.LogCaptureFixture) -> None:
    """Control characters in what a client sends reach neither the log, one line of it a message, nor other clients."""
    caplog.set_level(logging.DEBUG)
    large = EVIL * 3000
    errors = []
    with serving("ephemeral:", users=users, failure_delay=0.001) as port:
        for name in (EVIL, EVIL * 100):
            with stranger(port) as found:
                errors.append(found.ask("authenticate", username=name, password="x").error)
        with visitor(port, "ada") as found:
            errors.append(found.ask(large).error)
            errors.append(found.ask("fetch_trials", query=[[large, "$eq", 1]]).error)
            errors.append(found.ask("fetch_trials", query=[["name", EVIL, 1]]).error)
            errors.append(found.ask("has", kind=EVIL, uid="x").error)
            for event in ("metrics", "status"):
                given = {"event": event, "trial": EVIL, "values": {"a": 1.0}, "at": 1.0, "status": [EVIL, 3]}
                reply = found.ask("receive", msgspec.json.encode(given), writer=EVIL, first=0)
                errors.append(reply.error)
            errors.append(found.ask("receive", b'{"event":"' + EVIL.encode("utf-8") + b'"}', writer="w", first=0).error)
            fields = {"event": "fields_merged", "kind": EVIL, "uid": large, "field": EVIL, "values": {}, "at": 1.0}
            errors.append(found.ask("receive", msgspec.json.encode(fields), writer="w", first=0).error)

    assert [error for error in errors if not _is_clean(error)] == []
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("track")]
    assert [text for text in texts if not _is_clean(text)] == []
    assert any("was not let in" in text for text in texts)


def test_error_of_a_backend_is_cleaned(caplog: pytest.LogCaptureFixture) -> None:
    """What a backend raises about a name is cleaned, in the log and for the client."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))

    def failing(query: Any = None) -> Any:
        raise RuntimeError(EVIL * 1000)

    server.backend.fetch_groups = failing  # type: ignore[method-assign]
    with running(server) as port, visitor(port) as found:
        reply = found.ask("fetch_groups")

    assert _is_clean(reply.error)
    (record,) = [record for record in caplog.records if "a call failed" in record.getMessage()]
    assert _is_clean(record.getMessage().split("\n")[0])
    assert record.exc_info is None
    assert "in failing" in record.getMessage()


@pytest.mark.parametrize("kind", ["json", "db"])
def test_errors_do_not_say_where_the_store_is(kind: str, tmp_path: Path) -> None:
    """What a store says of itself, by its path, reaches nobody who knows only the server's address."""
    with serving(f"{'file' if kind == 'json' else 'sqlite'}:{tmp_path}/runs.{kind}") as port, visitor(port) as found:
        trial = Trial(parameters={"lr": 0.1})
        replies = [
            found.ask("receive", _text(trial, 1), writer="w", first=6, after=5),
            found.ask("receive", _text(trial, 1), writer="w", first=0, after=-1),
        ]

    assert [reply.kind for reply in replies] == ["EventsMissing", "UnknownSubject"]
    assert all(reply.error.startswith("the server's store ") for reply in replies)
    assert str(tmp_path) not in str(replies)


def test_lines_that_cannot_be_read_are_named_without_where_they_are(tmp_path: Path) -> None:
    """A client is told that its server's journal is damaged, and at which byte."""
    with serving(f"file:{tmp_path}/runs.json") as port, visitor(port) as found:
        protocol = client(port)
        new_trial(protocol)
        with open(tmp_path / "runs.json.journal", "ab") as journal:
            journal.write(b"damaged\n")
        (said,) = found.ask("unread").value
        protocol.close()

    assert said.startswith("the server's store.journal: the line at byte ")


def test_events_for_another_store_are_no_trouble_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """A client that means another store is told so; the server's log does not say that nothing can be stored."""
    with serving("ephemeral:") as port, visitor(port) as found:
        reply = found.ask("receive", _text(Trial(), 1), writer="w", first=0, store="0" * 32)

    assert reply.kind == "AnotherStore"
    assert "cannot be stored" not in caplog.text


# a disk that is full


@pytest.mark.parametrize("kind", ["json", "db"])
def test_full_disk_is_said_once_and_nothing_is_acknowledged(
    small_disk: Path,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server whose disk is full says so once, and again when there is room; clients keep what is not stored."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path_factory.mktemp("spill")))
    uri = f"{'file' if kind == 'json' else 'sqlite'}:{small_disk}/runs.{kind}"
    with serving(uri) as port:
        protocol = client(port)
        trial = new_trial(protocol)
        with full(small_disk), visitor(port) as found:
            replies = [found.ask("receive", _text(trial, number), writer="w", first=number) for number in range(20)]
            last = found.ask("last", writer="w").value
        count_up(protocol, trial, 1, 10)
        protocol.flush(60)

        acknowledged = [number for number, reply in enumerate(replies) if reply.status == 0]
        assert acknowledged == list(range(last + 1))
        assert len(acknowledged) < 20
        assert {reply.kind for reply in replies if reply.status} == {"BackendUnavailable"}
        assert protocol.unsaved() == 0
        protocol.close()
    texts = [record.getMessage() for record in caplog.records if record.name == "track.persistence.server.calls"]
    assert ["cannot be stored" in text for text in texts] == [True, False]
    assert "stored again" in texts[1]


def _text(trial: Any, number: int) -> bytes:
    fields = {"event": "fields_merged", "kind": "trial", "uid": trial.uid, "field": "metadata", "at": 1.0}
    return msgspec.json.encode({**fields, "values": {f"text{number}": "x" * 200_000}})
