"""What experiments are found by: ``"lr < 0.1"``, ``"1 < a.* <= 2"``, ``"messages.acc > 0.9"``; compared, never run."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from track.errors import IncompatibleYmlException, InvalidQuery
from track.shown import text_of
from track.yaml12 import load

_OPERATOR = re.compile(r"<=|>=|==|!=|<|>")
# Quotes protect an operator inside of them where a whole value stands in them.
_QUOTED = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?=<|>|==|!=|$)""")
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NAMES = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_ONE_NAME = re.compile(r"\^(\w+)\$")
MESSAGES = "messages."
"""What stands before the names of messages, in a condition and in a column."""
_OF_MESSAGES = re.compile(r"\^?messages\\?\.")
_WORD = re.compile(r"[A-Za-z_][\w-]*")
# What `str` makes of values that are no texts.
_NO_WORDS = {"nan", "inf", "none", "null", "true", "false"}


@dataclass(frozen=True)
class Value:
    """What a parameter is compared with: a value as YAML reads it, and its text without quotes."""

    data: Any
    text: str


@dataclass(frozen=True)
class Comparison:
    """One operator and the value on its right; one that stood on the left of the name is turned round."""

    name: str
    value: Value

    def holds(self, found: Any) -> bool:
        """Return whether a parameter satisfies it; unlike types have no order."""
        if self.name in ("==", "!="):
            return _same(found, self.value) == (self.name == "==")
        wanted = self.value.data
        both_numbers = _is_number(found) and _is_number(wanted)
        if not both_numbers and not (isinstance(found, str) and isinstance(wanted, str)):
            return False
        return bool(_ORDERS[self.name](found, wanted))


class Condition:
    """Which parameters are meant, and what each of them must satisfy."""

    def __init__(self, pattern: re.Pattern[str], *comparisons: Comparison) -> None:
        self.pattern = pattern
        self.comparisons = comparisons
        # Most experiments have the same names.
        self._is_meant = functools.lru_cache(maxsize=10_000)(self._matches)

    def _matches(self, name: Any) -> bool:
        text = str(name)
        return self.pattern.match(text) is not None and (self.is_special or not text.startswith("_"))

    @property
    def is_special(self) -> bool:
        """Whether special parameters are meant, too: those that begin with ``_``."""
        return self.pattern.pattern.startswith("_")

    @property
    def is_of_messages(self) -> bool:
        """Whether messages are meant, too, by their names after ``messages.``."""
        return _OF_MESSAGES.match(self.pattern.pattern) is not None

    def found(self, parameters: Mapping[Any, Any]) -> list[Any] | None:
        """Return the names that match, where there are some and all satisfy the condition; else None."""
        names = list(filter(self._is_meant, parameters))
        if not names:
            return None
        for comparison in self.comparisons:
            for name in names:
                if not comparison.holds(parameters[name]):
                    return None
        return names


class Conditions:
    """Conditions that must all hold.

    Parameters
    ----------
    texts: str or several
        Each ``regex``, ``regex op value`` or ``value op regex op value``, where op is one of ``<= == >= < > !=``. The
        regular expression is matched at the beginning of names; all parameters that match must satisfy the condition,
        and there must be one. Values are YAML, with or without quotes. One that begins with ``_`` is about special
        parameters, too, one that begins with ``messages.`` about messages: ``messages.accuracy > 0.9``.

    Raises
    ------
    InvalidQuery
        There is another number of operators, no value, or no regular expression (a ValueError too).

    Examples
    --------
    >>> Conditions(["lr <= 0.1", "opt == adam"]).found({"lr": 0.1, "opt": "adam", "depth": 2})
    ['lr', 'opt']
    >>> Conditions("1.0 < a.* <= 2.0").found({"a": 1.5, "ab": 3.0}) is None
    True
    """

    def __init__(self, texts: str | Iterable[str] | None = None) -> None:
        given = [texts] if isinstance(texts, str) else list(texts or ())
        self.conditions = [parse_condition(text) for text in given]

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def is_special(self) -> bool:
        """Whether one of them is about special parameters, too."""
        return any(condition.is_special for condition in self.conditions)

    @property
    def is_of_messages(self) -> bool:
        """Whether one of them is about messages, too."""
        return any(condition.is_of_messages for condition in self.conditions)

    def found(self, parameters: Mapping[Any, Any], messages: Mapping[Any, Any] | None = None) -> list[Any] | None:
        """Return the names of what matches, each once, where all conditions hold; else None.

        `messages`: by names with ``messages.`` before them; only conditions that begin with that see them.
        """
        names: dict[Any, None] = {}
        all_of_them = {**parameters, **messages} if messages else parameters
        for condition in self.conditions:
            found = condition.found(all_of_them if condition.is_of_messages else parameters)
            if found is None:
                return None
            names.update(dict.fromkeys(found))
        return list(names)

    def query(self) -> list[tuple[str, Any]]:
        """Return what of them a store can be asked: it finds all trials for which they hold, maybe others, too."""
        return [pair for condition in self.conditions for pair in _asked(condition)]


def parse_condition(text: str) -> Condition:
    """Return the condition that a text says; InvalidQuery (a ValueError) where it is none."""
    if not isinstance(text, str):
        raise InvalidQuery(f"a condition is a text, such as 'lr < 0.1', not {text!r}")
    operands, operators = _split(text)
    if len(operators) > 2:
        raise InvalidQuery(
            f"the condition {text!r} has {len(operators)} operators: write 'regex', 'regex op value' or "
            "'value op regex op value', with op one of <= == >= < > !="
        )
    place = 1 if len(operators) == 2 else 0
    pattern = _pattern(operands[place], text)
    values = [_value(operand, text) for index, operand in enumerate(operands) if index != place]
    match operators:
        case []:
            return Condition(pattern)
        case [one]:
            return Condition(pattern, Comparison(one, values[0]))
        case _:
            left, right = operators
            return Condition(pattern, Comparison(_turned(left), values[0]), Comparison(right, values[1]))


def _turned(name: str) -> str:
    return name.translate(str.maketrans("<>", "><"))


def _split(text: str) -> tuple[list[str], list[str]]:
    """Return the operands and the operators between them."""
    operands: list[str] = []
    operators: list[str] = []
    start = 0
    while True:
        quoted = _QUOTED.match(text, start)
        found = _OPERATOR.search(text, start if quoted is None else quoted.end())
        if found is None:
            return [*operands, text[start:].strip()], operators
        operands.append(text[start : found.start()].strip())
        operators.append(found[0])
        start = found.end()


def _pattern(text: str, condition: str) -> re.Pattern[str]:
    if not text:
        raise InvalidQuery(f"the condition {condition!r} names no parameter: write one, such as 'lr < 0.1'")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidQuery(f"{text!r}, in the condition {condition!r}, is no regular expression: {error}") from error


def _value(text: str, condition: str) -> Value:
    if not text:
        raise InvalidQuery(f"the condition {condition!r} lacks a value: write one, or null, or '' for an empty text")
    try:
        data = load(text)
    except IncompatibleYmlException:
        data = text
    if isinstance(data, str):
        # Without quotes it is meant as it stands, whatever YAML makes of a ``#``.
        data = data if text[0] in "\"'" else text
        return Value(data, data)
    if isinstance(data, (dict, list)) and text[0] not in "[{":
        return Value(text, text)
    return Value(data, text)


def _same(found: Any, wanted: Value) -> bool:
    """Return whether values are equal: as numbers, as what YAML has, or else as texts."""
    data = wanted.data
    if _is_number(found) and _is_number(data):
        return bool(found == data)
    if type(found) is type(data):
        return bool(found == data)
    return text_of(found) == wanted.text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _asked(condition: Condition) -> Iterable[tuple[str, Any]]:
    one = _ONE_NAME.fullmatch(condition.pattern.pattern)
    if one is None or one[1].startswith("_"):
        return
    for comparison in condition.comparisons:
        data = comparison.value.data
        if comparison.name in _NAMES and _is_number(data) and data == data:
            yield f"parameters.{one[1]}", {_NAMES[comparison.name]: data}
        elif comparison.name == "==" and isinstance(data, str) and _is_word(data):
            yield f"parameters.{one[1]}", data


def _is_word(text: str) -> bool:
    """Return whether only a text has this text."""
    return _WORD.fullmatch(text) is not None and text.lower() not in _NO_WORDS
