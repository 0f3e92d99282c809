"""Trials as rows: what differs, what seeds come to, and what is said of each."""

from __future__ import annotations

import itertools

import pytest

from track.naming import short_uids
from track.rows import MISSING, Row, arranged, differing
from track.seeds import grouped, spread
from track.structure import Status, Trial


def _row(**parameters: object) -> Row:
    return Row(Trial(parameters=parameters))


def test_only_what_differs_is_a_column() -> None:
    """A parameter that all have alike says nothing, and one that some lack does."""
    rows = [_row(lr=0.1, epochs=5, opt={"name": "adam"}), _row(lr=0.2, epochs=5, opt={"name": "sgd"}, big=True)]

    assert differing(rows) == ["lr", "opt.name", "big"]
    assert differing(rows[:1]) == ["lr", "epochs", "opt.name"]


def test_seeds_are_one_setting() -> None:
    """Runs that differ in a seed only stand together, with mean and deviation of what they measured."""
    rows = []
    for lr, seed in itertools.product((1, 2), (0, 1, 2)):
        trial = Trial(parameters={"lr": lr, "seed": seed})
        trial.metrics = {"score": float(lr + seed)}
        rows.append(Row(trial))

    groups = grouped(rows)

    assert [[row.parameters["lr"] for row in group] for group in groups] == [[1] * 3, [2] * 3]
    assert spread(groups[0], "score") == (2.0, 1.0, 3)
    assert str(spread(groups[0], "score")) == "2 ± 1 (3)"
    assert len(grouped(rows, ["seed"])) == 3


def test_missing_and_nan_come_last() -> None:
    """Whatever the order, what cannot be compared is at the end."""
    rows = [_row(n=1), _row(n=float("nan")), _row(n=3), _row(), _row(n=2)]

    assert [row.value("n") for row in arranged(rows, "n")][:3] == [1, 2, 3]
    assert [row.value("n") for row in arranged(rows, "n", is_descending=True)][:3] == [3, 2, 1]


def test_short_uids_are_unique() -> None:
    """Each is as long as it must be; one that differs in the revision says it."""
    uids = ["abcdef_0", "abcdee_0", "ffff00_0", "aaaa00_0", "aaaa00_12"]

    assert list(short_uids(uids).values()) == ["aaaa_0", "aaaa_12", "abcdee", "abcdef", "ffff"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ('ValueError: no\n  File "x.py", line 3, in f\n    raise ValueError("no")', "ValueError: no"),
        ('Traceback (most recent call last):\n  File "x.py", line 3\nKeyError: 1', "KeyError: 1"),
        ("", ""),
    ],
)
def test_an_error_is_what_it_says(error: str, said: str) -> None:
    """Of an error with its traceback, in either order, the message counts."""
    assert Row(Trial(errors=[error])).error == said


def test_facts_parameters_and_metrics_go_by_name() -> None:
    """A parameter that is called as a metric comes first, and both have a longer name."""
    trial = Trial(name="a", status=Status.Completed, parameters={"loss": "mse"}, tags=["draft"])
    trial.metrics = {"loss": 0.5}
    row = Row(trial)

    assert (row.value("loss"), row.value("metrics.loss"), row.value("tags.draft")) == ("mse", 0.5, True)
    assert row.value("status") is Status.Completed
    assert row.value("nothing") is MISSING
