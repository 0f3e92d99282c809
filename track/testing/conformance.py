"""What every backend must do: one claim a test. Subclass `ProtocolTests` and give it a `protocol` fixture."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import pytest

from track.aggregators.aggregator import (
    MaxAggregator,
    RingAggregator,
    StatAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from track.errors import InvalidEvent, InvalidQuery, ItemNotFound, NotFound, TrialDoesNotExist
from track.events import MetricsLogged, StatusChanged, TrialAttached, encode
from track.persistence.protocol import Protocol
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup


class ProtocolTests:
    """The claims of the contract; see `track.persistence.protocol.Protocol`.

    A subclass defines the fixture `protocol`, an empty backend. A backend that keeps its data after the
    process also overrides `reopen`, which returns a new object on the same data.
    """

    @pytest.fixture
    def protocol(self) -> Protocol:
        """Give an empty backend."""
        raise NotImplementedError("define a fixture named protocol that returns an empty backend")

    @pytest.fixture
    def trial(self, protocol: Protocol) -> Trial:
        """Give a trial that is stored in the project ``digits``."""
        protocol.new_project(Project(name="digits"))
        trial = protocol.new_trial(Trial(parameters={"lr": 0.1}, project_id="digits"))
        assert trial is not None
        return trial

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return another object on the same data; the same one where data does not outlive it."""
        return protocol

    def stored(self, protocol: Protocol, trial: Trial) -> Trial:
        """Return the trial as a new reader sees it."""
        return self.reopen(protocol).get_trial(trial)[0]

    # creating and looking up

    def test_project_that_is_not_stored_is_none(self, protocol: Protocol) -> None:
        """A project is None before it is created."""
        assert protocol.get_project(Project(name="digits")) is None

    def test_new_project_is_found(self, protocol: Protocol) -> None:
        """A created project is found with its fields."""
        protocol.new_project(Project(name="digits", description="small images", metadata={"classes": 10}))

        found = self.reopen(protocol).get_project(Project(name="digits"))

        assert found is not None
        assert (found.uid, found.description, found.metadata) == ("digits", "small images", {"classes": 10})

    def test_project_created_again_stays_as_it_is(self, protocol: Protocol) -> None:
        """Creating a project twice returns the stored one."""
        protocol.new_project(Project(name="digits", description="first"))

        again = protocol.new_project(Project(name="digits", description="second"))

        assert again.description == "first"

    def test_new_group_is_found_in_its_project(self, protocol: Protocol) -> None:
        """A created group is found by its uid, and among the groups of its project."""
        protocol.new_project(Project(name="digits"))
        group = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))

        again = self.reopen(protocol)

        assert again.get_trial_group(TrialGroup(name="idea", project_id="digits")) == group
        assert [project.groups for project in again.fetch_projects()] == [{group}]

    def test_group_created_again_is_returned(self, protocol: Protocol) -> None:
        """Creating a group twice returns the stored one."""
        protocol.new_project(Project(name="digits"))
        first = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits", description="first"))

        again = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))

        assert (again.uid, again.description) == (first.uid, "first")

    def test_group_needs_its_project(self, protocol: Protocol) -> None:
        """A group of a project that is not stored is refused, by name."""
        with pytest.raises(NotFound, match="nowhere"):
            protocol.new_trial_group(TrialGroup(name="idea", project_id="nowhere"))

    def test_unknown_trial_is_an_empty_list(self, protocol: Protocol) -> None:
        """Looking up a trial that is not stored gives an empty list."""
        assert protocol.get_trial(Trial(parameters={"lr": 1})) == []

    def test_new_trial_is_found_with_its_fields(self, protocol: Protocol) -> None:
        """A created trial is found with every field it was given."""
        given: dict[str, Any] = {"name": "n", "description": "d", "version": "v", "tags": {"a": 1}}
        trial = protocol.new_trial(Trial(parameters={"lr": 0.1, "opt.name": "sgd"}, metadata={"gpu": "V100"}, **given))
        assert trial is not None

        found = self.stored(protocol, trial)

        assert {name: getattr(found, name) for name in given} == given
        assert (found.uid, found.parameters, found.metadata["gpu"]) == (
            trial.uid,
            {"lr": 0.1, "opt.name": "sgd"},
            "V100",
        )

    def test_same_trial_again_is_none(self, protocol: Protocol, trial: Trial) -> None:
        """Without auto_increment a stored uid is not created again."""
        assert protocol.new_trial(Trial(parameters={"lr": 0.1})) is None
        assert len(protocol.fetch_trials()) == 1

    def test_auto_increment_gives_the_next_revision(self, protocol: Protocol, trial: Trial) -> None:
        """With auto_increment the same parameters make revisions 1, 2, ..., and the caller's object knows."""
        wanted = [Trial(parameters={"lr": 0.1}) for _ in range(2)]

        made = [protocol.new_trial(one, auto_increment=True) for one in wanted]

        assert [one.revision for one in made if one is not None] == [1, 2]
        assert [one.revision for one in wanted] == [1, 2]
        assert {one.hash for one in wanted} == {trial.hash}

    def test_get_trial_gives_the_exact_one_first(self, protocol: Protocol, trial: Trial) -> None:
        """Looking up a revision gives that one first, then the others in order."""
        for _ in range(2):
            protocol.new_trial(Trial(parameters={"lr": 0.1}), auto_increment=True)

        found = self.reopen(protocol).get_trial(Trial(trial.hash, 1))

        assert [one.revision for one in found] == [1, 0, 2]

    def test_trial_moves_between_projects(self, protocol: Protocol, trial: Trial) -> None:
        """A trial is in the project it was added to last, and in no other."""
        protocol.new_project(Project(name="other"))

        protocol.add_project_trial(Project(name="other"), trial)

        members = {project.name: project.trials for project in self.reopen(protocol).fetch_projects()}
        assert members == {"digits": set(), "other": {trial}}

    def test_trial_is_in_several_groups(self, protocol: Protocol, trial: Trial) -> None:
        """A trial added to two groups is in both, once; its group_id is the last."""
        groups = [protocol.new_trial_group(TrialGroup(name=name, project_id="digits")) for name in ("a", "b")]

        for group in [*groups, groups[1]]:
            protocol.add_group_trial(group, trial)

        again = self.reopen(protocol)
        assert [group.trials for group in again.fetch_groups()] == [{trial.uid}, {trial.uid}]
        assert again.get_trial(trial)[0].group_id == groups[1].uid

    def test_trials_of_a_group_are_in_the_order_they_were_added(self, protocol: Protocol) -> None:
        """A group's trials come in the order of attachment, whatever the clocks of those who attached them said."""
        protocol.new_project(Project(name="digits"))
        group = protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))
        made = [protocol.new_trial(Trial(parameters={"n": n}, project_id="digits")) for n in range(4)]
        uids = [trial.uid for trial in made if trial is not None]
        order = [uids[2], uids[0], uids[3], uids[1]]

        for uid, at in zip([*order, order[0]], (9.0, 5.0, 5.0, 1.0, 10.0), strict=True):
            protocol.apply(TrialAttached(uid, "group", group.uid, at))

        assert [list(found.trials) for found in self.reopen(protocol).fetch_groups()] == [order]

    @pytest.mark.parametrize("own", [["quick", "7"], {"quick": True, "7": True}], ids=["list", "names"])
    def test_trial_shows_the_tags_of_its_project(self, protocol: Protocol, own: Any) -> None:
        """A trial has the tags of its project besides its own; a list of tags are names that hold."""
        protocol.new_project(Project(name="digits", tags={"task": "mnist"}))
        expected = {"quick": True, "7": True, "task": "mnist"}

        made = protocol.new_trial(Trial(parameters={"lr": 0.1}, tags=own, project_id="digits"))

        assert made is not None
        assert [found.tags for found in self.reopen(protocol).fetch_trials({"tags.task": "mnist"})] == [expected]

    # logging

    def test_steps_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """Values logged with steps come back by step, with their types."""
        for step in range(3):
            protocol.log_trial_metrics(trial, step=step, loss=1 / (step + 1), seen=step)

        metrics = self.stored(protocol, trial).metrics

        assert dict(metrics["loss"]) == {0: 1.0, 1: 0.5, 2: 1 / 3}
        assert list(map(type, metrics["seen"].values())) == [int, int, int]

    def test_same_step_replaces(self, protocol: Protocol, trial: Trial) -> None:
        """A step logged again has the new value, in its old place; step 0 is a step."""
        for step, value in ((0, 1.0), (1, 2.0), (0, 3.0)):
            protocol.log_trial_metrics(trial, step=step, loss=value)

        assert list(self.stored(protocol, trial).metrics["loss"].items()) == [(0, 3.0), (1, 2.0)]

    @pytest.mark.parametrize("step", [7, -1, 0.5, "warm-up", (1, 2)])
    def test_steps_of_any_kind(self, protocol: Protocol, trial: Trial, step: Any) -> None:
        """A step may be any number, text or tuple."""
        protocol.log_trial_metrics(trial, step=step, loss=1.0)

        assert dict(self.stored(protocol, trial).metrics["loss"]) == {step: 1.0}

    def test_values_without_step_are_a_series(self, protocol: Protocol, trial: Trial) -> None:
        """Values without a step are all kept, in order."""
        for value in (3, 2.5, 3):
            protocol.log_trial_metrics(trial, cost=value)

        assert self.stored(protocol, trial).metrics["cost"].val == [3, 2.5, 3]

    def test_names_come_back_in_the_order_of_their_first_use(self, protocol: Protocol, trial: Trial) -> None:
        """Metrics and times are read in the order in which they were first logged: tables have the same columns."""
        for step, names in enumerate((("z", "a"), ("m", "z"), ("b", "a"))):
            values: dict[str, Any] = dict.fromkeys(names, 0.5)
            protocol.log_trial_metrics(trial, step=step, **values)
        for name in ("train", "load", "train"):
            protocol.log_trial_chrono_start(trial, name)
            protocol.log_trial_chrono_finish(trial, name, None, None, None)

        found = self.stored(protocol, trial)

        assert (list(found.metrics), list(found.chronos)) == (["z", "a", "m", "b"], ["train", "load"])

    def test_points_with_and_without_step_mix(self, protocol: Protocol, trial: Trial) -> None:
        """A value without a step takes the next integer step; the first step numbers what has none from 0."""
        protocol.log_trial_metrics(trial, step=4, a=1.0)
        protocol.log_trial_metrics(trial, a=2.0)
        for value in (1.0, 1.5):
            protocol.log_trial_metrics(trial, b=value)
        protocol.log_trial_metrics(trial, step=1, b=2.0)
        protocol.log_trial_metrics(trial, b=3.0)

        metrics = self.stored(protocol, trial).metrics

        assert dict(metrics["a"]) == {4: 1.0, 5: 2.0}
        assert dict(metrics["b"]) == {0: 1.0, 1: 2.0, 2: 3.0}
        assert {type(value) for value in metrics["b"].values()} == {float}

    def test_metric_with_an_aggregator_has_no_steps(self, protocol: Protocol, trial: Trial) -> None:
        """A step is ignored for an aggregated metric; the other values of the call are kept, and all can be read."""
        protocol.log_trial_metrics(trial, aggregator=MaxAggregator.lazy(), best=0.5)
        protocol.log_trial_metrics(trial, step=3, best=0.9, lr=0.1)
        protocol.log_trial_metrics(trial, step=4, best=0.2)

        metrics = self.stored(protocol, trial).metrics

        assert (metrics["best"].val, dict(metrics["lr"])) == (0.9, {3: 0.1})

    def test_value_that_an_aggregator_cannot_take_is_left_out(self, protocol: Protocol, trial: Trial) -> None:
        """One value that overflows its ring hides nothing else, and the store stays readable."""
        protocol.log_trial_metrics(trial, aggregator=RingAggregator.lazy(3, "b"), small=1)
        protocol.log_trial_metrics(trial, aggregator=RingAggregator.lazy(3, "b"), small=1000, other=1000)
        protocol.log_trial_metrics(trial, aggregator=RingAggregator.lazy(3, "b"), small=2)

        metrics = self.stored(protocol, trial).metrics

        assert (metrics["small"].val, metrics["other"].val) == ([1, 2], [])

    def test_last_value_is_found_whatever_had_steps(self, protocol: Protocol, trial: Trial) -> None:
        """A query sees the last value of a metric that got steps only later, as a number."""
        protocol.log_trial_metrics(trial, acc=0.1)
        for step in range(3):
            protocol.log_trial_metrics(trial, step=step, acc=0.5 + step / 10)

        reader = self.reopen(protocol)

        assert [len(reader.fetch_trials({"metrics.acc": {"$gt": bound}})) for bound in (0.4, 0.9)] == [1, 0]

    @pytest.mark.parametrize(
        ("factory", "expected"),
        [(ValueAggregator.lazy(), 4.0), (RingAggregator.lazy(2, "d"), [3.0, 4.0])],
        ids=["value", "ring"],
    )
    def test_aggregator_of_the_first_use_counts(
        self, protocol: Protocol, trial: Trial, factory: Any, expected: Any
    ) -> None:
        """A metric without steps is kept by the aggregator given at its first use."""
        for value in (1.0, 2.0, 3.0, 4.0):
            protocol.log_trial_metrics(trial, aggregator=factory, speed=value)

        assert self.stored(protocol, trial).metrics["speed"].val == expected

    def test_stat_aggregator_survives(self, protocol: Protocol, trial: Trial) -> None:
        """Statistics come back with what they need to go on."""
        for value in (1.0, 2.0, 6.0):
            protocol.log_trial_metrics(trial, aggregator=StatAggregator.lazy(0), speed=value)
        again = self.reopen(protocol)
        again.log_trial_metrics(again.get_trial(trial)[0], aggregator=StatAggregator.lazy(0), speed=3.0)

        stat = again.get_trial(trial)[0].metrics["speed"]

        assert (stat.avg, stat.min, stat.max, stat.count) == (3.0, 1.0, 6.0, 4)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 2**53 + 1, 2**80, 1e-320, True])
    def test_numbers_come_back_exactly(self, protocol: Protocol, trial: Trial, value: Any) -> None:
        """No number changes, also those that JSON cannot say."""
        protocol.log_trial_metrics(trial, step=0, x=value)
        protocol.log_trial_metrics(trial, y=value)

        metrics = self.stored(protocol, trial).metrics

        for back in (metrics["x"][0], metrics["y"].val[0]):
            assert repr(back) == repr(value)

    @pytest.mark.parametrize("name", ["self", "trial", "values", "at", "event", "null", "a.b", 'quo"te', "ü\n"])
    def test_names_of_any_kind(self, protocol: Protocol, trial: Trial, name: str) -> None:
        """A metric may have any name."""
        protocol.log_trial_metrics(trial, 1, None, **{name: 0.5})

        assert dict(self.stored(protocol, trial).metrics[name]) == {1: 0.5}

    @pytest.mark.parametrize("value", ["0.5", None, [1.0], {"a": 1}, object()])
    def test_metric_that_is_no_number_is_refused(self, protocol: Protocol, trial: Trial, value: Any) -> None:
        """A value that is no number is refused by name, and what was logged stays."""
        protocol.log_trial_metrics(trial, step=0, loss=1.0)

        with pytest.raises(InvalidEvent, match=r"'acc'.*is a number"):
            protocol.log_trial_metrics(trial, step=1, loss=2.0, acc=value)

        assert dict(self.stored(protocol, trial).metrics["loss"]) == {0: 1.0}

    def test_unknown_trial_is_refused(self, protocol: Protocol) -> None:
        """Logging to a trial that is not stored is an error that names it."""
        with pytest.raises(TrialDoesNotExist, match="abc_0"):
            protocol.log_trial_metrics(Trial("abc"), step=0, loss=1.0)

    def test_metadata_merges(self, protocol: Protocol, trial: Trial) -> None:
        """Later metadata replaces the same names and leaves the others."""
        protocol.log_trial_metadata(trial, gpu="V100", host={"cpus": 2})
        protocol.log_trial_metadata(trial, gpu="A100")

        metadata = self.stored(protocol, trial).metadata

        assert (metadata["gpu"], metadata["host"]) == ("A100", {"cpus": 2})

    def test_metadata_with_aggregator_appends(self, protocol: Protocol, trial: Trial) -> None:
        """Metadata given an aggregator is appended to it."""
        for value in (1, 2, 3):
            protocol.log_trial_metadata(trial, aggregator=RingAggregator.lazy(2, "q"), queue=value)

        assert self.stored(protocol, trial).metadata["queue"].val == [2, 3]

    def test_artifacts_are_listed_in_order(self, protocol: Protocol, trial: Trial) -> None:
        """A trial's manifest has every file, oldest first, with what was said of it, and the time."""
        protocol.log_trial_artifact(trial, "model", "objects/ab/abc", "ab" * 32, 2**40)
        protocol.log_trial_artifact(trial, "data é", "s3://bucket/data.csv")
        protocol.log_trial_artifact(trial, "model", "objects/cd/cde", "cd" * 32, 0)

        manifest = self.stored(protocol, trial).artifacts

        assert [(line["name"], line["uri"], line["digest"], line["size"]) for line in manifest] == [
            ("model", "objects/ab/abc", "ab" * 32, 2**40),
            ("data é", "s3://bucket/data.csv", None, None),
            ("model", "objects/cd/cde", "cd" * 32, 0),
        ]
        assert all(line["at"] > 0 for line in manifest)

    def test_artifact_of_an_unknown_trial_is_refused(self, protocol: Protocol) -> None:
        """A file belongs to a trial that is stored."""
        with pytest.raises(TrialDoesNotExist, match="no trial"):
            protocol.log_trial_artifact(Trial(parameters={"nobody": 1}), "model", "objects/ab/abc")

    def test_tags_merge(self, protocol: Protocol, trial: Trial) -> None:
        """Tags are merged."""
        protocol.add_trial_tags(trial, a=1, b=1)
        protocol.add_trial_tags(trial, b=2)

        assert self.stored(protocol, trial).tags == {"a": 1, "b": 2}

    def test_arguments_merge_and_the_uid_stays(self, protocol: Protocol, trial: Trial) -> None:
        """Parameters logged later join the trial, which keeps its uid."""
        protocol.log_trial_arguments(trial, seed=1)

        found = self.stored(protocol, trial)

        assert (found.uid, found.parameters) == (trial.uid, {"lr": 0.1, "seed": 1})

    def test_every_change_counts_once(self, protocol: Protocol, trial: Trial) -> None:
        """Each call that changes a trial adds one to its count and sets the time of the change."""
        before = self.stored(protocol, trial).metadata["_update_count"]
        protocol.log_trial_metrics(trial, step=0, a=1, b=2)
        protocol.log_trial_metadata(trial, gpu="V100")
        protocol.add_trial_tags(trial, a=1)

        metadata = self.stored(protocol, trial).metadata

        assert metadata["_update_count"] == before + 3
        assert metadata["_last_change"] > 0

    def test_new_trial_counts_no_change(self, protocol: Protocol, trial: Trial) -> None:
        """A new trial has seen no change."""
        assert self.stored(protocol, trial).metadata["_update_count"] == 0

    # life

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
        """A trial that was begun again is not ended by a process that was taken for dead."""
        self._tell(protocol, trial, 1, Status.Running, attempt=1)
        self._tell(protocol, trial, 2, Status.Running, attempt=2)

        self._tell(protocol, trial, 1, Status.Completed, attempt=1)

        found = self.stored(protocol, trial)
        assert (found.status, found.attempt) == (Status.Running, 2)
        assert [process["pid"] for process in found.processes] == [2]

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

    # asking

    def test_fetch_is_in_order_of_creation(self, protocol: Protocol) -> None:
        """Objects are returned in the order they were created, also after reopening."""
        for name in ("b", "a", "c"):
            protocol.new_project(Project(name=name))
            protocol.new_trial(Trial(parameters={"name": name}, project_id=name))

        again = self.reopen(protocol)

        assert [project.name for project in again.fetch_projects()] == ["b", "a", "c"]
        assert [found.parameters["name"] for found in again.fetch_trials({})] == ["b", "a", "c"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (None, [1, 2, 3, 4]),
            ({"parameters.n": 2}, [2]),
            ({"parameters.n": {"$gt": 1, "$lte": 3}}, [2, 3]),
            ({"parameters.n": {"$gte": 3}}, [3, 4]),
            ({"parameters.n": {"$lt": 2}}, [1]),
            ({"parameters.n": {"$ne": 2}}, [1, 3, 4]),
            ({"parameters.n": {"$in": [1, 4, 9]}}, [1, 4]),
            ({"parameters.n": {"$in": []}}, []),
            ({"parameters.n": {"$nin": [1, 4]}}, [2, 3]),
            ({"parameters.opt.name": "sgd"}, [1, 3]),
            ({"parameters.only": {"$exists": True}}, [3]),
            ({"parameters.only": {"$exists": False}}, [1, 2, 4]),
            ({"parameters.missing": {"$gt": 0}}, []),
            ({"parameters.opt.name": {"$gt": 0}}, []),
            ({"name": {"$regex": "^trial-[12]$"}}, [1, 2]),
            ({"status": "completed"}, [2]),
            ({"status": Status.Completed}, [2]),
            ({"status": {"$in": ["Completed", "suspended"]}}, [2, 3]),
            ({"status": {"$in": [302]}}, [2]),
            ({"status": {"name": "Completed", "value": 302}}, [2]),
            ({"status": {"$nin": ["completed", "CreatedGroup"]}}, [3]),
            ({"metrics.loss": {"$lt": 0.4}}, [3, 4]),
            ([("parameters.n", {"$gt": 1}), ("parameters.opt.name", "sgd")], [3]),
        ],
    )
    def test_query(self, protocol: Protocol, query: Any, expected: list[int]) -> None:
        """A query finds the trials for which every condition holds."""
        for n in (1, 2, 3, 4):
            parameters = {"n": n, "opt": {"name": "sgd" if n % 2 else "adam"}} | ({"only": 1} if n == 3 else {})
            made = protocol.new_trial(Trial(name=f"trial-{n}", parameters=parameters))
            assert made is not None
            protocol.log_trial_metrics(made, step=0, loss=9.0)
            protocol.log_trial_metrics(made, step=1, loss=1 / n)
            if n in (2, 3):
                protocol.set_trial_status(made, Status.Completed if n == 2 else Status.Suspended)

        assert [found.parameters["n"] for found in self.reopen(protocol).fetch_trials(query)] == expected

    def test_nan_is_never_matched_by_a_comparison(self, protocol: Protocol, trial: Trial) -> None:
        """A comparison with a NaN does not hold, whichever it is."""
        protocol.log_trial_metrics(trial, step=0, loss=math.nan)

        found = [protocol.fetch_trials({"metrics.loss": {name: 0}}) for name in ("$lt", "$gte", "$eq", "$ne")]

        assert found == [[], [], [], []]

    @pytest.mark.parametrize(
        ("query", "named"), [({"parameter.lr": 1}, "'parameter'"), ({"parameters.lr": {"$like": 1}}, r"'\$like'")]
    )
    def test_query_with_an_unknown_word_is_refused(self, protocol: Protocol, query: Any, named: str) -> None:
        """An unknown attribute or operator is refused by name, also when nothing is stored."""
        with pytest.raises(InvalidQuery, match=named):
            protocol.fetch_trials(query)

    def test_fetch_groups_and_projects_by_query(self, protocol: Protocol) -> None:
        """Groups and projects are found by query as well."""
        protocol.new_project(Project(name="digits", metadata={"classes": 10}))
        protocol.new_trial_group(TrialGroup(name="idea", project_id="digits", metadata={"cost": 3}))

        assert [project.name for project in protocol.fetch_projects({"metadata.classes": {"$gte": 10}})] == ["digits"]
        assert [group.name for group in protocol.fetch_groups({"metadata.cost": 3, "project_id": "digits"})] == ["idea"]
        assert protocol.fetch_groups({"name": "other"}) == []

    def test_value_once_read_does_not_change(self, protocol: Protocol, trial: Trial) -> None:
        """What a reader holds stays as it was read, and changing it changes nothing stored."""
        protocol.log_trial_metrics(trial, step=0, loss=1.0)
        held = protocol.get_trial(trial)[0]
        protocol.log_trial_metrics(trial, step=1, loss=2.0)
        held.tags["mine"] = 1

        assert dict(held.metrics["loss"]) == {0: 1.0}
        assert protocol.get_trial(trial)[0].tags == {}

    # deciding

    def test_fetch_and_update_changes_the_first_match(self, protocol: Protocol, trial: Trial) -> None:
        """The first trial that matches is changed and returned as it is then."""
        changed = protocol.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)

        assert (changed.uid, changed.status) == (trial.uid, Status.Running)
        with pytest.raises(ItemNotFound):
            protocol.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)

    def test_fetch_and_update_calls_writing_methods_only(self, protocol: Protocol, trial: Trial) -> None:
        """Only methods that change a trial can be named."""
        with pytest.raises(InvalidEvent, match="'close' cannot be called"):
            protocol.fetch_and_update_trial({}, "close")

    def test_fetch_and_update_group(self, protocol: Protocol) -> None:
        """The first group that matches is changed and returned as it is then."""
        protocol.new_project(Project(name="digits"))
        protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))

        changed = protocol.fetch_and_update_group({"name": "idea"}, "set_group_metadata", state="done")

        assert changed.metadata == {"state": "done"}
        with pytest.raises(ItemNotFound):
            protocol.fetch_and_update_group({"name": "other"}, "set_group_metadata", state="done")

    # what servers, mirrors and artifacts ask

    def test_first_trial_is_the_oldest_that_matches(self, protocol: Protocol, trial: Trial) -> None:
        """The first trial of a query is the oldest one; without a match it is None."""
        protocol.new_trial(Trial(parameters={"lr": 0.2}))

        again = self.reopen(protocol)

        assert again.first_trial({"parameters.lr": {"$gt": 0.0}}) == trial
        assert again.first_trial({"parameters.lr": 7}) is None

    def test_revisions_of_a_hash_are_known(self, protocol: Protocol, trial: Trial) -> None:
        """The revisions that are stored are told; there are none of a trial that is not."""
        protocol.new_trial(Trial(parameters={"lr": 0.1}, project_id="digits"), auto_increment=True)

        assert self.reopen(protocol).revisions(trial.hash) == {0, 1}
        assert protocol.revisions("0" * 64) == set()

    def test_what_is_stored_is_there(self, protocol: Protocol, trial: Trial) -> None:
        """A project, a group and a trial are there once they are stored, and not before."""
        group = TrialGroup(name="idea", project_id="digits")
        before = [protocol.has(TrialGroup, group.uid), protocol.has(Trial, "0_0"), protocol.has(Project, "letters")]
        protocol.new_trial_group(group)

        again = self.reopen(protocol)

        assert before == [False, False, False]
        assert [again.has(TrialGroup, group.uid), again.has(Trial, trial.uid), again.has(Project, "digits")] == [
            True
        ] * 3

    def test_numbered_events_are_stored_once(self, protocol: Protocol, trial: Trial) -> None:
        """A batch that comes again, in part or whole, changes nothing: storing is idempotent."""
        events = [MetricsLogged(trial.uid, {"loss": float(number)}, 1.0 + number, number) for number in range(3)]

        protocol.receive("writer", 0, events[:2])
        protocol.receive("writer", 1, events[1:], b"".join(map(encode, events[1:])))
        protocol.receive("writer", 0, events)

        assert protocol.last("writer") == 2
        assert protocol.last("nobody") == -1
        assert dict(self.stored(protocol, trial).metrics["loss"]) == {0: 0.0, 1: 1.0, 2: 2.0}

    def test_action_is_run_and_answers(self, protocol: Protocol, trial: Trial) -> None:
        """What an atomic action returns is returned, and what it stores is stored."""

        def action() -> str:
            protocol.receive("decider", 0, [MetricsLogged(trial.uid, {"loss": 1.0}, 1.0, 0)])
            return "done"

        assert protocol.atomically(action) == "done"
        assert dict(self.stored(protocol, trial).metrics["loss"]) == {0: 1.0}

    def test_listeners_hear_what_is_stored_once(self, protocol: Protocol, trial: Trial) -> None:
        """Who listens to a backend of events hears each event that its methods have stored, once, in order."""
        if not protocol.takes_events:
            return
        heard: list[str] = []
        protocol.listeners.append(lambda events: heard.extend(type(event).__name__ for event in events))

        made = protocol.new_trial(Trial(parameters={"lr": 0.3}))
        assert made is not None
        protocol.log_trial_metrics(made, step=0, loss=1.0)
        protocol.fetch_and_update_trial({"uid": made.uid}, "set_trial_status", Status.Running)

        assert heard == ["TrialCreated", "MetricsLogged", "StatusChanged"]

    def test_what_it_is_can_be_asked(self, protocol: Protocol, trial: Trial) -> None:
        """Every backend says what it is, and does what is asked of all: nobody asks for its class."""
        protocol.check_writable()
        protocol.flush()
        protocol.tidy()
        with protocol.at_once() as is_at_once:
            assert is_at_once in (True, False)

        assert protocol.main.answers
        assert protocol.left_behind() == 0
        assert protocol.unsaved() == 0
        assert protocol.file is None or os.path.isabs(protocol.file)
        assert all(isinstance(text, str) for text in (protocol.uri, protocol.artifacts, protocol.remedy))
        assert abs(protocol.clock() - time.time()) < 3600
