"""Queries as SQL: what has a column or a row of its own narrows in the database, the rest is checked after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from track.persistence.query import Condition, Query
from track.persistence.state import text
from track.plain import is_utf8
from track.structure import FORGOTTEN, CustomStatus, Status

_COLUMNS = {"uid", "hash", "revision", "project_id", "group_id", "version"}
MOST = 900
"""Values of one condition: a statement has a limit of its own for them, at least 999."""
_CONDITIONS = 100
_KEY = 100
_ALL = "1 = 1"
_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


HIDDEN = "deleted"
"""The kind of a row of ``series`` that says of a trial whether it is hidden (``stepped`` is 1), or forgotten (2)."""
_DELETED = {True: "= 1", FORGOTTEN: "= 2", False: "> 0"}


def is_deleted(test: str) -> str:
    """Return the condition on ``trials t`` that such a row is there, and its number passes a test."""
    return (
        "EXISTS (SELECT 1 FROM series s WHERE s.trial = t.position"  # noqa: S608
        f" AND s.kind = '{HIDDEN}' AND s.name = '' AND s.stepped {test})"
    )


def state_key(status: Any) -> str:
    """Return the text that a status is found by, in any case; cut, as indexes want it."""
    return str(status.name).lower().replace("\0", "")[:_KEY]


def states(query: Query) -> list[str] | None:
    """Return what may be stored of the trials that a query finds, as `state_key` says it; None where it does not ask.

    Of a trial of before there was such a column nothing is stored.
    """
    for condition in query.conditions:
        if condition.path == ("status",) and condition.name in ("$eq", "$in"):
            choices = list(condition.operand) if condition.name == "$in" else [condition.operand]
            if len(choices) < MOST and all(map(_is_named, choices)):
                named = (CustomStatus(choice, None) if isinstance(choice, str) else choice for choice in choices)
                # A trial that is stored as running may be shown as broken.
                return list(dict.fromkeys([*map(state_key, named), state_key(Status.Running)]))
    return None


def _is_named(choice: Any) -> bool:
    name = choice.name if isinstance(choice, (Status, CustomStatus)) else choice
    return isinstance(choice, (str, Status, CustomStatus)) and is_utf8(str(name))


def where(
    query: Query,
    is_plain: Callable[[str], bool],
    has_resumes: Callable[[], bool],
    can_hold: Callable[[Any], bool],
) -> tuple[str, list[Any], Query]:
    """Return a condition on ``trials t``, its values, and the conditions that remain to be checked.

    The SQL condition holds for every trial that matches, and maybe for others. `is_plain` returns whether the column
    of last values says what a metric is compared by, given its name as JSON; `has_resumes`
    whether it does not for some trials, which have a row that says so; `can_hold` whether a column can hold a value.
    """
    parts: list[str] = []
    values: list[Any] = []
    rest: list[Condition] = []
    for condition in query.conditions:
        # The others are checked after: a statement has a limit for them, too.
        if len(parts) >= _CONDITIONS:
            rest.append(condition)
            continue
        sql, parameters, is_exact = _render(condition, is_plain, has_resumes, can_hold)
        if sql:
            parts.append(sql)
            values.extend(parameters)
        if not is_exact:
            rest.append(condition)
    return " AND ".join(f"({part})" for part in parts) or _ALL, values, Query(tuple(rest))


def _render(
    condition: Condition,
    is_plain: Callable[[str], bool],
    has_resumes: Callable[[], bool],
    can_hold: Callable[[Any], bool],
) -> tuple[str, list[Any], bool]:
    match condition:
        case Condition(name="$or"):
            return _either(condition, is_plain, has_resumes, can_hold)
        case Condition(name="$not"):
            return _negated(condition, is_plain, has_resumes, can_hold)
        case Condition(path=(column,), name="$eq", operand=str() | int()) if column in _COLUMNS:
            return _column(column, [condition.operand], can_hold)
        case Condition(path=("deleted",), name="$eq", operand=bool() | "forgotten" as value):
            return f"{'' if value else 'NOT '}{is_deleted(_DELETED[value])}", [], True
        case Condition(path=("project_id" | "group_id" | "version",)) if condition.may_mean_numbers:
            return "", [], False
        case Condition(path=(column,), name="$in", operand=list()) if column in _COLUMNS and condition.operand:
            return _column(column, condition.operand, can_hold)
        case Condition(path=("parameters", _, *_), name=name) if name in _COMPARISONS:
            return _parameter(condition)
        case Condition(path=("metrics", _), name=name) if name in _COMPARISONS:
            return _metric(condition, is_plain, has_resumes)
        case _:
            return "", [], False


def _either(condition: Condition, *asked: Any) -> tuple[str, list[Any], bool]:
    """Return the condition that one of some queries holds, where each says something."""
    if len(Query((condition,)).flat()) > _CONDITIONS:
        return "", [], False
    rendered = [where(query, *asked) for query in condition.queries]
    values = [value for _, found, _ in rendered for value in found]
    if len(values) > MOST or any(sql == _ALL for sql, _, _ in rendered):
        return "", [], False
    is_exact = not any(rest.conditions for _, _, rest in rendered)
    return " OR ".join(f"({sql})" for sql, _, _ in rendered), values, is_exact


def _negated(condition: Condition, *asked: Any) -> tuple[str, list[Any], bool]:
    """Return the condition that a query does not hold, where the database knows all of it."""
    (query,) = condition.queries
    if len(query.flat()) > _CONDITIONS:
        return "", [], False
    sql, values, rest = where(query, *asked)
    if rest.conditions or sql == _ALL:
        return "", [], False
    # What is not there is not equal to anything either.
    return f"({sql}) IS NOT TRUE", values, True


def _column(column: str, choices: list[Any], can_hold: Callable[[Any], bool]) -> tuple[str, list[Any], bool]:
    kind = int if column == "revision" else str
    if len(choices) > MOST or set(map(type, choices)) != {kind}:
        return "", [], False
    # What cannot be stored is equal to nothing that is.
    possible = [choice for choice in choices if can_hold(choice)]
    if not possible:
        return "1 = 0", [], True
    return f"t.{column} IN ({', '.join('?' * len(possible))})", possible, column != "version"


def _parameter(condition: Condition) -> tuple[str, list[Any], bool]:
    operand = condition.operand
    if condition.has_exact_number:
        test, value = f"p.number {_COMPARISONS[condition.name]} ?", operand
    elif type(operand) is str and condition.name == "$eq":
        test, value = "p.text = ?", text(operand)
    else:
        return "", [], False
    name = text(".".join(condition.path[1:]))
    sql = f"t.position IN (SELECT p.trial FROM parameters p WHERE p.name = ? AND {test})"  # noqa: S608
    return sql, [name, value], False


def _metric(
    condition: Condition, is_plain: Callable[[str], bool], has_resumes: Callable[[], bool]
) -> tuple[str, list[Any], bool]:
    name = text(condition.path[1])
    if not condition.has_exact_number or not is_plain(name):
        return "", [], False
    test = f"s.kind = 'metrics' AND s.name = ? AND s.last {_COMPARISONS[condition.name]} ?"
    # True equals 1 in the database, and nowhere else.
    is_exact = condition.name != "$eq"
    if has_resumes():
        test, is_exact = f"{test} OR s.kind = 'resumed'", False
    return f"t.position IN (SELECT s.trial FROM series s WHERE {test})", [name, condition.operand], is_exact  # noqa: S608
