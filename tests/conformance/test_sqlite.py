"""The SQLite backend keeps the contract, and answers like the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.persistence.sqlite import SqliteProtocol
from track.testing import ProtocolTests


class TestSqlite(ProtocolTests):
    """One SQLite file, without the delivery layer."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new file."""
        return SqliteProtocol(f"sqlite:{tmp_path}/runs.db")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol with a connection of its own."""
        assert isinstance(protocol, SqliteProtocol)
        return SqliteProtocol(protocol.uri)


class TestSqliteDelivered(ProtocolTests):
    """The same as a user gets it: behind the delivery layer."""

    @pytest.fixture
    def protocol(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give a store in a new file, with a spill of its own."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        protocol = get_protocol(f"sqlite:{tmp_path}/runs.db")
        self.path = tmp_path / "runs.db"
        yield protocol
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol that reads what was delivered."""
        protocol.flush()
        return SqliteProtocol(f"sqlite:{self.path}")
