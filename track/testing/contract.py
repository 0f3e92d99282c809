"""What servers, mirrors and artifacts ask of a backend."""

from __future__ import annotations

import os
import re
import time

import pytest

from track.errors import AnotherStore, EventsMissing, UnknownSubject
from track.events import Event, FieldsMerged, MetricsLogged, StatusChanged, TrialCreated, encode
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial, TrialGroup
from track.testing.backend import BackendTests


class ContractTests(BackendTests):
    """What servers, mirrors and artifacts ask of a backend."""

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

    def test_batch_after_a_gap_is_refused(self, protocol: Protocol, trial: Trial) -> None:
        """A store that has lost what it acknowledged takes nothing that follows; what follows what it has, it takes."""
        if not protocol.keeps_numbers:
            return
        events = [MetricsLogged(trial.uid, {"loss": float(number)}, 1.0 + number, number) for number in range(6)]

        protocol.receive_after("writer", -1, 0, events[:2])
        with pytest.raises(EventsMissing, match="up to number 1"):
            protocol.receive_after("writer", 3, 4, events[4:])
        before = protocol.last("writer")
        protocol.receive_after("writer", 1, 4, events[4:])
        protocol.receive_after("writer", 1, 0, events)

        assert (before, protocol.last("writer")) == (1, 5)
        assert list(self.stored(protocol, trial).metrics["loss"]) == [0, 1, 4, 5]

    def test_batch_about_what_is_not_stored_is_refused(self, protocol: Protocol, trial: Trial) -> None:
        """Nothing is acknowledged that is applied to nothing: the batch is refused, and its faulty events are named."""
        if not protocol.keeps_numbers:
            return
        later = Trial(parameters={"lr": 0.4})
        events: list[Event] = [
            MetricsLogged(trial.uid, {"loss": 1.0}, 1.0, 0),
            MetricsLogged("0" * 64 + "_7", {"loss": 1.0}, 1.0, 0),
            FieldsMerged("group", "nobody", "metadata", {"a": 1}, 1.0),
            FieldsMerged("project", "nobody", "metadata", {"a": 1}, 1.0),
            StatusChanged(later.uid, ("Completed", 201), 1.0),
            TrialCreated(later.hash, later.revision, 1.0),
            MetricsLogged(later.uid, {"loss": 1.0}, 1.0, 0),
        ]

        with pytest.raises(UnknownSubject) as refused:
            protocol.receive_after("writer", -1, 10, events)
        stored = self.stored(protocol, trial)
        there = protocol.has(Trial, later.uid)
        protocol.receive_after("writer", -1, 15, events[5:])

        assert refused.value.numbers == [11, 12, 13, 14]
        assert "loss" not in stored.metrics
        assert not there
        assert dict(self.stored(protocol, later).metrics["loss"]) == {0: 1.0}

    def test_action_is_run_and_answers(self, protocol: Protocol, trial: Trial) -> None:
        """What an atomic action returns is returned, and what it stores is stored."""

        def action() -> str:
            protocol.receive("decider", 0, [MetricsLogged(trial.uid, {"loss": 1.0}, 1.0, 0)])
            return "done"

        assert protocol.atomically(action) == "done"
        assert dict(self.stored(protocol, trial).metrics["loss"]) == {0: 1.0}

    def test_store_has_an_id_that_stays(self, protocol: Protocol, trial: Trial) -> None:
        """A store has an id of 32 hexadecimal digits, for every reader; what cannot be told from others has none."""
        identity = protocol.identity()
        protocol.log_trial_metrics(trial, step=0, loss=1.0)
        protocol.flush()

        assert re.fullmatch("([0-9a-f]{32})?", identity)
        assert protocol.identity() == identity
        assert self.reopen(protocol).identity() == identity
        assert identity not in protocol.former_identities()

    def test_events_for_another_store_are_refused(self, protocol: Protocol, trial: Trial) -> None:
        """What is for a store that this one is not, and was not, is not stored; what is for this one is."""
        events = [MetricsLogged(trial.uid, {"loss": 1.0}, 1.0, 0)]

        protocol.expected_store = "0123456789abcdef" * 2
        with pytest.raises(AnotherStore):
            protocol.receive_after("writer", -1, 0, events)
        protocol.expected_store = protocol.identity()
        protocol.receive_after("writer", -1, 0, events)

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
        shown, unread = protocol.glimpse(trial)
        assert (shown.uid, unread) == (trial.uid, "")
        assert protocol.project_tags(trial) == {}
        with protocol.at_once() as is_at_once:
            assert is_at_once in (True, False)

        assert protocol.main.answers
        assert protocol.left_behind() == 0
        assert protocol.unsaved() == 0
        assert protocol.unread() == []
        assert protocol.file is None or os.path.isabs(protocol.file)
        assert all(map(os.path.isabs, protocol.files))
        assert protocol.file is None or protocol.file in protocol.files
        assert all(isinstance(text, str) for text in (protocol.uri, protocol.artifacts, protocol.remedy))
        assert abs(protocol.clock() - time.time()) < 3600
