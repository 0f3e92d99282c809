"""What was said later counts, in whatever order it arrives."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from track.aggregators.aggregator import RingAggregator, TimeSeriesAggregator, ValueAggregator
from track.events import ArtifactAdded, Event, FieldsMerged, MetricsLogged, StatusChanged, TimeLogged, TrialAttached
from track.persistence.protocol import Protocol
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup
from track.testing.backend import BackendTests

_START = 1_000.0


def _read(ahead: float) -> float:
    return time.time() + ahead


class OrderingTests(BackendTests):
    """What was said later counts, in whatever order it arrives."""

    def _arrive(self, protocol: Protocol, writer: str, *events: Event) -> Protocol:
        """Deliver what a writer has said, and return a new reader: what it knows of the order is what is stored."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told as things happen")
        protocol.receive(writer, 0, list(events))
        protocol.commit()
        return self.reopen(protocol)

    @pytest.mark.parametrize("field", ["parameters", "metadata", "tags"])
    def test_late_field_loses(self, protocol: Protocol, trial: Trial, field: str) -> None:
        """Of two values of one name the one given later counts, name by name; of one time, the one that came last."""

        def given(at: float, **values: Any) -> Event:
            return FieldsMerged("trial", trial.uid, field, values, at)

        protocol = self._arrive(protocol, "second life", given(20.0, a="new", b="new"), given(30.0, c="new"))
        protocol = self._arrive(protocol, "first life", given(10.0, a="old", d="old"), given(25.0, b="newer", c="old"))
        protocol = self._arrive(protocol, "third", given(30.0, c="as new"))

        found = getattr(self.stored(protocol, trial), field)

        assert {name: found.get(name) for name in "abcd"} == {"a": "new", "b": "newer", "c": "as new", "d": "old"}

    def test_query_finds_the_parameter_that_counts(self, protocol: Protocol, trial: Trial) -> None:
        """A late parameter is not what a trial is found by."""
        for writer, at in (("second life", 20.0), ("first life", 10.0)):
            event = FieldsMerged("trial", trial.uid, "parameters", {"seed": at}, at)
            protocol = self._arrive(protocol, writer, event)

        assert [len(protocol.fetch_trials({"parameters.seed": seed})) for seed in (20.0, 10.0)] == [1, 0]

    @pytest.mark.parametrize("kind", ["group", "project"])
    def test_late_metadata_of_an_owner_loses(self, protocol: Protocol, trial: Trial, kind: str) -> None:
        """Metadata of groups and projects is ordered by time, too."""
        group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
        uid = group.uid if kind == "group" else "digits"
        for writer, at in (("second", 20.0), ("first", 10.0)):
            values = {"note": writer, writer: at}
            protocol = self._arrive(protocol, writer, FieldsMerged(kind, uid, "metadata", values, at))

        owners: Any = protocol.fetch_groups() if kind == "group" else protocol.fetch_projects()
        (owner,) = [owner for owner in owners if owner.uid == uid]
        assert owner.metadata == {"note": "second", "second": 20.0, "first": 10.0}

    @pytest.mark.parametrize("kind", ["group", "project"])
    def test_owner_says_when_its_metadata_was_given(self, protocol: Protocol, trial: Trial, kind: str) -> None:
        """Who copies a group or a project copies when what it has was given, wherever it is read from."""
        group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
        uid = group.uid if kind == "group" else "digits"
        protocol = self._arrive(protocol, "writer", FieldsMerged(kind, uid, "metadata", {"note": 1}, 30.0))

        found: Any = protocol.fetch_groups() if kind == "group" else protocol.fetch_projects()

        (moments,) = [owner.moments for owner in found if owner.uid == uid]
        assert moments["metadata"]["note"] == 30.0

    def test_late_aggregated_metadata(self, protocol: Protocol, trial: Trial) -> None:
        """Metadata that is appended is in the order of time, and does not take the place of what was said later."""

        def given(at: float, spec: list[Any] | None = None, **values: Any) -> Event:
            return FieldsMerged("trial", trial.uid, "metadata", values, at, spec)

        protocol = self._arrive(protocol, "second", given(20.0, ["series"], seen=2), given(20.0, plain="new"))
        protocol = self._arrive(protocol, "first", given(10.0, ["series"], seen=1), given(10.0, ["series"], plain=1))

        metadata = self.stored(protocol, trial).metadata

        assert (metadata["seen"].val, metadata["plain"]) == ([1, 2], "new")

    def test_late_attachment_loses(self, protocol: Protocol, trial: Trial) -> None:
        """A trial belongs to the project that it was put into last."""
        for name in ("one", "two"):
            protocol.new_project(Project(name=name))
        protocol = self._arrive(protocol, "second", TrialAttached(trial.uid, "project", "two", 20.0))
        protocol = self._arrive(protocol, "first", TrialAttached(trial.uid, "project", "one", 10.0))

        assert self.stored(protocol, trial).project_id == "two"

    # points

    def test_late_point_of_a_step_loses(self, protocol: Protocol, trial: Trial) -> None:
        """Of two values at a step the one logged later counts; the series is in the order of time, stably."""

        def logged(at: float, step: int, value: float) -> Event:
            return MetricsLogged(trial.uid, {"loss": value}, at, step)

        protocol = self._arrive(protocol, "second", logged(20.0, 3, 2.0), logged(21.0, 4, 2.0), logged(21.0, 4, 2.5))
        protocol = self._arrive(protocol, "first", logged(10.0, 2, 1.0), logged(11.0, 3, 1.0), logged(12.0, 4, 1.0))

        loss = self.stored(protocol, trial).metrics["loss"]

        assert list(loss.items()) == [(2, 1.0), (3, 2.0), (4, 2.5)]
        assert loss.last() == 2.5
        assert [at for _, _, at in loss.rows()] == [10.0, 20.0, 21.0]

    def test_late_value_is_not_the_last(self, protocol: Protocol, trial: Trial) -> None:
        """Values without steps are in the order of time, and a query compares with the last of them."""
        for writer, at in (("third", 30.0), ("first", 10.0), ("second", 20.0)):
            event = MetricsLogged(trial.uid, {"acc": at, writer: 0.0}, at)
            protocol = self._arrive(protocol, writer, event)

        found = self.stored(protocol, trial).metrics["acc"]

        assert (found.val, found.last()) == ([10.0, 20.0, 30.0], 30.0)
        assert [len(protocol.fetch_trials({"metrics.acc": value})) for value in (10.0, 20.0, 30.0)] == [0, 0, 1]

    def test_point_after_a_late_one_is_the_last(self, protocol: Protocol, trial: Trial) -> None:
        """What comes in order after something late is the last, for queries too, also when more comes late."""
        for number, at in enumerate((20.0, 10.0, 30.0, 25.0, 40.0, 5.0)):
            protocol = self._arrive(protocol, f"writer {number}", MetricsLogged(trial.uid, {"acc": at}, at))

        assert [len(protocol.fetch_trials({"metrics.acc": value})) for value in (5.0, 30.0, 40.0)] == [0, 0, 1]
        assert self.stored(protocol, trial).metrics["acc"].val == [5.0, 10.0, 20.0, 25.0, 30.0, 40.0]

    @pytest.mark.parametrize(
        ("factory", "expected"), [(ValueAggregator.lazy(), 3.0), (RingAggregator.lazy(2, "d"), [2.0, 3.0])]
    )
    def test_late_value_of_an_aggregator_of_last_values(
        self, protocol: Protocol, trial: Trial, factory: Any, expected: Any
    ) -> None:
        """An aggregator that keeps the last values keeps the latest ones."""
        for number in (3, 1, 2):
            event = MetricsLogged(trial.uid, {"speed": float(number)}, number * 10.0, aggregator=factory.spec)
            protocol = self._arrive(protocol, f"writer {number}", event)

        assert self.stored(protocol, trial).metrics["speed"].val == expected

    def test_late_times_are_in_order(self, protocol: Protocol, trial: Trial) -> None:
        """Times that are all kept are in the order in which they were taken."""
        for number in (3, 1, 2):
            event = TimeLogged(trial.uid, "batch", float(number), number * 10.0, ["series"])
            protocol = self._arrive(protocol, f"writer {number}", event)

        assert self.stored(protocol, trial).chronos["batch"].val == [1.0, 2.0, 3.0]

    def test_late_points_stay_hidden_by_a_resume(self, protocol: Protocol, trial: Trial) -> None:
        """Steps that a resume hides are hidden when they arrive after it, too; those before them are shown."""

        def logged(at: float, step: int, **values: float) -> Event:
            return MetricsLogged(trial.uid, values, at, step)

        spec = TimeSeriesAggregator.lazy().spec  # type: ignore[attr-defined]
        resumed = FieldsMerged("trial", trial.uid, "metadata", {"_resumes": [3, 20.0]}, 20.0, spec)
        protocol = self._arrive(protocol, "second life", resumed, logged(21.0, 3, loss=9.0))
        left = [logged(10.0 + step, step, loss=float(step), only_before=float(step)) for step in range(2, 6)]
        protocol = self._arrive(protocol, "first life", *left)

        metrics = self.stored(protocol, trial).metrics

        assert (dict(metrics["loss"]), dict(metrics["only_before"])) == ({2: 2.0, 3: 9.0}, {2: 2.0})
        queries: list[Any] = [{"metrics.loss": 9.0}, {"metrics.only_before": 2.0}, {"metrics.only_before": 5.0}]
        assert [len(protocol.fetch_trials(query)) for query in queries] == [1, 1, 0]

    # status, errors, files

    def _status(
        self, trial: Trial, at: float, status: Any, pid: int | None = None, attempt: int | None = None
    ) -> Event:
        process = None if pid is None else {"host": "elsewhere", "pid": pid, "started": pid}
        return StatusChanged(trial.uid, (status.name, status.value), at, process=process, attempt=attempt)

    def test_late_status_loses(self, protocol: Protocol, trial: Trial) -> None:
        """A status that the program has set is not replaced by one that it had set before."""
        protocol = self._arrive(protocol, "second", self._status(trial, 20.0, CustomStatus("pruned", 303)))
        protocol = self._arrive(protocol, "first", self._status(trial, 10.0, Status.Suspended))

        assert str(self.stored(protocol, trial).status) == "pruned"

    def test_status_set_in_an_earlier_life_loses(self, protocol: Protocol, trial: Trial) -> None:
        """What the program said of an earlier attempt is dropped, and counted."""
        runs = self._status(trial, 20.0, Status.Running, 2, 2)
        protocol = self._arrive(protocol, "second", runs, self._status(trial, 30.0, Status.Completed, 2, 2))
        protocol = self._arrive(protocol, "first", self._status(trial, 10.0, CustomStatus("pruned", 303)))

        found = self.stored(protocol, trial)

        assert (found.status, found.metadata["late_events"]) == (Status.Completed, 1)

    def test_late_status_of_the_program_stays(self, protocol: Protocol, trial: Trial) -> None:
        """An end that the program has set counts, though the end of its process is known before."""
        ran = [self._status(trial, 10.0, Status.Running, 1, 1), self._status(trial, 30.0, Status.Completed, 1, 1)]
        protocol = self._arrive(protocol, "process", *ran)
        protocol = self._arrive(protocol, "other thread", self._status(trial, 20.0, CustomStatus("pruned", 303)))

        assert str(self.stored(protocol, trial).status) == "pruned"

    def test_late_begin_of_a_process_loses(self, protocol: Protocol, trial: Trial) -> None:
        """A process that has ended does not run because its begin arrives after its end; it began when it did."""
        protocol = self._arrive(protocol, "end", self._status(trial, 30.0, Status.Completed, 1, 1))
        protocol = self._arrive(protocol, "begin", self._status(trial, 10.0, Status.Running, 1, 1))

        found = self.stored(protocol, trial)

        assert found.status is Status.Completed
        assert (found.timestamps["started"], found.timestamps["finished"]) == (10.0, 30.0)

    def test_late_errors_and_files_are_in_order(self, protocol: Protocol, trial: Trial) -> None:
        """Errors and the versions of a file are in the order of time, those of one time as they came."""
        for writer, at in (("c", 30.0), ("a", 10.0), ("b", 20.0), ("d", 30.0)):
            failed = StatusChanged(trial.uid, ("Running", 101), at, writer)
            protocol = self._arrive(protocol, writer, failed, ArtifactAdded(trial.uid, "model", writer, at))

        found = self.stored(protocol, trial)

        assert found.errors == ["a", "b", "c", "d"]
        assert [artifact["uri"] for artifact in found.artifacts] == ["a", "b", "c", "d"]

    # clocks

    def test_clock_that_goes_back_changes_no_order(self, protocol: Protocol, trial: Trial) -> None:
        """What one program says later counts, though its clock was set back meanwhile."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told as things happen")
        for number, at in enumerate((_START, _START - 500, _START - 400)):
            protocol.clock = partial(_read, at - _START)
            protocol.log_trial_metrics(trial, step=0, loss=float(number))
            protocol.log_trial_metadata(trial, note=number)
            protocol.set_trial_status(trial, CustomStatus(f"part {number}", 303))

        found = self.stored(protocol, trial)

        assert (dict(found.metrics["loss"]), found.metadata["note"]) == ({0: 2.0}, 2)
        assert found.status == CustomStatus("part 2", 303)

    def test_decision_counts_though_another_clock_is_ahead(self, protocol: Protocol, trial: Trial) -> None:
        """Who decides on what is stored is not overruled by it, because of a clock that is fast."""
        ahead = time.time() + 120
        events = [
            self._status(trial, ahead, CustomStatus("taken", 150)),
            FieldsMerged("trial", trial.uid, "tags", {"a": 1}, ahead),
        ]
        protocol = self._arrive(protocol, "fast clock", *events)

        protocol.fetch_and_update_trial({"uid": trial.uid}, "set_trial_status", Status.Completed)
        protocol.fetch_and_update_trial({"uid": trial.uid}, "add_trial_tags", a=2)

        found = self.stored(protocol, trial)
        assert (found.status, found.tags) == (Status.Completed, {"a": 2})
