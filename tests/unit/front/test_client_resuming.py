"""TrackClient: going on with a stored trial, named in the program or in the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from track import TrackClient
from track.errors import TrialDoesNotExist
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
