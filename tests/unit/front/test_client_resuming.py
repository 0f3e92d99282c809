"""TrackClient: going on with a stored trial, named in the program or in the environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from track import TrackClient
from track.errors import InvalidCall, TrialDoesNotExist
from track.events import MetricsLogged, StatusChanged
from track.logger import TrialLogger
from track.persistence.ephemeral import EphemeralProtocol
from track.structure import Trial

# in the program


@pytest.mark.parametrize(
    "names",
    [
        lambda trial: {"uid": trial.uid},
        lambda trial: {"hash": trial.hash, "revision": 0},
        lambda trial: {"hash": trial.hash, "revision": "0"},
        lambda trial: {"trial": Trial(trial.hash, 0)},
        lambda trial: {"name": "n", "parameters": {"lr": 0.1}},
    ],
    ids=["uid", "hash and revision", "revision as text", "object", "fields"],
)
def test_set_trial_goes_on(
    client: TrackClient, names: Callable[[Trial], dict[str, Any]], another: Callable[[], TrackClient]
) -> None:
    """A stored trial is found by each of its names, and what is logged joins it."""
    first = client.new_trial(name="n", parameters={"lr": 0.1})
    first.log_metrics(step=0, loss=1.0)

    again = another().set_trial(**names(first.trial))
    again.log_metrics(step=1, loss=0.5)

    assert dict(first.trial.metrics["loss"]) == {0: 1.0, 1: 0.5}


def test_set_trial_finds_the_exact_revision(client: TrackClient, another: Callable[[], TrackClient]) -> None:
    """Among trials of the same parameters the revision counts."""
    for _ in range(3):
        digest = client.new_trial(force=True, parameters={"lr": 0.1}).trial.hash

    assert another().set_trial(hash=digest, revision=1).trial.revision == 1


def test_set_trial_brings_project_and_group(client: TrackClient, another: Callable[[], TrackClient]) -> None:
    """A client that goes on with a trial is in the trial's project and group."""
    client.set_group(name="idea")
    uid = client.new_trial(parameters={}).trial.uid
    other = another()

    other.set_trial(uid=uid)

    assert (other.project, other.group) == (client.project, client.group)


@pytest.mark.parametrize("uid", ["does_not_exist", "abc", "abc_0", "_0", "abc_-1"])
def test_trial_that_does_not_exist_is_named(client: TrackClient, uid: str) -> None:
    """A uid of no trial, well formed or not, is an error that names it."""
    with pytest.raises(TrialDoesNotExist, match=uid):
        client.set_trial(uid=uid)


def test_backend_that_answers_none_has_no_trial(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend of somebody else may return None for a trial it does not know."""
    monkeypatch.setattr(client.protocol, "get_trial", lambda trial: None)

    with pytest.raises(TrialDoesNotExist, match="abc_0"):
        client.set_trial(uid="abc_0")


def test_trial_that_is_set_stays(client: TrackClient) -> None:
    """Without force a second trial of the same is not begun, and no other one gone on with; with force it is."""
    first = client.new_trial(parameters={"seed": 0})

    assert client.new_trial(parameters={"seed": 0}) is first
    assert client.set_trial(uid="abc_0") is first
    assert client.new_trial(force=True, parameters={"seed": 0}) is not first


# the environment


@pytest.mark.parametrize(
    "names",
    [("ORION_PROJECT", "ORION_EXPERIMENT", "ORION_TRIAL_ID"), ("TRACK_PROJECT", "TRACK_GROUP", "TRACK_TRIAL_ID")],
)
def test_environment_chooses_project_group_and_trial(
    shared: EphemeralProtocol, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str, str]
) -> None:
    """A program started by another one goes on with what that one chose."""
    parent = TrackClient("shared:")
    parent.set_project(name="digits")
    parent.set_group(name="idea")
    uid = parent.new_trial(parameters={"lr": 0.1}).trial.uid
    for name, value in zip(names, ("digits", "idea", uid), strict=True):
        monkeypatch.setenv(name, value)

    child = TrackClient("shared:")

    assert child.project is not None
    assert child.group is not None
    assert (child.project.name, child.group.name, child.trial) == ("digits", "idea", uid)


@pytest.mark.parametrize("name", ["ORION_PROJECT", "TRACK_PROJECT"])
def test_environment_with_a_missing_project_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A project that is named in the environment is not created."""
    monkeypatch.setenv(name, "digits")

    with pytest.raises(RuntimeError, match="'digits' does not exist"):
        TrackClient("ephemeral:")


@pytest.mark.parametrize("name", ["ORION_TRIAL_ID", "TRACK_TRIAL_ID"])
def test_environment_with_a_missing_trial_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A trial that is named in the environment must be stored."""
    monkeypatch.setenv(name, "abc_0")

    with pytest.raises(TrialDoesNotExist, match="abc_0"):
        TrackClient("ephemeral:")


# by a key


def test_first_who_opens_a_key_creates_its_trial(client: TrackClient) -> None:
    """The trial has the fields that were given, and its key in the metadata."""
    trial = client.open_trial("night 3", name="n", parameters={"lr": 0.1}, metadata={"gpu": "V100"})

    stored = trial.trial
    assert (stored.name, stored.revision, stored.parameters) == ("n", 0, {"lr": 0.1})
    assert (stored.metadata["key"], stored.metadata["gpu"], stored.project_id) == ("night 3", "V100", "digits")


def test_unfinished_trial_of_a_key_is_joined(client: TrackClient, another: Callable[[], TrackClient]) -> None:
    """Ranks that open a key have one trial, whether or not it has begun."""
    ranks = [client, another(), another()]
    for rank in ranks[1:]:
        rank.set_project(name="digits")

    uids = set()
    for number, rank in enumerate(ranks):
        trial = rank.open_trial("job 7", parameters={"lr": 0.1})
        trial.log_metrics(step=0, **{f"loss{number}": 1.0})
        uids.add(trial.trial.uid)

    assert len(uids) == 1
    assert sorted(trial.trial.metrics) == ["loss0", "loss1", "loss2"]
    for rank in ranks:
        rank.finish()


@pytest.mark.parametrize("status", ["exception", "interrupted", "broken", "suspended"])
def test_trial_of_a_key_goes_on_after_a_crash(client: TrackClient, status: str) -> None:
    """What failed, or waits, is gone on with."""
    first = client.open_trial("job 7", parameters={"lr": 0.1})
    with first:
        first.set_status(status)

    again = client.open_trial("job 7", parameters={"lr": 0.1})
    with again:
        pass

    assert again.trial.uid == first.trial.uid
    assert str(again.trial.status) == "completed"


@pytest.mark.parametrize("status", ["completed", "pruned"])
def test_key_of_a_trial_that_is_done_begins_the_next(client: TrackClient, status: str) -> None:
    """Once it has ended well, the next revision begins, with other parameters if so wished."""
    with client.open_trial("job 7", parameters={"lr": 0.1}) as first:
        first.set_status(status)

    second = client.open_trial("job 7", parameters={"lr": 0.2}).trial

    assert (second.hash, second.revision, second.parameters) == (first.trial.hash, 1, {"lr": 0.2})


def test_other_parameters_of_a_key_are_refused(client: TrackClient) -> None:
    """An unfinished trial is not gone on with under other parameters."""
    client.open_trial("job 7", parameters={"lr": 0.1})

    with pytest.raises(ValueError, match=r"has other parameters: lr"):
        client.open_trial("job 7", parameters={"lr": 0.2})


def test_key_is_of_a_project_and_a_group(client: TrackClient) -> None:
    """The same key in another group is another trial."""
    first = client.open_trial("job 7")
    client.set_group(name="idea")

    second = client.open_trial("job 7")

    assert first.trial.uid != second.trial.uid
    assert second.trial.group_id == client.group


def test_key_that_is_opened_again_gives_the_same_logger(client: TrackClient) -> None:
    """A program may open its trial twice."""
    assert client.open_trial("job 7") is client.open_trial("job 7")


# from an earlier step


def _trained_twice(client: TrackClient) -> TrialLogger:
    """Return a trial with five steps, gone on with from the third."""
    trial = client.new_trial(parameters={"lr": 0.1})
    for step in range(5):
        trial.log_metrics(step=step, loss=1.0, acc=0.5)
    trial.resume_from(3)
    trial.log_metrics(step=3, loss=2.0)
    trial.finish()
    return trial


def test_later_steps_of_the_earlier_life_are_not_shown(client: TrackClient) -> None:
    """After a resume a metric has the steps before it, and those that were logged since."""
    found = _trained_twice(client).trial

    assert dict(found.metrics["loss"]) == {0: 1.0, 1: 1.0, 2: 1.0, 3: 2.0}
    assert dict(found.metrics["acc"]) == {0: 0.5, 1: 0.5, 2: 0.5}


def test_resume_of_one_process_leaves_what_the_others_have_logged(client: TrackClient) -> None:
    """Of two ranks that go on from a step, the later one does not hide what the earlier one has logged since."""
    trial = client.new_trial(parameters={"lr": 0.1})
    uid = trial.trial.uid

    def rank(pid: int, at: float, attempt: int) -> None:
        process = {"host": "elsewhere", "pid": pid, "started": pid}
        client.protocol.apply(StatusChanged(uid, ("Running", 101), at, process=process, attempt=attempt))

    now = time.time()
    rank(1, now - 30, attempt=1)
    client.protocol.apply(MetricsLogged(uid, {"old": 1.0}, now - 20, step=4))
    rank(2, now - 10, attempt=2)
    client.protocol.apply(MetricsLogged(uid, {"new": 2.0}, now - 5, step=4))

    trial.resume_from(3)

    assert {name: dict(metric) for name, metric in trial.trial.metrics.items()} == {"new": {4: 2.0}}


def test_resume_shows_its_own_steps_whatever_the_clock_of_another_says(
    client: TrackClient, another: Callable[[], TrackClient]
) -> None:
    """Where another process of the trial began tomorrow, as its clock said, what is logged from now on is shown."""
    uid = client.new_trial(parameters={"lr": 0.1}).trial.uid
    process = {"host": "elsewhere", "pid": 1, "started": 1}
    client.protocol.apply(StatusChanged(uid, ("Running", 101), time.time() + 86400, process=process, attempt=1))
    trial = another().set_trial(uid=uid)
    trial.start()

    trial.resume_from(3)
    trial.log_metrics(step=3, loss=1.0)
    trial.log_metrics(step=4, loss=0.5)

    assert dict(trial.trial.metrics["loss"]) == {3: 1.0, 4: 0.5}


@pytest.mark.parametrize("step", ["3", None, True, [3]])
def test_resume_needs_the_number_of_a_step(client: TrackClient, step: Any) -> None:
    """What is no number is refused by name."""
    trial = client.new_trial(parameters={})

    with pytest.raises(InvalidCall, match="takes the number of a step"):
        trial.resume_from(step)
