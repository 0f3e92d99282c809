"""Another store at the same address or path: what was logged for one never reaches the other, and is not lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from tests.children import python
from tests.servers import wait_until
from tests.servers.mongo import MongoWire
from tests.servers.postgres import Postgres
from tests.servers.proxy import FaultProxy
from tests.servers.track import serving
from track import TrackClient
from track.errors import BackendUnavailable
from track.persistence import get_protocol
from track.persistence.delivery.protocol import DeliveredProtocol
from track.structure import Project, Trial

pytestmark = pytest.mark.network


class Address:
    """A place where two stores may be, one at a time; the first one is there."""

    uri: str

    def leave(self) -> None:
        """Take away what is there: nothing is."""

    def put(self, number: int) -> None:
        """Put the first, or the second, store there."""


class FileAddress(Address):
    """A path of a SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.db"
        self.uri = f"sqlite:{self.path}"
        self._there = 0

    def leave(self) -> None:
        for file in list(self.path.parent.glob("runs.db*")):
            file.rename(f"{file.parent}/store{self._there}{file.name}")

    def put(self, number: int) -> None:
        self.leave()
        self._there = number
        for file in list(self.path.parent.glob(f"store{number}runs.db*")):
            file.rename(f"{file.parent}/{file.name.removeprefix(f'store{number}')}")


class PortAddress(Address):
    """A port, as of a tunnel, that leads to one of two servers."""

    def __init__(self, scheme: str, ports: list[int], database: str = "") -> None:
        self._ports = ports
        self._proxy = FaultProxy(ports[0])
        self.uri = scheme.format(port=self._proxy.port) + database

    def leave(self) -> None:
        self._proxy.refuse()

    def put(self, number: int) -> None:
        self._proxy._server_port = self._ports[number]
        self._proxy.heal()

    def close(self) -> None:
        self._proxy.close()


class DatabaseAddress(Address):
    """The name of a database of one server of PostgreSQL."""

    def __init__(self, server: Postgres) -> None:
        self.uri = server.new_database()
        parts = urlsplit(self.uri)
        self.name, self._there = parts.path.strip("/"), 0
        self._admin = urlunsplit(parts._replace(scheme="postgresql", path="/postgres"))

    def _run(self, *statements: str) -> None:
        connection = psycopg2.connect(self._admin)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
                    cursor.execute(statement)
        connection.close()

    def leave(self) -> None:
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'"
        self._run(end, f"ALTER DATABASE {self.name} RENAME TO {self.name}_{self._there}")

    def put(self, number: int) -> None:
        self._there = number
        self._run(f"CREATE DATABASE {self.name}_{number}", f"ALTER DATABASE {self.name}_{number} RENAME TO {self.name}")


@pytest.fixture(params=["sqlite", "socket", "cockroach", "mongodb"])
def address(request: pytest.FixtureRequest, spills: Path, tmp_path: Path) -> Iterator[Address]:
    """Give an address."""
    if request.param == "sqlite":
        yield FileAddress(tmp_path)
    elif request.param == "socket":
        with serving(f"file:{tmp_path}/one.json") as one, serving(f"file:{tmp_path}/two.json") as two:
            address = PortAddress("socket://localhost:{port}", [one, two])
            yield address
            address.close()
    elif request.param == "cockroach":
        yield DatabaseAddress(request.getfixturevalue("fast_server"))
    else:
        servers: dict[bool, MongoWire] = request.getfixturevalue("mongo_servers")
        scheme = "mongodb://localhost:{port}/"
        name = f"stores_{os.urandom(4).hex()}?directConnection=true"
        address = PortAddress(scheme, [servers[False].port, servers[True].port], name)
        yield address
        address.close()


def _begin(uri: str, name: str) -> tuple[DeliveredProtocol, Trial]:
    """Return a backend, and a trial that was created and has one point there."""
    protocol = get_protocol(uri)
    assert isinstance(protocol, DeliveredProtocol)
    protocol.new_project(Project(name="digits"))
    trial = protocol.new_trial(Trial(name=name, parameters={"name": name}, project_id="digits"))
    assert trial is not None
    protocol.log_trial_metrics(trial, step=0, loss=0.0)
    protocol.flush(30)
    return protocol, trial


def _points(uri: str) -> dict[Any, list[float]]:
    protocol = get_protocol(uri)
    found = {trial.name: list(trial.metrics["loss"].values()) for trial in protocol.fetch_trials()}
    protocol.close()
    return found


def test_what_is_left_for_a_store_waits_for_it(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    """Events of a process that is gone do not go to the store that is there instead; they go to theirs when it is."""
    first, trial = _begin(address.uri, "one")
    address.leave()
    first.log_trial_metrics(trial, step=1, loss=1.0)
    first.close()
    assert first.unsaved() == 1

    address.put(1)
    second, _ = _begin(address.uri, "two")
    wait_until(lambda: "kept for another store" in caplog.text)
    assert (second.left_behind(), second.unsaved()) == (0, 0)
    second.close()
    assert _points(address.uri) == {"two": [0.0]}

    address.leave()
    address.put(0)
    third, _ = _begin(address.uri, "three")
    wait_until(lambda: _points(address.uri)["one"] == [0.0, 1.0])
    third.close()


def test_running_trial_waits_for_its_store(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    """What a process logs while another store is there waits, counted and said; once its own is back it is stored."""
    protocol, trial = _begin(address.uri, "one")
    address.leave()
    protocol.log_trial_metrics(trial, step=1, loss=1.0)
    address.put(1)
    other, _ = _begin(address.uri, "two")
    other.close()

    protocol.log_trial_metrics(trial, step=2, loss=2.0)
    wait_until(lambda: protocol.flush(0.1) or "not the store" in str(protocol._reach.error))
    assert protocol.unsaved() == 2
    assert "is kept for its store" in protocol.remedy
    assert _points(address.uri) == {"two": [0.0]}

    address.leave()
    address.put(0)
    wait_until(lambda: protocol.flush(1) or protocol.unsaved() == 0)
    protocol.close()
    assert _points(address.uri) == {"one": [0.0, 1.0, 2.0]}


def test_trial_of_the_new_store_is_logged_there(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    """A process that has sent everything, and begins a trial in the store that is there now, logs it there."""
    protocol, _ = _begin(address.uri, "one")
    address.leave()
    address.put(1)
    trial = None
    while trial is None:
        # A connection that broke is noticed when it is used.
        with contextlib.suppress(BackendUnavailable):
            protocol.new_project(Project(name="digits"))
            trial = protocol.new_trial(Trial(name="two", parameters={"name": "two"}, project_id="digits"))

    protocol.log_trial_metrics(trial, step=0, loss=0.0)
    protocol.flush(30)

    assert protocol.unsaved() == 0
    assert _points(address.uri) == {"two": [0.0]}
    assert "is another store now" in caplog.text
    protocol.close()


def test_sync_says_for_which_store_events_are(tmp_path: Path, spills: Path) -> None:
    """`track sync` names the store that events wait for, keeps them, and sends them to where it is now."""
    path = tmp_path / "scratch" / "runs.db"
    first, trial = _begin(f"sqlite:{path}", "one")
    store = first.identity()
    path.parent.rename(tmp_path / "archive")
    first.log_trial_metrics(trial, step=1, loss=1.0)
    first.close()
    second, _ = _begin(f"sqlite:{path}", "two")
    second.close()

    status = python("-m", "track", "sync", "--status")
    kept = python("-m", "track", "sync")
    moved = python("-m", "track", "sync", f"sqlite:{tmp_path}/archive/runs.db")

    assert f"for the store {store[:8]}" in status.stdout
    assert "1 events wait in" in kept.stderr
    assert f"not the store {store[:8]} that this is for" in kept.stderr
    assert (kept.returncode, moved.returncode) == (1, 0)
    assert f"was logged for the same store when it was at sqlite://{path}" in moved.stdout
    assert _points(f"sqlite:{tmp_path}/archive/runs.db") == {"one": [0.0, 1.0]}
    assert _points(f"sqlite:{path}") == {"two": [0.0]}


def test_spill_without_an_id_is_sent_as_before(tmp_path: Path, spills: Path) -> None:
    """What a version of before left, which names no store, goes to what is at its address."""
    path = tmp_path / "runs.db"
    first, trial = _begin(f"sqlite:{path}", "one")
    path.rename(tmp_path / "away.db")
    first.log_trial_metrics(trial, step=1, loss=1.0)
    first.close()
    (journal,) = spills.glob("*/*.journal")
    head, _, lines = journal.read_bytes().partition(b"\n")
    journal.write_bytes(head.replace(b'"store":"' + first.identity().encode() + b'",', b"") + b"\n" + lines)
    for note in spills.glob("*/*.sent"):
        note.unlink()
    (tmp_path / "away.db").rename(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE store")
        connection.commit()

    assert python("-m", "track", "sync").returncode == 0
    assert _points(f"sqlite:{path}") == {"one": [0.0, 1.0]}


def test_events_for_what_a_copy_was_reach_the_copy(tmp_path: Path, spills: Path) -> None:
    """A copy that was written to, and takes the place of the original, gets what was logged for that."""
    path = tmp_path / "runs.db"
    first, trial = _begin(f"sqlite:{path}", "one")
    first.close()
    shutil.copy(path, tmp_path / "copy.db")
    copy, _ = _begin(f"sqlite:{tmp_path}/copy.db", "two")
    copy.close()
    path.rename(tmp_path / "away.db")
    first.log_trial_metrics(trial, step=1, loss=1.0)
    first.close()
    (tmp_path / "copy.db").rename(path)

    assert python("-m", "track", "sync").returncode == 0
    assert _points(f"sqlite:{path}") == {"one": [0.0, 1.0], "two": [0.0]}


def test_log_of_a_replaced_file_does_not_damage_the_new_one(
    tmp_path: Path, spills: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A backup moved over a SQLite file in use is what counts; the log of the old one is kept aside."""
    path = tmp_path / "runs.db"
    protocol, trial = _begin(f"sqlite:{path}", "one")
    protocol.close()
    shutil.copy(path, tmp_path / "backup.db")
    protocol.log_trial_metrics(trial, step=1, loss=1.0)
    protocol.flush(30)
    (tmp_path / "backup.db").rename(path)

    protocol.log_trial_metrics(trial, step=2, loss=2.0)
    protocol.flush(30)
    seen = protocol.get_trial(trial)[0]

    assert protocol.unsaved() == 0
    assert list(seen.metrics["loss"]) == [0, 1, 2]
    assert Path(f"{path}-wal.left-0").exists()
    protocol.close()


def test_removed_file_is_a_new_store_for_a_new_client(tmp_path: Path, spills: Path) -> None:
    """Who deletes the file and makes a new client begins afresh; what the old one logged stays in its spill."""
    path = tmp_path / "runs.db"
    first = TrackClient(f"sqlite:{path}")
    first.set_project(name="digits")
    trial = first.new_trial(name="one", parameters={"n": 1})
    trial.log_metrics(step=0, loss=0.0)
    first.protocol.flush(30)
    for file in tmp_path.glob("runs.db*"):
        file.unlink()
    trial.log_metrics(step=1, loss=1.0)

    second = TrackClient(f"sqlite:{path}")
    second.set_project(name="digits")
    with second.new_trial(name="two", parameters={"n": 2}) as other:
        other.log_metrics(step=0, loss=0.0)
    trial.finish()

    assert _points(f"sqlite:{path}") == {"two": [0.0]}
    assert trial.protocol.unsaved() > 0
