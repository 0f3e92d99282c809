"""A trial says how it ended, in each process and each attempt."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from track.aggregators.aggregator import (
    StatAggregator,
    TimeSeriesAggregator,
)
from track.errors import InvalidEvent
from track.events import MetricsLogged, StatusChanged
from track.persistence.protocol import Protocol
from track.structure import CustomStatus, Status, Trial
from track.testing.backend import BackendTests
from track.utils.system import process_identity


class LivingTests(BackendTests):
    """A trial says how it ended, in each process and each attempt."""

    @pytest.mark.parametrize("status", [Status.Suspended, "suspended", "Suspended", 301])
    def test_status_by_object_name_and_code(self, protocol: Protocol, trial: Trial, status: Any) -> None:
        """A status is given as an object, a name in any case, or a code."""
        protocol.set_trial_status(trial, status)

        assert self.stored(protocol, trial).status is Status.Suspended

    def test_status_of_ones_own(self, protocol: Protocol, trial: Trial) -> None:
        """A status that the library does not know comes back with its name and code."""
        protocol.set_trial_status(trial, CustomStatus("waiting", 42))

        assert self.stored(protocol, trial).status == CustomStatus("waiting", 42)

    def test_unknown_status_is_refused(self, protocol: Protocol, trial: Trial) -> None:
        """A word that is no status is refused, with the words that are."""
        with pytest.raises(InvalidEvent, match=r"'runing' is no status; use .*Running"):
            protocol.set_trial_status(trial, "runing")

    def test_errors_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """Errors given with a status are kept, as text, in order."""
        protocol.set_trial_status(trial, Status.Broken, error=ValueError("first"))
        protocol.set_trial_status(trial, Status.Broken, error="second")

        assert self.stored(protocol, trial).errors == ["first", "second"]

    def test_start_and_finish(self, protocol: Protocol, trial: Trial) -> None:
        """A started trial is Running, a finished one Completed with a run time."""
        protocol.log_trial_start(trial)
        running = self.stored(protocol, trial).status
        protocol.log_trial_finish(trial, None, None, None)
        found = self.stored(protocol, trial)

        assert (running, found.status) == (Status.Running, Status.Completed)
        assert found.chronos["runtime"].val > 0

    def test_finish_with_an_exception(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that ends with an exception says which, with its message."""
        protocol.log_trial_start(trial)
        protocol.log_trial_finish(trial, ValueError, ValueError("too large"), None)

        found = self.stored(protocol, trial)

        assert found.status is Status.Exception
        assert found.errors == ["ValueError: too large"]

    # several processes, and several lives

    def _tell(self, protocol: Protocol, trial: Trial, pid: int, status: Status, attempt: int = 1, **more: Any) -> None:
        """Tell how far a process of another host is in an attempt."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told of one process")
        process = {"host": "elsewhere", "pid": pid, "started": pid, **more}
        event = StatusChanged(trial.uid, (status.name, status.value), time.time(), process=process, attempt=attempt)
        protocol.apply(event)

    @pytest.mark.parametrize("first", [Status.Exception, Status.Interrupted, Status.Completed])
    def test_trial_of_two_processes_has_their_worst_end(self, protocol: Protocol, trial: Trial, first: Status) -> None:
        """A trial is Running while one of its processes runs, and a later good end covers nothing up."""
        for pid in (1, 2):
            self._tell(protocol, trial, pid, Status.Running)

        self._tell(protocol, trial, 1, first)
        meanwhile = self.stored(protocol, trial).status
        self._tell(protocol, trial, 2, Status.Completed)

        assert (meanwhile, self.stored(protocol, trial).status) == (Status.Running, first)

    def test_late_end_of_an_earlier_attempt_is_dropped(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that was begun again is not ended by a process that was taken for dead; its metadata counts that."""
        self._tell(protocol, trial, 1, Status.Running, attempt=1)
        self._tell(protocol, trial, 2, Status.Running, attempt=2)

        self._tell(protocol, trial, 1, Status.Completed, attempt=1)

        found = self.stored(protocol, trial)
        assert (found.status, found.attempt) == (Status.Running, 2)
        assert [process["pid"] for process in found.processes] == [2]
        assert found.metadata["late_events"] == 1

    def test_late_events_are_counted_whatever_metadata_says(self, protocol: Protocol, trial: Trial) -> None:
        """Metadata of the name that late events are counted under never makes a store unreadable."""
        protocol.log_trial_metadata(trial, None, late_events="none")
        for attempt in (2, 1):
            self._tell(protocol, trial, attempt, Status.Running, attempt=attempt)

        assert self.stored(protocol, trial).metadata["late_events"] == 1

    def test_attempts_are_counted(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that goes on after its end is in its next attempt, whose end counts alone."""
        self._tell(protocol, trial, 1, Status.Running)
        self._tell(protocol, trial, 1, Status.Exception)

        again = self.stored(protocol, trial)
        protocol.log_trial_start(again)
        running = self.stored(protocol, trial)
        protocol.log_trial_finish(again, None, None, None)

        assert (running.status, running.attempt) == (Status.Running, 2)
        assert self.stored(protocol, trial).status is Status.Completed

    @pytest.mark.parametrize("ahead", [1800.0, 86400.0])
    def test_clock_that_was_set_back_covers_no_end(self, protocol: Protocol, trial: Trial, ahead: float) -> None:
        """What goes on with a trial whose clock was ahead, in the same job, is its next attempt, whose end counts."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told of one process")
        sibling = {"host": process_identity()["host"], "pid": 1, "started": "before", "parent": os.getppid()}
        for status, at in ((Status.Running, ahead), (Status.Exception, ahead + 5)):
            said = (status.name, status.value)
            protocol.apply(StatusChanged(trial.uid, said, time.time() + at, process=sibling, attempt=1))

        again = self.stored(protocol, trial)
        protocol.log_trial_start(again)
        protocol.log_trial_finish(again, None, None, None)

        found = self.stored(protocol, trial)
        assert (found.status, found.attempt) == (Status.Completed, 2)

    def test_signal_is_noted_while_the_trial_runs(self, protocol: Protocol, trial: Trial) -> None:
        """A process that was told to stop, and has not, runs; the signal is kept beside it."""
        self._tell(protocol, trial, 1, Status.Running, signal="SIGTERM")

        found = self.stored(protocol, trial)

        assert found.status is Status.Running
        assert [process["signal"] for process in found.processes] == ["SIGTERM"]

    def test_heartbeat_ends_a_silence(self, protocol: Protocol, trial: Trial) -> None:
        """A trial of another host that is silent for long is Broken, until something is heard of it."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told of one process")
        process = {"host": "elsewhere", "pid": 1, "started": 1}
        protocol.apply(StatusChanged(trial.uid, ("Running", 101), 100.0, process=process, attempt=1))
        silent = self.stored(protocol, trial).status

        protocol.log_trial_metadata(trial)

        assert (silent, self.stored(protocol, trial).status) == (Status.Broken, Status.Running)

    @pytest.mark.parametrize("ahead", [3 * 3600.0, 86400.0])
    def test_writer_whose_clock_is_hours_ahead_is_alive(self, protocol: Protocol, trial: Trial, ahead: float) -> None:
        """A process of another host whose clock is far ahead runs while it is heard of."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told of one process")
        process = {"host": "elsewhere", "pid": 1, "started": 1}
        now = time.time() + ahead
        protocol.apply(StatusChanged(trial.uid, ("Running", 101), now, process=process, attempt=1))

        protocol.apply(MetricsLogged(trial.uid, {"loss": 0.5}, now + 1, 0))

        assert self.reopen(protocol).fetch_trials()[0].status is Status.Running

    def test_status_that_the_program_set_stays(self, protocol: Protocol, trial: Trial) -> None:
        """An end that the program itself has set is not replaced by the end of its block; a new start replaces it."""
        protocol.log_trial_start(trial)
        protocol.set_trial_status(trial, CustomStatus("pruned", 303))
        protocol.log_trial_finish(trial, ValueError, ValueError("late"), None)
        found = self.stored(protocol, trial)
        protocol.log_trial_start(found)

        assert (str(found.status), found.errors) == ("pruned", ["ValueError: late"])
        assert self.stored(protocol, trial).status is Status.Running

    def test_time_of_a_killed_life_counts(self, protocol: Protocol, trial: Trial) -> None:
        """The run time of a process that was killed is added once the trial goes on."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told of one process")
        process = {"host": "elsewhere", "pid": 1, "started": 1}
        protocol.apply(StatusChanged(trial.uid, ("Running", 101), 100.0, process=process, attempt=1))
        protocol.apply(MetricsLogged(trial.uid, {"loss": 1.0}, 160.0))

        protocol.log_trial_start(self.stored(protocol, trial))

        assert self.stored(protocol, trial).chronos["runtime"].val == 60.0

    def _resume(self, protocol: Protocol, trial: Trial) -> None:
        """Log steps 0 to 4, go on from step 3, and log it again."""
        for step in range(5):
            protocol.log_trial_metrics(trial, step=step, loss=float(step))
            protocol.log_trial_metrics(trial, step=step, only_before=1.0 if step > 2 else 0.0)
        protocol.log_trial_metrics(trial, stepless=1.0)
        protocol.log_trial_metadata(trial, aggregator=TimeSeriesAggregator.lazy(), _resumes=[3, protocol.clock()])
        protocol.log_trial_metrics(trial, step=3, loss=9.0)

    def test_later_steps_are_hidden_by_a_resume(self, protocol: Protocol, trial: Trial) -> None:
        """After a resume from a step, what was logged at it and later ones before is not shown."""
        self._resume(protocol, trial)

        found = self.stored(protocol, trial).metrics

        assert dict(found["loss"]) == {0: 0.0, 1: 1.0, 2: 2.0, 3: 9.0}
        assert dict(found["only_before"]) == {0: 0.0, 1: 0.0, 2: 0.0}
        assert found["stepless"].val == [1.0]

    @pytest.mark.parametrize(
        ("query", "is_found"),
        [
            ({"metrics.loss": 9.0}, True),
            ({"metrics.loss": {"$lt": 5}}, False),
            ({"metrics.only_before": 0.0}, True),
            ({"metrics.only_before": {"$gt": 0.5}}, False),
        ],
    )
    def test_query_sees_what_a_resume_shows(
        self, protocol: Protocol, trial: Trial, query: dict[str, Any], is_found: bool
    ) -> None:
        """The last value of a metric is the last one that is shown."""
        self._resume(protocol, trial)

        assert bool(self.reopen(protocol).fetch_trials(query)) == is_found

    def test_run_time_adds_up(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that is resumed adds to its run time."""
        times = []
        for _ in range(2):
            protocol.log_trial_start(trial)
            protocol.log_trial_finish(trial, None, None, None)
            times.append(self.stored(protocol, trial).chronos["runtime"].val)

        assert times[1] > times[0]

    def test_chrono_keeps_statistics(self, protocol: Protocol, trial: Trial) -> None:
        """Timed blocks are counted after the first, which is left out."""
        for _ in range(4):
            protocol.log_trial_chrono_start(trial, "batch")
            protocol.log_trial_chrono_finish(trial, "batch", None, None, None)

        stat = self.stored(protocol, trial).chronos["batch"]

        assert stat.count == 3
        assert stat.avg > 0

    def test_chrono_without_an_aggregator_keeps_statistics(self, protocol: Protocol, trial: Trial) -> None:
        """A timer that is given no aggregator keeps what it keeps by default."""
        nothing: Any = None
        for _ in range(4):
            protocol.log_trial_chrono_start(trial, "batch", aggregator=nothing)
            protocol.log_trial_chrono_finish(trial, "batch", None, None, None)

        assert self.stored(protocol, trial).chronos["batch"].count == 3

    def test_chrono_calls_back_once(self, protocol: Protocol, trial: Trial) -> None:
        """The callbacks of a timer are called once each, start first."""
        calls: list[str] = []

        def start() -> None:
            calls.append("start")

        def end() -> None:
            calls.append("end")

        protocol.log_trial_chrono_start(trial, "batch", start_callback=start, end_callback=end)
        protocol.log_trial_chrono_finish(trial, "batch", None, None, None)

        assert calls == ["start", "end"]

    def test_chrono_of_a_failed_block_is_not_counted(self, protocol: Protocol, trial: Trial) -> None:
        """A block that raised adds no time."""
        protocol.log_trial_chrono_start(trial, "batch")
        protocol.log_trial_chrono_finish(trial, "batch", ValueError, ValueError(), None)

        assert "batch" not in self.stored(protocol, trial).chronos

    def test_chronos_of_one_name_nest(self, protocol: Protocol, trial: Trial) -> None:
        """Timers of one name may be nested; each is counted."""
        for _ in range(2):
            protocol.log_trial_chrono_start(trial, "batch", aggregator=StatAggregator.lazy(0))
        for _ in range(2):
            protocol.log_trial_chrono_finish(trial, "batch", None, None, None)

        stat = self.stored(protocol, trial).chronos["batch"]

        assert stat.count == 2
        assert stat.max > stat.min
