"""The frameworks that are installed; tests of others are skipped, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations import frameworks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the frameworks warn: it is their own business."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(params=frameworks.NAMES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """Give the name of each framework that is installed."""
    try:
        frameworks.load(request.param)
    except ModuleNotFoundError as error:
        pytest.skip(f"{request.param} needs {error.name}, which is not installed")
    return str(request.param)


@pytest.fixture
def framework(name: str) -> frameworks.Framework:
    """Give each framework that is installed."""
    return frameworks.load(name)


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URI of the store that is configured."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/runs.json")
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "0")
    monkeypatch.chdir(tmp_path)
    yield f"file:{tmp_path}/runs.json"
