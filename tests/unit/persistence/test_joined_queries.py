"""Queries of queries, the order of what is found, and what a status or an operand may be."""

from __future__ import annotations

import math
from typing import Any

import pytest

from track.errors import InvalidQuery
from track.metrics import Metrics
from track.persistence.query import DEEPEST, ordered, parse_limit, parse_query, parse_sort
from track.structure import CustomStatus, Status, Trial


def _trial(number: int, loss: Any = None, **fields: Any) -> Trial:
    trial = Trial("ab", number, parameters={"n": number}, **fields)
    trial.metrics = Metrics()
    if loss is not None:
        trial.metrics.log_values({"loss": loss}, 0, None, 1.0)
    return trial


TRIALS = [_trial(0, 0.5), _trial(1, math.nan), _trial(2), _trial(3, 0.1), _trial(4, 0.5)]


def _found(query: Any) -> list[int]:
    parsed = parse_query(query, Trial)
    return [trial.revision for trial in TRIALS if parsed.matches(trial)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"$or": [{"metrics.loss": {"$lt": 0.2}}, {"parameters.n": 2}]}, [2, 3]),
        ({"$and": [{"metrics.loss": 0.5}, {"parameters.n": {"$gt": 0}}]}, [4]),
        ({"$not": {"metrics.loss": {"$lt": 1}}}, [1, 2]),
        ({"metrics.loss": {"$not": {"$lt": 0.2}}}, [0, 1, 2, 4]),
        ({"metrics.loss": {"$not": 0.5}}, [1, 2, 3]),
        ({"metrics.loss": {"$gt": 0.2, "$not": {"$gt": 1}}, "parameters.n": {"$gt": 0}}, [4]),
        ({"$not": {"$or": [{"parameters.n": 1}, {"parameters.n": 2}]}}, [0, 3, 4]),
        ({"$not": {"$not": {"parameters.n": 1}}}, [1]),
        ({"$not": {}}, []),
        ({"$or": [{}, {"parameters.n": 1}]}, [0, 1, 2, 3, 4]),
        ([("$or", [[("parameters.n", 1)], {"parameters.n": 2}]), ("parameters.n", {"$gt": 1})], [2]),
        ({"$or": (parse_query({"parameters.n": 3}, Trial),)}, [3]),
    ],
)
def test_queries_are_joined_and_turned_around(query: Any, expected: list[int]) -> None:
    """One of several, all of several, and plain negation, which matches NaN and what is missing."""
    assert _found(query) == expected


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"$or": {"parameters.n": 1}}, r"\$or wants a list of queries"),
        ({"$or": []}, r"\$or wants a list of queries"),
        ({"$and": "name"}, r"\$and wants a list of queries"),
        ({"$not": 1}, r"\$not wants a query, not 1"),
        ({"$or": [{"parameter.n": 1}]}, "no attribute 'parameter'"),
        ({"$nor": [{"parameters.n": 1}]}, r"no attribute '\$nor'"),
        ({"parameters.n": {"$nt": 1}}, r"'\$nt' on 'parameters.n' is not understood.*\$not"),
    ],
)
def test_joined_query_that_makes_no_sense_is_refused(query: Any, named: str) -> None:
    """A mistake anywhere inside is named."""
    with pytest.raises(InvalidQuery, match=named):
        parse_query(query, Trial)


def test_queries_may_not_be_inside_one_another_for_ever() -> None:
    """A query that is nested too deep, or in itself, is refused by name."""
    query: dict[str, Any] = {"parameters.n": 1}
    for _ in range(DEEPEST):
        query = {"$not": query}
    itself: dict[str, Any] = {}
    itself["$or"] = [itself]

    assert len(_found(query)) == 1
    for deep in ({"$not": query}, itself):
        with pytest.raises(InvalidQuery, match="inside one another"):
            parse_query(deep, Trial)


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        ("failed", [True, True, False, False, True]),
        ("Failed", [True, True, False, False, True]),
        ({"$in": ["failed", "completed"]}, [True, True, True, False, True]),
        ({"$ne": "failed"}, [False, False, True, True, False]),
        ({"$nin": ["failed"]}, [False, False, True, True, False]),
        ({"$not": "failed"}, [False, False, True, True, False]),
    ],
)
def test_failed_is_exception_or_broken(operand: Any, expected: list[bool]) -> None:
    """It is what ended badly or whose process is gone, and a status of one's own of this name."""
    query = parse_query({"status": operand}, Trial)
    statuses = [Status.Exception, Status.Broken, Status.Completed, Status.Interrupted, CustomStatus("failed", 42)]

    assert [query.matches(Trial(status=status)) for status in statuses] == expected
    assert query.unknown_statuses() == []


def test_unknown_status_is_found_inside() -> None:
    """A status that nobody knows is known to be asked for wherever it stands."""
    assert parse_query({"$or": [{"status": "waiting"}, {"name": "x"}]}, Trial).unknown_statuses() == ["waiting"]


@pytest.mark.parametrize("operand", [{"a": 1}, object(), Trial, lambda: 1])
@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
def test_operand_that_has_no_order_is_refused(operator: str, operand: Any) -> None:
    """What nothing can be greater or less than is a mistake, and is said."""
    with pytest.raises(InvalidQuery, match="nothing is greater or less than"):
        parse_query({"parameters.n": {operator: operand}}, Trial)


# the order


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("metrics.loss", [3, 0, 4, 1, 2]),
        ("-metrics.loss", [0, 4, 3, 1, 2]),
        (["-metrics.loss", "-parameters.n"], [4, 0, 3, 2, 1]),
        (("parameters.none", "-revision"), [4, 3, 2, 1, 0]),
    ],
)
def test_order_has_missing_values_and_nan_last(sort: Any, expected: list[int]) -> None:
    """From the least or the greatest, equal ones as they were."""
    assert [trial.revision for trial in ordered(TRIALS, parse_sort(sort, Trial))] == expected


def test_values_of_several_kinds_have_an_order() -> None:
    """Numbers come before texts, and statuses go by their codes."""
    trials = [_trial(n, name=name) for n, name in enumerate(("b", None, "a"))]
    trials += [_trial(3, status=Status.Running), _trial(4, status=Status.Completed)]
    trials[0].parameters["n"] = "text"

    assert [trial.revision for trial in ordered(trials, parse_sort("name", Trial))] == [2, 0, 1, 3, 4]
    assert [trial.revision for trial in ordered(trials[3:], parse_sort("-status", Trial))] == [4, 3]
    assert [trial.revision for trial in ordered(trials, parse_sort("-parameters.n", Trial))] == [0, 4, 3, 2, 1]


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_limit_is_a_number_of_trials(limit: Any) -> None:
    """What is no number of trials is refused."""
    with pytest.raises(InvalidQuery, match="limit is how many trials"):
        parse_limit(limit)
