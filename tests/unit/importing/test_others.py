"""MLflow, trackio, dvclive and sacred: the runs of each as trials."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import track
from tests.unit.importing import written
from track.artifacts import artifacts
from track.errors import MissingExtra
from track.importing import import_runs


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"file:{tmp_path}/report.json"


def _files(store: str) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in artifacts(store)}


def test_mlflow_database(tmp_path: Path, store: str) -> None:
    """Numbers that are not finite, parents, ends, notes, and artifacts that are beside it, not elsewhere."""
    written.mlflow(tmp_path / "ml")

    report = import_runs("mlflow", tmp_path / "ml", store)

    parent, child, failed = (track.fetch(store, {"name": name})[0] for name in ("parent", "child", "failed"))
    assert parent.metrics["loss"] == {step: 1 / (step + 1) for step in range(5)}
    assert list(parent.metrics["loss"].points.times()) == [1700000000.5 + step / 1000 for step in range(5)]
    assert math.isnan(parent.metrics["bad"][1])
    assert parent.metrics["bad"][2] == math.inf
    assert parent.parameters == {"lr": 0.1, "api_key": "***", "zip": "007", "on": True}
    assert (parent.description, parent.tags, parent.project_id) == ("what it is", {"team": "x"}, "digits")
    assert [str(trial.status) for trial in (parent, child, failed)] == ["completed", "interrupted", "exception"]
    assert (parent.timestamps["created"], parent.timestamps["finished"]) == (1700000000.5, 1700000100.0)
    assert child.metadata["parent"] == parent.uid
    assert _files(store) == {"note.txt": b"hello", "img/deep": b"\x89PNG\r\n\x1a\n-pixels"}
    assert {(one.kind, one.first) for one in report.left} == {
        ("parameters", "api_key"),
        ("run", "gone"),
        ("artifacts", "s3://bucket/bbb"),
    }
    assert {one.kind: one.count for one in report.left}["artifacts"] == 2


def test_mlflow_files(tmp_path: Path, store: str) -> None:
    """The folder mlruns; where the artifacts are said to be does not count, but where they are."""
    report = import_runs("mlruns", written.mlruns(tmp_path), store)

    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == {0: 1.0, 1: 0.5}
    assert math.isnan(trial.metrics["val/acc"][1])
    assert trial.parameters == {"lr": 0.1, "deep/api_key": "***"}
    assert (trial.name, trial.tags, str(trial.status)) == ("first", {"team": "x"}, "completed")
    assert _files(store) == {"note.txt": b"hello"}
    assert report.taken["points"] == 4


def test_a_run_that_was_moved_to_the_other_store_of_mlflow_is_known(tmp_path: Path, store: str) -> None:
    """Runs have ids, wherever they are kept."""
    import_runs("mlruns", written.mlruns(tmp_path), store)
    written.mlflow(tmp_path / "ml")

    report = import_runs("mlflow", tmp_path / "ml" / "mlflow.db", store)

    assert set(report.runs["imported"]) == {"child", "failed"}


def test_trackio(tmp_path: Path, store: str) -> None:
    """Rows with values in each other, NaN as text, media inside of the folder only."""
    written.trackio(tmp_path / "trackio")

    report = import_runs("trackio", tmp_path / "trackio", store)

    (trial,) = track.fetch(store)
    assert (trial.metrics["loss"][0], trial.metrics["loss"][1], trial.metrics["deep.x"]) == (1.0, 0.5, {1: 1})
    assert math.isnan(trial.metrics["loss"][2])
    assert (trial.parameters, trial.metadata["user"]) == ({"lr": 0.1, "api_key": "***"}, "ann")
    assert (trial.project_id, trial.timestamps["created"]) == ("digits", 1700000000.5)
    assert list(trial.metrics["system/cpu"]) == [5]
    assert _files(store) == {"img": b"\x89PNG\r\n\x1a\n-pixels", "note": b"hi"}
    assert {one.kind for one in report.left} == {"parameters", "status", "image", "alert"}


def test_reading_a_database_writes_nothing_beside_it(tmp_path: Path, store: str) -> None:
    """No log, no lock: the folder may be read-only."""
    written.trackio(tmp_path / "trackio")
    before = sorted(path.name for path in (tmp_path / "trackio").iterdir())

    import_runs("trackio", tmp_path / "trackio", store)

    assert sorted(path.name for path in (tmp_path / "trackio").iterdir()) == before


def test_dvclive(tmp_path: Path, store: str) -> None:
    """A table a metric, parameters, and the value that was never plotted."""
    report = import_runs("dvclive", written.dvclive(tmp_path / "work" / "dvclive"), store)

    (trial,) = track.fetch(store)
    assert (trial.metrics["loss"], trial.metrics["val/acc"]) == ({0: 1.0, 1: 0.5}, {0: 0.25})
    assert list(trial.metrics["val/acc"].points.times()) == [1700000000.5]
    assert list(trial.metrics["final"]) == [3]
    assert (trial.name, trial.parameters) == ("work", {"lr": 0.1, "api_key": "***", "nested": {"depth": 2}})
    assert _files(store) == {"plots/images/img.png": b"pixels"}
    assert report.taken["trials"] == 1


def test_sacred(tmp_path: Path, store: str) -> None:
    """The configuration, the traceback of a run that failed, its output and its sources."""
    report = import_runs("sacred", written.sacred(tmp_path / "runs"), store)

    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == {0: 1.0, 1: 0.5}
    assert trial.parameters == {"lr": 0.1, "api_key": "***", "seed": 7}
    assert (str(trial.status), trial.errors[0].splitlines()[-1]) == ("exception", "ValueError: boom")
    assert (trial.timestamps["created"], trial.timestamps["finished"]) == (1700000000.5, 1700000010.0)
    assert _files(store) == {"cout.txt": b"hello\n", "code/main.py": b"pass\n"}
    assert ("source", "out.py") in {(one.kind, one.first) for one in report.left}


def test_aim_needs_its_package(tmp_path: Path, store: str) -> None:
    """One sentence names what is missing."""
    try:
        import aim  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match="pip install aim"):
            import_runs("aim", tmp_path, store)
    else:
        pytest.skip("aim is installed")
