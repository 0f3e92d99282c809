"""The SQL backend keeps the contract on PostgreSQL in SERIALIZABLE, which stands in for CockroachDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from track import TrackClient
from track.errors import InvalidEvent
from track.events import MetricsLogged, TrialCreated
from track.persistence import get_protocol
from track.persistence.cockroach import Cockroach, PostgresDriver
from track.persistence.protocol import Protocol
from track.structure import Project, Trial, TrialGroup
from track.testing import ProtocolTests

pytestmark = pytest.mark.network


class TestCockroach(ProtocolTests):
    """A new database a test, without the delivery layer."""

    @pytest.fixture
    def protocol(self, sql_uri: str) -> Iterator[Protocol]:
        """Give an empty store."""
        protocol = Cockroach(sql_uri)
        self.sql_uri = sql_uri
        yield protocol
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol with a connection of its own."""
        return Cockroach(self.sql_uri)


class TestCockroachDelivered(ProtocolTests):
    """The same as a user gets it: behind the delivery layer."""

    @pytest.fixture
    def protocol(self, sql_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give an empty store, with a spill of its own."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        protocol = get_protocol(sql_uri)
        self.sql_uri = sql_uri
        yield protocol
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol that reads what was delivered."""
        protocol.flush()
        return Cockroach(self.sql_uri)


class _Counting(PostgresDriver):
    """Counts the transactions of all connections."""

    begun = 0

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[Any]:
        """Count a BEGIN, and run the statement."""
        _Counting.begun += sql == self.begin
        return super().execute(connection, sql, parameters)


DECISIONS: dict[str, Callable[[Protocol], Any]] = {
    "new_project": lambda protocol: protocol.new_project(Project(name="letters")),
    "new_trial_group": lambda protocol: protocol.new_trial_group(TrialGroup(name="new", project_id="digits")),
    "new_trial": lambda protocol: protocol.new_trial(Trial(parameters={"n": 1}, project_id="digits")),
    "next revision": lambda protocol: protocol.new_trial(Trial(parameters={"n": 0}), auto_increment=True),
    "fetch_and_update_trial": lambda protocol: protocol.fetch_and_update_trial({}, "set_trial_status", "running"),
    "fetch_and_update_group": lambda protocol: protocol.fetch_and_update_group({}, "set_group_metadata", cost=1),
}


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
@pytest.mark.parametrize("make", [Cockroach, get_protocol], ids=["direct", "delivered"])
def test_a_decision_is_one_transaction(
    sql_uri: str, make: Callable[[str], Protocol], decide: Callable[[Protocol], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read, chosen, written and returned is one transaction, also behind the delivery layer."""
    monkeypatch.setattr("track.persistence.cockroach.PostgresDriver", _Counting)
    protocol = make(sql_uri)
    protocol.new_project(Project(name="digits", tags={"task": "mnist"}))
    protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))
    protocol.new_trial(Trial(parameters={"n": 0}, project_id="digits"))
    before = _Counting.begun

    decide(protocol)

    begun = _Counting.begun - before
    protocol.close()
    assert begun == 1


def test_a_batch_is_one_transaction(sql_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of many trials that are sent together are one transaction."""
    monkeypatch.setattr("track.persistence.cockroach.PostgresDriver", _Counting)
    protocol = Cockroach(sql_uri)
    uids = [f"{digest}_0" for digest in ("aa", "bb", "cc")]
    protocol.receive("writer", 0, [TrialCreated(uid[:2], 0, 1.0) for uid in uids])
    before = _Counting.begun

    protocol.receive("writer", 3, [MetricsLogged(uid, {"loss": 0.5}, 2.0, step) for step in range(9) for uid in uids])

    begun = _Counting.begun - before
    protocol.close()
    assert begun == 1


@pytest.mark.parametrize("fields", [{"version": "a\0b"}, {"project_id": "a\0b"}, {"group_id": "a\0b"}])
def test_text_that_cannot_be_stored_is_one_error(
    sql_uri: str, fields: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NUL in a decision is an error of ours that shows the text, and nothing is stored; later calls work."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    client = TrackClient(sql_uri)
    client.set_project(name="digits")

    with pytest.raises(InvalidEvent, match=r"'a\\x00b' holds a NUL, which a text in PostgreSQL cannot"):
        client.new_trial(parameters={}, **fields)
    stored = client.protocol.fetch_trials()
    name = client.new_trial(name="a\0b", parameters={}).trial.name
    client.protocol.close()

    assert (stored, name) == ([], "a\0b")


def _run_sql(uri: str, *statements: str) -> None:
    """Run statements on the server of a URI, outside of its database and of a transaction."""
    connection = psycopg2.connect(urlunsplit(urlsplit(uri)._replace(scheme="postgresql", path="/postgres")))
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def test_database_keeps_its_id_when_it_is_renamed_and_a_copy_gets_one(sql_uri: str) -> None:
    """A database copied on its server gets a new id at the first write; one that has another name is what it was."""
    original = Cockroach(sql_uri)
    original.new_project(Project(name="digits"))
    identity = original.identity()
    original.close()
    name = urlsplit(sql_uri).path.strip("/")
    _run_sql(sql_uri, f"CREATE DATABASE {name}_copy TEMPLATE {name}", f"ALTER DATABASE {name} RENAME TO {name}_new")

    renamed = Cockroach(sql_uri.replace(name, f"{name}_new"))
    renamed.new_project(Project(name="faces"))
    copy = Cockroach(sql_uri.replace(name, f"{name}_copy"))
    copy.new_project(Project(name="faces"))

    assert renamed.identity() == identity
    assert copy.former_identities() == [identity] != [copy.identity()]
    renamed.close()
    copy.close()


def test_processes_that_make_the_tables_at_once_all_write(sql_uri: str) -> None:
    """Of many that meet an empty database at the same time each stores what it has: each step is taken once."""
    gate = Barrier(8)

    def first_write(number: int) -> str:
        with closing(Cockroach(sql_uri)) as protocol:
            protocol.fetch_projects()
            gate.wait(20)
            return protocol.new_project(Project(name=f"project {number}")).uid

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(first_write, range(8)))

    with closing(Cockroach(sql_uri)) as protocol:
        assert {project.uid for project in protocol.fetch_projects()} == made
