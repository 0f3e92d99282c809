"""The clock of the store counts where that of a writer is hours away from it."""

from __future__ import annotations

import time

import pytest

from track.errors import ItemNotFound
from track.persistence.contract import trial_created
from track.persistence.protocol import Protocol
from track.persistence.state import Liveness
from track.structure import Project, Status, Trial
from track.testing.backend import BackendTests

_TIMEOUT = 900.0
_APART = [-1800.0, -3 * 3600.0, 1800.0, 3 * 3600.0]


class ClockTests(BackendTests):
    """The clock of the store counts where that of a writer is hours away from it."""

    @pytest.fixture
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write as a process of another host, of which nobody here can say whether it lives."""
        who = {"host": "elsewhere", "pid": 1, "started": "1"}
        monkeypatch.setattr("track.persistence.eventprotocol.process_identity", lambda: dict(who))

    def _written(self, protocol: Protocol, apart: float) -> tuple[Protocol, Trial, float]:
        """Run a trial of yesterday by a clock that is wrong; return a reader, what it sees, the time there."""
        protocol.new_project(Project(name="digits"))
        now = protocol.store_time()
        if now is None:
            pytest.skip("the store has no clock of its own")
        created = Trial(parameters={"lr": 0.2}, project_id="digits")
        protocol.apply(trial_created(created, now - 86400))
        writer = self.reopen(protocol)
        writer.clock = lambda: time.time() + apart
        trial = writer.get_trial(created)[0]
        writer.log_trial_start(trial)
        writer.log_trial_metrics(trial, step=0, loss=0.5)
        reader = self.reopen(writer)
        return reader, reader.get_trial(trial)[0], now

    @pytest.mark.usefixtures("_elsewhere")
    @pytest.mark.parametrize("apart", _APART)
    def test_writer_with_a_wrong_clock_runs_while_it_is_heard_of(self, protocol: Protocol, apart: float) -> None:
        """A process of another host whose clock is hours behind, or ahead, is Running, and no queue takes its trial."""
        reader, trial, _ = self._written(protocol, apart)

        with pytest.raises(ItemNotFound):
            reader.fetch_and_update_trial({"uid": trial.uid}, "log_trial_start")

        assert trial.status is Status.Running

    @pytest.mark.usefixtures("_elsewhere")
    @pytest.mark.parametrize("apart", _APART)
    def test_writer_with_a_wrong_clock_is_broken_once_it_is_silent(self, protocol: Protocol, apart: float) -> None:
        """It is Broken once it was silent for the timeout, as the store's clock says, and not before."""
        _, trial, now = self._written(protocol, apart)

        shown = [
            Liveness(_TIMEOUT, clock=lambda later=later: now + later).shown_status(trial, {})  # type: ignore[misc]
            for later in (_TIMEOUT - 60, _TIMEOUT + 60)
        ]

        assert shown == [Status.Running, Status.Broken]

    @pytest.mark.parametrize("apart", [-5.0, 5.0])
    def test_clock_that_is_seconds_away_is_left_alone(self, protocol: Protocol, apart: float) -> None:
        """What is logged has the time of the writer's own clock where that is not far from the store's."""
        writer = self.reopen(protocol)
        writer.clock = lambda: 1000.0 + apart
        told = writer.store_time()

        writer.store_time = lambda: None if told is None else 1000.0  # type: ignore[method-assign]
        writer.new_project(Project(name="digits"))

        assert writer.clock() == 1000.0 + apart
