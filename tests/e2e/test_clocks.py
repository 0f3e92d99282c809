"""Machines whose clocks are hours away from the store's: who lives is not taken for dead, and who died is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.children import die, run
from tests.e2e.served import shared_store
from track.errors import ItemNotFound
from track.persistence import get_protocol
from track.persistence.contract.checks import trial_created
from track.structure import Project, Status, Trial
from track.utils import system

pytestmark = pytest.mark.network
_HOURS = 3 * 3600.0
# Whatever was heard of in this minute has been silent for longer.
_OVER = "-60"


@pytest.fixture(params=[_OVER, "900"])
def silence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the seconds after which a machine is taken for dead, by servers too."""
    monkeypatch.setenv("TRACK_LOG_HEARTBEAT_TIMEOUT", request.param)
    return str(request.param)


@pytest.fixture(params=["file", "postgresql", "socket", "mongodb"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path, silence: str) -> Iterator[str]:
    """Give an empty store that machines share, which has a clock of its own."""
    with shared_store(request, request.param, tmp_path) as uri:
        # A file as on a network file system.
        yield f"{uri}?lock=always" if request.param == "file" else uri


def _submit(uri: str) -> None:
    """Store a trial of yesterday, that waits."""
    protocol = get_protocol(uri)
    protocol.new_project(Project(name="queue"))
    protocol.apply(trial_created(Trial(parameters={"lr": 0.1}, project_id="queue"), time.time() - 86400))
    protocol.close()


def _set_clock(apart: float) -> None:
    """Be a process of another machine, whose clock is wrong."""
    now = time.time
    time.time = lambda: now() + apart


def _run_elsewhere(uri: str, apart: float) -> None:
    """Reserve the trial and log, as a process of which nobody here can say whether it lives."""
    system.process_identity()
    system._own["host"] = "elsewhere"
    _set_clock(apart)
    protocol = get_protocol(uri)
    trial = protocol.fetch_and_update_trial({"status": "createdgroup"}, "log_trial_start")
    protocol.log_trial_metrics(trial, step=0, loss=1.0)
    protocol.flush()
    die()


def _look(uri: str, apart: float, is_free: bool) -> None:
    """Try to take the trial, which must be as free as is expected."""
    _set_clock(apart)
    protocol = get_protocol(uri)
    (trial,) = protocol.fetch_trials()
    assert trial.status is (Status.Broken if is_free else Status.Running)
    with nullcontext() if is_free else pytest.raises(ItemNotFound):
        protocol.fetch_and_update_trial({"status": "broken"}, "log_trial_start")
    protocol.close()


@pytest.mark.parametrize(
    ("writer", "reader"), [(0.0, _HOURS), (0.0, -_HOURS), (-_HOURS, 0.0), (-_HOURS, _HOURS), (_HOURS, -_HOURS)]
)
def test_silence_is_counted_by_the_clock_of_the_store(uri: str, writer: float, reader: float, silence: str) -> None:
    """Whatever the clocks of two machines say, a trial of one is free for the other after the timeout, not before."""
    # Each in a process that has heard of no clock yet.
    assert run(_submit, uri) == 0
    assert run(_run_elsewhere, uri, writer) < 0

    assert run(_look, uri, reader, silence == _OVER) == 0
