"""A store is a queue: a trial is reserved once, and who has lost it changes nothing."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from track.errors import ItemNotFound
from track.events import MetricsLogged, StatusChanged
from track.persistence.protocol import Protocol
from track.serialization import to_json
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup
from track.testing.backend import BackendTests
from track.utils.system import process_identity

_WAITING = {"status": {"$in": ["createdgroup", "submitted", "broken"]}}
_COUNTED = ("late_events", "_update_count", "_last_change")


class QueueTests(BackendTests):
    """A store is a queue: a trial is reserved once, and who has lost it changes nothing."""

    def _require_attempts(self, protocol: Protocol) -> None:
        if not protocol.takes_events:
            pytest.skip("a backend of methods has no attempts")

    def _reserve(self, protocol: Protocol, query: Any = None) -> Trial:
        """Return the next trial that waits, reserved for this process."""
        self._require_attempts(protocol)
        return protocol.fetch_and_update_trial(_WAITING if query is None else query, "log_trial_start")

    def _take_over(self, protocol: Protocol, trial: Trial, attempt: int = 2, at: float | None = None) -> None:
        """Reserve a trial for a worker of another host."""
        self._require_attempts(protocol)
        process = {"host": "elsewhere", "pid": attempt, "started": attempt, "reserved": True}
        at = time.time() if at is None else at
        protocol.apply(StatusChanged(trial.uid, ("Running", 101), at, process=process, attempt=attempt))

    def _waiting(self, protocol: Protocol, count: int) -> list[str]:
        """Return the uids of new trials that wait."""
        self._require_attempts(protocol)
        protocol.new_project(Project(name="digits"))
        made = []
        for number in range(count):
            trial = protocol.new_trial(Trial(parameters={"number": number}, project_id="digits"))
            assert trial is not None
            protocol.set_trial_status(trial, "submitted")
            made.append(trial.uid)
        return made

    def test_reserved_trial_has_its_owner_and_its_attempt(self, protocol: Protocol, trial: Trial) -> None:
        """To reserve is to start: the trial runs, in its first attempt, and says in which process."""
        reserved = self._reserve(protocol)

        found = self.stored(protocol, trial)
        assert (reserved.uid, found.status, found.attempt) == (trial.uid, Status.Running, 1)
        assert found.process is not None
        assert found.process["pid"] == process_identity()["pid"]
        assert [process["reserved"] for process in found.processes] == [True]

    @pytest.mark.parametrize("query", [_WAITING, {}, {"status": "running"}])
    def test_running_trial_is_not_reserved(self, protocol: Protocol, trial: Trial, query: Any) -> None:
        """What a live process runs is not taken from it, whatever is asked for."""
        self._reserve(protocol)

        with pytest.raises(ItemNotFound):
            self._reserve(protocol, query)

        assert self.stored(protocol, trial).attempt == 1

    def test_oldest_trial_is_reserved_first(self, protocol: Protocol) -> None:
        """Trials are reserved in the order in which they were created, whatever each waits as."""
        uids = self._waiting(protocol, 4)
        protocol.set_trial_status(protocol.fetch_trials({"uid": uids[1]})[0], "createdgroup")

        assert [self._reserve(protocol).uid for _ in uids] == uids

    def test_trial_of_a_dead_worker_is_the_next(self, protocol: Protocol) -> None:
        """A trial whose worker is gone is the next that is reserved, in its next attempt."""
        uids = self._waiting(protocol, 3)
        self._take_over(protocol, protocol.fetch_trials({"uid": uids[0]})[0], attempt=1, at=100.0)

        reserved = self._reserve(protocol)

        assert (reserved.uid, reserved.attempt, reserved.status) == (uids[0], 2, Status.Running)
        assert [process["pid"] for process in reserved.processes] == [process_identity()["pid"]]

    def test_reserving_begins_an_attempt_in_a_job(self, protocol: Protocol, trial: Trial) -> None:
        """A worker does not join what another worker of its own job has left, but begins the next attempt."""
        self._require_attempts(protocol)
        protocol.log_trial_start(trial)
        protocol.log_trial_finish(trial, ValueError, ValueError("too large"), None)

        reserved = self._reserve(protocol, {"status": "failed"})

        assert (reserved.attempt, reserved.status) == (2, Status.Running)

    def test_reserved_trial_is_finished(self, protocol: Protocol, trial: Trial) -> None:
        """The end of a reserved trial is that of its attempt, with its run time."""
        reserved = self._reserve(protocol)
        protocol.log_trial_metrics(reserved, step=0, loss=1.0)
        protocol.log_trial_finish(reserved, None, None, None)

        found = self.stored(protocol, trial)
        assert (found.status, found.attempt) == (Status.Completed, 1)
        assert found.metrics["loss"] == {0: 1.0}
        assert found.chronos["runtime"].val > 0
        assert "late_events" not in found.metadata

    def test_trial_is_finished_by_name(self, protocol: Protocol, trial: Trial) -> None:
        """The end can be a decision, too: it is said of the first trial that matches."""
        reserved = self._reserve(protocol)

        changed = protocol.fetch_and_update_trial({"uid": reserved.uid}, "log_trial_finish", None, None, None)

        assert (changed.status, changed.attempt) == (Status.Completed, 1)

    def test_trial_that_is_given_back_is_reserved_again(self, protocol: Protocol, trial: Trial) -> None:
        """A worker that says that its trial waits again, and ends, gives it back."""
        reserved = self._reserve(protocol)
        protocol.set_trial_status(reserved, "submitted")
        protocol.log_trial_finish(reserved, None, None, None)

        again = self._reserve(protocol)

        assert (again.uid, again.attempt, again.status) == (trial.uid, 2, Status.Running)

    def _shown(self, protocol: Protocol, trial: Trial) -> tuple[dict[str, Any], list[str]]:
        """Return all that is stored of a trial but the counts of events, and the groups that it is in."""
        document = to_json(self.stored(protocol, trial))
        for name in _COUNTED:
            document["metadata"].pop(name, None)
        groups = self.reopen(protocol).fetch_groups()
        return document, [group.uid for group in groups if trial.uid in set(group.trials)]

    @pytest.mark.parametrize(
        ("name", "args", "kwargs"),
        [
            ("log_trial_metrics", (), {"step": 1, "loss": 9.0}),
            ("log_trial_metrics", (), {"new": 9.0}),
            ("log_trial_series", ("loss", [9.0, 8.0]), {}),
            ("log_trial_time", ("batch", 1.0), {}),
            ("log_trial_arguments", (), {"lr": 9.0}),
            ("log_trial_metadata", (), {"gpu": "lost"}),
            ("add_trial_tags", (), {"a": "lost"}),
            ("log_trial_artifact", ("model", "file:///lost"), {}),
            ("set_trial_status", (CustomStatus("pruned", 303), "lost"), {}),
            ("log_trial_signal", ("SIGTERM", "lost"), {}),
            ("log_trial_series", ("loss", [1.0, 2.0]), {}),
            ("log_trial_finish", (ValueError, ValueError("lost"), None), {}),
            ("log_trial_start", (), {}),
            ("delete_trial", (), {}),
        ],
    )
    def test_worker_that_lost_its_trial_changes_nothing(
        self, protocol: Protocol, trial: Trial, name: str, args: Any, kwargs: Any
    ) -> None:
        """What is said of an attempt that was followed by another is dropped, whatever it is, and counted."""
        lost = self._reserve(protocol)
        protocol.log_trial_metrics(lost, step=0, loss=1.0)
        self._take_over(protocol, lost)
        before = self._shown(protocol, trial)

        getattr(protocol, name)(lost, *args, **kwargs)

        assert self._shown(protocol, trial) == before
        assert self.stored(protocol, trial).metadata["late_events"] >= 1

    @pytest.mark.parametrize(
        ("name", "args", "kwargs"),
        [
            ("log_trial_metadata", (), {"gpu": "lost"}),
            ("set_trial_status", (CustomStatus("pruned", 303), "lost"), {}),
            ("log_trial_metrics", (), {"step": 1, "loss": 9.0}),
        ],
    )
    def test_worker_that_lost_its_trial_decides_nothing(
        self, protocol: Protocol, trial: Trial, name: str, args: Any, kwargs: Any
    ) -> None:
        """Compare-and-set is said of its attempt, too."""
        lost = self._reserve(protocol)
        self._take_over(protocol, lost)
        before = self._shown(protocol, trial)

        protocol.fetch_and_update_trial({"uid": trial.uid}, name, *args, **kwargs)

        assert self._shown(protocol, trial) == before

    def test_deaths_of_workers_are_counted(self, protocol: Protocol, trial: Trial) -> None:
        """Each time that a trial is reserved because its worker is gone; not where it was given back."""
        self._take_over(protocol, trial, attempt=1, at=100.0)
        second = self._reserve(protocol)
        deaths = self.stored(protocol, trial).metadata["deaths"]
        protocol.set_trial_status(second, "submitted")
        protocol.log_trial_finish(second, None, None, None)
        self._reserve(protocol)

        assert (deaths, self.stored(protocol, trial).metadata["deaths"]) == (1, 1)

    def test_worker_that_lost_its_trial_adds_it_to_no_group(self, protocol: Protocol, trial: Trial) -> None:
        """A trial is added to no group by who has lost it."""
        group = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))
        lost = self._reserve(protocol)
        self._take_over(protocol, lost)
        before = self._shown(protocol, trial)

        protocol.add_group_trial(group, lost)

        assert self._shown(protocol, trial) == before

    def test_worker_that_gave_its_trial_back_leaves_it_to_the_next_thread(
        self, protocol: Protocol, trial: Trial
    ) -> None:
        """What a worker says of a trial that it gave back is no part of the next attempt, in the same process too."""
        first = self._reserve(protocol)
        protocol.log_trial_metrics(first, step=0, loss=1.0)
        protocol.set_trial_status(first, "submitted")
        second = self._reserve(protocol)
        protocol.log_trial_metrics(second, step=1, loss=2.0)
        before = self._shown(protocol, trial)

        protocol.log_trial_metrics(first, step=1, loss=9.0)
        protocol.log_trial_series(first, "loss", [9.0], steps=[1])
        protocol.log_trial_metadata(first, gpu="lost")
        protocol.log_trial_start(first)
        protocol.log_trial_finish(first, ValueError, ValueError("lost"), None)

        assert self._shown(protocol, trial) == before
        protocol.log_trial_metrics(second, step=2, loss=3.0)
        protocol.log_trial_finish(second, None, None, None)
        found = self.stored(protocol, trial)
        assert (found.status, found.attempt, found.errors) == (Status.Completed, 2, [])
        assert found.metrics["loss"] == {0: 1.0, 1: 2.0, 2: 3.0}
        assert found.chronos["runtime"].val > 0.0

    def test_points_of_a_lost_attempt_do_not_replace_those_of_the_next(self, protocol: Protocol, trial: Trial) -> None:
        """Points of a dead worker that arrive late do not replace the same steps of the next attempt."""
        first = self._reserve(protocol)
        protocol.log_trial_metrics(first, step=0, loss=1.0)
        self._take_over(protocol, first)
        for step in range(3):
            protocol.log_trial_metrics(first, step=step, loss=9.0)

        found = self.stored(protocol, trial)

        assert found.metrics["loss"] == {0: 1.0}
        assert found.metadata["late_events"] == 3

    def test_silence_counts_from_what_the_owner_says(self, protocol: Protocol, trial: Trial) -> None:
        """What a worker says that has lost its trial is no sign of life of the one that has it."""
        for attempt in (1, 2):
            self._take_over(protocol, trial, attempt=attempt, at=100.0 * attempt)

        protocol.apply(MetricsLogged(trial.uid, {"loss": 9.0}, time.time(), attempt=1))

        assert self.stored(protocol, trial).status is Status.Broken

    def test_child_of_a_worker_shares_its_attempt(self, protocol: Protocol, trial: Trial) -> None:
        """What a worker has started logs to the attempt of the worker, and is dropped with it."""
        self._take_over(protocol, trial, attempt=1)
        joined = self.stored(protocol, trial)
        protocol.log_trial_start(joined)
        self._take_over(protocol, trial, attempt=2)

        protocol.log_trial_metrics(joined, step=0, loss=9.0)

        found = self.stored(protocol, trial)
        assert dict(found.metrics) == {}
        assert found.metadata["late_events"] == 1

    def test_attempt_is_shared_by_who_is_told_of_it(self, protocol: Protocol, trial: Trial) -> None:
        """Who is handed the attempt of a worker, and starts nothing, logs in it."""
        self._take_over(protocol, trial, attempt=1)
        before = protocol.reserved_attempt(trial.uid)
        protocol.share_attempt(trial.uid, 1)
        self._take_over(protocol, trial, attempt=2)

        protocol.log_trial_metrics(trial, step=0, loss=9.0)

        assert (before, protocol.reserved_attempt(trial.uid)) == (None, 1)
        assert dict(self.stored(protocol, trial).metrics) == {}

    def test_workers_reserve_each_trial_once(self, protocol: Protocol) -> None:
        """Workers that ask at once get each trial exactly once, and then nothing."""
        uids = self._waiting(protocol, 12)
        taken: list[str] = []
        threads = [threading.Thread(target=self._work, args=(protocol, taken)) for _ in range(4)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(taken) == sorted(uids)
        found = self.reopen(protocol).fetch_trials()
        assert {(trial.status, trial.attempt) for trial in found} == {(Status.Completed, 1)}

    def _work(self, protocol: Protocol, taken: list[str]) -> None:
        while True:
            try:
                trial = self._reserve(protocol)
            except ItemNotFound:
                return
            taken.append(trial.uid)
            protocol.log_trial_finish(trial, None, None, None)
