"""Transactions that break at the worst moment: a decision is made once, and the caller is told what it became."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from track.errors import BackendUnavailable, OutcomeUnknown
from track.persistence.cockroach import PostgresDriver
from track.persistence.sql.database import Database, Outcome
from track.persistence.sqlite import SqliteDriver


class Broken(sqlite3.Error):
    """The connection broke."""


class FaultyDriver(SqliteDriver):
    """SQLite whose commits break: before, or after they are made; and whose connections fail."""

    is_certain = False

    def __init__(self, path: str) -> None:
        super().__init__(path, 5.0, durable=False)
        self.faults: list[str] = []
        self.is_away = False

    def connect(self) -> sqlite3.Connection:
        """Return a connection."""
        if self.is_away:
            raise BackendUnavailable("the server is away")
        return super().connect()

    def execute(self, connection: sqlite3.Connection, sql: str, parameters: Any) -> list[Any]:
        """Run a statement, or break the connection at a commit."""
        fault = self.faults.pop(0) if sql == "COMMIT" and self.faults else ""
        if fault:
            if fault.startswith("after"):
                super().execute(connection, sql, parameters)
            connection.close()
            self.is_away = fault.endswith("away")
            raise Broken(fault)
        return super().execute(connection, sql, parameters)

    def outcome(self, error: Exception) -> Outcome:
        """Return what an error means."""
        return Outcome.UNKNOWN if isinstance(error, (Broken, sqlite3.ProgrammingError)) else super().outcome(error)


@pytest.fixture
def driver(tmp_path: Path) -> FaultyDriver:
    """Give a driver of an empty database."""
    return FaultyDriver(str(tmp_path / "runs.db"))


@pytest.fixture
def database(driver: FaultyDriver) -> Database:
    """Give a database with a table."""
    database = Database(driver, 5.0)
    database.transaction(lambda: database.rows("CREATE TABLE writers (writer TEXT PRIMARY KEY, seq BIGINT)"))
    database.transaction(lambda: database.rows("CREATE TABLE made (number BIGINT)"))
    return database


def _decide(database: Database) -> int:
    """Insert the next number, and return it: what it is depends on how often this is done."""

    def action() -> int:
        number = int(database.rows("SELECT COUNT(*) FROM made")[0][0])
        database.rows("INSERT INTO made VALUES (?)", number)
        return number

    return database.decide(action)


def _made(database: Database) -> list[int]:
    return [number for (number,) in database.transaction(lambda: database.rows("SELECT number FROM made"))]


@pytest.mark.parametrize("faults", ["before", "after", "before after", "before before before after"])
def test_decision_is_made_once(driver: FaultyDriver, database: Database, faults: str) -> None:
    """However often the answer to a commit is lost, the decision is made once and its own result is returned."""
    first = _decide(database)
    driver.faults = faults.split()

    second = _decide(database)

    assert (first, second) == (0, 1)
    assert _made(database) == [0, 1]
    assert not driver.faults


def test_threads_do_not_take_each_others_marks(driver: FaultyDriver, database: Database) -> None:
    """A decision whose commit was lost is not taken for made because another thread's was."""
    driver.faults = ["before", "", "after", ""] * 4
    results: list[int] = []

    threads = [threading.Thread(target=lambda: results.append(_decide(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == list(range(8))
    assert sorted(_made(database)) == list(range(8))


def test_unknown_outcome_is_said(driver: FaultyDriver, database: Database) -> None:
    """When the server stays away after a commit, the error says that nobody knows, and nothing is run again."""
    database.patience = 0.2
    driver.faults = ["after, away"]

    with pytest.raises(OutcomeUnknown, match="may be stored, or not"):
        _decide(database)

    driver.is_away = False
    assert _made(database) == [0]


def test_server_away_from_the_start_is_an_error_at_once(driver: FaultyDriver, database: Database) -> None:
    """Nothing was sent, so there is nothing to settle."""
    database.close()
    driver.is_away = True

    with pytest.raises(BackendUnavailable, match="is away") as caught:
        _decide(database)

    assert not isinstance(caught.value, OutcomeUnknown)


def test_thread_that_waits_for_another_ends(database: Database) -> None:
    """A transaction behind one that is stuck raises within its patience."""
    is_stuck, may_end = threading.Event(), threading.Event()

    def stick() -> None:
        is_stuck.set()
        may_end.wait()

    thread = threading.Thread(target=lambda: database.transaction(stick))
    thread.start()
    is_stuck.wait()
    database.patience = 0.1

    with pytest.raises(BackendUnavailable, match="another thread"):
        _decide(database)

    may_end.set()
    thread.join()


def test_reason_is_given_once() -> None:
    """What libpq says for each address of a host, and asks by itself, is said once."""
    text = (
        'connection to server at "localhost" (::1), port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
        'connection to server at "localhost" (127.0.0.1), port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
    )

    pytest.importorskip("psycopg2", reason="needs psycopg2")
    driver = PostgresDriver("cockroach://localhost", defaultdict(str, connect_timeout=2.0))

    said = [str(driver.translate(Exception(one))) for one in (text, 'FATAL:  database "track"  does not exist\n')]

    assert said[0].startswith("cockroach://localhost cannot be used (Connection refused): ")
    assert 'cannot be used (FATAL: database "track" does not exist): ' in said[1]
