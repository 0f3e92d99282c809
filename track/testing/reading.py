"""What was measured is read alike from every backend: as arrays, and as frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from track.persistence.protocol import Protocol
from track.structure import Project, Trial
from track.testing.backend import BackendTests

_EVENTS: dict[str, Callable[[Protocol, Trial], Any]] = {
    "arguments": lambda protocol, trial: protocol.log_trial_arguments(trial, lr=0.3),
    "artifact": lambda protocol, trial: protocol.log_trial_artifact(trial, "model.pt", "file:///model.pt"),
    "metadata": lambda protocol, trial: protocol.log_trial_metadata(trial, seed=7),
    "metrics": lambda protocol, trial: protocol.log_trial_metrics(trial, step=0, loss=0.5),
    "project": lambda protocol, trial: protocol.add_project_trial(protocol.new_project(Project(name="other")), trial),
    "status": lambda protocol, trial: protocol.set_trial_status(trial, "pruned"),
    "tags": lambda protocol, trial: protocol.add_trial_tags(trial, kind="baseline"),
    "time": lambda protocol, trial: protocol.log_trial_time(trial, "epoch", 1.5),
}


class ReadingTests(BackendTests):
    """What was measured is read alike from every backend: as arrays, and as frames."""

    @pytest.mark.parametrize("values", [[0.5, 1.5, 2.5], [1, 2, 3], [0.5, 1, math.inf], [True, False, True]], ids=str)
    def test_arrays_say_what_was_logged(self, protocol: Protocol, trial: Trial, values: list[Any]) -> None:
        """A metric with steps and one without are arrays of numbers, of the same type everywhere."""
        numpy = pytest.importorskip("numpy")
        for step, value in enumerate(values):
            protocol.log_trial_metrics(trial, step=step, loss=value)
            protocol.log_trial_metrics(trial, cost=value)

        metrics = self.stored(protocol, trial).metrics

        for name in ("loss", "cost"):
            steps, found, at = metrics[name].to_numpy(times=True)
            assert (steps.tolist(), found.tolist()) == ([0, 1, 2], values)
            assert [array.dtype for array in (steps, found)] == [numpy.int64, numpy.array(values).dtype]
            assert (numpy.diff(at) >= 0).all()
            assert at[0] > 0

    def test_step_logged_again_is_one_row_of_the_arrays(self, protocol: Protocol, trial: Trial) -> None:
        """The value logged last at a step counts, where the step first was."""
        pytest.importorskip("numpy")
        for step, value in ((3, 0.9), (1, 0.5), (3, 0.8), ("end", 0.1)):
            protocol.log_trial_metrics(trial, step=step, loss=value)

        steps, values = self.stored(protocol, trial).metrics["loss"].to_numpy()

        assert (steps.tolist(), values.tolist()) == ([3, 1, "end"], [0.8, 0.5, 0.1])

    def test_arrays_stay_while_the_trial_goes_on(self, protocol: Protocol, trial: Trial) -> None:
        """What is logged later neither shows in arrays that somebody holds nor is stopped by them."""
        pytest.importorskip("numpy")
        protocol.log_trial_metrics(trial, step=0, loss=0.9)
        held = protocol.get_trial(trial)[0].metrics["loss"].to_numpy(times=True)

        for step in range(1, 4):
            protocol.log_trial_metrics(trial, step=step, loss=float(step))

        assert [len(array) for array in held] == [1, 1, 1]
        assert protocol.get_trial(trial)[0].metrics["loss"].to_numpy()[1].tolist() == [0.9, 1.0, 2.0, 3.0]

    # what changed

    def test_everything_has_changed_since_never(self, protocol: Protocol, trial: Trial) -> None:
        """Without a cursor, and with one that is not known, every trial is named, the oldest first."""
        other = protocol.new_trial(Trial(parameters={"lr": 0.2}))
        assert other is not None

        for since in (None, "", "nobody's", "nobody's:0", "sums:", "0" * 32 + ":0:0:0:0:0"):
            cursor, uids = self.reopen(protocol).changes(since)

            assert uids == [trial.uid, other.uid]
            assert self.reopen(protocol).changes(cursor)[1] == []

    @pytest.mark.parametrize("name", _EVENTS)
    def test_one_event_names_one_trial(self, protocol: Protocol, trial: Trial, name: str) -> None:
        """Whatever is told of one trial names that one, for a reader of before and for a new one, and once."""
        for number in range(5):
            protocol.new_trial(Trial(parameters={"lr": number}))
        before, _ = protocol.changes()

        _EVENTS[name](protocol, trial)
        cursor, uids = protocol.changes(before)
        again, named = self.reopen(protocol).changes(before)

        assert (uids, named) == ([trial.uid], [trial.uid])
        assert protocol.changes(cursor)[1] == self.reopen(protocol).changes(again)[1] == []

    def test_new_trials_have_changed(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that was made since is named, beside those that went on, the oldest first."""
        cursor, _ = protocol.changes()

        made = protocol.new_trial(Trial(parameters={"lr": 0.2}))
        assert made is not None
        protocol.log_trial_metrics(made, step=0, loss=0.5)
        protocol.log_trial_metrics(trial, step=0, loss=0.5)

        assert self.reopen(protocol).changes(cursor)[1] == [trial.uid, made.uid]

    def test_every_cursor_says_what_came_after_it(self, protocol: Protocol, trial: Trial) -> None:
        """Cursors stay good while the store goes on and is opened again: each names what has changed since it."""
        trials = [trial]
        trials += [made for number in range(4) if (made := protocol.new_trial(Trial(parameters={"lr": number})))]
        cursors = []
        for number, one in enumerate(trials):
            cursors.append((self.reopen(protocol) if number % 2 else protocol).changes()[0])
            protocol.log_trial_metrics(one, step=number, loss=0.5)
            protocol.log_trial_metadata(one, number=number)

        for reader in (protocol, self.reopen(protocol)):
            named = [reader.changes(cursor)[1] for cursor in cursors]
            assert named == [[one.uid for one in trials[place:]] for place in range(len(trials))]
