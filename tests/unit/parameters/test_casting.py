"""Values of parameters: what somebody wrote becomes what the default is, or one sentence."""

from __future__ import annotations

import dataclasses
import enum
import logging
from pathlib import Path
from typing import Any

import pytest

from track.parameters import as_data, cast, is_data, restored


class Colour(enum.Enum):
    """Colours."""

    RED = "red"
    BLUE = 2


@dataclasses.dataclass
class Options:
    """Options."""

    depth: int = 1


@pytest.mark.parametrize(
    ("value", "default", "text", "expected"),
    [
        (1, 0.5, "1", 1.0),
        ("1e3", 0.5, "1e3", 1000.0),
        ("inf", 0.5, "inf", float("inf")),
        (2.0, 3, "2.0", 2),
        (2**70, 3, None, 2**70),
        (True, False, "true", True),
        (1, True, "1", True),
        (0, True, "0", False),
        ("False", True, None, False),
        (12, "x", "012", "012"),
        (True, "x", "yes", "yes"),
        (12, "x", None, "12"),
        (True, "x", None, "true"),
        ([1], "x", None, "[1]"),
        (None, 1, None, None),
        (None, "x", None, None),
        (None, [1], None, None),
        ("x", None, None, "x"),
        (3, None, None, 3),
        ([1, 2], [0.5, 0.5], None, [1.0, 2.0]),
        ([1, "a"], (1, "b"), None, (1, "a")),
        ([1, 2, 3], [], None, [1, 2, 3]),
        ({"a": 1}, {"a": 0.5, "b": 2}, None, {"a": 1.0, "b": 2}),
        ({"z": 1}, {}, None, {"z": 1}),
        ({"a": {"c": 3}}, {"a": {"c": 1.0, "d": 2}}, None, {"a": {"c": 3.0, "d": 2}}),
        ("/tmp/x", Path("."), None, Path("/tmp/x")),
        ("RED", Colour.BLUE, None, Colour.RED),
        (2, Colour.RED, None, Colour.BLUE),
        (-0.0, 1.0, None, -0.0),
    ],
)
def test_type_of_the_default_decides(value: Any, default: Any, text: str | None, expected: Any) -> None:
    """What is written becomes what the default is; null is never cast."""
    found = cast("p", value, default, text)

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "default"),
    [
        (True, 1),
        (True, 1.0),
        ("x", 1),
        ("x", 1.0),
        (2, True),
        ("yes", True),
        (1.0, True),
        (1, [1]),
        ([1], [1, 2]),
        ([1, "x"], [1, 2]),
        (1, {"a": 1}),
        ({"b": 1}, {"a": 1}),
        ({"a": "x"}, {"a": 1}),
        ("GREEN", Colour.RED),
        (1, len),
        ("x", print),
    ],
)
def test_what_cannot_be_is_one_sentence(value: Any, default: Any) -> None:
    """The error names the parameter."""
    with pytest.raises(ValueError, match=r"^p"):
        cast("p", value, default)


@pytest.mark.parametrize("value", [2.5, float("inf"), float("nan")])
def test_number_that_is_not_whole_stays_what_it_is(value: float, caplog: pytest.LogCaptureFixture) -> None:
    """For a default that is a whole number it is kept, and said."""
    with caplog.at_level(logging.WARNING):
        assert repr(cast("depth", value, 3)) == repr(value)

    assert "depth is a whole number by default" in caplog.text


@pytest.mark.parametrize(
    ("value", "default"),
    [
        ((1, 2), (3,)),
        (Path("/x"), Path(".")),
        (Colour.RED, Colour.BLUE),
        (Options(3), Options()),
        (1.0, 2.0),
        ([1], [2, 3]),
        (2**70, 1),
        (float("inf"), 1.0),
        ("text", "x"),
        (None, 3),
    ],
)
def test_what_was_written_to_a_file_comes_back(value: Any, default: Any) -> None:
    """With the type that the default has, where a file cannot say it."""
    found = restored(as_data(value), default)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("default", [len, lambda x: x, int, object()])
def test_what_is_no_data_keeps_its_default(default: Any) -> None:
    """A function, a class or an object is a text in a file, which stands for the default of whoever reads it."""
    assert not is_data(default)
    assert isinstance(as_data(default), str)
    assert restored(as_data(default), default) is default
    assert restored("<function f at 0x7f0000000000>", None) is None


def test_what_is_not_of_that_type_stays_what_it_was() -> None:
    """A file may be of an earlier version of a program."""
    assert restored("GREEN", Colour.RED) == "GREEN"
    assert restored({"width": 1}, Options()) == {"width": 1}
