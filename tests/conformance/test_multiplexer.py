"""Several backends as one keep the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from track.persistence import get_protocol
from track.persistence.multiplexer import ProtocolMultiplexer, make_mirror
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests


class TestMultiplexer(ProtocolTests):
    """A mirror in memory, and a file that decides."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give two empty stores as one."""
        return ProtocolMultiplexer(make_mirror(), get_protocol(f"file:{tmp_path}/runs.json"))


class TestMirror(ProtocolTests):
    """The mirror has what the main backend has."""

    # It is a store of its own.
    test_store_has_an_id_that_stays: Any = None
    test_one_event_names_one_trial: Any = None
    test_every_cursor_says_what_came_after_it: Any = None

    @pytest.fixture
    def protocol(self) -> Protocol:
        """Give two empty stores as one."""
        return ProtocolMultiplexer(get_protocol("ephemeral:"), get_protocol("ephemeral:"))

    def reopen(self, protocol: Protocol) -> Protocol:
        """Ask the mirror."""
        return protocol.protos[0] if isinstance(protocol, ProtocolMultiplexer) else protocol


class TestMultiUri(ProtocolTests):
    """A file is told what a database decides."""

    # What is beside the database is elsewhere to the file: see `test_mirror_names_artifacts_where_they_are`.
    test_artifacts_are_listed_in_order: Any = None

    # The file is a store of its own.
    test_store_has_an_id_that_stays: Any = None
    test_one_event_names_one_trial: Any = None
    test_every_cursor_says_what_came_after_it: Any = None

    @pytest.fixture
    def protocol(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Protocol]:
        """Give two empty stores as one."""
        monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
        protocol = get_protocol(f"multi:?to=file:{tmp_path}/runs.json&to=sqlite:{tmp_path}/runs.db")
        yield protocol
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Read the file as another process would."""
        file = protocol.protos[0] if isinstance(protocol, ProtocolMultiplexer) else protocol
        return get_protocol(file.uri)
