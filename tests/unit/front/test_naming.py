"""Wherever a trial is named: a uid, its beginning, a name, the last one, the best one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import track
from track import TrackClient, Trials, fetch
from track.artifacts import artifacts, find
from track.cli import main
from track.errors import AmbiguousName, InvalidQuery, NotFound, TrialDoesNotExist
from track.naming import named
from track.persistence.registry import get_protocol
from track.structure import Trial

HASHES = ("abcd11", "abcd22", "ef9900")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store of three trials with a file each: two uids begin alike, two have one name."""
    uri = f"file:{tmp_path}/runs.json"
    client = TrackClient(uri)
    client.set_project(name="digits")
    for digest, name, loss in zip(HASHES, ("first", "again", "again"), (0.3, 0.1, math.nan), strict=True):
        client.protocol.new_trial(Trial(digest, name=name, project_id="digits"))
        with client.set_trial(uid=f"{digest}_0", force=True) as trial:
            trial.log_metrics(step=0, loss=0.9 if name == "first" else 0.05, acc=1 - loss)
            trial.log_metrics(step=1, loss=loss)
            trial.log_artifact(digest.encode(), "model.bin")
    client.protocol.close()
    return uri


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("abcd22_0", "abcd22_0"),
        ("abcd2", "abcd22_0"),
        ("ef99", "ef9900_0"),
        ("ef99_0", "ef9900_0"),
        ("first", "abcd11_0"),
        ("first/0", "abcd11_0"),
        ("@last", "ef9900_0"),
        ("@best:loss", "abcd22_0"),
        ("@best:min:loss", "abcd22_0"),
        ("@best:max:loss", "abcd11_0"),
        ("@best:max:acc", "abcd22_0"),
    ],
)
def test_trial_is_found_by_any_of_its_names(uri: str, name: str, expected: str) -> None:
    """Reading, going on and artifacts all know the same names."""
    assert [trial.uid for trial in fetch(uri, name)] == [expected]
    assert TrackClient(uri).set_trial(uid=name).trial.uid == expected
    assert find(uri, "model.bin", trial=name).read_bytes().decode() == expected[:-2]
    assert [artifact.trial for artifact in artifacts(uri, name)] == [expected]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("firs", "no trial 'firs' is stored in .*; did you mean 'first'"),
        ("abc", "of a uid, give 4 characters or more"),
        ("first/1", "no trial 'first/1'"),
        ("@lst", "@last, @best:loss or @best:max:acc"),
        ("@last:2", "'@last:2' names no trial"),
        ("@best", "'@best' names no trial"),
        ("", "'' names no trial"),
        (7, "7 names no trial"),
    ],
)
def test_name_that_nothing_has_is_said(uri: str, name: Any, message: str) -> None:
    """An unknown name is an error with the way out."""
    with pytest.raises(TrialDoesNotExist, match=message):
        named(get_protocol(uri), name)


@pytest.mark.parametrize("name", ["abcd", "again", "again/0"])
def test_name_of_several_is_one_error_that_lists_them(uri: str, name: str) -> None:
    """Nothing is guessed, not even where one would do; the candidates are listed, everywhere."""
    listed = "abcd22_0.*again/0"
    for ask in (
        lambda: fetch(uri, name),
        lambda: TrackClient(uri).set_trial(uid=name),
        lambda: find(uri, "model.bin", trial=name),
    ):
        with pytest.raises(AmbiguousName, match=listed):
            ask()


def test_whole_uid_counts_before_other_names(uri: str) -> None:
    """A trial whose name is the uid of another does not take its place."""
    protocol = get_protocol(uri)
    protocol.new_trial(Trial("0123", name="abcd11_0", project_id="digits"))

    assert fetch(uri, "abcd11_0")[0].name == "first"
    assert TrackClient(uri).set_trial(uid="abcd11_0").trial.name == "first"


def test_empty_store_has_no_last_trial() -> None:
    """What is last among nothing is said."""
    with pytest.raises(TrialDoesNotExist, match="there is no last trial"):
        named(get_protocol("ephemeral:"), "@last")
    with pytest.raises(TrialDoesNotExist, match="has none that was deleted"):
        named(get_protocol("ephemeral:"), "@last", deleted=True)


# the best


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("loss",), "abcd22_0"),
        (("loss", "max"), "abcd11_0"),
        (("loss", "min", None, "min"), "abcd22_0"),
        (("loss", "max", None, "max"), "abcd11_0"),
        (("loss", "min", {"name": "first"}), "abcd11_0"),
        (("acc", "max"), "abcd22_0"),
    ],
)
def test_best_trial(uri: str, arguments: tuple[Any, ...], expected: str) -> None:
    """By the last value, or by the least or greatest of all, among those that match."""
    assert track.best(uri, *arguments).uid == expected


def test_nan_never_wins_and_the_earliest_of_equals_does() -> None:
    """A NaN is neither least nor greatest."""
    client = TrackClient("ephemeral:")
    for number, loss in enumerate((math.nan, 0.5, 0.5, math.nan)):
        with client.new_trial(force=True, parameters={"n": number}) as trial:
            trial.log_metrics(loss=loss)
    trials = Trials(client.protocol.fetch_trials())

    assert [trials.best("loss", mode).parameters["n"] for mode in ("min", "max")] == [1, 1]
    with pytest.raises(NotFound, match="every trial has NaN there"):
        trials[3:].best("loss")


def test_best_counts_whoever_has_a_value(uri: str) -> None:
    """A run that broke off is the best where its loss is least; who wants the best of those that completed asks so."""
    protocol = TrackClient(uri).protocol
    for name, loss, status in (("good", 0.05, "completed"), ("cut", 0.01, "broken")):
        trial = protocol.new_trial(Trial(f"{name}00", name=name, project_id="digits"))
        protocol.log_trial_metrics(trial, loss=loss)
        protocol.set_trial_status(trial, status)

    assert fetch(uri, "@best:loss")[0].name == "cut"
    assert track.best(uri, "loss", query={"status": "completed"}).name == "good"


@pytest.mark.parametrize(
    ("metric", "message"), [("los", "no trial has the metric 'los'; did you mean 'loss'"), ("x", "there are: acc, los")]
)
def test_best_by_a_metric_that_nobody_has(uri: str, metric: str, message: str) -> None:
    """The metric that is meant, or those there are, is said."""
    with pytest.raises(NotFound, match=message):
        track.best(uri, metric)
    with pytest.raises(NotFound, match=message):
        fetch(uri, f"@best:{metric}")


@pytest.mark.parametrize("choice", [("least", "last"), ("min", "mean")])
def test_best_by_no_known_rule(uri: str, choice: tuple[str, str]) -> None:
    """A mode or rule that does not exist names those that do."""
    with pytest.raises(InvalidQuery, match="mode is 'min' or 'max', and of is 'last', 'min' or 'max'"):
        fetch(uri).best("loss", *choice)


# trials stay trials


def test_parts_of_trials_are_trials(uri: str) -> None:
    """A filter, another order, a slice, a sum: each has the same methods."""
    trials = fetch(uri)

    parts = [
        trials.filter({"metrics.loss": {"$lt": 1}}),
        trials.sorted("-metrics.loss"),
        trials[1:],
        trials[:1] + trials[1:],
    ]

    assert all(isinstance(part, Trials) for part in parts)
    assert [[trial.uid[:6] for trial in part] for part in parts] == [
        ["abcd11", "abcd22"],
        ["abcd11", "abcd22", "ef9900"],
        ["abcd22", "ef9900"],
        [*HASHES],
    ]
    assert [trial.uid[:6] for trial in trials.sorted(["name", "metrics.loss"])] == ["abcd22", "ef9900", "abcd11"]
    assert all(part.summary()["group"].isna().all() for part in parts)


@pytest.mark.parametrize("by", ["metric.loss", "-colour", 7, [7]])
def test_order_that_makes_no_sense_is_refused(uri: str, by: Any) -> None:
    """What is no attribute is named."""
    with pytest.raises(InvalidQuery, match=r"metric|colour|7"):
        fetch(uri).sorted(by)


# programs


def test_copy_of_some_trials(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the trials that are named are copied, with their project and nothing else's."""
    TrackClient(uri).set_project(name="other")
    target = f"file:{tmp_path}/copy.json"

    code = main(["copy", uri, target, "@best:loss", "first"])

    assert (code, [trial.uid for trial in fetch(target)]) == (0, ["abcd11_0", "abcd22_0"])
    assert [project.name for project in get_protocol(target).fetch_projects()] == ["digits"]
    assert "copied 2 trials" in capsys.readouterr().out
    assert main(["copy", uri, target, "abcd"]) == 2
    assert "'abcd' may be 2 trials: abcd11_0" in capsys.readouterr().err


def test_files_of_one_trial(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files of one trial are listed, and brought here, by its name."""
    main(["artifacts", "list", uri, "--trial", "@last"])
    listed = capsys.readouterr().out

    code = main(["artifacts", "download", uri, "model.bin", "--trial", "first", "--to", str(tmp_path / "model")])

    assert listed == f"digits/model.bin:v2  6 bytes  {listed.split()[3]}  ef9900_0\n"
    assert (code, (tmp_path / "model").read_text()) == (0, "abcd11")
    assert main(["artifacts", "list", uri, "--trial", "nobody"]) == 1


# groups and projects


@pytest.fixture
def grouped(tmp_path: Path) -> str:
    """Give a store of four trials: two groups of one project, one of another, and one trial of no group."""
    uri = f"file:{tmp_path}/grouped.json"
    for number, (project, group) in enumerate((("a", "wide"), ("a", "deep"), ("b", "wide"), ("b", None))):
        client = TrackClient(uri)
        client.set_project(name=project)
        if group:
            client.set_group(name=group)
        with client.new_trial(parameters={"n": number}):
            pass
    return uri


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"group": "wide"}, [0, 2]),
        ({"group": {"$in": ["wide", "deep"]}, "project": "a"}, [0, 1]),
        ({"group": {"$ne": "wide"}}, [1, 3]),
        ({"group": {"$nin": ["wide"]}}, [1, 3]),
        ({"group": {"$not": "wide"}}, [1, 3]),
        ({"group": {"$exists": False}}, [3]),
        ({"group": {"$regex": "^w"}}, [0, 2]),
        ({"group": None}, [3]),
        ({"$or": [{"group": "deep"}, {"$not": {"project": "a"}}]}, [1, 2, 3]),
        ([("project_id", "b"), ("group_id", "wide")], [2]),
        ({"group": "nobody"}, []),
    ],
)
def test_groups_go_by_their_names(grouped: str, query: Any, expected: list[int]) -> None:
    """In any place of a query, with any operator, in a store and in what was fetched."""
    assert [trial.parameters["n"] for trial in fetch(grouped, query)] == expected
    assert [trial.parameters["n"] for trial in fetch(grouped).filter(query)] == expected


def test_fetch_in_another_order(grouped: str) -> None:
    """The first ones in the order that is asked for."""
    assert [trial.parameters["n"] for trial in fetch(grouped, sort="-parameters.n", limit=2)] == [3, 2]
    assert [trial.parameters["n"] for trial in fetch(grouped, {"group": "wide"}, limit=1)] == [0]
    assert fetch(grouped, {"status": "forgotten"}, limit=0) == []
