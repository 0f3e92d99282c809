"""A tool that only listens keeps the contract through the copy in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests

pytest.importorskip("tensorboardX", reason="needs tensorboardX")


class TestTensorBoard(ProtocolTests):
    """Event files, and a copy in memory that answers."""

    # The tool takes what it is told: it does not know which projects, groups and trials there were before.
    test_project_created_again_stays_as_it_is: Any = None
    test_group_created_again_is_returned: Any = None
    test_group_needs_its_project: Any = None
    test_unknown_trial_is_refused: Any = None
    test_artifact_of_an_unknown_trial_is_refused: Any = None

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Iterator[Protocol]:
        """Give an empty store."""
        protocol = get_protocol(f"tensorboard:{tmp_path}/runs")
        yield protocol
        assert protocol.unsaved() == 0
        protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Ask the copy."""
        return protocol
