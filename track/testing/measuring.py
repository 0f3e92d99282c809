"""Numbers, times, facts and files are kept as they were logged."""

from __future__ import annotations

import math
from typing import Any

import pytest

from track.aggregators.aggregator import (
    MaxAggregator,
    RingAggregator,
    StatAggregator,
    ValueAggregator,
)
from track.containers.series import hashable
from track.errors import InvalidEvent, TrialDoesNotExist
from track.front import alerts_in, alerts_told
from track.logger import TrialLogger
from track.persistence.protocol import Protocol
from track.structure import Trial
from track.testing.backend import BackendTests


class MeasuringTests(BackendTests):
    """Numbers, times, facts and files are kept as they were logged."""

    def test_steps_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """Values logged with steps come back by step, with their types."""
        for step in range(3):
            protocol.log_trial_metrics(trial, step=step, loss=1 / (step + 1), seen=step)

        metrics = self.stored(protocol, trial).metrics

        assert dict(metrics["loss"]) == {0: 1.0, 1: 0.5, 2: 1 / 3}
        assert list(map(type, metrics["seen"].values())) == [int, int, int]

    def test_floats_that_were_checked_are_kept_as_others_are(self, protocol: Protocol, trial: Trial) -> None:
        """What is told by `floats_taker` is stored as what is told by `numbers_taker`, in its order."""
        takers = protocol.numbers_taker(trial), protocol.floats_taker(trial)

        for step, take in enumerate((*takers, *takers)):
            take(step, None, {"loss": step / 4, "epoch": step})

        metrics = self.stored(protocol, trial).metrics
        assert dict(metrics["loss"]) == {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75}
        assert list(metrics["epoch"].values()) == [0, 1, 2, 3]

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
        with pytest.raises(TrialDoesNotExist, match="abc_0"):
            protocol.log_trial_series(Trial("abc"), "loss", [1.0])

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

    def test_the_last_pieces_of_output_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """A ring in the metadata keeps the last of pieces that are lists, and a name beside it the last value."""
        ring = RingAggregator.lazy(2, "lines")
        for number in range(3):
            protocol.log_trial_metadata(trial, aggregator=ring, _output=[number, 0, [["stdout", f"é {number}"]]])
            protocol.log_trial_metadata(trial, _output_line=[number, "stderr", "50 %"])

        metadata = self.stored(protocol, trial).metadata

        assert metadata["_output"].val == [[1, 0, [["stdout", "é 1"]]], [2, 0, [["stdout", "é 2"]]]]
        assert metadata["_output_line"] == [2, "stderr", "50 %"]

    def test_alerts_are_kept(self, protocol: Protocol, trial: Trial) -> None:
        """What a trial tells people is in its metadata, oldest first, also where trials are listed."""
        logger = TrialLogger(trial, protocol)
        logger.alert("disk", "only 2 GB é")
        logger.alert("gone", level="ERROR")

        found = [alerts_in(one.metadata) for one in (self.stored(protocol, trial), *protocol.brief_trials())]

        assert [alert[1:] for alert in found[0]] == [("warning", "disk", "only 2 GB é"), ("error", "gone", "")]
        assert found[0] == found[1]

    def test_alerts_that_are_not_kept_are_counted(self, protocol: Protocol, trial: Trial) -> None:
        """Of more alerts than are kept it is known how many there were, whoever has told them."""
        for part in range(2):
            logger = TrialLogger(protocol.get_trial(trial)[0], protocol)
            for number in range(55):
                logger.alert(f"{part} {number}")

        metadata = self.stored(protocol, trial).metadata

        assert (alerts_in(metadata)[0].title, alerts_told(metadata)) == ("0 10", 110)

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

    @pytest.mark.parametrize("step", [0, 7, 0.5, "warm-up", (1, "a"), 2**70, math.nan])
    def test_artifact_has_a_step_and_what_is_said_of_it(self, protocol: Protocol, trial: Trial, step: Any) -> None:
        """The step of a file, and the few words for who displays it, come back with it; a file may have neither."""
        media = {
            "kind": "image",
            "caption": "é\n",
            "size": [640, 480],
            "scale": 0.1,
            "of": {"count": 2**60},
            "no": None,
        }
        protocol.log_trial_artifact(trial, "plot", "objects/ab/abc", "ab" * 32, 3, step=step, media=media)
        protocol.log_trial_artifact(trial, "model", "objects/cd/cde")

        plot, model = self.stored(protocol, trial).artifacts

        assert repr(hashable(plot["step"])) == repr(step)
        assert plot["media"] == media
        assert {"step", "media"}.isdisjoint(model)

    def test_media_of_a_name_are_thinned_evenly(self, protocol: Protocol, trial: Trial) -> None:
        """Once one says that every second one is kept, others of its name are gone, but for the first and the last."""
        protocol.log_trial_artifact(trial, "model", "objects/ab/abc")
        for index in range(6):
            protocol.log_trial_artifact(trial, "sample", f"objects/{index}", media={"kind": "image", "index": index})
            protocol.log_trial_artifact(trial, "other", f"objects/{index}", media={"kind": "image", "index": index})
        media = {"kind": "image", "every": 2}
        protocol.log_trial_artifact(trial, "sample", "objects/6", media=media | {"index": 6})
        protocol.log_trial_artifact(trial, "sample", "objects/9", media=media | {"index": 9})

        thinned = self.stored(protocol, trial).artifacts
        protocol.log_trial_artifact(trial, "sample", "objects/12", media={"kind": "image", "index": 12, "every": 4})
        again = self.stored(protocol, trial).artifacts

        indexes = [[line["media"]["index"] for line in lines if line["name"] == "sample"] for lines in (thinned, again)]
        assert indexes == [[0, 2, 4, 6, 9], [0, 4, 12]]
        assert [line["name"] for line in again].count("other") == 6
        assert [line["name"] for line in again].count("model") == 1

    @pytest.mark.parametrize(
        "media", [{"index": "a"}, {"index": 1, "every": 0}, {"index": 2, "every": "x"}, {"index": 3, "every": -1}]
    )
    def test_media_that_count_in_another_way_stay(self, protocol: Protocol, trial: Trial, media: Any) -> None:
        """What somebody else says of a file thins nothing, and stops nothing."""
        protocol.log_trial_artifact(trial, "sample", "objects/0", media={"kind": "image", "index": 1})
        protocol.log_trial_artifact(trial, "sample", "objects/1", media=media)

        assert len(self.stored(protocol, trial).artifacts) == 2

    @pytest.mark.parametrize("media", [{"caption": "x" * 5000}, ["image"], "image"])
    def test_what_is_said_of_an_artifact_is_small(self, protocol: Protocol, trial: Trial, media: Any) -> None:
        """What is no mapping, or is larger than 4,096 bytes, belongs in a file of its own; nothing is stored then."""
        with pytest.raises(InvalidEvent, match="small mapping"):
            protocol.log_trial_artifact(trial, "plot", "objects/ab/abc", media=media)

        assert self.stored(protocol, trial).artifacts == []

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
