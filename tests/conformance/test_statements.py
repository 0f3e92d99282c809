"""What is sent to a database is SQL that CockroachDB has too: every statement of the conformance kit is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.conformance.test_cockroach import TestCockroach as _Kit
from track.persistence.cockroach import Cockroach, PostgresDriver
from track.persistence.protocol import Protocol
from track.persistence.sql.rows import MIGRATIONS
from track.structure import Project, Trial, TrialGroup

pytestmark = pytest.mark.network

MISSING = {
    # It has sequences; the numbers of SERIAL are others there.
    "SERIAL, identity": r"\b(small|big)?serial\d*\b|\bidentity\b|\bsetval\b|\blast_value\b",
    "INT of 32 bits": r"\b(int|integer|int4|smallint)\b",
    "division of integers": r"(?<!['\w])/(?![*'])|//",
    "advisory locks": r"advisory",
    "FOR UPDATE": r"\bfor\s+(update|share|no\s+key|key)\b|\block\s+table\b",
    "types of PostgreSQL only": r"\bcreate\s+domain\b|\b(int4|int8|num|ts|tstz|date)range\b|\bxml\b|\bmoney\b",
    "foreign data, templates, hash indexes": r"\bforeign\s+data\b|\btemplate\b|\busing\s+hash\b",
    "LISTEN, NOTIFY": r"\b(un)?listen\b|\bnotify\b",
    "DEFERRABLE": r"\bdeferrable\b",
    "cursors": r"\bdeclare\b|\bfetch\b",
    "triggers, functions": r"\btrigger\b|\bfunction\b|\bplpgsql\b|\$\$",
    "JSON with a constraint": r"\bjsonb?\b[^,)]*\b(primary|unique|references)\b",
    "savepoints": r"\bsavepoint\b",
    "several mutations in one statement": r"\bwith\b.*\b(insert|update|delete)\b.*\b(insert|update|delete)\b",
    "changing a primary key": r"\bdrop\s+constraint\b|\balter\s+table\b.*\bprimary\b",
    "bitwise operators": r"(?<![|'])[&#~](?!')|(?<!\|)\|(?!\|)",
    "vacuum, cluster, inherit": r"\bvacuum\b|\bcluster\b|\binherits\b|\bunlogged\b|\btablespace\b",
}
sent: set[str] = set()


class _Listening(PostgresDriver):
    """Notes every statement that is sent to CockroachDB."""

    def connect(self) -> Any:
        """Return a connection that is used as one to CockroachDB, which has no such turns."""
        connection = super().connect()
        self.take_turn = ""
        return connection

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """Note a statement, and run it."""
        sent.add(sql)
        return super().execute(connection, sql, parameters)

    def insert(self, connection: Any, sql: str, rows: Sequence[Any], suffix: str) -> None:
        """Note an insertion, and do it."""
        sent.add(f"{sql} VALUES (?) {suffix}")
        super().insert(connection, sql, rows, suffix)


class TestStatements(_Kit):
    """The whole kit once more, noting what is sent; the last test reads it."""

    @pytest.fixture(autouse=True)
    def _listen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("track.persistence.cockroach.PostgresDriver", _Listening)


def problems(statement: str) -> list[str]:
    """Return what CockroachDB lacks of what a statement uses."""
    text = re.sub(r"'[^']*'", "''", statement.lower())
    found = [name for name, pattern in MISSING.items() if re.search(pattern, text, re.DOTALL)]
    if text.lstrip().startswith("create table") and "primary key" not in text:
        found.append("a table without a primary key")
    if re.search(r"\border\s+by\b", text) and not re.search(r"\border\s+by\s+(\w+\.)?(position|seq)\b", text):
        found.append("an order that NULL may be in")
    return found


def test_every_statement_is_in_cockroachdb(sql_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement uses what CockroachDB lacks, or answers otherwise than PostgreSQL does."""
    monkeypatch.setattr("track.persistence.cockroach.PostgresDriver", _Listening)
    protocol: Protocol = Cockroach(sql_uri)
    # The least, where this test runs alone.
    protocol.new_project(Project(name="digits"))
    protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))
    trial = protocol.new_trial(Trial(parameters={"lr": 0.1}, project_id="digits"))
    assert trial is not None
    protocol.log_trial_metrics(trial, step=0, loss=0.5)
    protocol.fetch_trials({"metrics.loss": {"$lt": 1}, "parameters.lr": {"$gt": 0}, "status": "Running"})
    protocol.close()

    found = {statement: problems(statement) for statement in sent}

    assert {statement: names for statement, names in found.items() if names} == {}
    assert len(sent) > 20


@pytest.mark.parametrize("step", MIGRATIONS)
def test_every_migration_is_in_cockroachdb(step: tuple[str, ...]) -> None:
    """Tables and indexes are made with what both have."""
    assert [problems(statement) for statement in step] == [[] for _ in step]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id SERIAL PRIMARY KEY)",
        "CREATE TABLE t (id BIGINT)",
        "SELECT a / b FROM t",
        "SELECT pg_advisory_lock(1)",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT a FROM t ORDER BY name",
        "LISTEN changes",
    ],
)
def test_reading_finds_what_is_missing(statement: str) -> None:
    """The patterns find what they are for."""
    assert problems(statement)
