"""The two ends of a track server: hooks, other backends, life and death."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import socket
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.children import fork, run, wait
from tests.servers import wait_until
from tests.servers.track import running, serving
from track import TrackClient
from track.errors import (
    BackendUnavailable,
    ConcurrentWrite,
    InvalidEvent,
    InvalidUri,
    NotFound,
    OutcomeUnknown,
    RPCCallFailure,
    TrialDoesNotExist,
)
from track.events import MetricsLogged, TrialCreated
from track.persistence import get_protocol, register, unregister
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.persistence.rpc.client import SocketClient
from track.persistence.rpc.remote import RemoteStore
from track.persistence.server.server import SocketServer
from track.persistence.socketed import ServerSignalHandler, server_uri, start_track_server
from track.persistence.sqlite import SqliteProtocol
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills, certificates and known servers in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))


@pytest.fixture
def protocol() -> Iterator[SocketClient]:
    """Give a client of a server of a store in memory."""
    with serving("ephemeral:") as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        yield made
        made.close()


def new_trial(protocol: Protocol, **parameters: Any) -> Trial:
    """Return a new trial."""
    made = protocol.new_trial(Trial(parameters=parameters or {"lr": 0.1}))
    assert made is not None
    return made


# what travels


def test_errors_are_of_their_class(protocol: SocketClient) -> None:
    """An error of the server is raised as the class that a local backend raises."""
    with pytest.raises(NotFound, match="nowhere"):
        protocol.new_trial_group(TrialGroup(name="idea", project_id="nowhere"))
    with pytest.raises(TrialDoesNotExist):
        protocol.log_trial_metrics(Trial(parameters={"never": "stored"}), loss=1.0)
    with pytest.raises(InvalidEvent, match="no event"):
        protocol.server.receive("w", 0, [])
    protocol.server.close()


@pytest.mark.parametrize("status", [CustomStatus("waiting", 42), Status.Suspended])
@pytest.mark.parametrize("operator", ["$eq", "$in", "$gte"])
def test_query_with_a_status(protocol: SocketClient, status: Any, operator: str) -> None:
    """A status in a query, known or of one's own, is understood by the server."""
    trial = new_trial(protocol)
    protocol.set_trial_status(trial, status)
    new_trial(protocol, lr=1)

    found = protocol.fetch_trials({"status": {operator: [status] if operator == "$in" else status}})

    assert [one.uid for one in found] == [trial.uid]


def test_query_with_conditions_on_one_attribute(protocol: SocketClient) -> None:
    """Several conditions on one attribute hold together, patterns among them, and odd numbers are exact."""
    for name in ("a-1", "a-2", "b-1"):
        protocol.new_trial(Trial(name=name, parameters={"name": name, "huge": 2**70}))

    query = [("name", {"$regex": "^A", "$ne": "a-1"}), ("parameters.huge", 2**70)]
    none = protocol.fetch_trials(query)
    query[0] = ("name", {"$regex": "^a", "$ne": "a-1"})
    found = protocol.fetch_trials(query)

    assert (none, [one.name for one in found]) == ([], ["a-2"])


def test_answer_that_is_larger_than_a_frame() -> None:
    """Many documents, and one that is larger than any frame, arrive in pieces."""
    with serving("ephemeral:", frame=50_000) as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        for number in range(30):
            new_trial(made, n=number)
        trial = new_trial(made)
        for number in range(60):
            made.log_trial_metadata(trial, **{f"text{number}": "x" * 40_000})
        made.flush(60)

        found = made.fetch_trials()

        assert [one.parameters for one in found[:30]] == [{"n": number} for number in range(30)]
        assert sum(len(text) for name, text in found[30].metadata.items() if name.startswith("text")) == 2_400_000
        made.close()


def test_members_of_a_group_and_a_project(protocol: SocketClient) -> None:
    """Projects and groups of a server know their members, when somebody looks."""
    project = protocol.new_project(Project(name="digits"))
    group = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))
    trial = protocol.new_trial(Trial(parameters={"lr": 1}, project_id="digits"))
    assert trial is not None
    protocol.add_project_trial(project, trial)
    protocol.add_group_trial(group, trial)
    protocol.flush(60)

    (found,) = protocol.fetch_projects()

    assert [one.uid for one in found.trials] == [trial.uid]
    assert [list(one.trials) for one in found.groups] == [[trial.uid]]


# deciding


def test_workers_never_take_the_same_trial() -> None:
    """Of many who take trials from a queue at once, each gets trials of its own."""
    with serving("ephemeral:") as port:
        uri = f"socket://127.0.0.1:{port}"
        first = SocketClient(uri)
        for number in range(24):
            new_trial(first, n=number)
        taken: list[str] = []

        def work() -> None:
            own = SocketClient(uri)
            for _ in range(6):
                query = {"status": "createdgroup"}
                taken.append(own.fetch_and_update_trial(query, "set_trial_status", Status.Running).uid)
            own.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.close()

    assert len(taken) == len(set(taken)) == 24


def test_many_make_the_same_trial() -> None:
    """Of many who make the same trial at once, each gets a revision of its own."""
    with serving("ephemeral:") as port:
        uri = f"socket://127.0.0.1:{port}"
        made: list[int] = []

        def work() -> None:
            own = SocketClient(uri)
            for _ in range(5):
                trial = own.new_trial(Trial(parameters={"lr": 0.1}), auto_increment=True)
                assert trial is not None
                made.append(trial.revision)
            own.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(made) == list(range(20))


def test_decision_that_others_keep_changing(protocol: SocketClient) -> None:
    """A decision whose ground never stays the same is given up, not tried for ever."""
    remote = RemoteStore(protocol.uri, protocol.link, tries=3)
    trial = new_trial(protocol)
    numbers = iter(range(100))

    def decide() -> None:
        (found,) = remote.fetch_trials({"uid": trial.uid})
        protocol.server.receive("other", next(numbers), [MetricsLogged(trial.uid, {"n": 1.0}, 1.0)])
        remote.apply(MetricsLogged(found.uid, {"n": 2.0}, 1.0))

    with pytest.raises(ConcurrentWrite, match="keep changing"):
        remote.atomically(decide)

    (found,) = protocol.fetch_trials()
    assert list(found.metrics["n"].val) == [1.0] * 3
    protocol.server.close()


class Lost(EphemeralProtocol):
    """A store that goes away after each decision, before it can say what became of it."""

    def atomically(self, action: Any) -> Any:
        super().atomically(action)
        raise OutcomeUnknown("the database went away (what was decided may be stored, or not)")


def test_unknown_outcome_is_not_decided_again_offline() -> None:
    """A client that may decide by itself does not, where the server's decision may be stored: it is told so."""
    register("own", lambda uri: Lost())
    try:
        with serving("own:") as port:
            made = SocketClient(f"socket://127.0.0.1:{port}?offline=1")

            with pytest.raises(OutcomeUnknown, match="may be stored, or not"):
                made.new_trial(Trial(parameters={"lr": 0.1}))

            assert [trial.revision for trial in made.fetch_trials()] == [0]
            assert made.unsaved() == 0
            made.close()
    finally:
        unregister("own")


# backends


class Methods(Protocol):
    """A backend of one's own, written method by method."""

    told: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, uri: str) -> None:
        Methods.told = []

    def log_trial_metrics(self, trial: Trial, /, step: Any = None, aggregator: Any = None, **kwargs: Any) -> None:
        """Remember the numbers; refuse what is not positive."""
        if kwargs.get("n", 1) < 0:
            raise ValueError("it must be positive")
        Methods.told.append((trial.uid, kwargs))


class Events(EventProtocol):
    """A backend of one's own, made of events, without numbers of writers."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.inner = EphemeralProtocol()

    def apply(self, *events: Any) -> None:
        """Keep them."""
        self.inner.apply(*events)

    def atomically(self, action: Any) -> Any:
        """Do it."""
        return self.inner.atomically(action)

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        """Return trials."""
        return self.inner.fetch_trials(query)

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        """Return groups."""
        return self.inner.fetch_groups(query)

    def fetch_projects(self, query: Any = None) -> list[Project]:
        """Return projects."""
        return self.inner.fetch_projects(query)


@pytest.fixture(params=[Methods, Events])
def scheme(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the scheme of a backend of one's own."""
    register("own", request.param)
    yield "own:"
    unregister("own")


def test_backend_of_ones_own(scheme: str) -> None:
    """Any backend can be served: it is told everything once, and its answers, or those of its copy, are given."""
    with serving(scheme) as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        trial = new_trial(made)
        events: Any = [MetricsLogged(trial.uid, {"n": float(number)}, 1.0) for number in range(3)]
        for _ in range(2):
            made.server.receive("w", 0, events)

        (found,) = made.fetch_trials()
        again = made.new_trial(Trial(parameters={"lr": 0.1}), auto_increment=True)

        assert list(found.metrics["n"].val) == [0.0, 1.0, 2.0]
        assert again is not None
        assert again.revision == 1
        made.server.close()
        made.close()


def test_event_that_a_backend_refuses() -> None:
    """An event that a backend of methods refuses is put aside by the client; the others arrive."""
    register("own", Methods)
    try:
        with serving("own:") as port:
            made = SocketClient(f"socket://127.0.0.1:{port}")
            trial = new_trial(made)
            for number in (1.0, -2.0, 3.0):
                made.log_trial_metrics(trial, n=number)
            made.flush(60)

            assert [kwargs for _, kwargs in Methods.told] == [{"n": 1.0}, {"n": 3.0}]
            assert made.unsaved() == 1
            made.close()
    finally:
        unregister("own")


def test_several_backends_behind_a_server(tmp_path: Path) -> None:
    """With ``multi:`` every backend has everything once, and what was sent twice is known to the one that decides."""
    one, two = f"file:{tmp_path}/one.json", f"sqlite:{tmp_path}/two.db"
    events: Any = [TrialCreated("ab", 0, 1.0), *(MetricsLogged("ab_0", {"n": float(n)}, 1.0) for n in range(3))]

    for _ in range(2):
        with serving(f"multi:?to={one}&to={two}") as port:
            made = SocketClient(f"socket://127.0.0.1:{port}")
            made.server.receive("w", 0, events)
            made.server.close()

    for store in (FileProtocol(one), SqliteProtocol(two)):
        (found,) = store.fetch_trials()
        assert list(found.metrics["n"].val) == [0.0, 1.0, 2.0]
        store.close()


def test_server_behind_a_server(tmp_path: Path) -> None:
    """A server may keep its store on another server."""
    with serving(f"file:{tmp_path}/runs.json") as far, serving(f"socket://127.0.0.1:{far}") as near:
        made = SocketClient(f"socket://127.0.0.1:{near}")
        trial = new_trial(made)
        made.log_trial_metrics(trial, n=1.0)
        made.flush(60)
        made.close()

    (found,) = FileProtocol(f"file:{tmp_path}/runs.json").fetch_trials()
    assert list(found.metrics["n"].val) == [1.0]


def test_store_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    """A file that is written only when it is saved cannot be served: what is acknowledged is stored."""
    with pytest.raises(InvalidUri, match="eager=0"):
        SocketServer(server_uri(f"file:{tmp_path}/runs.json?eager=0", "127.0.0.1", 0, None))


def test_server_needs_a_backend() -> None:
    """A server of nothing is refused, and so is one of itself."""
    with pytest.raises(InvalidUri, match="needs a backend"):
        SocketServer("socket://127.0.0.1:0")


# hooks


def test_authenticate_on_both_sides() -> None:
    """Both sides may be overridden; the server is told who comes, and knows the name of a stream."""
    seen: list[Any] = []

    class Server(SocketServer):
        def authenticate(self, reader: Any, username: Any, password: Any) -> dict[str, Any]:
            seen.append((username, password, self.is_authenticated(reader), self.get_username(reader)))
            return {"status": 0 if password == "token" else 1, "return": True}

        async def exec(self, reader: Any, *arguments: Any, **more: Any) -> None:
            seen.append((self.is_authenticated(reader), self.get_username(reader)))
            await super().exec(reader, *arguments, **more)

    class Client(SocketClient):
        password = "token"

        def authenticate(self, uri: str) -> tuple[str, str]:
            return "ann", self.password

    with running(Server(server_uri("ephemeral:", "127.0.0.1", 0, None, failure_delay=0.01))) as port:
        made = Client(f"socket://127.0.0.1:{port}")
        before = made.token
        made.new_project(Project(name="digits"))
        with pytest.raises(RPCCallFailure, match="who may admin"):
            made.link.call("commit", {})
        after = made.token
        made.close()
        made.password = "wrong"

        with pytest.raises(RPCCallFailure, match="'ann' was not let in"):
            made.fetch_projects()
        made.close()

    assert (before, after) == (None, True)
    assert seen[:2] == [("ann", "token", False, None), (True, "ann")]


def test_arguments_may_be_looked_at() -> None:
    """A subclass sees the arguments of each call before they are used."""
    seen: list[dict[str, Any]] = []

    class Server(SocketServer):
        def process_args(self, args: dict[str, Any], cache: Any = None) -> dict[str, Any]:
            seen.append(args)
            return args

    with running(Server(server_uri("ephemeral:", "127.0.0.1", 0, None))) as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        made.get_project(Project(name="digits"))
        made.close()

    assert seen == [{"query": [["uid", "$eq", "digits"]]}]


def test_client_handled_by_a_server_of_ones_own() -> None:
    """`handle_client` serves the streams of any asyncio server."""

    async def talk(server: SocketServer) -> list[str]:
        listening = await asyncio.start_server(server.handle_client, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        made = SocketClient(f"socket://127.0.0.1:{port}")
        await asyncio.to_thread(made.new_project, Project(name="digits"))
        found = await asyncio.to_thread(made.fetch_projects)
        await asyncio.to_thread(made.close)
        listening.close()
        await listening.wait_closed()
        return [project.name or "" for project in found]

    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))

    assert asyncio.run(talk(server)) == ["digits"]
    server.close()


# the process that serves


def test_server_is_a_protocol_too(tmp_path: Path) -> None:
    """The process that serves uses the same store, and saves it."""
    server = SocketServer(server_uri(f"file:{tmp_path}/runs.json", "127.0.0.1", 0, None))
    with running(server) as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        server.new_project(Project(name="digits"))
        trial = new_trial(made)
        server.log_trial_metrics(trial, n=1.0)

        (found,) = made.fetch_trials()

        assert [project.name for project in made.fetch_projects()] == ["digits"]
        assert list(found.metrics["n"].val) == [1.0]
        made.close()
    assert (tmp_path / "runs.json").exists()


class Echo:
    """Has every method, which returns its own name."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: name


def test_every_method_of_a_protocol_is_the_backends() -> None:
    """What the process that serves calls on the server, the backend does; only closing is the server's own."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    server.backend = Echo()  # type: ignore[assignment]
    verbs = [name for name, found in vars(Protocol).items() if inspect.isfunction(found) and name[0] != "_"]

    found = [name for name in verbs if name != "close" and getattr(server, name)() != name]

    assert found == []
    server.close()


def test_server_that_never_ran_is_closed(tmp_path: Path) -> None:
    """A server that was only made, or only listens, gives everything back, and does not run any more."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    address = server.listen()

    server.close()
    server.run_server()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 20)


def test_server_that_is_stopped_twice() -> None:
    """Stopping and closing again does nothing."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    with running(server) as port:
        server.stop()

    server.stop()
    server.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 20)


def test_server_stops_while_clients_are_connected() -> None:
    """A server that stops closes the connections of its clients; they notice at their next call."""
    with serving("ephemeral:") as port:
        made = SocketClient(f"socket://127.0.0.1:{port}")
        made.fetch_projects()

    with pytest.raises(BackendUnavailable, match="is it running"):
        made.fetch_projects()
    made.close()


def test_signal_handler_stops_a_server_in_a_thread() -> None:
    """A handler of the original's kind stops a server that runs in another thread."""
    server = SocketServer(server_uri("ephemeral:", "127.0.0.1", 0, None))
    handler = ServerSignalHandler(server)
    thread = threading.Thread(target=server.run_server)
    thread.start()

    handler.sigint(signal.SIGINT, None)

    thread.join(30)
    assert not thread.is_alive()
    handler.close()


def _serve_and_be_interrupted(folder: Path) -> None:
    ready = folder / "ready"

    class Noting(SocketServer):
        def listen(self) -> tuple[str, int]:
            address = super().listen()
            ready.write_text(str(address[1]))
            return address

    import track.persistence.socketed as module

    module.SocketServer = Noting  # type: ignore[misc]
    try:
        start_track_server(f"file:{folder}/runs.json", "127.0.0.1", 0, backend="AES")
    except KeyboardInterrupt:
        (folder / "interrupted").touch()


def test_interrupted_server(tmp_path: Path) -> None:
    """`start_track_server` ends with KeyboardInterrupt when it is interrupted, after what is under way."""
    pid = fork(_serve_and_be_interrupted, tmp_path)
    wait_until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text())
    port = int((tmp_path / "ready").read_text())
    made = SocketClient(f"socket://127.0.0.1:{port}?security_layer=AES")
    new_trial(made)
    os.kill(pid, signal.SIGINT)

    assert wait(pid) == 0
    assert (tmp_path / "interrupted").exists()
    assert len(FileProtocol(f"file:{tmp_path}/runs.json").fetch_trials()) == 1
    made.close()


# the client


def test_client_that_is_forgotten_leaves_nothing(protocol: SocketClient) -> None:
    """A client that nobody refers to is collected, although a thread sends for it."""
    made = SocketClient(protocol.uri)
    trial = new_trial(made)
    made.log_trial_metrics(trial, n=1.0)
    made.flush(60)
    reference = weakref.ref(made)

    made.remote.close()
    del made
    gc.collect()

    assert reference() is None


def test_child_has_a_connection_of_its_own(protocol: SocketClient) -> None:
    """A process that forks goes on: parent and child do not share a connection."""
    trial = new_trial(protocol)

    def child() -> None:
        for number in range(20):
            protocol.fetch_and_update_trial({"uid": trial.uid}, "log_trial_metrics", n=float(number))

    codes = [run(child) for _ in range(2)]
    for number in range(20):
        protocol.fetch_and_update_trial({"uid": trial.uid}, "log_trial_metrics", n=float(number))

    (found,) = protocol.fetch_trials()
    assert codes == [0, 0]
    assert list(found.metrics["n"].val) == [float(number) for number in range(20)] * 3


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("socket:", "should read like"),
        ("socket://db/path", "should read like"),
        ("socket://db?fingerprint=x", "is for security_layer=AES"),
        ("socket://db?security_layer=AES&cafile=x", "is for security_layer=TLS"),
        ("socket://db?security_layer=DES", "should be one of"),
    ],
)
def test_uri_that_cannot_be(uri: str, named: str) -> None:
    """A URI that cannot be right is refused at once, with the way out."""
    with pytest.raises(InvalidUri, match=named):
        get_protocol(uri)


def test_nobody_there() -> None:
    """A server that is not there is an error that says where it was looked for."""
    with serving("ephemeral:") as port:
        pass
    made = SocketClient(f"socket://127.0.0.1:{port}")

    with pytest.raises(BackendUnavailable, match=f"127.0.0.1:{port} cannot be reached .*is it running"):
        made.fetch_projects()


def test_copy_of_a_server_in_a_file(protocol: SocketClient, tmp_path: Path) -> None:
    """Saving under a name writes a file where the client is."""
    client = TrackClient(protocol.uri)
    with client.new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=0.5)

    client.save(str(tmp_path / "copy.json"))

    (found,) = FileProtocol(f"file:{tmp_path}/copy.json").fetch_trials()
    assert dict(found.metrics["loss"]) == {0: 0.5}
    client.protocol.close()
