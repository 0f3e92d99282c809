"""A store that is put back to an older state while clients go on: nothing is doubled, and nothing is lost unsaid."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.e2e.deliveries import MongoPlace, SqlPlace, new_trial
from tests.e2e.served import backend, count_up, killable, numbers
from tests.servers.mongo import connected
from track.cli import main
from track.errors import BackendUnavailable
from track.persistence import get_protocol
from track.persistence.delivery import refused_in
from track.persistence.delivery.protocol import DeliveredProtocol
from track.structure import Trial


class PutBack:
    """A store that can be copied, and put back to its copy while it is used."""

    uri: str

    def back_up(self) -> None:
        """Keep the store as it is now."""
        raise NotImplementedError

    def put_back(self) -> None:
        """Make the store what it was when it was copied."""
        raise NotImplementedError

    def open(self) -> DeliveredProtocol:
        """Return a backend as a user gets it."""
        protocol = get_protocol(self.uri)
        assert isinstance(protocol, DeliveredProtocol)
        return protocol


class Served(PutBack):
    """A store in a folder, behind a server."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._copy = folder.with_name("copy")
        self.uri = f"socket://127.0.0.1:{server.port}"

    def back_up(self) -> None:
        self._while_stopped(self._folder, self._copy)

    def put_back(self) -> None:
        self._while_stopped(self._copy, self._folder)

    def _while_stopped(self, source: Path, target: Path) -> None:
        self._server.end()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self._server.start()


class SqlPutBack(PutBack):
    """A database of PostgreSQL."""

    def __init__(self, place: SqlPlace) -> None:
        self._name = place.direct.partition("?")[0].rpartition("/")[2]
        self._port = place.server.port
        self._rows: dict[str, list[Any]] = {}
        self.uri = place.direct

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        connection = psycopg2.connect(host="127.0.0.1", port=self._port, user="postgres", dbname=self._name)
        with connection, connection.cursor() as cursor:
            yield cursor
        connection.close()

    def back_up(self) -> None:
        with self._cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            for (table,) in cursor.fetchall():
                cursor.execute(f"SELECT * FROM {table}")
                self._rows[table] = cursor.fetchall()

    def put_back(self) -> None:
        with self._cursor() as cursor:
            for table, rows in self._rows.items():
                cursor.execute(f"DELETE FROM {table}")
                for row in rows:
                    cursor.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)


class MongoPutBack(PutBack):
    """A database of a MongoDB-wire server."""

    def __init__(self, place: MongoPlace) -> None:
        self._documents: dict[str, list[Any]] = {}
        self.uri = place.direct

    def back_up(self) -> None:
        with connected(self.uri) as database:
            self._documents = {name: list(database[name].find()) for name in database.list_collection_names()}

    def put_back(self) -> None:
        with connected(self.uri) as database:
            for name, documents in self._documents.items():
                database[name].delete_many({})
                if documents:
                    database[name].insert_many(documents)


@pytest.fixture(params=["served file", "served sqlite", "sqlite", "postgresql", "mongodb", "mongodb-standalone"])
def store(request: pytest.FixtureRequest, tmp_path: Path, spills: Path) -> Iterator[PutBack]:
    """Give an empty store of each kind that delivers."""
    kind = request.param
    if kind.startswith("served"):
        folder = tmp_path / "store"
        folder.mkdir()
        with killable(backend(kind.split()[1], folder)) as server:
            yield Served(server, folder)
    elif kind == "sqlite":
        yield SqlitePutBack(tmp_path)
    elif kind == "postgresql":
        place = SqlPlace(request.getfixturevalue("fast_server"))
        yield SqlPutBack(place)
        place.close()
    else:
        is_standalone = kind == "mongodb-standalone"
        mongo = MongoPlace(request.getfixturevalue("mongo_servers")[is_standalone], is_standalone)
        yield MongoPutBack(mongo)
        mongo.close()


class SqlitePutBack(PutBack):
    """A file of SQLite, put back as SQLite does it: inside the file."""

    def __init__(self, folder: Path) -> None:
        self._file, self._copy = folder / "runs.db", folder / "copy.db"
        self.uri = f"sqlite:{self._file}"

    def back_up(self) -> None:
        _copy_database(self._file, self._copy)

    def put_back(self) -> None:
        _copy_database(self._copy, self._file)


def _copy_database(source: Path, target: Path) -> None:
    import sqlite3

    connections = [sqlite3.connect(path, timeout=30) for path in (source, target)]
    connections[0].backup(connections[1])
    for connection in connections:
        connection.close()


def _stored(store: PutBack, trial: Trial) -> list[int]:
    reader = store.open()
    found = numbers(reader, trial)
    reader.close()
    return found


def test_numbers_since_the_backup_are_sent_again(store: PutBack) -> None:
    """What a client had sent since the backup, and still has, is stored again: once, and in order."""
    protocol = store.open()
    trial = new_trial(protocol)
    count_up(protocol, trial, 0, 10)
    protocol.flush(30)
    store.back_up()
    count_up(protocol, trial, 10, 10)
    protocol.flush(30)

    for first in (20, 30):
        store.put_back()
        count_up(protocol, trial, first, 10)
        protocol.flush(30)

    assert _stored(store, trial) == list(range(40))
    assert protocol.unsaved() == 0
    protocol.close()


def test_trial_since_the_backup_is_created_again(store: PutBack, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that the backup does not know is created again by the process that made it, with all it logged."""
    protocol = store.open()
    new_trial(protocol)
    store.back_up()
    trial = new_trial(protocol, lr=0.2)
    for first in (0, 10):
        count_up(protocol, trial, first, 10)
        protocol.flush(30)
        store.put_back()
    # Also where nothing of it had been sent before.
    later = new_trial(protocol, lr=0.3)
    store.put_back()
    count_up(protocol, trial, 20, 10)
    count_up(protocol, later, 0, 10)
    protocol.flush(30)

    assert _stored(store, trial) == list(range(30))
    assert _stored(store, later) == list(range(10))
    assert protocol.unsaved() == 0
    (found,) = protocol.fetch_trials({"uid": trial.uid})
    assert (found.project_id, found.parameters) == ("digits", {"lr": 0.2})
    assert "put back to an older state" in caplog.text
    protocol.close()


def test_events_of_a_trial_that_is_gone_are_kept_and_sent_when_somebody_asks(
    store: PutBack, spills: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is about a trial that is gone is never said to be stored: it is kept, counted, told, and sent later."""
    maker, other = store.open(), store.open()
    first = new_trial(maker)
    store.back_up()
    trial = new_trial(maker, lr=0.2)
    assert other.get_trial(trial)
    store.put_back()

    count_up(other, trial, 0, 10)
    count_up(other, first, 0, 10)
    other.flush(30)
    unsaved, remedy = other.unsaved(), other.remedy
    refused = [one for folder in spills.iterdir() for one in refused_in(folder)]
    kept, stores = sum(len(list(one.notes())) for one in refused), {one.store for one in refused}
    other.close()
    count_up(maker, trial, 100, 10)
    maker.flush(30)
    before = _stored(store, trial)
    codes = [main(["sync", store.uri]), main(["sync", store.uri, "--refused"]), main(["sync", store.uri, "--refused"])]

    assert (unsaved, kept) == (10, 10)
    assert stores == {maker.identity()}
    assert "10 were refused" in remedy
    assert "sent by the next run" not in remedy
    assert caplog.text.count("does not know") == 1
    assert _stored(store, first) == list(range(10))
    assert before == list(range(100, 110))
    assert codes == [0, 0, 0]
    assert _stored(store, trial) == [*range(10), *range(100, 110)]
    assert "--refused sends them again" in capsys.readouterr().out
    maker.close()


def test_sync_says_how_many_it_has_sent_to_a_store_that_was_put_back(
    store: PutBack, spills: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left for a store that was put back is counted as it is sent: all of it, but for what is refused."""
    protocol = store.open()
    trial = new_trial(protocol)
    count_up(protocol, trial, 0, 10)
    protocol.flush(30)
    store.back_up()
    count_up(protocol, trial, 10, 10)
    later = new_trial(protocol, lr=0.2)
    protocol.flush(30)
    monkeypatch.setattr(protocol.server, "receive_after", _be_away)
    count_up(protocol, trial, 20, 5)
    count_up(protocol, later, 0, 3)
    protocol.close()
    store.put_back()

    code = main(["sync", store.uri])

    said = capsys.readouterr()
    assert (code, _stored(store, trial)) == (1, list(range(25)))
    assert "sent 25 events" in said.out
    assert "3 were refused, and are kept in" in said.err


def _be_away(*_: Any) -> None:
    raise BackendUnavailable("it is away")
