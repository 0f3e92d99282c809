"""The query language, on objects in the hand; `ProtocolTests` asks the same of every backend."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import pytest

from track.aggregators.aggregator import StatAggregator, TimeSeriesAggregator, ValueAggregator
from track.containers.series import Series
from track.errors import InvalidQuery
from track.persistence.local import execute_query, query_gt, query_in, query_lte, query_ne
from track.persistence.query import OPERATORS, Query, parse_query, resolve
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup


@pytest.fixture
def trial() -> Trial:
    """Give a trial with something of everything."""
    steps, series, stat = Series(), TimeSeriesAggregator(), StatAggregator(0)
    for step, value in enumerate((3.0, 2.0, 1.0)):
        steps.append(step, value, at=1.0)
        series.append(value)
        stat.append(value)
    return Trial(
        "ab",
        1,
        name="final",
        version="v1",
        project_id="p",
        group_id="g",
        parameters={"lr": 0.1, "opt.name": "sgd", "nested": {"a.b": {"c": 1}}, "on": True, "layers": [64, 32]},
        metadata={"heartbeat": 10.0},
        metrics={"loss": steps, "cost": series, "best": ValueAggregator(4), "bad": ValueAggregator(math.nan)},
        chronos={"batch": stat},
        status=Status.Interrupted,
    )


# attributes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("uid", "ab_1"),
        ("hash", "ab"),
        ("revision", 1),
        ("name", "final"),
        ("version", "v1"),
        ("project_id", "p"),
        ("group_id", "g"),
        ("parameters.lr", 0.1),
        ("parameters.opt.name", "sgd"),
        ("parameters.nested.a.b.c", 1),
        ("parameters.missing.deep", None),
        ("parameters.lr.deep", None),
        ("metadata.heartbeat", 10.0),
        ("metrics.loss", 1.0),
        ("metrics.loss.0", 3.0),
        ("metrics.loss.7", None),
        ("metrics.cost", 1.0),
        ("metrics.best", 4),
        ("chronos.batch.avg", 2.0),
    ],
)
def test_paths(trial: Trial, path: str, value: Any) -> None:
    """A dotted path leads to a value; keys may hold dots; a metric is its last value; nothing there is None."""
    assert resolve(trial, path.split(".")) == value


@pytest.mark.parametrize(
    ("item", "query"),
    [
        (Project(name="p", metadata={"a": 1}), {"name": "p", "uid": "p", "metadata.a": 1}),
        (TrialGroup(_uid="u", name="g", project_id="p"), {"_uid": "u", "project_id": "p"}),
    ],
    ids=["project", "group"],
)
def test_projects_and_groups_have_attributes_too(item: Any, query: dict[str, Any]) -> None:
    """The same language asks for projects and groups."""
    assert execute_query(item, query)


# operators


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (0.1, True),
        ({"$eq": 0.1}, True),
        ({"$ne": 0.1}, False),
        ({"$gt": 0.1}, False),
        ({"$gte": 0.1}, True),
        ({"$lt": 0.2}, True),
        ({"$lte": 0.1}, True),
        ({"$in": [0.1, 1]}, True),
        ({"$in": []}, False),
        ({"$in": ["0.1"]}, True),
        ({"$nin": [0.1]}, False),
        ({"$exists": True}, True),
        ({"$exists": False}, False),
        ({"$regex": "^0"}, True),
        ({"$gt": 0, "$lt": 0.05}, False),
        ({"$gt": "a"}, False),
        ({"$gt": None}, False),
    ],
    ids=repr,
)
def test_operators(trial: Trial, condition: Any, holds: bool) -> None:
    """Each operator on a number; several in one condition must all hold; what cannot be compared does not hold."""
    assert execute_query(trial, {"parameters.lr": condition}) is holds


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"$gt": 0}, False),
        ({"$lte": 0}, False),
        ({"$in": ["None"]}, False),
        ({"$ne": 1}, True),
        ({"$nin": [1]}, True),
        ({"$exists": False}, True),
        (None, True),
    ],
    ids=repr,
)
def test_operators_on_nothing(trial: Trial, condition: Any, holds: bool) -> None:
    """A value that is not there equals None and differs from the rest; no comparison holds."""
    assert execute_query(trial, {"parameters.missing": condition}) is holds


@pytest.mark.parametrize("name", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize("operand", [0, math.nan])
def test_nan_is_never_matched(trial: Trial, name: str, operand: float) -> None:
    """No comparison of a NaN holds."""
    assert not execute_query(trial, {"metrics.bad": {name: operand}})


@pytest.mark.parametrize(("operand", "holds"), [(True, True), (1, False), ("True", False)])
def test_truth_is_no_number(trial: Trial, operand: Any, holds: bool) -> None:
    """True is not 1, which is another value of the parameter."""
    assert execute_query(trial, {"parameters.on": operand}) is holds


@pytest.mark.parametrize("operand", [(64, 32), [64, 32]], ids=["tuple", "list"])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"$eq": v}, lambda v: {"$in": [v]}], ids=["", "eq", "in"])
def test_operand_is_what_was_logged(trial: Trial, operand: Any, wrap: Any) -> None:
    """A value that was given as a tuple is found by the same tuple, though it is stored as a list."""
    assert execute_query(trial, {"parameters.layers": wrap(operand)})


def test_path_is_found_by_a_path() -> None:
    """A path is stored as text, and is found by the path."""
    assert execute_query(Trial("a", parameters={"data": "x/y"}), {"parameters.data": pathlib.PurePosixPath("x/y")})


# statuses


@pytest.mark.parametrize(
    "spelling",
    [
        Status.Interrupted,
        CustomStatus("Interrupted", 201),
        "Interrupted",
        "interrupted",
        "INTERRUPTED",
        201,
        {"name": "Interrupted", "value": 201},
        {"value": 201},
    ],
    ids=repr,
)
def test_status_in_every_spelling(trial: Trial, spelling: Any) -> None:
    """A status is an object, a name in any case, a code or a dictionary, for each operator that compares."""
    others = ["completed", 101]

    assert execute_query(trial, {"status": spelling})
    assert execute_query(trial, {"status": {"$eq": spelling}})
    assert execute_query(trial, {"status": {"$in": [*others, spelling]}})
    assert not execute_query(trial, {"status": {"$ne": spelling}})
    assert not execute_query(trial, {"status": {"$nin": [*others, spelling]}})


@pytest.mark.parametrize(
    "spelling", [Status.Completed, "completed", 302, {"name": "Completed", "value": 302}, None, True]
)
def test_another_status_is_not_found(trial: Trial, spelling: Any) -> None:
    """A trial of another status is not found."""
    assert not execute_query(trial, {"status": spelling})
    assert execute_query(trial, {"status": {"$ne": spelling}})


def test_statuses_are_ordered_by_code(trial: Trial) -> None:
    """Categories are ranges of codes."""
    assert execute_query(trial, {"status": {"$gte": Status.ErrorGroup, "$lt": 300}})


def test_status_of_the_trial_itself() -> None:
    """The statuses of an old trial and of one's own are found by name."""
    waiting = Trial("a", status=CustomStatus("new", 42))

    assert execute_query(waiting, {"status": {"$in": ["new", "interrupted"]}})


@pytest.mark.parametrize("operand", [CustomStatus("complete", 1), {"name": "complete"}, "waiting", "finishedgroup"])
def test_status_of_ones_own_may_be_asked_for(operand: Any) -> None:
    """A name that is near a known one is given as an object; any other name as it is."""
    assert parse_query({"status": operand}, Trial).conditions


def test_dictionary_that_looks_like_operators_is_a_value_when_said_so() -> None:
    """With ``$eq`` a dictionary is compared as it is."""
    assert execute_query(Trial(parameters={"opt": {"in": 3}}), {"parameters.opt": {"$eq": {"in": 3}}})


# queries


@pytest.mark.parametrize("query", [None, {}, []])
def test_empty_query_matches_everything(trial: Trial, query: Any) -> None:
    """Who asks for nothing gets everything."""
    assert execute_query(trial, query)


def test_pairs_are_tried_in_order_and_stop() -> None:
    """A list is evaluated in order, and the rest is not looked at once a condition fails."""

    class _Probe(Trial):
        def compute_hash(self) -> str:
            raise AssertionError("the expensive condition was evaluated")

    query = parse_query([("name", "other"), ("hash", "ab")], Trial)

    assert not query.matches(_Probe(name="final"))


def test_parsed_query_is_used_again() -> None:
    """A parsed query is itself a query."""
    parsed = parse_query({"name": "final"}, Trial)

    assert parse_query(parsed, Trial) is parsed


@pytest.mark.parametrize(
    ("query", "exact"),
    [
        ({"uid": "a_0"}, "a_0"),
        ({"uid": {"$eq": "a_0"}}, "a_0"),
        ({"uid": {"$ne": "a_0"}}, None),
        ({"uid": ["a"]}, None),
    ],
)
def test_exact_text_is_known(query: Any, exact: Any) -> None:
    """A store may look up the text that a query wants."""
    assert parse_query(query, Trial).exact("uid") == exact


@pytest.mark.parametrize("kind", [Trial, TrialGroup, Project])
def test_unknown_attribute_is_named(kind: type) -> None:
    """The message names the attribute and those there are."""
    with pytest.raises(InvalidQuery, match=rf"a {kind.__name__} has no attribute 'colour'; it has: .*metadata, .*name"):
        parse_query({"colour": 1}, kind)


def test_unknown_attribute_of_an_object_is_named(trial: Trial) -> None:
    """The same when a path is followed without a query, as both kinds of error."""
    with pytest.raises(RuntimeError, match="a Trial has no attribute 'colour'"):
        query_gt(trial, ["colour"], 1)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"name": {"$like": "x"}}, r"operator '\$like' on 'name' is not understood; use \$eq"),
        ({"name": {"$eq": 1, "plain": 2}}, "operator 'plain'"),
        ({"name": {"$regex": "("}}, r"'\(' is no regular expression"),
        ({"name": {"$regex": 1}}, "1 is no regular expression"),
        ("name", "a query is a mapping or a list"),
        ({1: 2}, "a query is a mapping or a list"),
        ([("name",)], "a query is a mapping or a list"),
        ({"name": {"$in": 3}}, r"\$in on 'name' wants a list of values, not 3"),
        ({"name": {"$nin": "abc"}}, r"\$nin on 'name' wants a list of values, not 'abc'"),
        (3, "a query is a mapping or a list"),
        (
            {"lr": {"$lte": 1}},
            r"no attribute 'lr'; it has: .* \(a parameter is 'parameters.lr', a metric 'metrics.lr'\)",
        ),
        ({"parameter.lr": 1}, r"no attribute 'parameter'; .*did you mean 'parameters'\?"),
        ({"parameters.lr": {"lte": 1}}, r"begin with '\$': write \{'parameters.lr': \{'\$lte': 1\}\}, or \{'\$eq': "),
        ({"parameters.lr": {"gt": 0, "lte": 1}}, r"\{'\$gt': 0, '\$lte': 1\}"),
        ({"parameters.lr": {"$gt": 0, "lte": 1}}, r"operator 'lte' .*did you mean '\$lte'\?"),
        ({"status": "complete"}, r"no status is called 'complete'; did you mean 'completed'\?"),
        ({"status": {"$in": ["new", "Runing"]}}, r"no status is called 'Runing'; did you mean 'running'\?"),
        ({"status": {"$ne": "interupted"}}, r"did you mean 'interrupted'\? \(For one of your own: CustomStatus"),
    ],
    ids=repr,
)
def test_query_that_is_none_is_refused(query: Any, named: str) -> None:
    """A mistake in a query is said before anything is searched."""
    with pytest.raises(InvalidQuery, match=named):
        parse_query(query, Trial)


def test_operators_are_the_documented_ones() -> None:
    """Ten operators, no more."""
    assert sorted(OPERATORS) == sorted(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$regex"])
    assert Query().matches(object())


# the functions of the original


def test_functions_of_the_original(trial: Trial) -> None:
    """The original's functions take the split path."""
    assert query_in(trial, ["status"], ["new", "interrupted"])
    assert query_ne(trial, ["parameters", "lr"], 0.2)
    assert query_gt(trial, ["metadata", "heartbeat"], 9)
    assert query_lte(trial, ["parameters", "opt", "name"], "sgd")
    assert not query_in(trial, ["status"], [])
