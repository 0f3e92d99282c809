"""The store in memory keeps the contract."""

from __future__ import annotations

import pytest

from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests


class TestEphemeral(ProtocolTests):
    """``ephemeral:``."""

    @pytest.fixture
    def protocol(self) -> Protocol:
        """Give an empty store."""
        return get_protocol("ephemeral:")
