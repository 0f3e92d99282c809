"""A store that is damaged under a run, or takes nothing any more: what is logged is kept, and no more is promised."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.servers import postgres
from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.structure import Project, Trial


@pytest.fixture(autouse=True)
def _own_spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))


def _begin(protocol: Protocol) -> Trial:
    protocol.new_project(Project(name="digits"))
    trial = protocol.new_trial(Trial(parameters={"lr": 0.1}, project_id="digits"), auto_increment=True)
    assert trial is not None
    protocol.flush(30)
    return trial


def _said_after(uri: str, damage: Callable[[], None]) -> tuple[int, str]:
    """Return how many events are not stored that are logged after the damage, and what is said of them."""
    with closing(get_protocol(uri)) as protocol:
        trial = _begin(protocol)
        damage()
        protocol.log_trial_metrics(trial, step=0, loss=0.5)
        protocol.flush()
        return protocol.unsaved(), protocol.remedy


def _drop_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE trials")
        connection.commit()


def _damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"rubbish!" * (path.stat().st_size // 8))


@pytest.mark.parametrize("damage", [_drop_table, _damage])
def test_damaged_file_is_not_said_to_be_written_by_the_next_run(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """A table that is gone, pages that were overwritten: what is logged waits, and what is wrong is said."""
    path = tmp_path / "runs.db"

    unsaved, remedy = _said_after(f"sqlite:{path}", lambda: damage(path))

    assert unsaved == 1
    assert "is kept until this is repaired: " in remedy
    assert "next run" not in remedy


def test_folder_that_cannot_be_made_is_not_said_to_be_written_by_the_next_run(tmp_path: Path) -> None:
    """Where no file can be made, what is logged offline waits, and what is wrong is said."""
    (tmp_path / "file").touch()
    with closing(get_protocol(f"sqlite:{tmp_path}/file/runs.db?offline=1")) as protocol:
        protocol.new_project(Project(name="digits"))
        protocol.flush()

        assert protocol.unsaved() > 0
        assert "cannot be opened" in protocol.remedy
        assert "next run" not in protocol.remedy


@pytest.mark.network
@pytest.mark.parametrize(
    "statement", ["REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}", "DROP TABLE trials CASCADE"]
)
def test_database_that_refuses_is_not_said_to_be_written_by_the_next_run(
    statement: str, sql_server: postgres.Postgres
) -> None:
    """Rights that were taken, a table that is gone: what is logged waits, and what is wrong is said."""
    uri = sql_server.new_database()
    name = urlsplit(uri).path.strip("/")
    role = f"logger_{name}"

    def run(*statements: str) -> None:
        address = {"host": "127.0.0.1", "port": sql_server.port, "user": "postgres", "dbname": name}
        with closing(psycopg2.connect(**address)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for one in statements:
                    cursor.execute(one)

    with closing(get_protocol(uri)) as protocol:
        _begin(protocol)
    tables, sequences = (f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {role}" for kind in ("TABLES", "SEQUENCES"))
    run(f"CREATE ROLE {role} LOGIN", tables, sequences)

    unsaved, remedy = _said_after(uri.replace("postgres@", f"{role}@"), lambda: run(statement.format(role=role)))

    assert unsaved == 1
    assert "is kept until this is repaired: " in remedy
    assert "next run" not in remedy
