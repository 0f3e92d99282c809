"""What a track server refuses to those who are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.served import client, new_trial, visitor
from tests.servers.track import serving
from track.errors import BackendUnavailable, InvalidEvent, InvalidQuery, RPCCallFailure
from track.events import FieldsMerged, MetricsLogged, TrialAttached, TrialCreated
from track.persistence.rpc.client import SocketClient
from track.persistence.users import Users
from track.structure import Project

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]


def test_reader_may_read(users: str) -> None:
    """A user who may read sees what others have stored."""
    with serving("ephemeral:", users=users) as port:
        writer = SocketClient(f"socket://will:willwill@127.0.0.1:{port}")
        trial = new_trial(writer)
        only = SocketClient(f"socket://rita:ritarita@127.0.0.1:{port}")

        found = only.fetch_trials({"uid": trial.uid})

        assert [one.parameters for one in found] == [{"lr": 0.1}]
        writer.close()
        only.close()


def test_reader_may_not_write(users: str) -> None:
    """A user who may only read cannot create, decide or log."""
    with serving("ephemeral:", users=users) as port:
        protocol = SocketClient(f"socket://rita:ritarita@127.0.0.1:{port}")

        with pytest.raises(RPCCallFailure, match="'rita' may read"):
            protocol.new_project(Project(name="digits"))
        with pytest.raises(BackendUnavailable, match="'rita' may read"):
            protocol.server.receive("w", 0, [TrialCreated("ab", 0, 1.0)])

        assert protocol.fetch_trials() == []
        protocol.server.close()
        protocol.close()


@pytest.mark.parametrize(
    "name", ["__init__", "storage", "__class__", "_run", "handle_client", "new_trial", "authenticate", "close", "", "é"]
)
def test_method_that_is_not_in_the_table(name: str) -> None:
    """Only names of the table can be called; others are refused, and the connection goes on."""
    with serving("ephemeral:") as port, visitor(port) as found:
        reply = found.ask(name)

        assert (reply.status, reply.kind) == (1, "RPCCallFailure")
        assert f"no call {name!r}" in reply.error
        assert found.ask("ping").value is True


@pytest.mark.parametrize(
    "arguments",
    [{"file_name_override": "/tmp/stolen.json"}, {"path": "x"}, {"uri": "file:///tmp/x.json"}, {"backend": "file:x"}],
)
@pytest.mark.parametrize("name", ["commit", "fetch_trials", "receive", "decide", "has", "ping"])
def test_path_or_uri_from_a_client(tmp_path: Path, name: str, arguments: dict[str, str]) -> None:
    """No call takes a path or a URI: nothing a client says names a place on the server's disk."""
    with serving(f"file:{tmp_path}/store/runs.json") as port, visitor(port) as found:
        reply = found.ask(name, **arguments)

        assert (reply.status, reply.kind) == (1, "RPCCallFailure")
        assert "arguments" in reply.error


def test_only_an_admin_saves_the_store(users: str) -> None:
    """The server's own store is saved for who may do what concerns the server."""
    with serving("ephemeral:", users=users) as port:
        with visitor(port, "will") as found:
            assert "for those who may admin" in found.ask("commit").error
        with visitor(port, "ada") as found:
            assert found.ask("commit").value is True


@pytest.mark.parametrize(
    "event",
    [
        FieldsMerged("trial", "ab_0", "__dict__", {"metrics": 1}, 1.0),
        FieldsMerged("group", "g", "__class__", {"a": 1}, 1.0),
        FieldsMerged("trial", "ab_0", "metrics", {"a": 1}, 1.0),
        FieldsMerged("file", "x", "tags", {"a": 1}, 1.0),
        TrialAttached("ab_0", "server", "x", 1.0),
        MetricsLogged("ab_0", {"a": 1.0}, 1.0, aggregator=["ring", 10**12]),
        MetricsLogged("ab_0", {"a": 1.0}, 1.0, aggregator=[]),
        TrialCreated("cd", 0, 1.0, metrics={"a": {"dtype": "ring", "arguments": [10**12], "value": []}}),
    ],
)
def test_event_that_would_mean_more_than_it_says(event: Any) -> None:
    """An event cannot reach into an object, or ask for memory: it is refused for good, and nothing is stored."""
    with serving("ephemeral:") as port:
        protocol = client(port)
        protocol.server.receive("w", 0, [TrialCreated("ab", 0, 1.0)])

        with pytest.raises(InvalidEvent):
            protocol.server.receive("w", 1, [event])

        assert [trial.uid for trial in protocol.fetch_trials()] == ["ab_0"]
        protocol.server.close()
        protocol.close()


def test_one_writer_cannot_speak_for_another(users: str) -> None:
    """The numbers of a user's events say nothing about another user's, whatever names they give."""
    Users(users).add("eve", "eveeve", "write")
    with serving("ephemeral:", users=users) as port:
        will, eve = (SocketClient(f"socket://{name}:{name * 2}@127.0.0.1:{port}") for name in ("will", "eve"))
        eve.server.receive("spill", 10**6, [TrialCreated("cd", 0, 1.0)])

        will.server.receive("spill", 0, [TrialCreated("ab", 0, 1.0)])

        assert [trial.uid for trial in will.fetch_trials()] == ["cd_0", "ab_0"]
        for protocol in (will, eve):
            protocol.server.close()
            protocol.close()


def _nested(depth: int) -> list[Any]:
    condition: list[Any] = ["name", "$eq", "digits"]
    for _ in range(depth):
        condition = ["$not", "$not", [[condition]]]
    return [condition]


@pytest.mark.parametrize(
    "asked",
    [
        {"query": [["$or", "$or", [[["name", "$regex", "(d+)+$"]]]]]},
        {"query": [["$or", "$or", "name"]]},
        {"query": [["$or", "$or", [[["name", "$eq"]]]]]},
        {"query": [["$not", "$not", []]]},
        {"query": [["name", "$or", 7]]},
        {"query": _nested(60)},
        {"sort": ["colour"]},
        {"sort": ["name"], "limit": -1},
    ],
    ids=["pattern", "no list", "no condition", "no query", "no attribute", "deep", "sort", "limit"],
)
def test_joined_query_of_a_stranger_is_refused(asked: dict[str, Any]) -> None:
    """Queries of queries from elsewhere are checked like others, and the server serves on."""
    with serving("ephemeral:") as port:
        protocol = client(port)
        trial = new_trial(protocol)

        with visitor(port) as other:
            refused = other.ask("fetch_trials", **asked)

        assert (refused.status, refused.kind) == (1, InvalidQuery.__name__)
        assert protocol.fetch_trials({"$or": [{"uid": trial.uid}, {"name": "x"}]}) == [trial]
        protocol.close()


def test_pattern_is_not_matched_by_the_server() -> None:
    """A pattern may take for ever: the server refuses it, and the client matches it itself."""
    with serving("ephemeral:") as port:
        protocol = client(port)
        new_trial(protocol)

        found = protocol.fetch_projects({"name": {"$regex": "^dig"}})
        with visitor(port) as other:
            refused = other.ask("fetch_projects", query=[["name", "$regex", "(d+)+$"]])

        assert [project.name for project in found] == ["digits"]
        assert (refused.status, refused.kind) == (1, InvalidQuery.__name__)
        protocol.close()
