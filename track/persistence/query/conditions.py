"""What a query asks: parsed once into conditions, and asked of each object."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any

from track.aggregators.aggregator import Aggregator, TimeSeriesAggregator
from track.containers.series import Series
from track.errors import InvalidQuery, suggestion
from track.metrics import step_from_text
from track.persistence.query.choices import Choices, is_status
from track.plain import restore, to_number, to_plain, utf8
from track.shown import shown, text_of
from track.structure import Project, Status, Trial, TrialGroup

_MISSING = object()
_SINGLE = {"uid", "hash", "revision", "project_id", "group_id", "version"}
_MEASURED = ("metrics", "chronos")
EXACT = 2**53
"""Numbers below it are doubles exactly."""
DEEPEST = 20
"""How many queries may be inside one another."""
_LOOKED_AT = 100
_STATUSES = (*(status.name.lower() for status in Status), "submitted", "pruned", "failed")
_FAILED = ("failed", "exception", "broken")
"""What ``failed`` means: it ended badly, or its process is gone; or a status of one's own of that name."""
_LITERAL = re.compile(r"[\[({]|(True|False|-?inf|nan|-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)\Z")
_ATTRIBUTES: dict[type, frozenset[str]] = {
    kind: frozenset(kind.__dataclass_fields__) | {"uid", "hash"} for kind in (Trial, TrialGroup, Project)
}


@dataclass(frozen=True)
class Condition:
    """One operator on one attribute.

    Parameters
    ----------
    path: tuple of str
        The attribute, split at its dots.
    name: str
        The operator, such as ``"$lte"``. ``$or`` and ``$not`` are about whole queries, which are the operand: one of
        them holds, or the one does not. Their path is their name, which no attribute has.
    """

    path: tuple[str, ...]
    name: str
    operand: Any

    @property
    def queries(self) -> tuple[Query, ...]:
        """The whole queries that it is about; none where it is about an attribute."""
        return self.operand if self.name in JOINING else ()

    @property
    def has_exact_number(self) -> bool:
        """Whether the operand is a number that a double says exactly: databases compare by doubles."""
        operand = self.operand
        return type(operand) in (int, float) and operand == operand and abs(operand) < EXACT

    @property
    def is_list_of_one_kind(self) -> bool:
        """Whether it is a list of texts, or of whole numbers, to choose from for an attribute that has one value."""
        if self.name != "$in" or len(self.path) != 1 or self.path[0] not in _SINGLE:
            return False
        return set(map(type, self.operand)) in ({str}, {int})

    @property
    def may_mean_numbers(self) -> bool:
        """Whether a text to choose from may be that of a number, a truth or a list, which it is found by."""
        return self.name == "$in" and any(isinstance(choice, str) and _LITERAL.match(choice) for choice in self.operand)

    def holds(self, item: Any) -> bool:
        """Return whether `item` satisfies it; a comparison with nothing, or of unlike types, does not hold."""
        if self.name in JOINING:
            return JOINING[self.name](query.matches(item) for query in self.operand)
        return OPERATORS[self.name](resolve(item, self.path), self.operand)


@dataclass(frozen=True)
class Query:
    """Conditions that must all hold, in the order to try them."""

    conditions: tuple[Condition, ...] = ()

    def matches(self, item: Any) -> bool:
        """Return whether every condition holds for `item`."""
        return all(condition.holds(item) for condition in self.conditions)

    @property
    def asks_for_deleted(self) -> bool:
        """Whether it says which of the trials that are hidden are meant; else none of them is."""
        return any(condition.path == _DELETED for condition in self.flat())

    def parts(self, most: int) -> list[Query]:
        """Return queries for a database that takes no long lists, which together find the same, and nothing twice.

        `most`: how many choices one may have of an attribute that has one value.
        """
        for place, condition in enumerate(self.conditions):
            if condition.is_list_of_one_kind and len(condition.operand) > most:
                before, after = self.conditions[:place], self.conditions[place + 1 :]
                choices = list(dict.fromkeys(condition.operand))
                pieces = (choices[start : start + most] for start in range(0, len(choices), most))
                return [
                    Query((*before, Condition(condition.path, "$in", type(condition.operand)(piece)), *after))
                    for piece in pieces
                ]
        return [self]

    def flat(self) -> list[Condition]:
        """Return all conditions, also those of queries inside."""
        inside = (one for condition in self.conditions for query in condition.queries for one in query.flat())
        return [*self.conditions, *inside]

    @property
    def size(self) -> int:
        """How many conditions it has, with those of queries inside; an empty one counts as one."""
        return sum(1 + sum(max(1, query.size) for query in condition.queries) for condition in self.conditions)

    @property
    def of_status(self) -> list[Condition]:
        """The conditions on the status, which must all hold."""
        return [condition for condition in self.conditions if condition.path == ("status",)]

    def unknown_statuses(self) -> list[str]:
        """Return the names of statuses that are asked for and that the library does not know."""
        asked = [c for c in self.flat() if c.path == ("status",) and c.name in ("$eq", "$in")]
        names = [name for c in asked for name in (c.operand if c.name == "$in" else [c.operand])]
        return [name for name in names if isinstance(name, str) and name.lower() not in _STATUSES]

    def exact(self, attribute: str) -> Any:
        """Return the text that `attribute` must equal, None when the query does not say."""
        for condition in self.conditions:
            if condition.path == (attribute,) and condition.name == "$eq" and isinstance(condition.operand, str):
                return condition.operand
        return None

    def choices(self, attribute: str) -> Choices | None:
        """Return the texts of which `attribute` must equal one, None when the query does not say."""
        for condition in self.conditions:
            if (
                condition.path == (attribute,)
                and condition.is_list_of_one_kind
                and isinstance(condition.operand[0], str)
            ):
                return Choices(condition.operand)
        return None


_DELETED = ("deleted",)
_SHOWN = Condition(_DELETED, "$eq", False)
ALSO_DELETED: dict[str, Any] = {"deleted": {"$in": [False, True]}}
"""The part of a query by which trials are found whether they are hidden or not; but not those that are forgotten."""


def parse_stored(query: Any) -> Query:
    """Return the parsed query for the trials of a store: those that are hidden match only where it asks for them.

    Examples
    --------
    >>> parse_stored({"name": "first"}).matches(Trial(name="first", deleted=True))
    False
    >>> parse_stored({"name": "first", "deleted": True}).matches(Trial(name="first", deleted=True))
    True
    """
    parsed = parse_query(query, Trial)
    return parsed if parsed.asks_for_deleted else Query((*parsed.conditions, _SHOWN))


def parse_query(query: Any, kind: type) -> Query:
    """Return the parsed query for objects of `kind`.

    Parameters
    ----------
    query: mapping, list of pairs, Query or None
        None matches everything; a list of ``(attribute, condition)`` is tried in order.
    kind: type
        Trial, TrialGroup or Project.

    Raises
    ------
    InvalidQuery
        An attribute or an operator is unknown.

    Examples
    --------
    >>> query = parse_query({"parameters.lr": {"$lte": 0.01}}, Trial)
    >>> query.matches(Trial(parameters={"lr": 0.1}))
    False
    """
    return _parsed(query, kind, 0)


def _parsed(query: Any, kind: type, depth: int) -> Query:
    if isinstance(query, Query):
        return query
    if not query:
        return Query()
    if depth > DEEPEST:
        raise InvalidQuery(f"at most {DEEPEST} queries can be inside one another")
    pairs = query.items() if isinstance(query, Mapping) else query
    conditions: list[Condition] = []
    try:
        for attribute, condition in pairs:
            conditions.extend(_conditions(attribute, condition, kind, depth))
    except RecursionError as error:
        raise InvalidQuery("an operand of the query holds itself, or others too deep inside each other") from error
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, InvalidQuery):
            raise
        raise InvalidQuery(f"a query is a mapping or a list of (attribute, condition), not {shown(query)}") from error
    return Query(tuple(conditions))


def _joined(name: str, operand: Any, kind: type, depth: int) -> list[Condition]:
    """Return what ``$or``, ``$and`` and ``$not`` say of whole queries."""
    if name == "$not":
        if not isinstance(operand, (Mapping, Query, list, tuple)):
            raise InvalidQuery(f"$not wants a query, not {shown(operand)}")
        return [Condition((name,), name, (_parsed(operand, kind, depth + 1),))]
    if not isinstance(operand, (list, tuple)) or not operand:
        raise InvalidQuery(f"{name} wants a list of queries, not {shown(operand)}")
    parsed = tuple(_parsed(query, kind, depth + 1) for query in operand)
    if name == "$or":
        return [Condition((name,), name, parsed)]
    return [condition for query in parsed for condition in query.conditions]


def _conditions(attribute: str, condition: Any, kind: type, depth: int) -> list[Condition]:
    if attribute in ("$or", "$and", "$not"):
        return _joined(attribute, condition, kind, depth)
    # As it would have been stored.
    attribute = utf8(attribute)
    path = tuple(attribute.split("."))
    known = _ATTRIBUTES.get(kind)
    if known is not None and path[0] not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("_")))
        way_out = suggestion(path[0], known)
        if kind is Trial and not way_out:
            way_out = f" (a parameter is 'parameters.{attribute}', a metric 'metrics.{attribute}')"
        raise InvalidQuery(f"a {kind.__name__} has no attribute {path[0]!r}; it has: {names}{way_out}")
    try:
        is_mapping = isinstance(condition, Mapping)
    except Exception:  # noqa: BLE001 - what fails when it is asked for its class is the text that is stored of it
        is_mapping, condition = False, to_plain(condition)
    if not is_mapping:
        return [_operator(path, "$eq", condition)]
    if not any(str(key).startswith("$") for key in condition):
        _refuse_bare_operators(attribute, condition)
        return [_operator(path, "$eq", condition)]
    return [
        one
        for name, operand in condition.items()
        for one in (
            _joined("$not", [(attribute, operand)], kind, depth)
            if name == "$not"
            else [_operator(path, str(name), operand)]
        )
    ]


def _refuse_bare_operators(attribute: str, condition: Mapping[Any, Any]) -> None:
    """A dictionary is compared as it is; one that is all operators but for their ``$`` is a slip."""
    if not (condition and all(f"${name}" in OPERATORS for name in condition)):
        return
    meant = ", ".join(f"'${name}': {shown(operand)}" for name, operand in condition.items())
    raise InvalidQuery(
        f"operators begin with '$': write {{{attribute!r}: {{{meant}}}}}, or {{'$eq': {shown(condition)}}} for a value "
        "that is this dictionary"
    )


@lru_cache(maxsize=64)
def _like(status: str) -> str:
    # Whoever takes trials that wait asks for the same ones each time.
    return suggestion(status, (name for name in _STATUSES if not name.endswith("group")))


def _refuse_misspelt_status(operand: Any) -> None:
    """A status may have any name, but hardly one that differs from a known one by a letter or two."""
    if not isinstance(operand, str) or operand.lower() in _STATUSES:
        return
    close = _like(operand.lower())
    if close:
        raise InvalidQuery(f"no status is called {operand!r}{close} (For one of your own: CustomStatus(name, code))")


def _operator(path: tuple[str, ...], name: str, operand: Any) -> Condition:
    if name not in OPERATORS:
        way_out = suggestion(name, OPERATORS)
        names = ", ".join((*OPERATORS, "$not"))
        raise InvalidQuery(f"operator {name!r} on {'.'.join(path)!r} is not understood; use {names}{way_out}")
    if path == ("status",) and name in ("$eq", "$ne", "$in", "$nin"):
        choices = operand if isinstance(operand, (list, tuple, set, frozenset)) else (operand,)
        for choice in islice(choices, _LOOKED_AT):
            _refuse_misspelt_status(choice)
        name, operand = _with_failed(name, operand)
    if name == "$regex":
        try:
            operand = re.compile(operand)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise InvalidQuery(f"{shown(operand)} is no regular expression: {error}") from error
    if name in ("$in", "$nin"):
        if isinstance(operand, (str, bytes)) or not isinstance(operand, Iterable):
            raise InvalidQuery(f"{name} on {'.'.join(path)!r} wants a list of values, not {shown(operand)}")
        return Condition(path, name, Choices(_stored(path, choice) for choice in operand))
    if name in ("$regex", "$exists"):
        return Condition(path, name, operand)
    kept = _stored(path, operand)
    if name in _ORDERS and not _has_order(operand, kept):
        raise InvalidQuery(
            f"nothing is greater or less than {shown(operand)}: {name} on {'.'.join(path)!r} wants a number"
        )
    return Condition(path, name, kept)


def _with_failed(name: str, operand: Any) -> tuple[str, Any]:
    """Return a condition on a status in which ``failed`` is each of the statuses that it means."""
    choices = [operand] if name in ("$eq", "$ne") else operand
    if not isinstance(choices, (list, tuple, set, frozenset)) or "failed" not in map(_lowered, choices):
        return name, operand
    return "$in" if name in ("$eq", "$in") else "$nin", [*choices, *_FAILED]


def _lowered(choice: Any) -> Any:
    return choice.lower() if isinstance(choice, str) else None


def _has_order(operand: Any, kept: Any) -> bool:
    """Return whether an operand may be greater or less than something: no mapping, no object that is kept as text."""
    if isinstance(kept, Mapping):
        return False
    return not isinstance(kept, str) or isinstance(operand, (str, Enum, os.PathLike))


def _stored(path: tuple[str, ...], operand: Any) -> Any:
    """Return an operand as it would have been stored: a tuple is a list, a date is unix seconds.

    A number that was measured has every bit; a parameter of 32 bits is its shortest decimal.
    """
    if is_status(operand):
        return operand
    number = to_number(operand) if path[0] in _MEASURED else None
    return restore(to_plain(operand)) if number is None else number


def resolve(item: Any, path: tuple[str, ...] | list[str]) -> Any:
    """Return the value at a path; None when it is not there.

    Raises
    ------
    InvalidQuery
        The first part is no attribute of `item`.
    """
    value = getattr(item, path[0], _MISSING)
    if value is _MISSING:
        raise InvalidQuery(f"a {type(item).__name__} has no attribute {path[0]!r}")
    return _last_value(_descend(value, tuple(path[1:])))


def _descend(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return value
    if isinstance(value, Aggregator):
        value = value.to_json(short=True)
    if isinstance(value, Series):
        return value.get(step_from_text(".".join(path)))
    if not isinstance(value, Mapping):
        return None
    # A key may hold dots of its own: the longest one wins.
    for length in range(len(path), 0, -1):
        key = ".".join(path[:length])
        if key in value:
            return _descend(value[key], path[length:])
    return None


def _last_value(value: Any) -> Any:
    if isinstance(value, (Series, TimeSeriesAggregator)):
        return value.last()
    return value.val if isinstance(value, Aggregator) else value


def _equal(value: Any, operand: Any) -> bool:
    if is_status(value):
        return _same_status(value, operand)
    if isinstance(value, bool) != isinstance(operand, bool):
        return False
    return bool(value == operand)


def _same_status(value: Any, operand: Any) -> bool:
    if isinstance(operand, str):
        return str(value.name).lower() == operand.lower()
    if isinstance(operand, int):
        return bool(value.value == operand)
    if isinstance(operand, Mapping):
        return all(getattr(value, key) == operand[key] for key in ("name", "value") if key in operand)
    return is_status(operand) and (value.name, value.value) == (operand.name, operand.value)


def _in(value: Any, choices: Any) -> bool:
    return (choices if isinstance(choices, Choices) else Choices(choices)).has(value)


def _compare(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, operand: Any) -> bool:
        if is_status(value):
            value = value.value
        if is_status(operand):
            operand = operand.value
        try:
            return value is not None and bool(compare(value, operand))
        except TypeError:
            return False

    return holds


def _exists(value: Any, wanted: Any) -> bool:
    return (value is not None) == bool(wanted)


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return value is not None and pattern.search(text_of(value)) is not None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _differs(value: Any, operand: Any) -> bool:
    return not _is_nan(value) and not _equal(value, operand)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": _differs,
    "$gt": _compare(operator.gt),
    "$gte": _compare(operator.ge),
    "$lt": _compare(operator.lt),
    "$lte": _compare(operator.le),
    "$in": _in,
    "$nin": lambda value, choices: not _is_nan(value) and not _in(value, choices),
    "$exists": _exists,
    "$regex": _matches,
}
"""What each operator asks of a value and its operand."""
_ORDERS = ("$gt", "$gte", "$lt", "$lte")
JOINING: dict[str, Callable[[Iterable[bool]], bool]] = {"$or": any, "$not": lambda held: not any(held)}
"""What becomes of whether each of the queries holds."""
