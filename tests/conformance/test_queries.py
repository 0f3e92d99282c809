"""A database narrows a query, and never hides a trial that memory would find."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.servers.track import serving
from track.events import Event, MetricsLogged
from track.persistence.cockroach import Cockroach
from track.persistence.contract.checks import trial_created
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.mongodb import MongoProtocol
from track.persistence.registry import get_protocol
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial

PARAMETERS: dict[str, dict[str, Any]] = {
    "a": {"big": 1, "a.b": "text", "flag": True},
    "b": {"big": 2**1100, "$odd": 1, "flag": 1},
    "c": {"big": float("inf"), "flag": 1.0},
    "d": {"big": 7.5, "a": {"b": 1}},
    "e": {"big": float("nan"), "a.b": 1},
    "f": {"a.b": 1, "a": {"b": 2}},
}
MEASURED: list[Event] = [
    MetricsLogged("a_0", {"loss": 9.0, "both": 1.0}, 1.0, 0),
    MetricsLogged("a_0", {"loss": 2.0}, 1.0, 1),
    MetricsLogged("a_0", {"both": 5.0}, 1.0),
    MetricsLogged("b_0", {"loss": 2**70}, 1.0, 1),
    MetricsLogged("c_0", {"loss": True}, 1.0, 1),
    MetricsLogged("d_0", {"x.y": 1.0, "both": 1.0}, 1.0),
    MetricsLogged("d_0", {"both": 2.0}, 1.0, 1),
    MetricsLogged("d_0", {"low": 1.0}, 1.0, None, ["min"]),
    MetricsLogged("d_0", {"low": 5.0}, 1.0, None, ["min"]),
    MetricsLogged("e_0", {"loss": float("inf"), "both": float("nan")}, 1.0, 0),
    MetricsLogged("e_0", {"speed": 0.1}, 1.0, None, ["stat", 0]),
    MetricsLogged("e_0", {"speed": 0.3}, 1.0, None, ["stat", 0]),
    MetricsLogged("e_0", {"kept": 3.0}, 1.0, None, ["value"]),
]
QUERIES: list[Any] = [
    *({"parameters.big": {name: 5}} for name in ("$gt", "$gte", "$lt", "$lte", "$ne", "$eq")),
    {"parameters.big": {"$gt": 1e300}},
    {"parameters.big": float("inf")},
    {"parameters.flag": 1},
    {"parameters.flag": True},
    {"parameters.a.b": 1},
    {"parameters.a.b": "text"},
    {"parameters.$odd": 1},
    *({"metrics.loss": {name: 1}} for name in ("$gt", "$gte", "$lt", "$lte", "$ne", "$eq")),
    {"metrics.loss": True},
    {"metrics.loss": {"$gt": 0, "$lt": 3}},
    {"metrics.loss.0": 9.0},
    {"metrics.loss.1": {"$gte": 2}},
    {"metrics.both": {"$gte": 1}},
    {"metrics.both": {"$lt": 100}},
    {"metrics.x.y": 1.0},
    {"metrics.low": {"$lt": 2}},
    {"metrics.speed": {"$gt": 0.2}},
    {"metrics.kept": 3.0},
    {"metrics.none": {"$exists": False}},
    {"project_id": 7},
    {"revision": True},
    {"uid": {"$in": ["a_0", "e_0", 3]}},
    {"hash": {"$nin": ["a"]}},
    {"project_id": {"$in": ["7", "x"]}},
    {"$or": [{"uid": "a_0"}, {"hash": {"$in": ["b", "c"]}}]},
    {"$or": [{"metrics.loss": {"$gt": 5}}, {"parameters.flag": 1}, {"name": "f"}]},
    {"$or": [{"metrics.loss": {"$gt": 5}}, {"uid": "d_0", "metrics.both": {"$lt": 3}}]},
    {"$or": [{}, {"uid": "a_0"}]},
    {"$and": [{"uid": {"$in": ["a_0", "b_0"]}}, {"metrics.loss": {"$lt": 5}}]},
    {"$not": {"uid": "a_0"}},
    {"$not": {"uid": {"$in": ["a_0", 3]}}},
    {"$not": {"uid": "no\0thing"}},
    {"$not": {"project_id": "x"}},
    {"$not": {"project_id": 7}},
    {"$not": {"group_id": {"$in": ["x", "y"]}}},
    {"$not": {"group_id": None}},
    {"$not": {"revision": 0}},
    {"$not": {"revision": {"$in": [1, 2]}}},
    {"$not": {}},
    *({"$not": {"metrics.loss": {name: 2}}} for name in ("$gt", "$gte", "$lt", "$lte", "$ne", "$eq")),
    *({"$not": {"parameters.big": {name: 5}}} for name in ("$gt", "$gte", "$lt", "$lte", "$ne", "$eq")),
    {"metrics.both": {"$not": {"$gt": 1}}},
    {"metrics.loss": {"$gt": 1, "$not": {"$gt": 5}}},
    {"$not": {"$or": [{"uid": "a_0"}, {"metrics.loss": {"$lt": 3}}]}},
    {"$not": {"$not": {"metrics.loss": {"$lt": 3}}}},
    {"$not": {"uid": "a_0", "metrics.loss": {"$lt": 3}}},
    {"$or": [{"status": "failed"}, {"$not": {"status": "createdgroup"}}, {"uid": "e_0"}]},
    {"status": {"$ne": "failed"}},
    {"$or": [{"name": {"$regex": "^[ab]$"}}, {"hash": "c"}]},
    {"$or": [{"hash": name} for name in "abc" * 50]},
]
SORTS: list[Any] = [
    *(
        f"{sign}metrics.{name}"
        for sign in ("", "-")
        for name in ("loss", "both", "low", "speed", "kept", "x.y", "none")
    ),
    *("-parameters.big", "parameters.a.b", ["parameters.flag", "-name"], "-revision", None),
]


def filled(protocol: EventProtocol) -> EventProtocol:
    """Return the backend with trials that are hard to query."""
    for name, values in PARAMETERS.items():
        trial = Trial(name, name=name, parameters=values, project_id=7 if name == "b" else None)
        protocol.apply(trial_created(trial, 1.0))
    protocol.apply(*MEASURED)
    return protocol


def differences(protocol: EventProtocol) -> list[tuple[Any, list[str], list[str]]]:
    """Return the queries to which a backend gives another answer than memory, and both answers."""
    memory = filled(EphemeralProtocol())
    found = []
    for query in QUERIES:
        expected = [str(trial.name) for trial in memory.fetch_trials(query)]
        answer = [str(trial.name) for trial in protocol.fetch_trials(query)]
        if answer != expected:
            found.append((query, answer, expected))
    for sort, limit, query in itertools.product(SORTS, (None, 0, 1, 3, 6), (None, {"hash": {"$in": ["a", "b", "e"]}})):
        arguments = (query, sort, limit)
        expected = [str(trial.name) for trial in memory.select_trials(*arguments)]
        answer = [str(trial.name) for trial in protocol.select_trials(*arguments)]
        if answer != expected:
            found.append((arguments, answer, expected))
    return found


def test_sqlite_answers_like_memory(tmp_path: Path) -> None:
    """Every query finds in SQLite what it finds in memory."""
    assert differences(filled(SqliteProtocol(f"sqlite:{tmp_path}/runs.db"))) == []


@pytest.mark.network
def test_server_answers_like_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every query finds through a server what it finds in memory."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    with serving(f"sqlite:{tmp_path}/runs.db") as port:
        client = get_protocol(f"socket://127.0.0.1:{port}")
        assert differences(filled(client)) == []  # type: ignore[arg-type]
        client.close()


@pytest.mark.network
def test_mongodb_answers_like_memory(mongo_uri: str) -> None:
    """Every query finds in MongoDB what it finds in memory."""
    protocol = MongoProtocol(mongo_uri)

    assert differences(filled(protocol)) == []
    protocol.close()


def test_best_trials_are_found_by_their_last_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL reads the documents of the trials that are asked for, and of no others."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    for number in range(20):
        protocol.apply(trial_created(Trial(f"t{number}", name=str(number)), 1.0))
        protocol.apply(MetricsLogged(f"t{number}_0", {"loss": number % 7 + 0.5}, 1.0, 0))
    read: list[str] = []
    monkeypatch.setattr(protocol, "_trial", lambda row, kept=protocol._trial: read.append("") or kept(row))

    found = protocol.select_trials(None, "-metrics.loss", 3)
    named = protocol.select_trials({"$or": [{"uid": "t3_0"}, {"$not": {"metrics.loss": {"$lt": 6}}}]})

    assert [trial.name for trial in found] == ["6", "13", "5"]
    assert [trial.name for trial in named] == ["3", "6", "13"]
    assert len(read) == 6


@pytest.mark.network
def test_postgresql_answers_like_memory(sql_uri: str) -> None:
    """Every query finds in PostgreSQL what it finds in memory."""
    assert differences(filled(Cockroach(sql_uri))) == []
