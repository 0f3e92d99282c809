"""Trials are hidden and come back as they are; what is forgotten is gone, and stays gone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from track.events import Event, FieldsMerged, MetricsLogged, StatusChanged, TrialAttached, TrialCreated
from track.persistence.protocol import Protocol
from track.structure import FORGOTTEN, Project, Status, Trial, TrialGroup
from track.testing.backend import BackendTests

_SHOWN = {"deleted": False}
_HIDDEN = {"deleted": True}
_BOTH = {"deleted": {"$in": [True, False]}}


class DeletingTests(BackendTests):
    """Trials are hidden and come back as they are; what is forgotten is gone, and stays gone."""

    @pytest.fixture
    def other(self, protocol: Protocol, trial: Trial) -> Trial:
        """Give a second trial, which nobody deletes."""
        made = protocol.new_trial(Trial(name="other", parameters={"lr": 0.2}, project_id="digits"))
        assert made is not None
        return made

    def _arrive(self, protocol: Protocol, writer: str, *events: Event) -> Protocol:
        if not protocol.takes_events:
            pytest.skip("a backend of methods is told as things happen")
        protocol.receive(writer, 0, list(events))
        protocol.commit()
        return self.reopen(protocol)

    def test_hidden_trial_is_in_no_listing(self, protocol: Protocol, trial: Trial, other: Trial) -> None:
        """Only a query that says so finds it, alone or beside others, joined, turned around, sorted or cut short."""
        group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
        for one in (trial, other):
            protocol.add_group_trial(group, one)
            protocol.log_trial_metrics(one, step=0, loss=0.5)
        protocol.delete_trial(trial)

        again = self.reopen(protocol)

        for query in (None, {"project_id": "digits"}, {"metrics.loss": 0.5}, {"parameters.lr": {"$lt": 1}}, _SHOWN):
            assert again.fetch_trials(query) == [other]
        assert again.fetch_trials({"$or": [{"uid": trial.uid}, {"name": {"$regex": "oth"}}]}) == [other]
        assert again.fetch_trials({"uid": trial.uid}) == []
        assert again.first_trial({"project_id": "digits"}) == other
        assert again.select_trials(None, "metrics.loss", 2) == [other]
        assert [list(one.trials) for one in again.fetch_groups()] == [[other.uid]]
        assert [list(one.trials) for one in again.fetch_projects({"uid": "digits"})] == [[other]]

    def test_hidden_trial_is_found_where_it_is_asked_for(self, protocol: Protocol, trial: Trial, other: Trial) -> None:
        """``deleted`` is an attribute like others."""
        protocol.delete_trial(trial)

        again = self.reopen(protocol)

        assert again.fetch_trials(_HIDDEN) == again.fetch_trials({**_HIDDEN, "parameters.lr": 0.1}) == [trial]
        assert again.fetch_trials(_BOTH) == again.fetch_trials({"deleted": {"$exists": True}}) == [trial, other]
        assert again.fetch_trials({"$or": [_HIDDEN, {"name": {"$regex": "oth"}}]}) == [trial, other]
        assert again.fetch_trials({"$not": _HIDDEN}) == [other]
        assert again.first_trial(_HIDDEN) == trial
        assert again.select_trials(_BOTH, "-name", 1) == [other]
        assert [found.deleted for found in again.fetch_trials(_BOTH)] == [True, False]

    def test_hidden_trial_keeps_its_uid(self, protocol: Protocol, trial: Trial) -> None:
        """The same parameters again make the next revision, and who has the uid gets the trial."""
        protocol.delete_trial(trial)

        assert protocol.new_trial(Trial(trial.hash)) is None
        made = protocol.new_trial(Trial(trial.hash), auto_increment=True)

        again = self.reopen(protocol)
        assert made is not None
        assert (made.revision, again.revisions(trial.hash), again.has(Trial, trial.uid)) == (1, {0, 1}, True)
        found = [(one.uid, one.deleted) for one in again.get_trial(trial)]
        assert found == [(trial.uid, True), (made.uid, False)]
        assert again.get_trial(made) == [made]

    def test_restored_trial_is_as_it_is_now(self, protocol: Protocol, trial: Trial) -> None:
        """What was logged meanwhile is there, and its end."""
        protocol.log_trial_start(trial)
        protocol.log_trial_metrics(trial, step=0, loss=0.5)
        protocol.delete_trial(trial)
        protocol.log_trial_metrics(trial, step=1, loss=0.25)
        protocol.log_trial_finish(trial, None, None, None)
        assert self.reopen(protocol).fetch_trials() == []

        protocol.restore_trial(trial)

        (found,) = self.reopen(protocol).fetch_trials()
        assert (found.deleted, found.status, found.metrics["loss"]) == (False, Status.Completed, {0: 0.5, 1: 0.25})

    def test_later_of_deleting_and_restoring_counts(self, protocol: Protocol, trial: Trial) -> None:
        """In whatever order they arrive; a status changes nothing of it."""
        later, before = time.time() + 20, time.time() - 20
        restored = FieldsMerged("trial", trial.uid, "deleted", {"deleted": False}, later)
        protocol = self._arrive(protocol, "second", restored)
        late = FieldsMerged("trial", trial.uid, "deleted", {"deleted": True}, before)
        protocol = self._arrive(protocol, "first", late, StatusChanged(trial.uid, ("Completed", 302), later + 1))

        assert [found.deleted for found in protocol.fetch_trials()] == [False]

    # forgetting

    def _forget(self, protocol: Protocol, trial: Trial) -> Protocol:
        protocol.delete_trial(trial)
        protocol.flush()
        protocol.forget_trials()
        return self.reopen(protocol)

    def test_forgotten_trial_is_gone(self, protocol: Protocol, trial: Trial, other: Trial) -> None:
        """Nothing finds it, and nothing of it is left but its uid."""
        group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
        for one in (trial, other):
            protocol.add_group_trial(group, one)
            protocol.log_trial_metrics(one, step=0, loss=0.5)
            protocol.log_trial_time(one, "epoch", 1.0)
        protocol.log_trial_metadata(trial, note="secret")
        protocol.delete_trial(trial)
        protocol.flush()

        found = protocol.forget_trials()

        assert found == ([trial.uid], 0, 0)
        again = self.reopen(protocol)
        assert again.fetch_trials(_BOTH) == [other]
        assert again.get_trial(trial) == []
        assert [list(one.trials) for one in again.fetch_groups()] == [[other.uid]]
        (left,) = again.fetch_trials({"deleted": FORGOTTEN})
        assert (left.uid, left.parameters, len(left.metrics), len(left.chronos)) == (trial.uid, {}, 0, 0)
        assert "note" not in left.metadata
        assert again.fetch_trials({"uid": other.uid})[0].metrics["loss"] == {0: 0.5}

    def test_forgotten_uid_stays_taken(self, protocol: Protocol, trial: Trial) -> None:
        """It is not given again, nor created again by who has created it once, nor restored."""
        again = self._forget(protocol, trial)
        again.restore_trial(trial)
        again = self._arrive(again, "again", TrialCreated(trial.hash, 0, time.time(), name="again"))

        assert again.fetch_trials(_BOTH) == []
        assert (again.revisions(trial.hash), again.has(Trial, trial.uid)) == ({0}, True)
        assert again.new_trial(Trial(trial.hash)) is None
        made = again.new_trial(Trial(trial.hash), auto_increment=True)
        assert made is not None
        assert made.revision == 1

    def test_what_is_said_of_a_forgotten_trial_is_dropped_and_counted(self, protocol: Protocol, trial: Trial) -> None:
        """Late events are taken from who sends them, and change nothing."""
        protocol.new_project(Project(name="p2"))
        group = protocol.new_trial_group(TrialGroup(name="g", project_id="digits"))
        at = time.time() + 5
        again = self._forget(protocol, trial)
        late: list[Any] = [
            MetricsLogged(trial.uid, {"loss": 0.5}, at, 3),
            FieldsMerged("trial", trial.uid, "parameters", {"lr": 0.5}, at),
            FieldsMerged("trial", trial.uid, "metadata", {"_resumes": [3, at]}, at, ["series"]),
            TrialAttached(trial.uid, "group", group.uid, at),
            StatusChanged(trial.uid, ("Completed", 302), at),
        ]
        again = self._arrive(again, "late", *late)

        assert again.fetch_trials(_BOTH) == []
        assert [list(one.trials) for one in again.fetch_groups()] == [[]]
        (left,) = again.fetch_trials({"deleted": FORGOTTEN})
        assert (len(left.metrics), left.parameters, left.status) == (0, {}, Status.CreatedGroup)
        assert again.forget_trials() == ([], 0, len(late))

    def test_running_and_young_trials_are_not_forgotten(self, protocol: Protocol, trial: Trial, other: Trial) -> None:
        """A trial stays while a process runs it, and as long as was asked for."""
        protocol.log_trial_start(trial)
        for one in (trial, other):
            protocol.delete_trial(one)
        protocol.flush()

        assert protocol.forget_trials(older=3600) == ([], 0, 0)
        assert protocol.forget_trials() == ([other.uid], 1, 0)
        assert self.reopen(protocol).fetch_trials(_HIDDEN) == [trial]

        protocol.log_trial_finish(trial, None, None, None)
        protocol.flush()

        assert protocol.forget_trials().trials == [trial.uid]
