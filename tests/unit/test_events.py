"""The nine facts and their bytes."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from track.errors import InvalidEvent
from track.events import (
    ArtifactAdded,
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
    decode,
    decode_lines,
    encode,
)
from track.plain import restore, to_plain

# These lines are in people's files: they must be read for ever.
LINES: list[tuple[Event, bytes]] = [
    (ProjectCreated("p", 1.0, "p"), b'{"event":"project_created","uid":"p","at":1.0,"name":"p"}\n'),
    (
        GroupCreated("g", 1.0, "idea", project_id="p"),
        b'{"event":"group_created","uid":"g","at":1.0,"name":"idea","project_id":"p"}\n',
    ),
    (
        TrialCreated("ab", 1, 1.0, parameters={"lr": 0.1}),
        b'{"event":"trial_created","hash":"ab","revision":1,"at":1.0,"parameters":{"lr":0.1}}\n',
    ),
    (
        TrialAttached("ab_1", "group", "g", 1.0),
        b'{"event":"trial_attached","trial":"ab_1","kind":"group","owner":"g","at":1.0}\n',
    ),
    (
        FieldsMerged("trial", "ab_1", "tags", {"a": 1}, 1.0),
        b'{"event":"fields_merged","kind":"trial","uid":"ab_1","field":"tags","values":{"a":1},"at":1.0}\n',
    ),
    (
        MetricsLogged("ab_1", {"loss": 0.5}, 1.0, 3),
        b'{"event":"metrics","trial":"ab_1","values":{"loss":0.5},"at":1.0,"step":3}\n',
    ),
    (
        TimeLogged("ab_1", "batch", 0.5, 1.0, ["stat", 1]),
        b'{"event":"time","trial":"ab_1","name":"batch","seconds":0.5,"at":1.0,"aggregator":["stat",1]}\n',
    ),
    (
        StatusChanged("ab_1", ("Running", 101), 1.0),
        b'{"event":"status","trial":"ab_1","status":["Running",101],"at":1.0}\n',
    ),
    (
        ArtifactAdded("ab_1", "model.pt", "file:model.pt", 1.0),
        b'{"event":"artifact","trial":"ab_1","name":"model.pt","uri":"file:model.pt","at":1.0}\n',
    ),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: type(value).__name__)
def test_line_of_each_event(event: Event, line: bytes) -> None:
    """The bytes are the format: one line of JSON, without what is not set, and read back as they were."""
    assert encode(event) == line
    assert decode(line) == event


def test_many_lines_at_once() -> None:
    """Lines are decoded together as well as one by one."""
    assert decode_lines(b"".join(line for _, line in LINES)) == [event for event, _ in LINES]


def test_event_does_not_change() -> None:
    """A fact is a fact."""
    with pytest.raises(AttributeError, match="immutable"):
        LINES[0][0].uid = "q"  # type: ignore[misc, union-attr]


def test_trial_that_is_created_has_a_uid() -> None:
    """The uid is the hash and the revision."""
    assert TrialCreated("ab", 3, 1.0).trial == "ab_3"


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**64, -(2**64), -0.0, 2**53 + 1, True, None], ids=repr)
@pytest.mark.parametrize("other", [0.5, None, math.nan], ids=repr)
def test_numbers_survive_their_bytes(value: Any, other: Any) -> None:
    """A number that JSON cannot say comes back, in any company."""
    event = decode(encode(MetricsLogged("ab_0", {"x": value, "null": other}, 1.0, value)))

    assert isinstance(event, MetricsLogged)
    assert repr({name: restore(item) for name, item in event.values.items()}) == repr({"x": value, "null": other})
    assert repr(restore(event.step)) == repr(value)


@pytest.mark.parametrize(
    "values",
    [{"a": None, "b": math.nan}, {"a": None, "b": b"\x00"}, {"a": None, "b": {"dtype": "float", "value": "nan"}}],
    ids=repr,
)
def test_tagged_values_are_not_tagged_twice(values: dict[str, Any]) -> None:
    """Values that are plain data already survive a line that has to be encoded again."""
    plain = {name: to_plain(value) for name, value in values.items()}

    event = decode(encode(FieldsMerged("trial", "ab_0", "metadata", plain, 1.0)))

    assert isinstance(event, FieldsMerged)
    assert repr({name: restore(item) for name, item in event.values.items()}) == repr(values)


def test_values_named_like_a_tag_stay_values() -> None:
    """Two metrics called dtype and value are no tag."""
    event = decode(encode(MetricsLogged("ab_0", {"dtype": math.nan, "value": 1.0}, 1.0)))

    assert isinstance(event, MetricsLogged)
    assert list(event.values) == ["dtype", "value"]


@pytest.mark.parametrize("value", ["a\nb", "\u2028", '"', "ü", "\x00"])
def test_text_stays_on_its_line(value: str) -> None:
    """No text breaks a line in two."""
    line = encode(FieldsMerged("trial", "ab_0", "metadata", {value: value}, 1.0))

    assert line.count(b"\n") == 1
    assert decode(line) == FieldsMerged("trial", "ab_0", "metadata", {value: value}, 1.0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"event":"explosion","at":1.0}',
        b'{"event":"metrics","trial":"ab_0","at":1.0}',
        b'{"event":"metrics","trial":"ab_0","values":[1],"at":1.0}',
        b'{"event":"metrics","trial":3,"values":{},"at":1.0}',
        b'{"event":"metrics","trial":"ab_0","values":{},"at":1.0',
        b'{"event":"metrics","trial":"\xff","values":{},"at":1.0}',
    ],
)
@pytest.mark.parametrize("read", [decode, lambda line: decode_lines(line + b"\n[]")], ids=["one", "many"])
def test_line_that_is_no_event_is_refused(line: bytes, read: Any) -> None:
    """Anything else is an error of ours, never a half-read event."""
    with pytest.raises(InvalidEvent, match="not an event"):
        read(line)


def test_unknown_field_of_a_newer_version_is_passed_over() -> None:
    """A line with one field more is still read."""
    line = b'{"event":"time","trial":"ab_0","name":"batch","seconds":1,"at":1.0,"device":"gpu"}'

    assert decode(line) == TimeLogged("ab_0", "batch", 1, 1.0)


def test_events_know_their_fields() -> None:
    """An event is data: its fields can be listed."""
    assert [field.name for field in msgspec.structs.fields(StatusChanged)] == [
        "trial", "status", "at", "error", "process", "attempt",
    ]  # fmt: skip
