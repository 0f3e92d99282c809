"""A deleted trial is nowhere in the way: not in names, choices, summaries or results."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from track import TrackClient
from track.errors import AmbiguousName, NotFound, TrialDoesNotExist
from track.tracking.trials import TrackResultTracker


@pytest.fixture
def client(tmp_path: Path) -> TrackClient:
    """Give a client of a file with two runs of one name."""
    made = TrackClient(f"file:{tmp_path}/runs.json")
    for lr in (0.1, 0.2):
        with made.new_trial(name="same", parameters={"lr": lr}) as trial:
            trial.log_metrics(step=0, loss=lr)
    return made


def _uri(client: TrackClient) -> str:
    return client.protocol.uri


def test_names_mean_what_is_shown(client: TrackClient) -> None:
    """A name that two had is that of the other one, and so are the last and the best."""
    first, second = track.fetch(_uri(client))
    with pytest.raises(AmbiguousName):
        client.delete_trial("same")
    client.delete_trial(second)

    assert track.fetch(_uri(client), "same") == track.fetch(_uri(client), "@last") == [first]
    assert track.best(_uri(client), "loss", "max") == first
    assert track.best(_uri(client), "loss", "max", query={"deleted": True}) == second
    assert list(track.fetch(_uri(client))) == [first]
    with pytest.raises(TrialDoesNotExist, match="was deleted"):
        client.delete_trial(second.uid)
    assert client.restore_trial("same") == second


def test_nothing_is_best_when_all_is_deleted(client: TrackClient) -> None:
    """The metric of a deleted trial is none that is known."""
    for trial in track.fetch(_uri(client)):
        client.delete_trial(trial)

    with pytest.raises(NotFound, match="no trial has the metric"):
        track.best(_uri(client), "loss")


def test_deleted_trial_is_not_gone_on_with(client: TrackClient) -> None:
    """Who asks for it is told how to bring it back, by its uid and by the fields it is made of."""
    with client.new_trial(parameters={"lr": 5}) as trial:
        client.delete_trial(trial)

    for asked in ({"uid": trial.trial.uid}, {"uid": trial.trial.uid[:8]}, {"parameters": {"lr": 5}}):
        with pytest.raises(TrialDoesNotExist, match="restore"):
            client.set_trial(**asked)


def test_same_parameters_after_deleting_are_another_revision(client: TrackClient) -> None:
    """And what is logged to the deleted one by its own process is kept with it."""
    trial = client.new_trial(parameters={"lr": 5})
    trial.start()
    client.delete_trial(trial)
    trial.log_metrics(step=0, loss=0.5)
    again = client.new_trial(force=True, parameters={"lr": 5})
    again.log_metrics(step=0, loss=1.0)

    assert (trial.trial.deleted, again.trial.revision) == (True, 1)
    assert client.restore_trial(trial).uid == trial.trial.uid
    assert (trial.trial.deleted, trial.trial.metrics["loss"]) == (False, {0: 0.5})


def test_key_of_a_deleted_trial_begins_the_next(client: TrackClient) -> None:
    """A job that is begun again after its trial was deleted, or forgotten, has a trial that is shown."""
    revisions = []
    for _ in range(3):
        trial = client.open_trial("job 1", parameters={"lr": 1})
        trial.log_metrics(step=0, loss=0.5)
        revisions.append(trial.trial.revision)
        client.delete_trial(trial)
        client.protocol.forget_trials()
        client.logger = None
    kept = client.open_trial("job 1")
    client.delete_trial(kept)
    client.logger = None

    assert (revisions, kept.trial.revision, client.open_trial("job 1").trial.revision) == ([0, 1, 2], 3, 4)


def test_result_that_was_deleted_is_put_again(client: TrackClient) -> None:
    """`track.tracking` finds no deleted result, and a new one under its key is shown."""
    results = TrackResultTracker(client)
    results["a"] = {"acc": 0.5}
    (stored,) = track.fetch(_uri(client), {"name": "a"})
    client.delete_trial(stored)
    assert results.get("a") == {}

    results["a"] = {"acc": 0.75}

    assert results.get("a")["acc"] == 0.75
    assert len(track.fetch(_uri(client), {"name": "a"})) == 1


def test_report_and_summary_leave_it_out(client: TrackClient) -> None:
    """A frame of all trials has no row of it; trials in the hand are filtered as they are."""
    pytest.importorskip("pandas", reason="needs pandas: pip install .[pandas]")
    client.delete_trial("@last")

    assert track.fetch(_uri(client)).summary()["parameters.lr"].tolist() == [0.1]
    hidden = track.fetch(_uri(client), {"deleted": True})
    assert [trial.parameters["lr"] for trial in hidden.filter({"name": "same"})] == [0.2]
