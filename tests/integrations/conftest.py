"""The frameworks that are installed; tests of others are skipped, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations import frameworks


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the frameworks warn, which is their own business, and load each in one process of several (``-n 2``)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            group = getattr(item, "callspec", None) and item.callspec.params.get("name")  # type: ignore[attr-defined]
            if config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group(group or item.path.stem))


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
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URI of the store that is configured."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/runs.json")
    monkeypatch.setenv("TRACK_LOG_ENVIRONMENT", "0")
    monkeypatch.chdir(tmp_path)
    return f"file:{tmp_path}/runs.json"
