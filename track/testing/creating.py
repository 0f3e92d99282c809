"""Projects, groups and trials are created once, and found."""

from __future__ import annotations

from typing import Any

import pytest

from track.errors import NotFound
from track.events import TrialAttached
from track.persistence.protocol import Protocol
from track.structure import Project, Trial, TrialGroup
from track.testing.backend import BackendTests


class CreatingTests(BackendTests):
    """Projects, groups and trials are created once, and found."""

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

    def test_confirmed_project_is_that_of_the_trial(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that is confirmed in a project is in it, whether it was created there or elsewhere."""
        protocol.new_project(Project(name="other"))
        elsewhere = protocol.new_trial(Trial(parameters={"lr": 0.2}, project_id="digits")) or trial

        protocol.confirm_project(Project(name="digits"), trial)
        protocol.confirm_project(Project(name="other"), elsewhere)

        members = {project.name: project.trials for project in self.reopen(protocol).fetch_projects()}
        assert members == {"digits": {trial}, "other": {elsewhere}}

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
