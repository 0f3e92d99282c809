"""Conditions on parameters: what they mean, and that nothing in them is ever run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml")

from track.errors import InvalidQuery
from track.manager.conditions import Conditions, parse_condition
from track.persistence.query import parse_query
from track.structure import Trial


@pytest.mark.parametrize(
    ("condition", "parameters", "is_met"),
    [
        # names
        ("lr", {"lr_decay": 1, "depth": 2}, True),
        ("r", {"lr": 1}, False),
        ("^lr$", {"lr_decay": 1}, False),
        ("(?!lr).*", {"lr": 1, "depth": 2}, True),
        # numbers
        ("a < 1", {"a": 0.5}, True),
        ("a<1e-3", {"a": 0.5}, False),
        ("a >= 2", {"a": 2.0}, True),
        ("a == 1.0", {"a": 1}, True),
        ("a != 1", {"a": 1.0}, False),
        ("a > -.inf", {"a": math.nan}, False),
        ("a == 9007199254740993", {"a": 9007199254740993}, True),
        # all that match
        ("a.* <= 2", {"a": 1, "ab": 3}, False),
        ("1.0 < a.* <= 2.0", {"a": 1.5, "ab": 2}, True),
        ("1.0 < a.* <= 2.0", {"a": 1.0}, False),
        ("3 >= a > 2", {"a": 3}, True),
        ("1 == a == 1", {"a": 1}, True),
        # texts
        ("a==Hello", {"a": "Hello"}, True),
        ("a == 'Hello'", {"a": "Hello"}, True),
        ('a == "Hello"', {"a": "Hello"}, True),
        ("a != Hello", {"a": "Bye"}, True),
        ("a == '<='", {"a": "<="}, True),
        ("a == it''s", {"a": "it''s"}, True),
        ("a == x: y #1", {"a": "x: y #1"}, True),
        ("a == ''", {"a": ""}, True),
        ("a == $(touch x)", {"a": "$(touch x)"}, True),
        ("a == 1", {"a": "1"}, True),
        ("a == '1'", {"a": 1}, True),
        ("b <= c", {"b": "abc"}, True),
        # unlike types have no order
        ("a > 2", {"a": "3"}, False),
        ("a < x", {"a": 1}, False),
        ("a > 0", {"a": True}, False),
        ("a > 0", {"a": None}, False),
        ("a >= 0", {"a": [1]}, False),
        # what else YAML has
        ("a == true", {"a": True}, True),
        ("a == 1", {"a": True}, False),
        ("a == null", {"a": None}, True),
        ("a == [1, x]", {"a": [1, "x"]}, True),
        ("a != [1, x]", {"a": [1]}, True),
        ("a == {b: 1}", {"a": {"b": 1}}, True),
    ],
)
def test_condition_means_what_it_says(condition: str, parameters: dict[str, Any], is_met: bool) -> None:
    """A condition holds where a name matches, and all that match satisfy it."""
    assert (Conditions(condition).found(parameters) is not None) is is_met


def test_several_conditions_must_all_hold() -> None:
    """Of several conditions each holds, and the names of all are told, each once."""
    conditions = Conditions(["a", "a > 1", "b.* == x"])

    assert conditions.found({"a": 2, "b": "x", "c": 3}) == ["a", "b"]
    assert conditions.found({"a": 1, "b": "x"}) is None
    assert conditions.found({"a": 2}) is None


def test_special_names_match_only_where_they_are_meant() -> None:
    """A parameter that begins with an underscore is meant by an expression that does, and by no other."""
    parameters = {"a": 1, "_status": "finished"}

    assert Conditions(".*").found(parameters) == ["a"]
    assert Conditions("_status == finished").found(parameters) == ["_status"]


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("a < b < c < d", "has 3 operators: write 'regex'"),
        ("(?<=x)a < 1 < 2", "has 3 operators"),
        ("a <", "lacks a value"),
        ("< 1", "names no parameter"),
        ("  ", "names no parameter"),
        ("1 < > 2", "names no parameter"),
        ("( == 1", "no regular expression"),
        (7, "a condition is a text"),
    ],
)
def test_what_is_no_condition_is_one_sentence(condition: Any, reason: str) -> None:
    """What cannot be read is an InvalidQuery, a ValueError too, which says what is wrong."""
    with pytest.raises(InvalidQuery, match=reason) as caught:
        Conditions([condition])

    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "value",
    ["1 and exit()", "__import__('os').system('touch pwned')", "!!python/object/apply:os.system ['touch pwned']"],
)
def test_code_in_a_condition_is_text(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be code elsewhere is compared as the text that it is."""
    monkeypatch.chdir(tmp_path)

    assert Conditions(f"a.* <= {value}").found({"a": 1}) is None
    assert Conditions(f"a == {value}").found({"a": value}) == ["a"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("condition", "query"),
    [
        ("^lr$ < 0.1", [("parameters.lr", {"$lt": 0.1})]),
        ("1 <= ^lr$ < 2", [("parameters.lr", {"$gte": 1}), ("parameters.lr", {"$lt": 2})]),
        ("^opt$ == adam", [("parameters.opt", "adam")]),
        # These cannot be said: other names match, other values have the text, null is a value.
        ("lr < 0.1", []),
        ("^l.$ < 0.1", []),
        ("^lr$ == 1", []),
        ("^lr$ == nan", []),
        ("^lr$ != adam", []),
        ("^lr$", []),
        ("_status == finished", []),
    ],
)
def test_store_is_asked_what_can_be_said(condition: str, query: list[Any]) -> None:
    """A condition on one name is a query for a store; others are not."""
    assert Conditions(condition).query() == query


@pytest.mark.parametrize("condition", ["^a$ < 1", "^a$ >= 1", "0 < ^a$ <= 2", "^a$ == x", "^a$ > 1e300"])
@pytest.mark.parametrize("value", [0, 1, 2.5, -math.inf, math.nan, True, None, "x", "1", [1], {"b": 1}, 2**70])
def test_query_finds_all_for_which_a_condition_holds(condition: str, value: Any) -> None:
    """What a store is asked never leaves out an experiment that is meant."""
    is_meant = Conditions(condition).found({"a": value}) is not None

    assert parse_query(Conditions(condition).query(), Trial).matches(Trial(parameters={"a": value})) or not is_meant


def test_names_that_are_no_texts_are_matched_as_texts() -> None:
    """A parameter whose name YAML reads as a number goes by its digits."""
    assert parse_condition("12 > 0").found({12: 1}) == [12]


_SAID = {"messages.accuracy": 0.93, "messages.stage": "warm up", "messages.lost": None}


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("messages.accuracy > 0.9", ["messages.accuracy"]),
        ("0.9 < messages.acc <= 1", ["messages.accuracy"]),
        ("messages.accuracy > 0.95", None),
        (r"^messages\.(accuracy|lost)$", ["messages.accuracy", "messages.lost"]),
        ("messages.stage == warm up", ["messages.stage"]),
        ("messages.lost > 0", None),
        ("messages.nobody > 0", None),
        # What does not begin so is about parameters, whatever it matches.
        (".* < 1", ["lr"]),
        ("accuracy > 0.9", None),
        # A parameter may be called so.
        ("messages_count == 3", None),
        ("messages.accuracy > 0.9 and exit()", None),
    ],
)
def test_conditions_on_messages(condition: str, names: list[str] | None) -> None:
    """What begins with ``messages.`` is about what was said, by its name; nothing else sees it, and nothing is run."""
    assert Conditions(condition).found({"lr": 0.1}, _SAID) == names


def test_parameter_that_is_called_as_messages_are_stays_found() -> None:
    """The expression is one of parameters, too, as it was before."""
    assert Conditions("messages.count == 3").found({"messages_count": 3}) == ["messages_count"]
