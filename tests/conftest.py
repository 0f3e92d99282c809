"""What every test starts from: no setting of the machine, no configuration left by another test."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("track.testing")

from tests.servers.s3 import moto_bucket, moto_server, weed_bucket, weed_server  # noqa: E402, F401 - fixtures
from track.configuration import reset_configuration  # noqa: E402 - after the rewriting is asked for

# Servers, disks and processes of a busy machine: what fails there is run once more, and the summary says so. A test
# that is named there has a fault, its own or ours, which is to be found.
_AT_THE_MERCY_OF_THE_MACHINE = ("tests/conformance/", "tests/e2e/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of real servers and processes run once more where they fail."""
    for item in items:
        if item.nodeid.startswith(_AT_THE_MERCY_OF_THE_MACHINE):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True, scope="session")
def _signals_are_heard() -> None:
    """Undo that what runs behind a shell (``pytest &``, ``nohup``) is deaf to some signals: children inherit that."""
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the settings of the machine, and forget the configuration file before and after."""
    for name in os.environ:
        if name.startswith(("TRACK_", "ORION_")):
            monkeypatch.delenv(name)
    # A set is noted there, which is not there until then.
    monkeypatch.setenv("TRACK_HOME", str(tmp_path_factory.getbasetemp() / f"home-{next(_numbers)}"))
    reset_configuration()
    yield
    reset_configuration()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file to which the bodies of `tests.sweeps` write."""
    from tests.sweeps import LOG

    path = tmp_path / "bodies"
    monkeypatch.setenv(LOG, str(path))
    return path
