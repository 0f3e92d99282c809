"""A database narrows a query, and never hides a trial that memory would find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from track.events import Event, MetricsLogged
from track.persistence.checks import trial_created
from track.persistence.cockroach import Cockroach
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
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
    return found


def test_sqlite_answers_like_memory(tmp_path: Path) -> None:
    """Every query finds in SQLite what it finds in memory."""
    assert differences(filled(SqliteProtocol(f"sqlite:{tmp_path}/runs.db"))) == []


@pytest.mark.network
def test_postgresql_answers_like_memory(sql_uri: str) -> None:
    """Every query finds in PostgreSQL what it finds in memory."""
    assert differences(filled(Cockroach(sql_uri))) == []
