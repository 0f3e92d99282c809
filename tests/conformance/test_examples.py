"""The backends that the docs show pass the suite that they offer."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from track.persistence import get_protocol, register, unregister
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
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
        return _example("own_backend_events").LinesBackend(f"lines:{tmp_path}/facts.jsonl")

    def reopen(self, protocol: Any) -> Protocol:
        """Return what a new process would see."""
        return _example("own_backend_events").LinesBackend(protocol.uri)


class TestCsv(ProtocolTests):
    """The backend by methods of docs/extending.rst, as users get it, without what it does not refuse."""

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Iterator[Protocol]:
        """Give an empty store."""
        register("csv", _example("own_backend_methods").CsvBackend)
        yield get_protocol(f"csv:{tmp_path}/numbers.csv")
        unregister("csv")

    test_unknown_trial_is_refused = None  # type: ignore[assignment]
    test_artifact_of_an_unknown_trial_is_refused = None  # type: ignore[assignment]
    test_unknown_status_is_refused = None  # type: ignore[assignment]
    test_metric_that_is_no_number_is_refused = None
    test_group_needs_its_project = None  # type: ignore[assignment]
    test_project_created_again_stays_as_it_is = None  # type: ignore[assignment]
    test_group_created_again_is_returned = None  # type: ignore[assignment]
