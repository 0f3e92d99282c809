"""Queries and decisions answer the same on every backend."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from typing import Any

import pytest

from track.errors import InvalidEvent, InvalidQuery, ItemNotFound
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial, TrialGroup
from track.testing.backend import BackendTests

_HARD: list[dict[str, Any]] = [{"n": 1, "s": "a"}, {"n": 2**53}, {"n": 2**53 + 1}, {"s": "\udcff"}]
_OTHERS = [f"{number:064x}_0" for number in range(30_000)]


def _hash(number: int) -> str:
    return Trial(parameters=dict(_HARD[number])).hash


def _uid(number: int) -> str:
    return f"{_hash(number)}_0"


def _not(query: Any, times: int) -> Any:
    for _ in range(times):
        query = {"$not": query}
    return query


_QUESTIONS: list[tuple[Any, list[int]]] = [
    ({"uid": {"$in": [*_OTHERS, _uid(2), _uid(0)]}}, [0, 2]),
    ({"uid": {"$nin": [*_OTHERS, _uid(0)]}}, [1, 2, 3]),
    ({"revision": {"$in": range(30_000)}}, [0, 1, 2, 3]),
    ([("uid", {"$in": [*_OTHERS, _uid(1), _uid(3)]}), ("hash", {"$in": [*_OTHERS, _hash(3)]})], [3]),
    ({"parameters.n": {"$in": range(30_000)}}, [0]),
    ({"status": {"$in": ["createdgroup", *_OTHERS]}}, [0, 1, 2, 3]),
    ([("parameters.n", {"$gt": -number}) for number in range(1, 3000)], [0, 1, 2]),
    ({"revision": {"$in": [0, 2**64]}}, [0, 1, 2, 3]),
    ({"revision": 2**64}, []),
    ({"revision": -(2**63) - 1}, []),
    ({"revision": 0.0}, [0, 1, 2, 3]),
    ({"revision": False}, []),
    ({"parameters.n": 2**53}, [1]),
    ({"parameters.n": 2.0**53}, [1]),
    ({"parameters.n": {"$gt": 2.0**53}}, [2]),
    ({"parameters.n": {"$lt": 2**2000}}, [0, 1, 2]),
    ({"parameters.n": True}, []),
    ({"parameters.s": "\udcff"}, [3]),
    ({"parameters.\udcff": {"$gt": 1}}, []),
    ({"metrics.\udcff": {"$gt": 1}}, []),
    ({"project_id": "\udcff"}, []),
    ({"project_id": "\0"}, []),
    ({"uid": {"$in": ["\0", "\udcff", _uid(1)]}}, [1]),
    ({"hash": "\0"}, []),
    ({"uid": "a" * 20_000_000}, []),
    (_not(_not({"parameters.n": 1}, 10), 9), [1, 2, 3]),
    ({"$or": [{}] * 300}, [0, 1, 2, 3]),
    ({"parameters." + ".".join("a" * 3000): 1}, []),
]


class AskingTests(BackendTests):
    """Queries and decisions answer the same on every backend."""

    def test_fetch_is_in_order_of_creation(self, protocol: Protocol) -> None:
        """Objects are returned in the order they were created, also after reopening."""
        for name in ("b", "a", "c"):
            protocol.new_project(Project(name=name))
            protocol.new_trial(Trial(parameters={"name": name}, project_id=name))

        again = self.reopen(protocol)

        assert [project.name for project in again.fetch_projects()] == ["b", "a", "c"]
        assert [found.parameters["name"] for found in again.fetch_trials({})] == ["b", "a", "c"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (None, [1, 2, 3, 4]),
            ({"parameters.n": 2}, [2]),
            ({"parameters.n": {"$gt": 1, "$lte": 3}}, [2, 3]),
            ({"parameters.n": {"$gte": 3}}, [3, 4]),
            ({"parameters.n": {"$lt": 2}}, [1]),
            ({"parameters.n": {"$ne": 2}}, [1, 3, 4]),
            ({"parameters.n": {"$in": [1, 4, 9]}}, [1, 4]),
            ({"parameters.n": {"$in": []}}, []),
            ({"parameters.n": {"$nin": [1, 4]}}, [2, 3]),
            ({"parameters.opt.name": "sgd"}, [1, 3]),
            ({"parameters.only": {"$exists": True}}, [3]),
            ({"parameters.only": {"$exists": False}}, [1, 2, 4]),
            ({"parameters.missing": {"$gt": 0}}, []),
            ({"parameters.opt.name": {"$gt": 0}}, []),
            ({"name": {"$regex": "^trial-[12]$"}}, [1, 2]),
            ({"status": "completed"}, [2]),
            ({"status": Status.Completed}, [2]),
            ({"status": {"$in": ["Completed", "suspended"]}}, [2, 3]),
            ({"status": {"$in": [302]}}, [2]),
            ({"status": {"name": "Completed", "value": 302}}, [2]),
            ({"status": {"$nin": ["completed", "CreatedGroup"]}}, [3]),
            ({"metrics.loss": {"$lt": 0.4}}, [3, 4]),
            ([("parameters.n", {"$gt": 1}), ("parameters.opt.name", "sgd")], [3]),
            ({"$or": [{"parameters.n": 1}, {"metrics.loss": {"$lt": 0.3}}]}, [1, 4]),
            ({"$and": [{"parameters.n": {"$gt": 1}}, {"parameters.opt.name": "sgd"}]}, [3]),
            ({"$not": {"metrics.loss": {"$lt": 0.4}}}, [1, 2]),
            ({"$not": {"name": "trial-1", "status": "createdgroup"}}, [2, 3, 4]),
            ({"parameters.n": {"$gt": 1, "$not": {"$gt": 3}}}, [2, 3]),
            ({"$or": [{"name": {"$regex": "1$"}}, {"$not": {"status": "createdgroup"}}]}, [1, 2, 3]),
            ({"status": "failed"}, []),
        ],
    )
    def test_query(self, protocol: Protocol, query: Any, expected: list[int]) -> None:
        """A query finds the trials for which every condition holds."""
        for n in (1, 2, 3, 4):
            parameters = {"n": n, "opt": {"name": "sgd" if n % 2 else "adam"}} | ({"only": 1} if n == 3 else {})
            made = protocol.new_trial(Trial(name=f"trial-{n}", parameters=parameters))
            assert made is not None
            protocol.log_trial_metrics(made, step=0, loss=9.0)
            protocol.log_trial_metrics(made, step=1, loss=1 / n)
            if n in (2, 3):
                protocol.set_trial_status(made, Status.Completed if n == 2 else Status.Suspended)

        assert [found.parameters["n"] for found in self.reopen(protocol).fetch_trials(query)] == expected

    def test_nan_is_never_matched_by_a_comparison(self, protocol: Protocol, trial: Trial) -> None:
        """A comparison with a NaN does not hold, whichever it is."""
        protocol.log_trial_metrics(trial, step=0, loss=math.nan)

        found = [protocol.fetch_trials({"metrics.loss": {name: 0}}) for name in ("$lt", "$gte", "$eq", "$ne")]

        assert found == [[], [], [], []]

    def test_questions_that_no_database_would_take(self, protocol: Protocol) -> None:
        """Very many operands, numbers of too many bits and texts that cannot be stored are answered as by a file."""
        for parameters in _HARD:
            protocol.new_trial(Trial(parameters=dict(parameters)))
        again = self.reopen(protocol)

        found = [[trial.uid for trial in again.fetch_trials(query)] for query, _ in _QUESTIONS]

        assert found == [list(map(_uid, expected)) for _, expected in _QUESTIONS]

    def test_what_cannot_be_stored_is_not_there(self, protocol: Protocol, trial: Trial) -> None:
        """A name that no store can have is asked for like any other."""
        names = ("\0", "\udcff", "a" * 20_000_000)

        assert [protocol.has(kind, name) for kind in (Trial, TrialGroup, Project) for name in names] == [False] * 9
        assert [protocol.revisions(name) for name in names] == [set()] * 3
        assert [protocol.fetch_groups({"project_id": name}) for name in names] == [[]] * 3
        assert [protocol.fetch_projects({"uid": name}) for name in names] == [[]] * 3
        assert [found.name for found in protocol.fetch_projects({"uid": {"$in": [*_OTHERS, "digits"]}})] == ["digits"]

    @pytest.mark.parametrize("pattern", ["(" * 5000 + ")" * 5000, "a{99999999999}"])
    def test_pattern_that_is_too_much_is_refused(self, protocol: Protocol, pattern: str) -> None:
        """A pattern that Python cannot match is a mistake in the question."""
        with pytest.raises(InvalidQuery, match="no regular expression"):
            protocol.fetch_trials({"name": {"$regex": pattern}})

    def test_negation_matches_nan_and_what_is_missing(self, protocol: Protocol, trial: Trial) -> None:
        """To be not less than something is plain negation, while a comparison holds for numbers only."""
        protocol.log_trial_metrics(trial, step=0, loss=math.nan)
        protocol.new_trial(Trial(parameters={"other": 1}))

        reader = self.reopen(protocol)

        assert len(reader.fetch_trials({"$not": {"metrics.loss": {"$lt": 1}}})) == 2
        assert reader.fetch_trials({"metrics.loss": {"$gte": 1}}) == []

    @pytest.mark.parametrize("status", [Status.Exception, Status.Broken])
    def test_failed_is_exception_or_broken(self, protocol: Protocol, trial: Trial, status: Status) -> None:
        """One word finds every trial that ended badly, and its negation the others."""
        other = protocol.new_trial(Trial(parameters={"other": 1}))
        protocol.set_trial_status(trial, status)

        reader = self.reopen(protocol)

        assert reader.fetch_trials({"status": "failed"}) == [trial]
        assert reader.fetch_trials({"$not": {"status": "failed"}}) == [other]

    @pytest.mark.parametrize(
        ("query", "sort", "limit", "expected"),
        [
            (None, None, None, [0, 1, 2, 3, 4]),
            (None, None, 2, [0, 1]),
            (None, "metrics.loss", None, [3, 0, 4, 1, 2]),
            (None, "metrics.loss", 1, [3]),
            (None, "-metrics.loss", 2, [0, 4]),
            (None, "-metrics.loss", 4, [0, 4, 3, 1]),
            ({"parameters.n": {"$gt": 0}}, "-metrics.loss", 1, [4]),
            ({"uid": "nobody_0"}, "metrics.loss", 1, []),
            (None, ["parameters.even", "-parameters.n"], None, [3, 1, 4, 2, 0]),
            (None, "-name", 0, []),
            (None, None, 10**30, [0, 1, 2, 3, 4]),
            (None, "", None, [0, 1, 2, 3, 4]),
            (None, "metrics.loss", 2**64, [3, 0, 4, 1, 2]),
            (None, [f"parameters.p{number}" for number in range(40)] + ["-parameters.n"], 2, [4, 3]),
        ],
    )
    def test_order_and_number_that_are_asked_for(
        self, protocol: Protocol, query: Any, sort: Any, limit: int | None, expected: list[int]
    ) -> None:
        """From the least or the greatest; what is missing and NaN come last, what is equal as it was created."""
        for n, loss in enumerate((0.5, math.nan, None, 0.1, 0.5)):
            made = protocol.new_trial(Trial(parameters={"n": n, "even": n % 2 == 0}))
            assert made is not None
            if loss is not None:
                protocol.log_trial_metrics(made, step=0, loss=9.0)
                protocol.log_trial_metrics(made, step=1, loss=loss)

        found = self.reopen(protocol).select_trials(query, sort, limit)

        assert [one.parameters["n"] for one in found] == expected

    @pytest.mark.parametrize(
        ("sort", "limit"), [("metric.loss", None), (7, None), (0, None), (None, -1), ("name", "3")]
    )
    def test_order_that_makes_no_sense_is_refused(self, protocol: Protocol, sort: Any, limit: Any) -> None:
        """An unknown attribute and a limit that is no number are refused, also when nothing is stored."""
        with pytest.raises(InvalidQuery, match=r"'metric'|by [70]|limit"):
            protocol.select_trials(None, sort, limit)

    @pytest.mark.parametrize("limit", [0, 1, None])
    def test_query_that_makes_no_sense_is_refused_however_few_are_asked_for(
        self, protocol: Protocol, limit: int | None
    ) -> None:
        """Also where nothing would be returned in any case."""
        with pytest.raises(InvalidQuery, match="'nope'"):
            protocol.select_trials({"nope": 1}, None, limit)

    @pytest.mark.parametrize(
        ("query", "named"), [({"parameter.lr": 1}, "'parameter'"), ({"parameters.lr": {"$like": 1}}, r"'\$like'")]
    )
    def test_query_with_an_unknown_word_is_refused(self, protocol: Protocol, query: Any, named: str) -> None:
        """An unknown attribute or operator is refused by name, also when nothing is stored."""
        with pytest.raises(InvalidQuery, match=named):
            protocol.fetch_trials(query)

    def test_fetch_groups_and_projects_by_query(self, protocol: Protocol) -> None:
        """Groups and projects are found by query as well."""
        protocol.new_project(Project(name="digits", metadata={"classes": 10}))
        protocol.new_trial_group(TrialGroup(name="idea", project_id="digits", metadata={"cost": 3}))

        assert [project.name for project in protocol.fetch_projects({"metadata.classes": {"$gte": 10}})] == ["digits"]
        assert [group.name for group in protocol.fetch_groups({"metadata.cost": 3, "project_id": "digits"})] == ["idea"]
        assert protocol.fetch_groups({"name": "other"}) == []

    def test_value_once_read_does_not_change(self, protocol: Protocol, trial: Trial) -> None:
        """What a reader holds stays as it was read, and changing it changes nothing stored."""
        protocol.log_trial_metrics(trial, step=0, loss=1.0)
        held = protocol.get_trial(trial)[0]
        protocol.log_trial_metrics(trial, step=1, loss=2.0)
        held.tags["mine"] = 1

        assert dict(held.metrics["loss"]) == {0: 1.0}
        assert protocol.get_trial(trial)[0].tags == {}

    # deciding

    def test_fetch_and_update_changes_the_first_match(self, protocol: Protocol, trial: Trial) -> None:
        """The first trial that matches is changed and returned as it is then."""
        changed = protocol.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)

        assert (changed.uid, changed.status) == (trial.uid, Status.Running)
        with pytest.raises(ItemNotFound):
            protocol.fetch_and_update_trial({"status": "createdgroup"}, "set_trial_status", Status.Running)

    def test_fetch_and_update_calls_writing_methods_only(self, protocol: Protocol, trial: Trial) -> None:
        """Only methods that change a trial can be named."""
        with pytest.raises(InvalidEvent, match="'close' cannot be called"):
            protocol.fetch_and_update_trial({}, "close")

    def test_fetch_and_update_group(self, protocol: Protocol) -> None:
        """The first group that matches is changed and returned as it is then."""
        protocol.new_project(Project(name="digits"))
        protocol.new_trial_group(TrialGroup(name="idea", project_id="digits"))

        changed = protocol.fetch_and_update_group({"name": "idea"}, "set_group_metadata", state="done")

        assert changed.metadata == {"state": "done"}
        with pytest.raises(ItemNotFound):
            protocol.fetch_and_update_group({"name": "other"}, "set_group_metadata", state="done")

    def test_writers_of_a_group_are_in_one_order(self, protocol: Protocol) -> None:
        """Who gives a group the next number only while it has none loses nothing, and nobody writes over another."""
        protocol.new_project(Project(name="digits"))
        protocol.new_trial_group(TrialGroup(name="journal", project_id="digits"))
        threads = [threading.Thread(target=self._append, args=(protocol, f"writer {number}")) for number in range(3)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        (group,) = self.reopen(protocol).fetch_groups({"name": "journal"})
        said = [f"writer {number} {line}" for number in range(3) for line in range(5)]
        assert sorted(group.metadata.values()) == said
        assert sorted(int(number) for number in group.metadata) == list(range(15))

    def _append(self, protocol: Protocol, name: str) -> None:
        for line in range(5):
            is_written = False
            while not is_written:
                (group,) = protocol.fetch_groups({"name": "journal"})
                number = str(len(group.metadata))
                query = {"name": "journal", f"metadata.{number}": {"$exists": False}}
                with suppress(ItemNotFound):
                    protocol.fetch_and_update_group(query, "set_group_metadata", **{number: f"{name} {line}"})
                    is_written = True
