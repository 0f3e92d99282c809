"""Queries as filters of MongoDB: what a trial's document says narrows on the server, the rest is checked after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from track.persistence.mongo.client import Document
from track.persistence.query import Condition, Query
from track.persistence.state import text
from track.plain import is_utf8
from track.structure import FORGOTTEN, CustomStatus, Status, Trial

_TEXTS = {
    "group_id": "group_id",
    "hash": "hash",
    "project_id": "project_id",
    "uid": "_id",
    "version": "version_text",
}
MOST = 10_000
"""Values of one condition: a question of the server may have 16 MiB."""
_CONDITIONS = 100
_BEYOND, _LONGEST = 2**63, 5 << 20
_COMPARISONS = {"$eq", "$gt", "$gte", "$lt", "$lte"}


@dataclass(frozen=True)
class Filter:
    """A query for trials.

    `where`: holds for the document of every trial that matches, and maybe for others. `rest`: what remains to be
    checked. `last`: conditions on the last value of a metric, by its name as JSON: `where` says all of them, but for
    documents that do not know that value.
    """

    where: Document
    rest: Query
    last: dict[str, list[Condition]]

    def matches(self, trial: Trial, document: Document) -> bool:
        """Return whether the trial of a document that `where` has let through matches."""
        if not self.rest.matches(trial):
            return False
        if not self.last:
            return True
        metrics = [series for series in document["series"] if series["kind"] == "metrics" and series["last"] is None]
        unsure = [condition for series in metrics for condition in self.last.get(series["name"], ())]
        return all(condition.holds(trial) for condition in unsure)


def render(query: Query) -> Filter:
    """Return a query as a filter of MongoDB and the conditions that remain to be checked.

    Examples
    --------
    >>> from track.persistence.query import parse_query
    >>> render(parse_query({"hash": "ab"}, Trial)).where
    {'$and': [{'hash': {'$in': ['ab']}}]}
    """
    parts: list[Document] = []
    rest: list[Condition] = []
    last: dict[str, list[Condition]] = {}
    for condition in query.conditions:
        # What is too much for one question of the server is checked after.
        part = _narrowed(condition) if len(parts) < _CONDITIONS else None
        if part:
            parts.append(part)
        if part and condition.path[0] == "metrics" and len(condition.path) == 2:
            last.setdefault(text(condition.path[1]), []).append(condition)
        else:
            rest.append(condition)
    return Filter({"$and": parts} if parts else {}, Query(tuple(rest)), last)


def render_parts(query: Query, count: Callable[[], int]) -> list[Filter]:
    """Return filters for a query that together find what it asks for, and nothing twice.

    `count`: returns how many trials there are, about. Where that is less than a list has values, all are looked at once
    instead of asking for each part of the list.
    """
    parts = query.parts(MOST)
    if len(parts) == 1 or count() > len(parts) * MOST:
        return [render(part) for part in parts]
    short = (one for one in query.conditions if not (one.is_list_of_one_kind and len(one.operand) > MOST))
    return [Filter(render(Query(tuple(short))).where, query, {})]


def status_key(status: Any) -> str:
    """Return the text a status is found by."""
    return text(str(status.name).lower())


def _narrowed(condition: Condition) -> Document | None:
    match condition:
        case Condition(name="$or"):
            return _either(condition)
        case Condition(name="$not"):
            return _negated(condition)
        case Condition(path=("deleted",), name="$eq", operand=bool() | "forgotten" as value):
            # Documents of before know nothing of it.
            return {"deleted": value or {"$nin": [True, FORGOTTEN]}}
        case Condition(path=("project_id" | "group_id" | "version",)) if condition.may_mean_numbers:
            return None
        case Condition(path=(name,), name="$eq" | "$in") if name in _TEXTS:
            return _among(_TEXTS[name], condition, str)
        case Condition(path=("revision",), name="$eq" | "$in"):
            return _among("revision", condition, int)
        case Condition(path=("status",), name="$eq" | "$in"):
            return _status(condition)
        case Condition(path=("parameters", _, *_), name=name) if name in _COMPARISONS:
            return _parameter(condition)
        case Condition(path=("metrics", _, *_), name=name) if name in _COMPARISONS:
            return _metric(condition)
    return None


def _either(condition: Condition) -> Document | None:
    """Return the filter of one of some queries, where each narrows."""
    if len(Query((condition,)).flat()) > _CONDITIONS:
        return None
    found = [render(query).where for query in condition.queries]
    return {"$or": found} if all(found) else None


def _negated(condition: Condition) -> Document | None:
    """Return the filter of what a query does not find, where the documents say all that it asks."""
    (query,) = condition.queries
    if not query.conditions or len(query.conditions) > _CONDITIONS or not all(map(_is_exact, query.conditions)):
        return None
    found = [_narrowed(one) for one in query.conditions]
    return {"$nor": [{"$and": found}]} if all(found) else None


def _is_exact(condition: Condition) -> bool:
    """Return whether the filter of a condition holds for nothing but what it holds for."""
    return condition.path in (("uid",), ("hash",)) and condition.name in ("$eq", "$in")


def _choices(condition: Condition) -> list[Any]:
    return list(condition.operand) if condition.name == "$in" else [condition.operand]


def _among(field: str, condition: Condition, kind: type) -> Document | None:
    choices = _choices(condition)
    if len(choices) > MOST or not all(type(choice) is kind for choice in choices):
        return None
    # What cannot be stored is equal to nothing that is.
    possible = [choice for choice in choices if can_hold(choice)]
    return None if kind is str and sum(map(len, possible)) > _LONGEST else {field: {"$in": possible}}


def can_hold(value: Any) -> bool:
    """Return whether a document can have a value: what it cannot have is nowhere."""
    if isinstance(value, int):
        return -_BEYOND <= value < _BEYOND
    # A document names itself three times, and may have 16 MiB.
    return is_utf8(value) and len(value) <= _LONGEST


def _status(condition: Condition) -> Document | None:
    keys = []
    choices = _choices(condition)
    if len(choices) > MOST:
        return None
    for choice in choices:
        if isinstance(choice, str):
            keys.append(text(choice.lower()))
        elif isinstance(choice, (Status, CustomStatus)):
            keys.append(status_key(choice))
        else:
            return None
    # A trial that is stored as running may be shown as broken.
    return {"status": {"$in": [*keys, status_key(Status.Running)]}}


def _parameter(condition: Condition) -> Document | None:
    name = text(".".join(condition.path[1:]))
    if condition.has_exact_number:
        return {"parameters": {"$elemMatch": {"name": name, "number": {condition.name: condition.operand}}}}
    if type(condition.operand) is str and condition.name == "$eq" and len(condition.operand) <= _LONGEST:
        return {"parameters": {"$elemMatch": {"name": name, "text": text(condition.operand)}}}
    return None


def _metric(condition: Condition) -> Document | None:
    if len(condition.path) > 2:
        # A metric with dots in its name, or a step of one with fewer.
        names = [text(".".join(condition.path[1:end])) for end in range(2, len(condition.path) + 1)]
        return {"series": {"$elemMatch": {"kind": "metrics", "name": {"$in": names}}}}
    if not condition.has_exact_number:
        return None
    known = [{"last": {condition.name: condition.operand}}, {"last": None}]
    return {"series": {"$elemMatch": {"kind": "metrics", "name": text(condition.path[1]), "$or": known}}}
