"""The SQLite backend keeps the contract, and answers like the model."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import track
from tests.children import python, run_all
from track import TrackClient
from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.persistence.sql import Database
from track.persistence.sqlite import SqliteDriver, SqliteProtocol
from track.structure import Project
from track.testing import ProtocolTests


class TestSqlite(ProtocolTests):
    """One SQLite file, without the delivery layer."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new file."""
        return SqliteProtocol(f"sqlite:{tmp_path}/runs.db")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol with a connection of its own."""
        assert isinstance(protocol, SqliteProtocol)
        return SqliteProtocol(protocol.uri)


class TestSqliteDelivered(ProtocolTests):
    """The same as a user gets it: behind the delivery layer."""

    @pytest.fixture
    def protocol(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give a store in a new file, with a spill of its own."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        protocol = get_protocol(f"sqlite:{tmp_path}/runs.db")
        self.path = tmp_path / "runs.db"
        yield protocol
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol that reads what was delivered."""
        protocol.flush()
        return SqliteProtocol(f"sqlite:{self.path}")


def test_a_new_file_that_is_busy_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that is making the same file is waited for as long as for any lock, and is no bad folder."""
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    database = Database(SqliteDriver(str(tmp_path / "runs.db"), 0.01, durable=False), 30.0)
    monkeypatch.setattr("track.persistence.sql.database.time.sleep", lambda _: other.rollback())

    assert database.transaction(lambda: database.rows("PRAGMA journal_mode")) == [("wal",)]

    database.close()
    other.close()


def _begin(uri: str, number: int) -> None:
    protocol = SqliteProtocol(uri)
    protocol.new_project(Project(name=f"project {number}"))
    protocol.close()


def test_processes_make_a_new_file_at_once(tmp_path: Path) -> None:
    """Of several processes that open a store that is not there yet, each stores what it has to."""
    for attempt in range(10):
        uri = f"sqlite:{tmp_path}/{attempt}.db"

        codes = run_all(_begin, [(uri, number) for number in range(4)])

        assert codes == [0] * 4
        assert len(SqliteProtocol(uri).fetch_projects()) == 4


def test_a_path_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that mean something in a URI are found again by whoever delivers, and by whoever reads."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    uri = f"sqlite:{tmp_path}/50%25 of é%23%3F;&.db"

    with TrackClient(uri).new_trial(parameters={}) as trial:
        trial.log_metrics(loss=0.5)

    assert (tmp_path / "50% of é#?;&.db").is_file()
    assert [stored.uid for stored in track.fetch(uri)] == [trial.trial.uid]


def test_who_reads_and_who_writes_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A page answers while another program holds the right to write, and whatever it reads, that program may store."""
    writer, reader = (SqliteProtocol(f"sqlite:{tmp_path}/runs.db?timeout=0.2") for _ in range(2))
    writer.new_project(Project(name="one"))
    cursor, _ = reader.changes()

    def read() -> None:
        assert reader.changes(cursor)[1] == reader.brief_trials() == reader.fetch_trials() == []
        assert len(reader.fetch_projects()) == 1

    writer.database.transaction(read)
    reader.database.reading(lambda: writer.new_project(Project(name="two")))

    assert len(reader.fetch_projects()) == 2


def test_a_question_makes_no_file(tmp_path: Path) -> None:
    """Who misspells a path is told of no runs, and finds no empty store there afterwards; what is written makes it."""
    protocol = SqliteProtocol(f"sqlite:{tmp_path}/misspelt/runs.db")

    assert protocol.fetch_trials() == protocol.fetch_projects() == protocol.fetch_groups() == []
    assert protocol.get_project(Project(name="digits")) is None
    assert (protocol.identity(), protocol.former_identities(), protocol.unread()) == ("", [], [])
    assert not (tmp_path / "misspelt").exists()

    protocol.new_project(Project(name="digits"))
    assert (tmp_path / "misspelt" / "runs.db").is_file()
    protocol.close()


def test_a_second_connection_takes_no_lock_away(tmp_path: Path) -> None:
    """Making a connection does not open and close the file, which would give up the locks of the first one."""
    path = str(tmp_path / "runs.db")
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        SqliteDriver(path, 0.01, durable=False).connect()
    # Of a process that shares no memory with this one.
    other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0.01).execute('BEGIN IMMEDIATE')"
    done = python("-c", other, path)

    assert "database is locked" in done.stderr
    held.close()
