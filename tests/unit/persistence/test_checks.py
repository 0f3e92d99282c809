"""What is decided before a fact is recorded."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy
import pytest

from track.errors import InvalidEvent
from track.events import decode, encode
from track.persistence.contract.checks import (
    MUTATORS,
    describe_error,
    final_status,
    metric_step,
    normal_status,
    numbers,
    plain_fields,
    require_mutator,
    trial_copied,
    trial_created,
)
from track.persistence.protocol import Protocol
from track.persistence.state.apply import make_trial
from track.structure import CustomStatus, Status, Trial


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (Status.Running, Status.Running),
        (CustomStatus("w", 1), CustomStatus("w", 1)),
        ("RUNNING", Status.Running),
        (101, Status.Running),
        ({"name": "Running", "value": 101}, Status.Running),
        ({"name": "w", "value": 1}, CustomStatus("w", 1)),
        ({"name": None, "value": None}, Status.CreatedGroup),
        (CustomStatus("w", 2**63), CustomStatus("w", 2**63)),
    ],
    ids=repr,
)
def test_status_in_every_form(given: Any, status: Any) -> None:
    """A status is an object, a name in any case, a code, or both in a dictionary."""
    assert normal_status(given) == status


@pytest.mark.parametrize("given", ["runing", 7, True, None, 3.5, {"name": "w"}, []], ids=repr)
def test_what_is_no_status_is_refused(given: Any) -> None:
    """The message names what was given, what there is, and how to have one's own."""
    with pytest.raises(InvalidEvent, match=r"is no status; use CreatedGroup, .* or CustomStatus\(name, code\)"):
        normal_status(given)


def test_code_that_no_text_can_hold_is_refused() -> None:
    """An integer of 5,000 digits, which Python does not write, is no code of a status."""
    with pytest.raises(InvalidEvent, match="is no status"):
        normal_status(CustomStatus("w", 10**5000))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, Status.Completed),
        (ValueError("x"), Status.Exception),
        (KeyboardInterrupt(), Status.Interrupted),
        (SystemExit(), Status.Completed),
        (SystemExit(0), Status.Completed),
        (SystemExit(1), Status.Exception),
        (SystemExit("message"), Status.Exception),
        (SystemExit(143), Status.Interrupted),
    ],
    ids=repr,
)
def test_how_a_trial_ends(error: BaseException | None, status: Status) -> None:
    """An exit without an error is an end like any other; a signal is an interruption."""
    assert final_status(None if error is None else type(error), error) is status


def test_error_without_a_message_or_a_traceback() -> None:
    """An error is described with what there is."""
    assert describe_error(ValueError, ValueError(), None) == "ValueError"
    assert describe_error(ValueError, None, None) == "ValueError"
    assert describe_error(ValueError, ValueError("x"), None) == "ValueError: x"


def test_numbers_are_converted() -> None:
    """Every value is a Python number, under its name."""
    assert numbers({"a": numpy.float32(0.5), "b": True, "c": 1}) == {"a": 0.5, "b": True, "c": 1}


def test_what_is_no_number_is_named() -> None:
    """The message names the metric, the value, its type, and where it belongs."""
    with pytest.raises(InvalidEvent, match=r"metric 'b' is 'high', of type str: a metric is a number; other values"):
        numbers({"a": 1, "b": "high"})


@pytest.mark.parametrize(
    ("step", "plain"),
    [
        (3, 3),
        (0.5, 0.5),
        ("warm-up", "warm-up"),
        ((1, 2), [1, 2]),
        (numpy.int64(3), 3),
        (datetime.datetime(1970, 1, 2), 86400.0),
        (math.inf, {"dtype": "float", "value": "inf"}),
        (2**70, {"dtype": "int", "value": str(2**70)}),
    ],
    ids=repr,
)
def test_steps_are_plain(step: Any, plain: Any) -> None:
    """A step is anything that can be a key, as JSON can say it."""
    converted = metric_step(step, {"loss": 0.5})

    assert (converted, type(converted)) == (plain, type(plain))


@pytest.mark.parametrize("step", [{"epoch": 1}, (1, {"epoch": 1}), [{}]], ids=repr)
def test_step_that_is_no_key_is_refused(step: Any) -> None:
    """A dictionary cannot be a step: it would make the metric unreadable."""
    with pytest.raises(InvalidEvent, match="cannot be a key: use a number, a text or a tuple"):
        metric_step(step, {"loss": 0.5})


def test_fields_may_have_any_name() -> None:
    """Names become text, values plain data, and no combination of names is a tag."""
    assert plain_fields({"dtype": 1, "value": (1, 2), 3: None}) == {"dtype": 1, "value": [1, 2], "3": None}


def test_trial_survives_its_fact() -> None:
    """The fact that a trial exists has all of its fields."""
    trial = Trial(
        "ab", 1, "n", "d", ["t"], "v", 2, 3, {"dtype": "x", "value": math.inf}, {"m": (1, 2)}, {"x": [1]}, {"a": 4},
        CustomStatus("new", 42), ["e"],
    )  # fmt: skip

    made = make_trial(trial_created(trial, at=5.0))

    assert (made.uid, made.name, made.description, made.tags, made.version) == ("ab_1", "n", "d", ["t"], "v")
    assert (made.group_id, made.project_id, made.status, made.errors) == (2, 3, CustomStatus("new", 42), ["e"])
    assert (made.parameters, made.metadata["m"]) == ({"dtype": "x", "value": math.inf}, [1, 2])
    assert (made.metrics["x"].val, made.chronos["a"], made.timestamps) == ([1], 4, {"created": 5.0})


def test_new_trial_has_seen_no_change() -> None:
    """The count of changes starts at zero, whatever the metadata say."""
    made = make_trial(trial_created(Trial("ab", metadata={"_update_count": 9}), at=5.0))

    assert (made.metadata["_update_count"], made.metadata["_last_change"]) == (0, 5.0)


@pytest.mark.parametrize("name", sorted(MUTATORS))
def test_mutators_are_methods(name: str) -> None:
    """Each of the names is a method of a backend."""
    require_mutator(name)

    assert callable(getattr(Protocol, name))


@pytest.mark.parametrize("name", ["close", "fetch_trials", "_call", "__init__", "clock", "new_trial"])
def test_other_methods_are_refused(name: str) -> None:
    """Nothing else can be called by name."""
    with pytest.raises(InvalidEvent, match=rf"'{name}' cannot be called here; use one of add_group_trial, "):
        require_mutator(name)


@pytest.mark.parametrize("odd", [None, "x", float("nan"), float("inf"), 2**70, -(10**400), [1], {"a": 1}, True])
def test_copy_of_a_damaged_trial_can_be_read(odd: Any) -> None:
    """Whatever a file of somebody else says of a trial, the event of its copy is one that every store reads again."""
    trial = Trial(metadata={"_update_count": odd, "_last_change": odd, "gpu": odd}, parameters={"odd": odd})
    trial.timestamps, trial.process, trial.artifacts = {"created": odd}, odd, [odd, {"name": odd, "size": odd}]

    event = trial_copied(trial)

    assert decode(encode(event)) == decode(encode(decode(encode(event))))
    assert make_trial(decode(encode(event))).uid == trial.uid


@pytest.mark.parametrize("changes", [2**62 + 1, -(2**63), 2**70])
def test_count_that_would_be_written_otherwise_is_no_event(changes: int) -> None:
    """A number of changes that is too large for its form is refused where it comes in."""
    line = b'{"event":"trial_created","hash":"ab","revision":0,"at":1.0,"changes":%d}' % changes

    with pytest.raises(InvalidEvent):
        decode(line)
