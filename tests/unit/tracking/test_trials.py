"""Results in a track store: each key is a trial."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import track
from tests.children import run_all
from track import TrackClient
from track.structure import Status
from track.tracking import FsspecResultTracker, TrackResultTracker, import_results


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an empty store."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return f"{request.param}:{tmp_path}/runs.db"


def test_map_comes_back(uri: str) -> None:
    """Numbers and texts, in order, from a tracker that did not write them."""
    results = {"accuracy": 0.5, "epochs": 10**20, "model": "s3://bucket", "nan": math.nan, "step": 1, "aggregator": 2}

    TrackResultTracker(uri)["attempt_1/out"] = results

    assert repr(TrackResultTracker(uri)["attempt_1/out"]) == repr(results)


def test_second_put_replaces_the_map(uri: str) -> None:
    """Nothing of the first map is left, there is one trial, and the int and the text are one key."""
    tracker = TrackResultTracker(uri)
    tracker[1] = {"a": 1, "b": 2}

    TrackResultTracker(uri)["1"] = {"a": 3}

    assert tracker[1] == {"a": 3}
    assert len(track.fetch(uri)) == 1


def test_missing_key_is_empty_and_creates_nothing(uri: str) -> None:
    """Asking makes no trial and no project."""
    tracker = TrackResultTracker(uri)

    assert tracker["a"] == {}
    assert (tracker.protocol.fetch_trials(), tracker.protocol.fetch_projects()) == ([], [])


def test_results_are_in_the_report(uri: str) -> None:
    """The trial has the key's name, is in the project, is complete, and has the numbers as metrics."""
    TrackResultTracker(uri, project="sweep")["worker/0"] = {"loss": 0.25, "model": "x"}

    (trial,) = track.fetch(uri)
    assert (trial.name, trial.project_id, trial.status) == ("worker/0", "sweep", Status.Completed)
    assert {name: metric.val for name, metric in trial.metrics.items()} == {"loss": 0.25}


def test_projects_are_apart(uri: str) -> None:
    """The same key in two projects is two trials."""
    one, two = TrackResultTracker(uri, "one"), TrackResultTracker(uri, "two")
    one["a"] = {"x": 1}
    two["a"] = {"x": 2}

    assert (one["a"], two["a"]) == ({"x": 1}, {"x": 2})
    assert list(one.keys()) == ["a"]


def test_keys_and_items(uri: str) -> None:
    """They are sorted, can be limited to a prefix, and show no trials of other fronts."""
    client = TrackClient(uri)
    tracker = TrackResultTracker(client)
    for key in ("b/2", "a", "b/1"):
        tracker[key] = {"x": 1}
    client.set_project(name="results")
    client.new_trial(name="c", parameters={})

    assert list(tracker.keys()) == ["a", "b/1", "b/2"]
    assert list(tracker.items("b/")) == [("b/1", {"x": 1}), ("b/2", {"x": 1})]


@pytest.mark.parametrize("value", [None, [1]])
def test_wrong_type_creates_nothing(uri: str, value: object) -> None:
    """A value that is no result is refused before there is a trial."""
    tracker = TrackResultTracker(uri)

    with pytest.raises(TypeError, match="result 'x' is of type"):
        tracker["a"] = {"x": value}  # type: ignore[dict-item]
    assert tracker.protocol.fetch_trials() == []


@pytest.mark.parametrize(("key", "error"), [("", ValueError), (1.0, TypeError)])
def test_wrong_key(uri: str, key: object, error: type[Exception]) -> None:
    """A key is an int or a text that is not empty."""
    with pytest.raises(error, match="key"):
        TrackResultTracker(uri).put(key, x=1)  # type: ignore[arg-type]


def test_any_text_is_a_key(uri: str) -> None:
    """There are no paths here: nothing leads anywhere."""
    tracker = TrackResultTracker(uri)

    tracker["../a//b\n"] = {"x": 1}

    assert list(tracker.items()) == [("../a//b\n", {"x": 1})]


def test_processes_put_one_key(uri: str) -> None:
    """There is one trial, with one of the maps; each other key has its own."""

    def work(number: int) -> None:
        tracker = TrackResultTracker(uri)
        tracker["same"] = {"x": number, "y": number}
        tracker[number] = {"x": number}
        tracker.protocol.close()

    codes = run_all(work, [(number,) for number in range(4)])

    found = dict(TrackResultTracker(uri).items())
    assert codes == [0] * 4
    assert found.pop("same") in [{"x": number, "y": number} for number in range(4)]
    assert found == {str(number): {"x": number} for number in range(4)}
    assert len(track.fetch(uri)) == 5


def test_folder_of_results_is_imported(uri: str, tmp_path: Path) -> None:
    """Each file becomes a trial; a second time, only what has changed is written."""
    old = FsspecResultTracker(tmp_path / "old")
    old["a/b"] = {"x": 1, "nan": math.nan}
    old["c"] = {"y": "text"}
    import_results(tmp_path / "old", uri)
    before = {trial.name: trial.timestamps for trial in track.fetch(uri)}
    old["c"] = {"y": "new"}

    imported = import_results(tmp_path / "old", uri)

    after = {trial.name: trial.timestamps for trial in track.fetch(uri)}
    assert repr(dict(imported.items())) == repr({"a/b": {"x": 1, "nan": math.nan}, "c": {"y": "new"}})
    assert after["a/b"] == before["a/b"]
    assert after.keys() == before.keys()
