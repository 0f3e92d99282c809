"""The backend of events that the docs show passes the suite that they offer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from track.persistence.protocol import Protocol
from track.testing import ProtocolTests

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_backend_events.py"


def _example() -> Any:
    spec = importlib.util.spec_from_file_location("own_backend_events", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLines(ProtocolTests):
    """The example of docs/extending.rst."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Protocol:
        """Give an empty store."""
        return _example().LinesBackend(f"lines:{tmp_path}/facts.jsonl")

    def reopen(self, protocol: Any) -> Protocol:
        """Return what a new process would see."""
        return _example().LinesBackend(protocol.uri)
