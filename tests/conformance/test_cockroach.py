"""The SQL backend keeps the contract on PostgreSQL in SERIALIZABLE, which stands in for CockroachDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from track import TrackClient
from track.errors import InvalidEvent
from track.persistence import get_protocol
from track.persistence.cockroach import Cockroach
from track.persistence.protocol import Protocol
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
