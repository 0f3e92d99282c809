"""A project, a group or a trial that is chosen already: the same again is silent, another is said."""

from __future__ import annotations

from typing import Any

import pytest

from track import Project, TrackClient, TrialGroup
from track.errors import TrackError


@pytest.fixture
def client() -> TrackClient:
    """Give a client on an empty store in memory, with a project and a group."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits", description="of people", metadata={"year": 2020})
    client.set_group(name="idea", description="the first")
    return client


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"name": "digits"},
        {"name": "digits", "description": "of people", "metadata": {"year": 2020}},
        {"project": Project(name="digits")},
        {"project": Project(_uid="digits")},
    ],
)
def test_same_project_again_is_silent(
    client: TrackClient, again: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A script may say its project twice."""
    assert client.set_project(**again) is client.project

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"name": "letters"}, "name"),
        ({"project": Project(name="letters")}, "name"),
        ({"project": Project(_uid="letters")}, "uid"),
        ({"name": "digits", "description": "of cats"}, "description"),
        ({"name": "digits", "metadata": {"year": 2021}}, "metadata"),
    ],
)
def test_other_project_is_said(
    client: TrackClient, other: dict[str, Any], differing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A project that is not taken is one warning: what differs, and the way out."""
    client.set_project(**other)

    assert [record.getMessage() for record in caplog.records] == [
        f"the project is 'digits' already, and stays as it is ({differing} would differ): "
        "pass force=True to choose another one"
    ]


@pytest.mark.parametrize(
    "again",
    [{}, {"name": "idea"}, {"name": "idea", "project_id": "digits"}, {"group": TrialGroup(name="idea")}],
)
def test_same_group_again_is_silent(
    client: TrackClient, again: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A script may say its group twice."""
    assert client.set_group(**again) is client.group

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"name": "second"}, "name"),
        ({"group": TrialGroup(name="second")}, "name"),
        ({"name": "idea", "project_id": "letters"}, "project_id"),
    ],
)
def test_other_group_is_said(
    client: TrackClient, other: dict[str, Any], differing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A group that is not taken is one warning: what differs, and the way out."""
    client.set_group(**other)

    assert [record.getMessage() for record in caplog.records] == [
        f"the group is 'idea' already, and stays as it is ({differing} would differ): "
        "pass force=True to choose another one"
    ]


@pytest.mark.parametrize("is_set", [False, True])
@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("set_project", r"a project has no field 'nmae'; did you mean 'name'\?"),
        ("set_group", r"a group has no field 'nmae'; did you mean 'name'\?"),
        ("set_trial", r"a trial has no field 'nmae'; did you mean 'name'\?"),
        ("new_trial", r"a trial has no field 'nmae'; did you mean 'name'\?"),
    ],
)
def test_unknown_field_is_refused(client: TrackClient, is_set: bool, verb: str, message: str) -> None:
    """A field that does not exist is an error, also where what is chosen stays."""
    if is_set:
        client.new_trial(parameters={})
    else:
        client = TrackClient("ephemeral:")

    with pytest.raises(TypeError, match=message) as caught:
        getattr(client, verb)(nmae="x")

    assert isinstance(caught.value, TrackError)


# the trial


def test_same_trial_again_is_silent(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Asking for the trial that is there gives it."""
    first = client.new_trial(name="a", parameters={"lr": 0.1})

    assert client.new_trial(name="a", parameters={"lr": 0.1}) is first
    assert client.set_trial(uid=first.trial.uid) is first
    assert client.set_trial() is first
    assert caplog.text == ""


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"name": "a"},
        {"name": "a", "parameters": {"lr": 0.2}},
        {"name": "b", "parameters": {"lr": 0.1}},
        {"name": "a", "parameters": {"lr": 0.1}, "description": "again"},
    ],
)
def test_other_trial_is_said(client: TrackClient, other: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A trial that runs, or waits to, goes on, and one warning says how to begin another."""
    first = client.new_trial(name="a", parameters={"lr": 0.1})

    assert client.new_trial(**other) is first

    assert [record.getMessage() for record in caplog.records] == [
        f"trial {first.trial.uid!r} is set and has not finished, so it goes on: finish it, or pass force=True, "
        "to begin another one"
    ]


def test_other_trial_to_go_on_with_is_said(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that is not resumed is one warning that names the way out."""
    first = client.new_trial(parameters={"lr": 0.1})

    assert client.set_trial(uid="abc_0") is first

    assert caplog.text.count("pass force=True") == 1


def test_loop_of_trials_makes_one_each_time(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Once a trial has finished, the next call begins another one."""
    for lr in (0.1, 0.2, 0.2):
        trial = client.new_trial()
        trial.log_arguments(lr=lr)
        with trial:
            trial.log_metrics(loss=lr)

    stored = client.protocol.fetch_trials()
    assert [(trial.parameters["lr"], trial.revision) for trial in stored] == [(0.1, 0), (0.2, 0), (0.2, 1)]
    assert [trial.metrics["loss"].val for trial in stored] == [[0.1], [0.2], [0.2]]
    assert caplog.text == ""


def test_finished_trial_gives_way_to_a_stored_one(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Once a trial has finished, another one can be gone on with."""
    first = client.new_trial(parameters={"lr": 0.1})
    first.start()
    first.finish()
    with client.new_trial(parameters={"lr": 0.2}):
        pass

    assert client.set_trial(uid=first.trial.uid).trial == first.trial
    assert caplog.text == ""
