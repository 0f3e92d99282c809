"""What is made with the packages of other trackers is made once, and while tests of others run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import mongo
from tests.trackers import programs

_AT_ONCE = 3


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the trackers warn, which is their own business, and take their time: the first test waits for a program."""
    for item in items:
        if _is_here(item):
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.timeout(300))


def _is_here(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[mongo.MongoWire]:
    """Give a MongoDB-wire server (SecantusDB)."""
    if not mongo.is_installed():
        pytest.skip("needs a MongoDB-wire server: pip install SecantusDB")
    server = mongo.MongoWire(is_kept=False)
    yield server
    server.close()


@pytest.fixture
def database(mongo_server: mongo.MongoWire) -> str:
    """Give the URI of an empty database."""
    return mongo_server.new_database()


@pytest.fixture(scope="session")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Give what returns the folder in which a tracker has written its runs; all that are needed are begun at once."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items if _is_here(item)]
    named = {one.params["source"] for one in chosen if one and "source" in one.params}
    sources: dict[str, str | None] = {source: None for source in sorted(named) if missing(source) is None}
    if "sacred in mongodb" in sources:
        sources["sacred in mongodb"] = request.getfixturevalue("mongo_server").new_database()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        written = {
            source: pool.submit(programs.ran, source, tmp_path_factory.mktemp(source) / "work", uri)
            for source, uri in sources.items()
        }

        def made(source: str) -> Path:
            if source not in written:
                pytest.skip(f"{missing(source)} is not installed (requirements-trackers.txt)")
            return written[source].result()

        yield made


def missing(source: str) -> str | None:
    """Return the first package that the program of a source needs and that is not installed."""
    return next((name for name in programs.NEEDED[source] if importlib.util.find_spec(name) is None), None)
