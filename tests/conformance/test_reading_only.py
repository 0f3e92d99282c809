"""Whoever only reads writes nothing, and needs no right to: roles that may SELECT, replicas, read-only files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import track
from tests.children import printed_by
from tests.servers.mongo import MongoWire, connected
from track import TrackClient
from track.errors import BackendUnavailable
from track.persistence import get_protocol
from track.persistence.sqlite import SqliteProtocol
from track.persistence.utils import parse_uri


def _write(uri: str) -> None:
    client = TrackClient(uri)
    client.set_project(name="digits")
    client.set_group(name="first")
    with client.new_trial(name="one", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=1.0)
    client.protocol.close()


def _read(uri: str) -> list[Any]:
    """Return what every way to read a store finds."""
    client = TrackClient(uri)
    protocol = client.protocol
    trials = track.fetch(uri)
    found = [
        [trial.name for trial in trials],
        [trial.metrics["loss"][0] for trial in trials],
        [project.name for project in protocol.fetch_projects()],
        [group.name for group in protocol.fetch_groups()],
        len(track.fetch(uri, {"parameters.lr": {"$gt": 0}, "metrics.loss": 1.0})),
    ]
    protocol.close()
    return found


STORED = [["one"], [1.0], ["digits"], ["first"], 1]
NOTHING: list[Any] = [[], [], [], [], 0]


@contextmanager
def _cursor(uri: str) -> Iterator[Any]:
    parts = parse_uri(uri)
    connection = psycopg2.connect(
        host=parts["address"], port=parts["port"], user=parts["username"], dbname=parts["path"].strip("/")
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


def _tables(uri: str) -> list[str]:
    with _cursor(uri) as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def reader_uri(sql_uri: str) -> Iterator[str]:
    """Give the URI of a database for somebody who may SELECT what there will be, and nothing else."""
    role = f"reader_{secrets.token_hex(4)}"
    with _cursor(sql_uri) as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN")
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        cursor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}")
    yield sql_uri.replace(f"//{parse_uri(sql_uri)['username']}@", f"//{role}@")
    with _cursor(sql_uri) as cursor:
        cursor.execute(f"DROP OWNED BY {role}")
        cursor.execute(f"DROP ROLE {role}")


def test_who_may_select_reads(sql_uri: str, reader_uri: str) -> None:
    """A role without any other right reads everything, before there are tables and after; it writes nothing."""
    before = _read(reader_uri), _tables(sql_uri)
    _write(sql_uri)
    after = _read(reader_uri)

    with pytest.raises(BackendUnavailable, match="GRANT"):
        _write(reader_uri)

    assert before == (NOTHING, [])
    assert after == STORED


def test_replica_is_read(sql_uri: str) -> None:
    """A database whose transactions only read, as those of a replica, answers; who writes is told what it is."""
    database = parse_uri(sql_uri)["path"].strip("/")
    with _cursor(sql_uri) as cursor:
        cursor.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    before = _read(sql_uri), _tables(sql_uri)
    with _cursor(sql_uri) as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    _write(sql_uri)
    with _cursor(sql_uri) as cursor:
        cursor.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")

    with pytest.raises(BackendUnavailable, match="replica"):
        _write(sql_uri)

    assert before == (NOTHING, [])
    assert _read(sql_uri) == STORED


@pytest.fixture
def own_mongo_uri(mongo_uri: str) -> Iterator[str]:
    """Give an empty database of a server of its own: that of all tests may be busy with what they have left."""
    if "TRACK_TEST_MONGODB" in os.environ:
        yield mongo_uri
        return
    with closing(MongoWire()) as server:
        yield server.new_database()


def test_reading_makes_no_collection(own_mongo_uri: str) -> None:
    """To read an empty database of MongoDB leaves it empty."""
    assert _read(own_mongo_uri) == NOTHING
    with connected(own_mongo_uri) as database:
        assert database.list_collection_names() == []
    _write(own_mongo_uri)

    assert _read(own_mongo_uri) == STORED


def test_reading_makes_no_table(tmp_path: Path) -> None:
    """To read an SQLite file without tables, as one that was just made, leaves it as it is."""
    path = tmp_path / "runs.db"
    path.touch()

    assert SqliteProtocol(f"sqlite:{path}").fetch_trials() == []
    assert SqliteProtocol(f"sqlite:{path}").last("nobody") == -1

    _write(f"sqlite:{path}")
    assert _read(f"sqlite:{path}") == STORED


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_files_that_are_read_only_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may write neither the file nor its folder reads a store in SQLite, and leaves nothing."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    folder = tmp_path / "shared"
    folder.mkdir()
    uri = f"sqlite:{folder}/runs.db"
    _write(uri)
    get_protocol(uri).close()
    (folder / "runs.db").chmod(0o444)
    folder.chmod(0o555)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    names = sorted(os.listdir(folder))

    printed = printed_by(f"""
import os
import track
import track.persistence.sqlite
from track import TrackClient
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print([trial.name for trial in track.fetch({uri!r})], len(TrackClient({uri!r}).protocol.fetch_projects()))
""")

    assert printed.strip() == "['one'] 1"
    assert sorted(os.listdir(folder)) == names
