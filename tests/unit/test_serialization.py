"""The nouns as JSON and back."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from typing import Any

import pytest

from track.aggregators.aggregator import (
    RingAggregator,
    StatAggregator,
    SumAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from track.chrono import ChronoContext
from track.containers.series import Series
from track.metrics import Metrics
from track.serialization import (
    SerializerAspect,
    SerializerTrial,
    SerializerTrialGroup,
    flatten,
    from_json,
    status_from_json,
    to_json,
    unflatten,
)
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup

FULL_KEYS = [
    "dtype",
    "uid",
    "revision",
    "hash",
    "name",
    "description",
    "version",
    "tags",
    "group_id",
    "project_id",
    "parameters",
    "metadata",
    "metrics",
    "chronos",
    "errors",
    "status",
]


@pytest.fixture
def trial() -> Trial:
    """Give a trial with something of everything."""
    stat, series, steps = StatAggregator(1), TimeSeriesAggregator(), Series()
    for value in (1.0, 2.0, 4.0):
        stat.append(value)
        series.append(value)
    steps.append(0, math.nan, at=1.0)
    return Trial(
        "ab",
        1,
        name="n",
        description="d",
        tags={"a": 1},
        version="v",
        group_id="g",
        project_id="p",
        parameters={"opt.lr": 0.1, "seed": 2**70},
        metadata={"gpu": "V100", "_update_count": 3, "heartbeat": 1, "_last_change": 2.0, "queue": RingAggregator(2)},
        metrics={"cost": series, "loss": steps, "best": ValueAggregator(3)},
        chronos={"runtime": SumAggregator(1.5), "batch": stat},
        status=Status.Completed,
        errors=["e"],
    )


# trials


def test_keys_of_the_full_form(trial: Trial) -> None:
    """The documented keys, in order; additions come after them."""
    trial.timestamps["created"] = 1.0

    document = to_json(trial)

    assert list(document) == [*FULL_KEYS, "timestamps"]
    assert (document["dtype"], document["uid"], document["hash"]) == ("trial", "ab_1", "ab")


def test_full_form_is_valid_json(trial: Trial) -> None:
    """No number is lost and no token is invented."""
    text = json.dumps(to_json(trial), allow_nan=False)

    assert from_json(json.loads(text)).parameters == {"opt.lr": 0.1, "seed": 2**70}


def test_trial_comes_back(trial: Trial) -> None:
    """Every field of a trial survives its full form."""
    back = from_json(json.loads(json.dumps(to_json(trial))))

    names = ("name", "description", "tags", "version", "group_id", "project_id", "parameters", "errors", "status")
    assert back == trial
    assert {name: getattr(back, name) for name in names} == {name: getattr(trial, name) for name in names}
    assert to_json(back) == to_json(trial)


def test_statistics_of_the_full_form(trial: Trial) -> None:
    """Statistics are stored with what they need to go on."""
    stored = to_json(trial)["chronos"]["batch"]

    assert list(stored) == [
        "dtype", "sum", "sum_sqr", "first_obs", "min", "max", "current_count", "current_obs", "drop_obs",
    ]  # fmt: skip
    assert stored["dtype"] == "statstream"


def test_statistics_of_the_short_form(trial: Trial) -> None:
    """People read a mean, a deviation, bounds, a count and a unit."""
    stat = to_json(trial, short=True)["chronos"]["batch"]

    assert list(stat.items()) == [
        ("avg", 3.0), ("min", 1.0), ("max", 4.0), ("sd", 1.0), ("count", 2), ("unit", "s"),
    ]  # fmt: skip


def test_short_form_hides_the_bookkeeping(trial: Trial) -> None:
    """Counters and heartbeats are not for people."""
    assert to_json(trial, short=True)["metadata"] == {"gpu": "V100", "queue": []}
    hidden = {"_update_count", "heartbeat", "_last_change", "_environment", "_output", "_output_line", "_import"}
    assert SerializerTrial.ignore_meta == hidden | {"_alerts", "_alerts_told"}
    assert SerializerTrial.ignore_short == {"uid", "project_id", "group_id", "hash", "dtype"}


def test_artifacts_are_shown_after_the_status(trial: Trial) -> None:
    """The short form grows only at its end, and only when there is something."""
    before = list(to_json(trial, short=True))
    trial.artifacts.append({"name": "model.pt"})

    assert list(to_json(trial, short=True)) == [*before, "artifacts"]


@pytest.mark.parametrize(
    "document", [{"dtype": "trial", "uid": "ab_1"}, {"dtype": "trial", "hash": "ab", "revision": 1}]
)
def test_missing_and_unknown_keys_are_accepted(document: dict[str, Any]) -> None:
    """A document of an older or a newer version is read."""
    back = from_json(document | {"colour": "red"})

    assert (back.uid, back.parameters, back.status, back.errors) == ("ab_1", {}, Status.CreatedGroup, [])


def test_document_of_the_original_is_read() -> None:
    """Steps as text, times as numbers, statistics as a state: the original's files."""
    back = from_json(
        {
            "dtype": "trial",
            "hash": "ab",
            "revision": "1",
            "metrics": {"loss": {"0": 1.5, "10": 0.5}, "cost": [1, 2]},
            "chronos": {"runtime": 3.5},
            "status": {"name": "Completed", "value": 302},
        }
    )

    assert (dict(back.metrics["loss"]), back.metrics["cost"].val) == ({0: 1.5, 10: 0.5}, [1, 2])
    assert (back.revision, back.chronos["runtime"], back.status) == (1, 3.5, Status.Completed)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"name": "Completed", "value": 302}, Status.Completed),
        ({"value": 302, "name": "Completed"}, Status.Completed),
        ({"name": "waiting", "value": 42}, CustomStatus("waiting", 42)),
        ("running", Status.Running),
        (302, Status.Completed),
        (None, Status.CreatedGroup),
    ],
)
def test_status_is_read_in_every_form(plain: Any, expected: Any) -> None:
    """A status is a member where it can be, else one of its own."""
    assert status_from_json(plain) == expected


# groups and projects


def test_group_comes_back() -> None:
    """A group is its fields and the uids of its trials."""
    group = TrialGroup(name="idea", description="d", metadata={"m": {"a.b": 1}}, trials={"b_0", "a_0"}, project_id="p")

    document = to_json(group)
    back = from_json(document)

    assert list(document) == ["dtype", "uid", "name", "description", "metadata", "project_id", "trials"]
    assert (document["dtype"], document["trials"]) == ("trial_group", ["a_0", "b_0"])
    assert to_json(group, short=True)["metadata"] == {"m": {"a": {"b": 1}}}
    assert (back, back.trials, back.project_id, back.metadata) == (group, group.trials, "p", group.metadata)


def test_project_comes_back(trial: Trial) -> None:
    """A project is its fields and the documents of its groups and trials."""
    group = TrialGroup(name="idea", project_id="p")
    project = Project(name="p", description="d", metadata={"m": 1}, groups={group}, trials={trial}, tags={"t": 1})

    document = to_json(project)
    back = from_json(document)

    assert list(document) == ["dtype", "uid", "name", "description", "metadata", "trials", "groups", "tags"]
    assert (back, back.metadata, back.tags) == (project, {"m": 1}, {"t": 1})
    assert (back.groups, back.trials) == ({group}, {trial})


@pytest.mark.parametrize(("value", "nested"), [({"a.b": 1}, {"a": {"b": 1}}), ([1], [1]), ("a.b", "a.b")])
def test_only_dictionaries_are_nested(value: Any, nested: Any) -> None:
    """Metadata that is no dictionary stays as it is."""
    assert SerializerTrialGroup.maybe_unflatten(value) == nested


# values


@pytest.mark.parametrize("document", [{"dtype": "polygon", "x": 1}, {"x": 1}, [1], "text", 3, None])
def test_what_is_not_ours_comes_back_unchanged(document: Any) -> None:
    """Data of an unknown dtype, or of none, is not an error."""
    assert from_json(document) is document


def test_dtype_may_be_an_argument() -> None:
    """A document that does not say what it is can be told."""
    assert from_json({"name": "p"}, dtype="project") == Project(name="p")


class _Point:
    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments

    def to_json(self) -> Any:
        """Return the coordinates."""
        return [1, 2]


class _Shape:
    def to_json(self, short: bool = False) -> Any:
        """Return the name, or the first letter."""
        return "s" if short else "square"


@pytest.mark.parametrize(
    ("value", "short", "expected"),
    [
        (Status.Running, False, {"name": "Running", "value": 101}),
        (CustomStatus("w", 1), True, {"name": "w", "value": 1}),
        (uuid.UUID(int=1), False, "00000000-0000-0000-0000-000000000001"),
        (datetime.datetime(1970, 1, 2), False, 86400.0),
        (datetime.datetime(1970, 1, 2, tzinfo=datetime.timezone.utc), True, 86400.0),
        (ChronoContext(StatAggregator()), False, {}),
        (_Point(), False, [1, 2]),
        (_Point(), True, [1, 2]),
        (_Shape(), False, "square"),
        ({1: (_Shape(), {2: None})}, True, {"1": ["s", {"2": None}]}),
        ({"best": math.inf}, True, {"best": None}),
        ({"best": math.inf}, False, {"best": {"dtype": "float", "value": "inf"}}),
        ({3, 1}, False, [1, 3]),
        (Metrics(), False, {}),
    ],
)
def test_values_of_every_kind(value: Any, short: bool, expected: Any) -> None:
    """Anything becomes JSON-safe data: by its type, by its own method, or part by part."""
    assert to_json(value, short) == expected


def test_aspect_is_a_base() -> None:
    """An aspect reads what it is given, and must say how it writes."""
    assert SerializerAspect().from_json("x") == "x"
    with pytest.raises(NotImplementedError):
        SerializerAspect().to_json("x")


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"opt.lr": 0.1, "opt.name": "sgd"}, {"opt": {"lr": 0.1, "name": "sgd"}}),
        ({"a.b.c": 1}, {"a": {"b": {"c": 1}}}),
        ({"a": 1}, {"a": 1}),
        ({}, {}),
    ],
)
def test_dotted_keys_are_nested_and_flat_again(flat: dict[str, Any], nested: dict[str, Any]) -> None:
    """Nesting and flattening are inverses."""
    assert unflatten(flat) == nested
    assert flatten(nested) == flat


@pytest.mark.parametrize(
    "flat", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"a.b.c": 1, "a.b": 2}, {"a.b": 1, "a.b.c": 2, "a.d": 3}]
)
def test_dotted_key_that_would_hide_another_stays(flat: dict[str, Any]) -> None:
    """No parameter disappears from a report."""
    shown = flatten(unflatten(flat))

    assert shown == flat
