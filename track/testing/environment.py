"""Where a trial runs is stored with it, and its packages once for each content."""

from __future__ import annotations

import pytest

from track.persistence.protocol import Protocol
from track.reading import environment
from track.structure import Project, Trial
from track.testing.backend import BackendTests
from track.utils.environment import digest_of

_PACKAGES = "numpy==2.1.0\ntrack==0.1.0"
_FACTS = {
    "argv": ["train.py", "--lr", "0.1"],
    "python": "3.11.7",
    "host": "é",
    "git": {"commit": "ab", "is_dirty": True},
}


class EnvironmentTests(BackendTests):
    """Where a trial runs is stored with it, and its packages once for each content."""

    def test_where_a_trial_ran_comes_back(self, protocol: Protocol, trial: Trial) -> None:
        """What was found out is in the trial's metadata; the last start counts."""
        protocol.log_trial_environment(trial, {**_FACTS, "host": "before"})
        protocol.log_trial_environment(trial, _FACTS)

        found = self.reopen(protocol)

        assert environment(found, self.stored(protocol, trial)) == _FACTS
        assert environment(found, trial.uid[:12]) == _FACTS

    def test_packages_are_stored_once_beside_the_trials(self, protocol: Protocol, trial: Trial) -> None:
        """Trials name their packages by a digest, which the project has once; no trial carries them."""
        if not protocol.takes_events:
            pytest.skip("a backend of methods has no metadata of projects")
        other = protocol.new_trial(Trial(parameters={"lr": 0.2}, project_id="digits"))
        assert other is not None
        digest = digest_of(_PACKAGES)

        for one in (trial, other, trial):
            protocol.log_trial_environment(one, {**_FACTS, "packages": digest}, _PACKAGES)
        reader = self.reopen(protocol)
        stored = self.stored(protocol, trial)

        (project,) = reader.fetch_projects()
        assert {name: text for name, text in project.metadata.items() if name.startswith("_packages")} == {
            f"_packages_{digest}": _PACKAGES
        }
        assert stored.metadata["_environment"] == {**_FACTS, "packages": digest}
        assert environment(reader, stored)["packages"] == {"numpy": "2.1.0", "track": "0.1.0"}

    def test_packages_change_no_other_trial(self, protocol: Protocol, trial: Trial) -> None:
        """Who watches hears of the trial that began, and of no other of its project."""
        protocol.new_project(Project(name="tagged", tags={"team": "vision"}))
        trials = [protocol.new_trial(Trial(parameters={"lr": lr}, project_id="tagged")) for lr in (0.3, 0.4)]
        began = trials[0]
        assert began is not None
        cursor, _ = protocol.changes()

        protocol.log_trial_environment(began, {"packages": digest_of(_PACKAGES)}, _PACKAGES)

        assert protocol.changes(cursor)[1] == [began.uid]

    def test_trial_without_an_environment_has_none(self, protocol: Protocol, trial: Trial) -> None:
        """Of a trial that never started, or of an earlier version, nothing is known; nor of packages that are gone."""
        assert environment(protocol, trial) == {}
        protocol.log_trial_environment(trial, {"python": "3.11.7", "packages": "0" * 16})

        assert environment(self.reopen(protocol), self.stored(protocol, trial)) == {"python": "3.11.7"}
