"""A server that is away at the first use, with ``offline=1``: what a person is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from track import Project, Trial
from track.errors import BackendUnavailable
from track.events import ProjectCreated
from track.persistence.delivery.protocol import DeliveredProtocol
from track.persistence.delivery.spill import spill_folder
from track.persistence.ephemeral import EphemeralProtocol

URI = "fake://server/runs"


class AwayProtocol(EphemeralProtocol):
    """Answers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.uri = URI

    def reading(self) -> NoReturn:
        """Be away."""
        raise BackendUnavailable("the server is away")

    def atomically(self, action: Any) -> NoReturn:
        """Be away."""
        raise BackendUnavailable("the server is away")


class AwayServer:
    """Takes nothing."""

    expected_store = ""

    def identity(self) -> NoReturn:
        """Answer nothing."""
        raise BackendUnavailable("the server is away")

    def receive_after(self, writer: str, after: int, first: int, events: Any, lines: Any = None) -> NoReturn:
        """Be away."""
        raise BackendUnavailable("the server is away")

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliveredProtocol]:
    """Give a backend whose server was never there."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path))
    made = DeliveredProtocol(URI, AwayProtocol(), AwayServer(), offline=True)
    yield made
    made.close()


def test_server_that_is_away_is_one_sentence(protocol: DeliveredProtocol, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is decided and logged, one warning says why, what becomes of it, and where it waits."""
    protocol.new_project(Project(name="digits"))
    trial = protocol.new_trial(Trial(parameters={"lr": 0.1}))
    assert trial is not None
    for step in range(3):
        protocol.log_trial_metrics(trial, step=step, loss=0.5)
    protocol.flush()
    protocol.refresh(trial)

    assert dict(trial.metrics["loss"]) == {0: 0.5, 1: 0.5, 2: 0.5}
    assert [record.getMessage() for record in caplog.records] == [
        f"the server is away (offline=1: decisions are made here meanwhile, and events wait in {spill_folder(URI)})"
    ]


def test_server_that_goes_away_is_not_explained_twice(
    protocol: DeliveredProtocol, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the thread that sends has given the reason, a decision adds only what is new."""
    protocol.apply(ProjectCreated("letters", at=1.0, name="letters"))
    protocol.flush()
    protocol.new_project(Project(name="digits"))

    assert [record.getMessage() for record in caplog.records] == [
        f"the server is away: training goes on, events wait in {spill_folder(URI)}",
        f"{URI} is away: decisions are made here meanwhile (offline=1)",
    ]
