"""The file backend keeps the contract, with a new reader at every question."""

from __future__ import annotations

from pathlib import Path

import pytest

from track.persistence.filestore import FileStore
from track.persistence.local import FileProtocol
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests


class TestFile(ProtocolTests):
    """One JSON file and its journal."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give a store in a new folder."""
        return FileProtocol(f"file:{tmp_path}/runs.json")

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return a protocol whose state is read from the disk again."""
        assert isinstance(protocol, FileProtocol)
        again = FileProtocol(protocol.uri)
        assert protocol.path is not None
        again._store = FileStore(protocol.path, 30.0)
        again._append = again._store.append
        return again


class TestFileAfterSave(TestFile):
    """The same when every question is asked of the saved JSON file alone."""

    def reopen(self, protocol: Protocol) -> Protocol:
        """Save, and read the snapshot."""
        protocol.commit()
        return super().reopen(protocol)


class TestFileInMemory(ProtocolTests):
    """``file:`` without a path is in memory."""

    @pytest.fixture
    def protocol(self) -> Protocol:
        """Give an empty store."""
        return FileProtocol("file:")


class TestFileLazy(ProtocolTests):
    """``?eager=0`` keeps everything in memory until it is saved."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give an empty store."""
        return FileProtocol(f"file:{tmp_path}/runs.json?eager=0")
