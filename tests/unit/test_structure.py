"""Projects, groups, trials and their status: plain data."""

from __future__ import annotations

import contextvars
import logging
from typing import Any

import pytest

from track.errors import MissingIdentity
from track.structure import (
    CustomStatus,
    Project,
    Status,
    Trial,
    TrialGroup,
    get_current_project,
    get_current_trial,
    set_current_project,
    set_current_trial,
    split_uid,
    status,
)
from track.versioning import compute_hash

# status


def test_codes_of_the_statuses() -> None:
    """The codes are stored in files, so they never change."""
    assert {member.name: member.value for member in Status} == {
        "CreatedGroup": 0,
        "RunningGroup": 100,
        "Running": 101,
        "ErrorGroup": 200,
        "Interrupted": 201,
        "Exception": 202,
        "Broken": 203,
        "FinishedGroup": 300,
        "Suspended": 301,
        "Completed": 302,
    }


@pytest.mark.parametrize(
    ("member", "group"),
    [
        (Status.CreatedGroup, Status.CreatedGroup),
        (Status.Running, Status.RunningGroup),
        (Status.Broken, Status.ErrorGroup),
        (Status.Completed, Status.FinishedGroup),
    ],
)
def test_group_is_the_hundreds(member: Status, group: Status) -> None:
    """The hundreds digit of a status is its category."""
    assert member.group is group


def test_text_of_a_status() -> None:
    """A status as text is its name in small letters, which queries rely on."""
    assert (str(Status.Running), str(CustomStatus("Waiting", 42))) == ("running", "waiting")


@pytest.mark.parametrize("name", ["Running", "running", "RUNNING"])
def test_status_by_name(name: str) -> None:
    """A name in any case finds the member."""
    assert status(name) is Status.Running


def test_status_by_code() -> None:
    """A code finds the member; a code of nobody is a status without a name."""
    assert status(value=302) is Status.Completed
    assert (status(value=42), status(value=42).name) == (CustomStatus(None, 42), None)  # type: ignore[union-attr]


def test_status_of_ones_own() -> None:
    """A name of nobody is a status of one's own."""
    made = status("Waiting", 42)

    assert isinstance(made, CustomStatus)
    assert (made.name, made.value, repr(made)) == ("Waiting", 42, "CStatus<Waiting>")


def test_status_of_nothing() -> None:
    """Nothing given, nothing returned."""
    assert status() is None


def test_name_wins_over_the_code(caplog: pytest.LogCaptureFixture) -> None:
    """A name and a code that differ are a warning, and the name counts."""
    with caplog.at_level(logging.WARNING):
        made = status("running", 302)

    assert made is Status.Running
    assert "status running has code 101, not 302" in caplog.text


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (CustomStatus("waiting", 42), True),
        ({"name": "waiting", "value": 42}, True),
        ("waiting", True),
        (CustomStatus("waiting", 43), False),
        ({"name": "waiting"}, False),
        ("running", False),
        (Status.Running, False),
        (42, False),
        (None, False),
    ],
)
def test_equality_of_a_custom_status(other: Any, equal: bool) -> None:
    """A status of one's own equals what has its name and code, and nothing else raises."""
    assert (CustomStatus("waiting", 42) == other) is equal


def test_equality_with_a_member_goes_both_ways() -> None:
    """A status of one's own that says the same as a member equals it, from both sides."""
    custom = CustomStatus("Running", 101)

    assert custom == Status.Running
    assert Status.Running == custom


def test_custom_status_is_hashable_and_read_only() -> None:
    """It may be a key, and does not change."""
    custom = CustomStatus("waiting", 42)

    assert {custom: 1}[CustomStatus("waiting", 42)] == 1
    with pytest.raises(AttributeError, match="name"):
        custom.name = "other"  # type: ignore[misc]


# trials


def test_uid_is_hash_and_revision() -> None:
    """A trial is named by the hash of name, version and parameters, and its revision."""
    trial = Trial(name="n", version="v", parameters={"lr": 0.1}, revision=2)

    assert trial.hash == compute_hash("n", "v", lr=0.1)
    assert trial.uid == f"{trial.hash}_2"


def test_uid_does_not_follow_the_parameters() -> None:
    """The hash is computed once: later parameters do not move the trial."""
    trial = Trial(parameters={"lr": 0.1})
    uid = trial.uid

    trial.parameters["seed"] = 1

    assert trial.uid == uid


def test_uid_is_set_from_text() -> None:
    """Setting the uid splits at the last underscore, and the revision is a number."""
    trial = Trial()

    trial.uid = "a_b_3"

    assert (trial.hash, trial.revision) == ("a_b", 3)


@pytest.mark.parametrize("uid", ["abc", "abc_", "abc_x", "", "abc_1.0"])
def test_text_that_is_no_uid_is_refused(uid: str) -> None:
    """A uid without a revision is an error that says how it should read."""
    with pytest.raises(ValueError, match=r"should read <hash>_<revision>"):
        Trial().uid = uid
    with pytest.raises(ValueError, match=r"should read <hash>_<revision>"):
        split_uid(uid)


def test_revision_as_text_is_a_number() -> None:
    """The revision of a uid that was split by hand is accepted."""
    assert Trial(_hash="ab", revision="3").revision == 3  # type: ignore[arg-type]


def test_fields_are_kept_as_given() -> None:
    """Nothing is validated away: lists of tags, numbers as chronos, integers as owners."""
    trial = Trial("ab", tags=["0", "1"], metrics={"a": [1]}, chronos={"a": 4}, metadata={"b": 1}, project_id=3)

    assert (trial.tags, trial.metrics, trial.chronos, trial.project_id) == (["0", "1"], {"a": [1]}, {"a": 4}, 3)


def test_positions_of_the_fields() -> None:
    """The published order of the arguments stays."""
    trial = Trial("h", 1, "n", "d", {}, "v", 2, 3, {"p": 1}, {}, {}, {}, Status.Running, ["e"])

    assert (trial.hash, trial.version, trial.group_id, trial.project_id) == ("h", "v", 2, 3)
    assert (trial.parameters, trial.status, trial.errors) == ({"p": 1}, Status.Running, ["e"])


def test_defaults_are_not_shared() -> None:
    """Two trials do not share a dictionary or a list."""
    Trial("a").tags["x"] = 1
    Trial("a").errors.append("x")

    assert (Trial("b").tags, Trial("b").errors) == ({}, [])


def test_trial_equals_its_uid() -> None:
    """A trial equals any trial of its uid, and the uid itself; it can be looked up by either."""
    trial = Trial("ab", 1)

    assert trial == Trial("ab", 1, name="other")
    assert trial == "ab_1"
    assert trial != Trial("ab", 2)
    assert "ab_1" in {trial}
    assert trial != 3


# groups and projects


def test_uids_of_group_and_project() -> None:
    """A project is its name, a group the hash of its name and project."""
    assert Project(name="digits").uid == "digits"
    assert TrialGroup(name="idea", project_id="digits").uid == compute_hash("idea", "digits")


@pytest.mark.parametrize(
    ("item", "missing"),
    [(Project(), "name"), (TrialGroup(project_id="p"), "name"), (TrialGroup(name="n"), "project_id")],
)
@pytest.mark.parametrize("kind", [AssertionError, ValueError, MissingIdentity])
def test_missing_identity_is_named(item: Any, missing: str, kind: type[Exception]) -> None:
    """A project or group without its identity says what it lacks, as either error people catch."""
    with pytest.raises(kind, match=missing):
        _ = item.uid


@pytest.mark.parametrize("kind", [Project, TrialGroup])
def test_owners_are_equal_by_uid(kind: Any) -> None:
    """Projects and groups are equal by uid, and their uid cannot be set."""
    item = kind(_uid="u", name="a")

    assert item == kind(_uid="u", name="b")
    assert item == "u"
    assert item != 3
    with pytest.raises(AttributeError, match="uid"):
        item.uid = "v"


# the current ones


@pytest.mark.parametrize(
    ("get", "put", "item"),
    [(get_current_project, set_current_project, Project(name="p")), (get_current_trial, set_current_trial, Trial("a"))],
    ids=["project", "trial"],
)
def test_current_object_is_of_its_context(get: Any, put: Any, item: Any) -> None:
    """What is set is returned and current, in this thread or task only."""
    context = contextvars.Context()

    assert context.run(put, item) is item
    assert context.run(get) is item
    assert contextvars.Context().run(get) is None
