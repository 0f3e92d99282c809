"""What an event means for a trial."""

from __future__ import annotations

from typing import Any

import pytest

from track.events import (
    ArtifactAdded,
    Event,
    FieldsMerged,
    MetricsLogged,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.metrics import Metrics
from track.persistence.state.apply import make_trial, update
from track.structure import CustomStatus, Status, Trial


@pytest.fixture
def trial() -> Trial:
    """Give a trial that was just created."""
    return make_trial(TrialCreated("ab", 0, at=1.0))


EVENTS: list[Event] = [
    MetricsLogged("ab_0", {"loss": 0.5}, at=2.0),
    TimeLogged("ab_0", "batch", 0.5, at=2.0),
    FieldsMerged("trial", "ab_0", "tags", {"a": 1}, at=2.0),
    StatusChanged("ab_0", ("Running", 101), at=2.0),
    ArtifactAdded("ab_0", "model.pt", "file:model.pt", at=2.0),
    TrialAttached("ab_0", "project", "p", at=2.0),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_counts_once(trial: Trial, event: Event) -> None:
    """A change adds one to the count and says when."""
    update(trial, event)

    assert (trial.metadata["_update_count"], trial.metadata["_last_change"]) == (1, 2.0)


@pytest.mark.parametrize("value", ["x", 7, None])
def test_users_metadata_does_not_break_the_count(trial: Trial, value: Any) -> None:
    """Metadata called like the count is overwritten, and never an error."""
    for _ in range(2):
        update(trial, FieldsMerged("trial", "ab_0", "metadata", {"_update_count": value}, at=2.0))

    assert trial.metadata["_update_count"] == 2


def test_count_begins_with_the_first_change() -> None:
    """A trial of an old file has no count yet."""
    trial = Trial("ab", metrics=Metrics())

    update(trial, EVENTS[0])

    assert trial.metadata["_update_count"] == 1


@pytest.mark.parametrize(("kind", "attribute"), [("project", "project_id"), ("group", "group_id")])
def test_trial_knows_its_owners(trial: Trial, kind: str, attribute: str) -> None:
    """The project and the last group are fields of the trial."""
    update(trial, TrialAttached("ab_0", kind, "owner", at=2.0))

    assert getattr(trial, attribute) == "owner"


def test_tags_given_as_a_list_are_merged_with_names(trial: Trial) -> None:
    """Tags that were a list become names that hold."""
    trial.tags = ["0", "1"]

    update(trial, FieldsMerged("trial", "ab_0", "tags", {"1": "b"}, at=2.0))

    assert trial.tags == {"0": True, "1": "b"}


def test_metadata_is_appended_to_an_aggregator(trial: Trial) -> None:
    """With an aggregator values are appended, also where a plain value was before."""
    trial.metadata["queue"] = "unknown"

    for value in (1, 2, 3):
        update(trial, FieldsMerged("trial", "ab_0", "metadata", {"queue": value}, 2.0, ["ring", 2, "q"]))

    assert trial.metadata["queue"].val == [2, 3]


def test_life_of_a_trial_has_times(trial: Trial) -> None:
    """When a trial started first and ended last is kept, and who runs it."""
    running, completed = ("Running", 101), ("Completed", 302)
    process = {"host": "a", "pid": 1}

    for at, status in ((2.0, running), (3.0, completed), (4.0, running), (5.0, completed)):
        update(trial, StatusChanged("ab_0", status, at, process=process if status is running else None))

    assert trial.timestamps == {"created": 1.0, "started": 2.0, "finished": 5.0}
    assert (trial.process, trial.status) == (process, Status.Completed)


@pytest.mark.parametrize(
    ("plain", "status"),
    [(("waiting", 42), CustomStatus("waiting", 42)), ((None, 42), CustomStatus(None, 42)), ((None, None), Status(0))],
)
def test_status_of_ones_own_is_kept(trial: Trial, plain: Any, status: Any) -> None:
    """A status that the library does not know has its name and code."""
    update(trial, StatusChanged("ab_0", plain, at=2.0, error="why"))

    assert (trial.status, trial.errors) == (status, ["why"])


def test_artifact_is_a_record(trial: Trial) -> None:
    """A file of the trial has a name, a place, a digest and a size."""
    update(trial, ArtifactAdded("ab_0", "model.pt", "file:model.pt", 2.0, "d1", 10))

    assert trial.artifacts == [{"name": "model.pt", "uri": "file:model.pt", "digest": "d1", "size": 10, "at": 2.0}]


@pytest.mark.parametrize(
    ("plain", "step"),
    [(3, 3), ("a", "a"), ([1, [2]], (1, (2,))), ({"dtype": "float", "value": "inf"}, float("inf")), (True, True)],
    ids=repr,
)
def test_step_is_a_key_again(trial: Trial, plain: Any, step: Any) -> None:
    """A step that JSON had to say otherwise is the step that was logged."""
    update(trial, MetricsLogged("ab_0", {"loss": 0.5}, 2.0, plain))

    assert repr(dict(trial.metrics["loss"])) == repr({step: 0.5})
