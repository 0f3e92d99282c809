"""What the callbacks of all frameworks do alike, without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from track import TrackClient
from track.integrations._recording import Recording, numbers
from track.structure import Status


@pytest.mark.parametrize("uri", ["file:{}.json", "ephemeral:"])
def test_trial_of_the_same_key_in_another_store_is_another_one(uri: str, tmp_path: Path) -> None:
    """A loop that was left has nothing to do with one in another store, whose trial has the same uid."""
    left, begun = (Recording(client=TrackClient(uri.format(tmp_path / name)), key="job 7") for name in ("a", "b"))

    before, after = left.begin({"lr": 0.1}), begun.begin({"lr": 0.1})
    begun.log({"loss": 1.0}, step=0)
    begun.end()

    assert before.trial.uid == after.trial.uid
    assert (before.trial.status, dict(before.trial.metrics)) == (Status.Running, {})
    assert (after.trial.status, dict(after.trial.metrics["loss"])) == (Status.Completed, {0: 1.0})
    left.end()


def test_trial_of_the_same_key_and_store_is_taken_over(tmp_path: Path) -> None:
    """The loop that goes on says how the trial ends, and the one that was left does not."""
    left, begun = (Recording(client=TrackClient(f"file:{tmp_path}/runs.json"), key="job 7") for _ in range(2))

    before, after = left.begin({"lr": 0.1}), begun.begin({"lr": 0.1})
    left.end(ArithmeticError("of the first loop"))
    begun.end()

    assert before is after
    assert (after.trial.status, after.trial.errors) == (Status.Completed, [])


def test_numbers_may_have_any_name(tmp_path: Path) -> None:
    """Also those of the arguments of `log_metrics`, which frameworks and their examples use."""
    recording = Recording(client=TrackClient(f"file:{tmp_path}/runs.json"))
    trial = recording.begin()
    recording.log({"step": 3, "aggregator": 0.5, "train/loss": 1.0, "self": 2.0}, step=7)
    recording.end()

    found = {name: dict(values) for name, values in trial.trial.metrics.items()}
    assert found == {"step": {7: 3}, "aggregator": {7: 0.5}, "train/loss": {7: 1.0}, "self": {7: 2.0}}


def test_what_is_no_number_is_left_out() -> None:
    """Plain numbers are taken as they are; among others, what is nested, or no text by name, is named by a text."""
    assert numbers({"loss": 0.5, "count": 3}) == {"loss": 0.5, "count": 3}
    assert numbers({"loss": 0.5, 3: 1.0, "by": {"a": 2, "text": "x"}, "none": None}) == {
        "loss": 0.5,
        "3": 1.0,
        "by.a": 2,
    }
