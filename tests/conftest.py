"""What every test starts from: no setting of the machine, no configuration left by another test."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.register_assert_rewrite("track.testing")

with suppress(ImportError):  # where only the frameworks are tried
    from hypothesis import HealthCheck, settings

    # No example is slow on a machine that does something else meanwhile; folders of a test may be its examples'.
    _CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("steady", settings(), deadline=None, suppress_health_check=_CHECKS)
    settings.load_profile("steady")

from tests.servers.s3 import moto_bucket, moto_server, weed_bucket, weed_server  # noqa: E402, F401 - fixtures
from track.configuration import reset_configuration  # noqa: E402 - after the rewriting is asked for

# Servers, disks and processes of a busy machine: what fails there is run once more, and the summary says so. A test
# that is named there has a fault, its own or ours, which is to be found.
_AT_THE_MERCY_OF_THE_MACHINE = ("tests/conformance/", "tests/e2e/", "tests/integrations/", "tests/trackers/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the tests of real servers, frameworks and processes run once more where they fail."""
    for item in items:
        if config.pluginmanager.hasplugin("rerunfailures") and item.nodeid.startswith(_AT_THE_MERCY_OF_THE_MACHINE):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test failed that then passed: it is to be found, and may not be seen again for days."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("=", f"before it was run again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
        for title, text in report.sections:
            terminalreporter.write_sep("-", title)
            terminalreporter.write_line(text)


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
