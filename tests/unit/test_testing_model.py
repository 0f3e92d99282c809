"""The independent model that every store is compared with."""

from __future__ import annotations

from typing import Any

import pytest

from track.events import (
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.ephemeral import EphemeralProtocol
from track.testing.model import Model, answers

EVENTS: list[Event] = [
    ProjectCreated("p", 1.0, "p"),
    GroupCreated("g", 1.0, "idea", project_id="p"),
    TrialCreated("ab", 0, 1.0, name="first", parameters={"lr": 0.1}),
    TrialAttached("ab_0", "project", "p", 2.0),
    TrialAttached("ab_0", "group", "g", 2.0),
    FieldsMerged("trial", "ab_0", "tags", {"a": 1}, 3.0),
    FieldsMerged("group", "g", "metadata", {"m": 1}, 3.0),
    TimeLogged("ab_0", "batch", 0.5, 4.0, ["series"]),
    StatusChanged("ab_0", ("Broken", 203), 5.0, "why"),
]


def test_model_says_it_plainly() -> None:
    """Each event is said in dictionaries and lists."""
    model = Model()

    model.apply(*EVENTS)

    assert model.answers() == {
        "projects": {"p": {"name": "p", "metadata": {}}},
        "groups": {"g": {"name": "idea", "project": "p", "trials": {"ab_0"}, "metadata": {"m": 1}}},
        "trials": {
            "ab_0": {
                "name": "first",
                "parameters": {"lr": 0.1},
                "metadata": {},
                "tags": {"a": 1},
                "project": "p",
                "group": "g",
                "status": "Broken",
                "errors": ["why"],
                "metrics": {},
                "times": {"batch": [0.5]},
                "changes": 5,
            }
        },
    }


@pytest.mark.parametrize(
    ("steps", "metric"),
    [
        ([0, 1, 0], {0: 2, 1: 1}),
        ([None, None], [0, 1]),
        ([4, None], {4: 0, 5: 1}),
        ([None, None, 1], {0: 0, 1: 2}),
        (["a", None], {"a": 0, 0: 1}),
    ],
)
def test_model_of_a_metric(steps: list[Any], metric: Any) -> None:
    """Steps, values without them, and both."""
    model = Model()
    model.apply(TrialCreated("ab", 0, 1.0))

    model.apply(*(MetricsLogged("ab_0", {"x": value}, 1.0, step) for value, step in enumerate(steps)))

    assert model.answers()["trials"]["ab_0"]["metrics"] == {"x": metric}


def test_backend_answers_in_the_form_of_the_model() -> None:
    """What a backend returns can be compared with the model."""
    model, backend = Model(), EphemeralProtocol()

    for store in (model, backend):
        store.apply(*EVENTS)

    assert answers(backend) == model.answers()
