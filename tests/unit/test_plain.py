"""Any value as JSON-safe data, and back."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
from typing import Any

import numpy
import pytest
from hypothesis import given

from track.plain import is_number, printable, restore, to_number, to_plain
from track.testing.strategies import json_values


class _Tensor:
    """What torch calls a tensor, as far as anybody can tell without torch."""

    def __init__(self, values: Any, shape: tuple[int, ...]) -> None:
        self.values = values
        self.shape = shape
        self.dtype = "torch.float32"

    def item(self) -> Any:
        """Return the only value."""
        if self.shape != ():
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.values

    def tolist(self) -> Any:
        """Return nested lists."""
        return self.values


@dataclasses.dataclass
class _Optimizer:
    name: str
    betas: tuple[float, float]


class _Colour(enum.Enum):
    RED = "red"


class _Level(enum.IntEnum):
    HIGH = 3


class _Foreign:
    def __repr__(self) -> str:
        return "<foreign>"


class _Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a"}, [1, "a"]),
        (pathlib.PurePosixPath("data/mnist"), "data/mnist"),
        (datetime.datetime(1970, 1, 2), 86400.0),
        (datetime.datetime(1970, 1, 2, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))), 86400.0),
        (datetime.date(1970, 1, 2), "1970-01-02"),
        (datetime.timedelta(minutes=1), 60.0),
        (_Colour.RED, "red"),
        (_Level.HIGH, 3),
        (_Optimizer("adam", (0.9, 0.99)), {"name": "adam", "betas": [0.9, 0.99]}),
        (argparse.Namespace(lr=0.1), {"lr": 0.1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        ({1: 2, None: 3, (1, 2): 4}, {"1": 2, "None": 3, "(1, 2)": 4}),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (range(3), [0, 1, 2]),
    ],
)
def test_values_of_python(value: Any, plain: Any) -> None:
    """Containers, dates, paths, enumerations and dataclasses become what JSON has."""
    assert to_plain(value) == plain
    json.dumps(to_plain(value), allow_nan=False)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (numpy.float32(0.5), 0.5),
        (numpy.float64(0.5), 0.5),
        (numpy.int64(3), 3),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (numpy.array(0.5), 0.5),
        (numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (numpy.array([0.5, math.nan]), [0.5, {"dtype": "float", "value": "nan"}]),
        (_Tensor(0.5, ()), 0.5),
        (_Tensor([1, 2], (2,)), [1, 2]),
    ],
)
def test_values_of_numpy_and_torch(value: Any, plain: Any) -> None:
    """Scalars become Python numbers, small arrays nested lists; nobody imports numpy or torch for it."""
    converted = to_plain(value)

    assert converted == plain
    assert type(converted) is type(plain)


@pytest.mark.parametrize("array", [numpy.zeros((2, 501)), _Tensor([], (2, 501))], ids=["numpy", "tensor"])
def test_large_array_is_a_summary(array: Any) -> None:
    """An array of more than 1,000 elements is described, not stored."""
    plain = to_plain(array)

    assert (plain["dtype"], plain["shape"]) == ("ndarray", [2, 501])
    assert "1002 elements" in plain["summary"]


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -0.0, 2**63 - 1, 2**63, -(2**63), 2**200, 5e-324, True, b"\x00\xff", None],
)
def test_value_comes_back_exactly(value: Any) -> None:
    """What JSON cannot say is tagged, at any depth, and comes back as it was."""
    text = json.dumps(to_plain({"a": [value]}), allow_nan=False)

    assert repr(restore(json.loads(text))) == repr({"a": [value]})


@pytest.mark.parametrize(
    "value",
    [
        {"dtype": "float", "value": "nan"},
        {"dtype": "int", "value": "x"},
        {"dtype": 1, "value": math.inf},
        {"dtype": "dict", "value": {"dtype": "bytes", "value": "x"}},
        {"a": {"dtype": "float", "value": 1.0}},
    ],
)
def test_users_own_dictionary_is_no_tag(value: dict[str, Any]) -> None:
    """A dictionary that looks like one of our tags comes back as the dictionary it was."""
    assert restore(json.loads(json.dumps(to_plain(value), allow_nan=False))) == value


@given(json_values())
def test_json_is_left_as_it_is(value: Any) -> None:
    """What JSON can say is not changed."""
    assert to_plain(value) == value
    assert restore(value) == value


def test_unknown_type_is_its_repr_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A value that is no data is kept as text, and said once a type."""
    plain = [to_plain(_Foreign()) for _ in range(3)]

    assert plain == ["<foreign>"] * 3
    assert caplog.text.count("_Foreign cannot be stored as data") == 1


def test_broken_repr_does_not_raise() -> None:
    """Logging never raises because of a value."""
    assert to_plain(_Broken()).endswith("repr failed with RuntimeError>")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, None),
        ({"a": [math.inf, 1.0], 2: (-math.inf,)}, {"a": [None, 1.0], "2": [None]}),
        (2**80, 2**80),
        (pathlib.PurePosixPath("a"), "a"),
        ({"best": numpy.float32("nan")}, {"best": None}),
    ],
)
def test_printable_has_no_odd_number(value: Any, shown: Any) -> None:
    """What people and other programs read is plain JSON: a number that is not finite is null."""
    assert printable(value) == shown


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (0.5, 0.5),
        (True, True),
        (numpy.float32(0.5), 0.5),
        (numpy.array(2), 2),
        (_Tensor(0.5, ()), 0.5),
        (_Level.HIGH, 3),
        (decimal.Decimal("0.5"), 0.5),
        ("1", None),
        (None, None),
        (1j, None),
        (b"1", None),
        ([1.0], None),
        (numpy.zeros(2), None),
        (_Tensor([1.0, 2.0], (2,)), None),
        (fractions.Fraction(10**400), None),
    ],
)
def test_numbers_are_recognised(value: Any, number: Any) -> None:
    """A number is a Python number, or what stands for exactly one."""
    converted = to_number(value)

    assert (converted, type(converted)) == (number, type(number))


@pytest.mark.parametrize(("value", "expected"), [(1, True), (0.5, True), (True, True), ("1", False), (None, False)])
def test_plain_numbers(value: Any, expected: bool) -> None:
    """Integers, floats and truth values are plain numbers."""
    assert is_number(value) is expected
