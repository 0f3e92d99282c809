"""Messages: what is kept of them, in the folder, in the trial, and when the file follows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track import Experiment, fetch
from track.errors import InvalidCall
from track.experiment.messages import applied, is_kept, make_offer, query_of
from track.experiment_utils import load_param
from track.persistence.query import parse_query
from track.structure import Trial

pytest.importorskip("yaml")
NAN = float("nan")
VALUES = st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.just(NAN), st.sampled_from(["", "a", "b"]), st.none())


@pytest.fixture(params=["folder", "file", "sqlite"])
def experiment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Experiment]:
    """Give a registered experiment: with a folder alone, or with a trial in a store."""
    if request.param != "folder":
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"{request.param}:{tmp_path}/store")
    made = Experiment(tmp_path / "runs" / "a")
    yield made
    assert made._folder is not None
    # What waits to be written reads the store once more.
    made._folder._file.close()
    made._folder.record.logger.protocol.close()


def _read(experiment: Experiment) -> dict[str, Any]:
    assert experiment._folder is not None
    experiment._folder._file.close()
    return dict(load_param(str(experiment.root))["_messages"])


def test_latest_replaces(experiment: Experiment) -> None:
    """Without more, the last one counts."""
    for value in (3, 1, 2):
        experiment.message({"a": value})

    assert experiment.messages == _read(experiment) == {"a": 2}


@pytest.mark.parametrize(("keep", "kept"), [("min", 1), ("max", 3)])
def test_least_and_greatest_are_kept(experiment: Experiment, keep: str, kept: int) -> None:
    """Each subject is decided for itself; NaN beats nothing, and is beaten by any number."""
    for value in (NAN, 2, NAN, 1, 3, 2):
        experiment.message({"a": value, "b": -value}, keep)

    assert experiment.messages == _read(experiment) == {"a": kept, "b": -1 if keep == "max" else -3}


def test_a_tie_is_taken(experiment: Experiment) -> None:
    """The later one of two that are equal counts."""
    experiment.message({"loss": 1, "epoch": 1}, "min", "loss")
    experiment.message({"loss": 1.0, "epoch": 2}, "min", "loss")

    assert experiment.messages["epoch"] == 2


def test_leader_decides_for_all(experiment: Experiment) -> None:
    """The others are kept when it is, whatever they are."""
    for loss, epoch, note in ((3, 1, "a"), (1, 2, "b"), (2, 9, "c"), (NAN, 10, "d")):
        experiment.message({"loss": loss, "epoch": epoch, "note": note}, "min", "loss")

    assert experiment.messages == _read(experiment) == {"loss": 1, "epoch": 2, "note": "b"}


@pytest.mark.parametrize("said", ["done", 0.5, ["a"]])
def test_message_without_a_subject_is_a_mistake(experiment: Experiment, said: Any) -> None:
    """A bare text or number has no name to be kept under, and the error shows one."""
    with pytest.raises(InvalidCall, match=r"values by subject, as in message\(\{'loss': 0.5\}\)"):
        experiment.message(said)

    assert experiment.messages == {}


def test_rule_may_change(experiment: Experiment) -> None:
    """What is kept is compared with whatever is there."""
    experiment.message({"a": 1}, "min")
    experiment.message({"a": 5})
    experiment.message({"a": 4}, "min")
    experiment.message({"a": 3}, "max")

    assert experiment.messages == _read(experiment) == {"a": 4}


def test_names_may_be_anything(experiment: Experiment) -> None:
    """Dots, blanks, quotes and what the library's own methods call their arguments are subjects."""
    names = ["val.loss", "a b", "step", "aggregator", "trial", "self", "'\"", "$lt", "é", "x: y", "_status", ""]
    for keep in ("latest", "min", "max"):
        experiment.message(dict.fromkeys(names, 1), keep)

    assert experiment.messages == _read(experiment) == dict.fromkeys(names, 1)


class _Number:
    def __float__(self) -> float:
        return 0.5


class _Broken:
    def __float__(self) -> float:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1, 1),
        (True, True),
        ("x", "x"),
        (None, None),
        (Decimal("0.5"), 0.5),
        (_Number(), 0.5),
        ([1, 2], "[1, 2]"),
        (2**70, 2**70),
        (math.inf, math.inf),
    ],
)
def test_values_are_numbers_or_texts(experiment: Experiment, value: Any, kept: Any) -> None:
    """Anything else becomes a number, where it is one, or its text."""
    experiment.message({"a": value})

    assert experiment.messages == _read(experiment) == {"a": kept}
    assert type(experiment.messages["a"]) is type(kept)


def test_values_of_numpy_are_numbers(experiment: Experiment) -> None:
    """Scalars, and arrays of one value."""
    numpy = pytest.importorskip("numpy")
    experiment.message({"a": numpy.float32(0.5), "b": numpy.int64(3)})
    experiment.message({"c": numpy.array(2.0), "d": numpy.array([4.0])[0]})

    assert experiment.messages == {"a": 0.5, "b": 3, "c": 2.0, "d": 4.0}
    assert {type(value) for value in experiment.messages.values()} == {float, int}


def test_what_an_object_does_is_not_raised(experiment: Experiment) -> None:
    """One that fails when it is asked is said to have failed."""
    experiment.message({"a": _Broken()})

    assert "_Broken" in experiment.messages["a"]


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_unknown_rule_is_an_error(experiment: Experiment, kind: type[Exception]) -> None:
    """Of both kinds that programs expect."""
    with pytest.raises(kind, match="latest, min, max"):
        experiment.message({"a": 1}, keep="best")


def test_leader_must_be_there(experiment: Experiment) -> None:
    """Nothing is kept of a group that has no leader."""
    with pytest.raises(ValueError, match="'b' is none of the messages: a"):
        experiment.message({"a": 1}, keep="min", leader="b")
    assert experiment.messages == {}


def test_nothing_is_said_by_one_that_is_not_registered() -> None:
    """There is nobody to tell."""
    experiment = Experiment()
    experiment.message({"a": 1})

    assert experiment.messages == {}


def test_file_follows_within_a_second(experiment: Experiment) -> None:
    """A thousand messages are one or two writes; a later one is seen, too, though no other comes after it."""
    path = Path(str(experiment.root)) / "params.yml"
    written = {path.stat().st_ino}
    for value in range(1000):
        experiment.message({"a": value})
        written.add(path.stat().st_ino)
    assert len(written) <= 3

    assert experiment._folder is not None
    timer = experiment._folder._file._timer
    assert timer is not None
    timer.join(10)

    assert load_param(str(experiment.root))["_messages"] == {"a": 999}


def test_numbers_are_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value that is kept is the trial's metric of that name; a text is none."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store")
    experiment = Experiment(tmp_path / "runs" / "a")
    for value in (3.0, 1.0, 2.0):
        experiment.message({"loss": value, "text": "x"}, "min")

    (trial,) = fetch(f"file:{tmp_path}/store")
    assert trial.metrics["loss"].val == 1.0
    assert "text" not in trial.metrics


def test_two_processes_agree_on_the_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another one has stored is compared with, not what this one knows."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store")
    one = Experiment(tmp_path / "runs" / "a")
    other = Experiment()
    other.from_yml(tmp_path / "runs" / "a" / "params.yml")

    one.message({"loss": 1.0, "by": "one"}, "min", "loss")
    other.message({"loss": 2.0, "by": "other"}, "min", "loss")
    other.message({"later": 1})

    assert _read(other) == _read(one) == {"loss": 1.0, "by": "one", "later": 1}
    assert one.messages == other.messages


@settings(max_examples=300)
@given(VALUES, VALUES, st.sampled_from(["min", "max"]))
def test_store_decides_as_memory_does(new: Any, stored: Any, keep: str) -> None:
    """The query by which a store decides holds where `is_kept` says so."""
    trial = Trial(metadata={} if stored is None else {"messages.a": stored})
    query = query_of(new, "metadata.messages.a", keep)

    assert parse_query(query, Trial).matches(trial) == is_kept(new, stored, keep)


def test_offer_says_what_is_kept() -> None:
    """Each for itself, or all by their leader."""
    assert applied(make_offer({"a": 1, "b": 1}, "max", None), {"a": 2, "b": 0}) == {"b": 1}
    assert applied(make_offer({"a": 1, "b": 1}, "max", "a"), {"a": 2, "b": 0}) == {}
    assert applied(make_offer({"a": 3, "b": -1}, "max", "a"), {"a": 2, "b": 0}) == {"a": 3, "b": -1}
