"""What was measured is read alike from every backend: as arrays, and as frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from track.aggregators.aggregator import MinAggregator, TimeSeriesAggregator
from track.briefs import Brief, brief_of
from track.errors import TrialDoesNotExist
from track.events import MetricsLogged
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

    def test_the_shortest_form_says_the_same(self, protocol: Protocol, trial: Trial) -> None:
        """Whatever `compact` does, metrics read as before, and go on: a step logged again has its new value."""
        values = {step: step / 4 for step in range(300)}
        for step, value in values.items():
            protocol.log_trial_metrics(trial, step=step, loss=value)
        heard: list[float] = []

        protocol.compact(heard.append)
        protocol.log_trial_metrics(trial, step=7, loss=-1.0)
        protocol.compact()
        protocol.log_trial_metrics(trial, step=300, loss=math.nan)

        stored = self.stored(protocol, trial)
        assert [repr(value) for value in stored.metrics["loss"].values()] == [
            repr(value) for value in (values | {7: -1.0, 300: math.nan}).values()
        ]
        assert brief_of(stored.metrics["loss"]).least_step == 7
        assert all(0 <= share <= 1 for share in heard)

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

    # points from a position on

    def test_points_from_a_position_on(self, protocol: Protocol, trial: Trial) -> None:
        """What is new of each metric is read alone, with or without steps, exactly, by whoever comes back or is new."""
        values = [0.5, 0, math.inf, -0.0, 2**53 + 1, True, 0.25]
        for step, value in enumerate(values):
            protocol.log_trial_metrics(trial, step=10 * step, loss=value)
            protocol.log_trial_metrics(trial, cost=value)
            protocol.log_trial_metrics(trial, aggregator=MinAggregator, least=value)
        first = protocol.fetch_points(trial.uid, ["loss", "cost", "least", "nobody's"])
        for step in range(7, 9):
            protocol.log_trial_metrics(trial, step=10 * step, loss=step / 2)
            protocol.log_trial_metrics(trial, cost=step / 2)

        assert {name: points[:2] for name, points in first.items()} == {
            "loss": ([0, 10, 20, 30, 40, 50, 60], values),
            "cost": ([0, 1, 2, 3, 4, 5, 6], values),
        }
        assert [*map(type, first["loss"].values)] == [*map(type, values)]
        for reader in (protocol, self.reopen(protocol)):
            again = reader.fetch_points(trial.uid, None, {"loss": 7, "cost": 6})
            assert {name: points[:2] for name, points in again.items()} == {
                "loss": ([70, 80], [3.5, 4.0]),
                "cost": ([6, 7, 8], [0.25, 3.5, 4.0]),
            }
            assert reader.fetch_points(trial.uid, ["loss"], 9)["loss"][:3] == ([], [], [])
            assert reader.fetch_points(trial.uid, ["loss"], 99)["loss"][:3] == ([], [], [])
            assert reader.fetch_points(trial.uid, [], 0) == {}
            assert reader.fetch_points(trial.uid, ["cost"])["cost"].times[0] > 0
        assert [protocol.fetch_points(trial.uid, [name], 7)[name].generation for name in first] == [
            points.generation for points in first.values()
        ]

    def test_points_are_those_of_a_full_fetch(self, protocol: Protocol, trial: Trial) -> None:
        """Read in parts, as they come, the points are the rows that a fetch of everything shows."""
        for step, value in ((3, 0.9), (1, 0.5), (3, 0.8), ("end", 0.1), (None, 0.2), (2.5, math.inf)):
            protocol.log_trial_metrics(trial, step=step, loss=value)
            protocol.log_trial_metrics(trial, step=step, odd=1)

            points = protocol.fetch_points(trial.uid)
            rest = protocol.fetch_points(trial.uid, ["loss"], 1)["loss"]

            for name, series in protocol.get_trial(trial)[0].metrics.items():
                rows = series.rows()
                assert list(zip(*points[name][:3], strict=True)) == rows
            assert [column[1:] for column in points["loss"]][:3] == list(rest[:3])

    @pytest.mark.parametrize("change", ["again", "resume", "late"])
    def test_generation_tells_what_is_void(self, protocol: Protocol, trial: Trial, change: str) -> None:
        """A step logged again, a resume, or a point that stands before others: what was read before is read again."""
        for step in range(4):
            protocol.log_trial_metrics(trial, step=step, loss=step / 2)
        if change == "late" and not protocol.takes_events:
            pytest.skip("a backend of methods is told as things happen")
        readers = (protocol, self.reopen(protocol))
        before = [reader.fetch_points(trial.uid, ["loss"], 0)["loss"].generation for reader in readers]

        if change == "again":
            protocol.log_trial_metrics(trial, step=1, loss=9.5)
        elif change == "resume":
            rule: Any = [2.0, protocol.clock() + 1.0]
            protocol.log_trial_metadata(trial, aggregator=TimeSeriesAggregator.lazy(), _resumes=rule)
        else:
            protocol.receive("elsewhere", 0, [MetricsLogged(trial.uid, {"loss": 0.1}, 1.0, 7)])
        readers = (protocol, self.reopen(protocol))
        after = [reader.fetch_points(trial.uid, ["loss"], 4)["loss"].generation for reader in readers]
        protocol.log_trial_metrics(trial, step=8, loss=4.0)

        assert not set(before) & set(after)
        for reader in (protocol, self.reopen(protocol)):
            rows = reader.get_trial(trial)[0].metrics["loss"].rows()
            assert list(zip(*reader.fetch_points(trial.uid)["loss"][:3], strict=True)) == rows
            assert reader.fetch_points(trial.uid, ["loss"], len(rows))["loss"].steps == []

    def test_points_of_no_trial(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that is not stored is an error; one without metrics has none."""
        with pytest.raises(TrialDoesNotExist):
            protocol.fetch_points("0" * 64 + "_7")

        assert protocol.fetch_points(trial.uid) == {}

    # in brief

    def test_briefs_are_those_of_a_full_fetch(self, protocol: Protocol, trial: Trial) -> None:
        """What metrics come to is what their points say: steps logged again, NaN and infinities are honoured."""
        for step, value in ((3, 0.1), (1, 0.5), (3, 0.8), (4, math.inf), (5, math.nan), ("end", 0.2)):
            protocol.log_trial_metrics(trial, step=step, loss=value)
            protocol.log_trial_metrics(trial, cost=value)
        for number in (3, 1, 2):
            protocol.log_trial_metrics(trial, step=number, count=number)
            protocol.log_trial_metrics(trial, aggregator=MinAggregator.lazy(), best=number)
        protocol.new_trial(Trial(parameters={"lr": 0.2}))

        for reader in (protocol, self.reopen(protocol)):
            found, none = reader.brief_trials()
            briefs = found.metrics.briefs()
            assert (found.uid, found.parameters, none.metrics.briefs()) == (trial.uid, trial.parameters, {})
            assert briefs["loss"] == Brief(0.2, "end", 0.2, "end", math.inf, 4, 5)
            assert briefs["cost"] == Brief(0.2, 5, 0.1, 0, math.inf, 3, 6)
            assert briefs["count"] == Brief(2, 2, 1, 1, 3, 3, 3)
            assert (briefs["best"].last, briefs["best"].least, briefs["best"].greatest) == (1, 1, None)
            assert briefs == reader.fetch_trials({"uid": trial.uid})[0].metrics.briefs()
            assert found.metrics["count"] == {3: 3, 1: 1, 2: 2}
            assert [one.uid for one in reader.brief_trials({"metrics.count": 2}, "-metrics.loss", 1)] == [trial.uid]

    def test_briefs_follow_what_is_logged(self, protocol: Protocol, trial: Trial) -> None:
        """After each point metrics come to what all points say: rising steps, late ones, steps that follow none."""
        logged: list[tuple[str, Any, Any]] = [
            ("loss", 0, 0.5),
            ("cost", None, 3),
            ("loss", 1, math.inf),
            ("loss", 7, 0.25),
            ("cost", None, True),
            ("cost", None, -1.5),
            ("loss", 7, 0.75),
            ("cost", 3, 9.0),
            ("loss", None, 0.125),
        ]
        for name, step, value in logged:
            protocol.log_trial_metrics(trial, step=step, **{name: value})
            found, (whole,) = protocol.brief_trials()[0], protocol.get_trial(trial)
            assert found.metrics.briefs() == {name: brief_of(one) for name, one in whole.metrics.items()}

        if not protocol.takes_events:
            # It is told as things happen.
            return
        at = whole.metrics["loss"].points.times()[0]
        protocol.apply(MetricsLogged(trial.uid, {"loss": -5.0}, at + 1e-6, 9))
        briefs = self.reopen(protocol).brief_trials()[0].metrics.briefs()

        assert (briefs["loss"].last, briefs["loss"].least, briefs["loss"].least_step) == (0.125, -5.0, 9)

    def test_points_of_a_slow_logger_are_read_from_a_position(self, protocol: Protocol, trial: Trial) -> None:
        """Whoever stores points one by one may put them together later: who reads on from a position sees each once."""
        read: list[Any] = []
        for step in range(20):
            protocol.log_trial_metrics(trial, step=step, loss=step / 2)
            points = protocol.fetch_points(trial.uid, ["loss"], len(read))["loss"]
            read += zip(points.steps, points.values, strict=True)

        assert read == [(step, step / 2) for step in range(20)]
        assert self.reopen(protocol).fetch_trials()[0].metrics["loss"] == dict(read)
