"""`next_trial`: what a worker is given, and what it is told when it has lost its trial."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.errors import BackendUnavailable, InvalidQuery, NotFound
from track.events import MetricsLogged, StatusChanged
from track.front import reserving
from track.logger import TrialLogger
from track.structure import Status


@pytest.fixture
def client(tmp_path: Path) -> TrackClient:
    """Give a client with three trials that wait, in a group."""
    client = TrackClient(f"file:{tmp_path}/queue.json")
    client.set_project(name="digits")
    client.set_group(name="rates")
    for lr in (0.1, 0.01, 0.001):
        client.new_trial(force=True, parameters={"lr": lr}).set_status("submitted")
    return client


def _take_over(trial: TrialLogger, attempt: int = 2) -> None:
    """Let a worker of another host take a trial."""
    process = {"host": "elsewhere", "pid": 1, "started": 1, "reserved": True}
    event = StatusChanged(trial._trial.uid, ("Running", 101), time.time(), process=process, attempt=attempt)
    trial.protocol.apply(event)


def test_name_is_no_query(client: TrackClient) -> None:
    """A text, which names a trial elsewhere, is one sentence here, and nothing is taken."""
    with pytest.raises(InvalidQuery, match="takes a query, such as"):
        client.next_trial("digits")

    assert {trial.status.name for trial in client.protocol.fetch_trials()} == {"submitted"}


@pytest.mark.parametrize("uri", ["file:qeue.json", "sqlite:qeue.db", "file:folder/qeue.json"])
def test_store_that_is_not_there_is_no_queue(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in the URI is one error that names the file, which a worker does not make."""
    monkeypatch.chdir(tmp_path)
    client = TrackClient(uri)

    with pytest.raises(NotFound, match=rf"there is no store at .*: no file {tmp_path}.*qeue"):
        client.next_trial()

    client.protocol.close()
    assert list(tmp_path.iterdir()) == []


def test_store_that_its_own_client_begins_is_a_queue(tmp_path: Path) -> None:
    """One with a project and no trial is there, and empty."""
    client = TrackClient(f"file:{tmp_path}/queue.json")
    client.set_project(name="digits")

    assert client.next_trial() is None


def test_worker_loop_runs_each_trial(client: TrackClient) -> None:
    """The loop of the documentation gets every trial, oldest first, and then None."""
    rates = []
    while (trial := client.next_trial()) is not None:
        with trial:
            rates.append(trial.trial.parameters["lr"])

    assert rates == [0.1, 0.01, 0.001]
    assert {found.status for found in client.protocol.fetch_trials()} == {Status.Completed}


def test_taken_trial_has_started(client: TrackClient) -> None:
    """To take a trial is to start it: its block does not start it again, and the client logs to it."""
    trial = client.next_trial()
    assert trial is not None
    with trial:
        client.log_metrics(loss=1.0)
        (process,) = trial.trial.processes

    assert (trial.trial.attempt, process["reserved"]) == (1, True)
    assert trial.trial.metrics["loss"].val == [1.0]


@pytest.mark.parametrize(
    "choose",
    [
        lambda client: client.set_project(name="other", force=True),
        lambda client: client.set_group(name="other", force=True),
        lambda client: setattr(client, "group", None) or client.set_project(name="third", force=True),
    ],
)
def test_trials_of_other_owners_are_left_alone(client: TrackClient, choose: Callable[[TrackClient], Any]) -> None:
    """A worker takes what is in its project and group."""
    choose(client)

    assert client.next_trial() is None


def test_more_can_be_asked(client: TrackClient) -> None:
    """A query narrows what waits, and one about the status replaces it."""
    small = client.next_trial({"parameters.lr": {"$lt": 0.01}})
    assert small is not None
    small.finish(ValueError, ValueError("too small"), None)

    again = client.next_trial([("status", "failed"), ("attempt", {"$lt": 3})])

    assert again is not None
    assert (small.trial.uid, again.trial.attempt) == (again.trial.uid, 2)
    assert client.next_trial({"status": "failed"}) is None


def test_busy_store_is_asked_again(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is busy for a while gives a trial in the end; one that stays so, its error."""
    whole, failures = client.protocol.fetch_and_update_trial, [BackendUnavailable("busy")] * 2

    def busy(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return whole(*args)

    monkeypatch.setattr(client.protocol, "fetch_and_update_trial", busy)
    monkeypatch.setattr(reserving, "_PAUSE", 1e-4)
    assert client.next_trial() is not None

    failures.append(BackendUnavailable("busy"))
    with pytest.raises(BackendUnavailable, match="busy"):
        client.next_trial(patience=0.0)


def test_worker_that_lost_its_trial_is_told(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose trial was taken hears of it at its end, and nothing is raised."""
    trial = client.next_trial()
    assert trial is not None
    with caplog.at_level(logging.WARNING), trial:
        _take_over(trial)
        trial.log_metrics(loss=1.0)

    assert "was taken by another worker (attempt 2, this was 1)" in caplog.text
    assert (dict(trial.trial.metrics), trial.trial.status) == ({}, Status.Running)


def test_end_of_a_trial_says_nothing_of_others(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that has its trial to the end hears nothing."""
    trial = client.next_trial()
    assert trial is not None
    with caplog.at_level(logging.WARNING), trial:
        trial.log_metrics(loss=1.0)

    assert caplog.text == ""


def test_pickled_logger_logs_in_the_attempt(client: TrackClient) -> None:
    """What a worker hands to other processes is dropped with it, once it has lost its trial."""
    trial = client.next_trial()
    assert trial is not None
    there = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(trial))))
    there.log_metrics(before=1.0)

    _take_over(trial)
    there.log_metrics(after=1.0)

    assert list(client.protocol.fetch_trials({"uid": trial._trial.uid})[0].metrics) == ["before"]


def test_events_of_other_trials_carry_no_attempt(client: TrackClient) -> None:
    """Only what is said of a reserved trial names the attempt: other lines are as they were."""
    said: list[Any] = []
    client.protocol.listeners.append(said.extend)
    client.new_trial(force=True, parameters={"lr": 1.0}).log_metrics(loss=1.0)
    taken = client.next_trial()
    assert taken is not None
    taken.log_metrics(loss=1.0)

    assert [event.attempt for event in said if isinstance(event, MetricsLogged)] == [None, 1]
