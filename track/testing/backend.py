"""What the claims have in common: an empty backend, a trial in it, and what a new reader sees."""

from __future__ import annotations

import pytest

from track.persistence.protocol import Protocol
from track.structure import Project, Trial


class BackendTests:
    """Base of the classes of claims; a subclass of all of them brings the backend."""

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
