"""Runs that the real trackers have written: what is imported is what their own readers say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import track
from track.artifacts import artifacts
from track.importing import import_runs
from track.importing.report import Report

POINTS = 300
VALUES = [1 / (step + 7) for step in range(POINTS)]
_BEGIN = f"values = [1 / (step + 7) for step in range({POINTS})]\n"

WANDB = """
import wandb
from pathlib import Path
run = wandb.init(project="digits", name="first", group="g", tags=["a"], notes="n", mode="offline", dir=".",
                 config={"lr": 0.1, "api_key": "abc", "deep": {"x": 1}})
for step, value in enumerate(values):
    run.log({"loss": value, "val/acc": step, "deep": {"x": step}, "nan": float("nan"), "inf": float("-inf")})
Path("note.txt").write_text("hello")
wandb.save("note.txt", policy="now")
print("an output")
run.log({"said": "hello", "tab": wandb.Table(columns=["a"], data=[[1], [2]])}, step=300)
run.log({"hist": wandb.Histogram(np_histogram=([1, 3], [0.0, 0.5, 1.0]))}, step=301)
run.summary["best"] = 0.5
run.finish(exit_code=CODE)
"""
MLFLOW = """
import mlflow
from pathlib import Path
mlflow.set_tracking_uri("URI")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="first", description="n"):
    mlflow.log_params({"lr": 0.1, "api_key": "abc"})
    mlflow.set_tag("a", "b")
    for step, value in enumerate(values):
        mlflow.log_metrics({"loss": value, "val/acc": step}, step=step)
    mlflow.log_metric("inf", float("-inf"), step=1)
    mlflow.log_metric("nan", float("nan"), step=1)
    mlflow.log_text("hello", "deep/note.txt")
"""
TRACKIO = """
import trackio
trackio.init(project="digits", name="first", config={"lr": 0.1, "api_key": "abc"}, group="g")
for step, value in enumerate(values):
    trackio.log({"loss": value, "val/acc": step, "inf": float("-inf")})
trackio.finish()
"""
SACRED = """
from sacred import Experiment
from sacred.observers import FileStorageObserver
ex = Experiment("digits", save_git_info=False, interactive=True)
ex.observers.append(FileStorageObserver("runs"))
ex.add_config({"lr": 0.1, "api_key": "abc"})
@ex.main
def main(_run):
    for step, value in enumerate(values):
        _run.log_scalar("loss", value, step)
        _run.log_scalar("val/acc", step, step)
ex.run()
"""
DVCLIVE = """
from dvclive import Live
with Live("dvclive", save_dvc_exp=False, report=None) as live:
    live.log_params({"lr": 0.1, "api_key": "abc"})
    for step, value in enumerate(values):
        live.log_metric("loss", value)
        live.log_metric("val/acc", step)
        live.next_step()
"""
AIM = """
import numpy
from aim import Image, Run, Text
run = Run(repo=".", experiment="digits")
run.name = "first"
run["lr"], run["api_key"] = 0.1, "abc"
for step, value in enumerate(values):
    run.track(value, name="loss", step=step)
    run.track(step, name="val/acc", step=step)
run.track(Image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), caption="c"), name="img", step=3)
run.track([Text("one"), Text("two")], name="said", step=4)
run.close()
"""


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def _run(program: str, folder: Path, **environment: str) -> None:
    """Run a program that logs, in a folder of its own."""
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACK_")}
    quiet = {"WANDB_SILENT": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "TRACKIO_DIR": str(folder), "HOME": str(folder)}
    command = [sys.executable, "-c", _BEGIN + program]
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**kept, **quiet, **environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def _imported(source: str, place: Path, tmp_path: Path) -> tuple[Any, Report, str]:
    store = f"file:{tmp_path}/report.json"
    report = import_runs(source, place, store)
    again = import_runs(source, place, store)
    (trial,) = track.fetch(store)
    assert again.runs == {"present": [trial.name]}
    assert trial.metrics["loss"] == dict(enumerate(VALUES))
    assert trial.metrics["val/acc"] == dict(enumerate(range(POINTS)))
    assert (trial.parameters["lr"], trial.parameters["api_key"]) == (0.1, "***")
    assert report.is_complete
    return trial, report, store


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (3, "exception")])
def test_wandb(tmp_path: Path, code: int, status: str) -> None:
    """An offline folder: rows, configuration, files, and how it ended."""
    _need("wandb")
    _run(WANDB.replace("CODE", str(code)), tmp_path / "work")

    trial, report, store = _imported("wandb", tmp_path / "work", tmp_path)

    assert trial.metrics["deep.x"] == dict(enumerate(range(POINTS)))
    assert trial.metrics["inf"] == dict.fromkeys(range(POINTS), float("-inf"))
    assert len(trial.metrics["nan"]) == POINTS
    assert (trial.name, trial.project_id, trial.tags, trial.description) == ("first", "digits", {"a": True}, "n")
    assert trial.parameters["deep"] == {"x": 1}
    assert (trial.media("said")[0].text, trial.media("tab")[0].rows) == ("hello", [[1], [2]])
    assert trial.media("hist").at_step(301).histogram == ([1, 3], [0.0, 0.5, 1.0], 4)
    assert (str(trial.status), trial.metadata["summary"]["best"]) == (status, 0.5)
    assert {"output.log", "requirements.txt"} <= {one.name for one in artifacts(store)}
    # wandb.save links to a file that is elsewhere.
    assert [one.reason for one in report.left if one.first.endswith("note.txt")] == ["is a link, and none is followed"]


@pytest.mark.parametrize(("source", "uri"), [("mlflow", "sqlite:///mlflow.db"), ("mlruns", "file:mlruns")])
def test_mlflow(tmp_path: Path, source: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stores: the history of each metric as its client says it."""
    _need("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    _run(MLFLOW.replace("URI", uri), tmp_path / "work")

    trial, _, store = _imported(source, tmp_path / "work", tmp_path)

    from mlflow import MlflowClient  # type: ignore[import-not-found, unused-ignore]

    there = f"sqlite:///{tmp_path}/work/mlflow.db" if source == "mlflow" else f"file://{tmp_path}/work/mlruns"
    client = MlflowClient(there)
    # Of a database it says what stands there for an infinite number.
    assert trial.metrics["inf"] == {1: float("-inf")}
    for name in ("loss", "val/acc"):
        history = client.get_metric_history(trial.metadata["alias"]["mlflow"], name)
        said = [(one.step, one.value, one.timestamp / 1000) for one in history]
        points = trial.metrics[name].points
        assert said == list(zip(trial.metrics[name], points.values(), points.times(), strict=True))
    assert (trial.name, trial.project_id, trial.tags, trial.description) == ("first", "digits", {"a": "b"}, "n")
    assert {one.name: one.read_bytes() for one in artifacts(store)} == {"deep/note.txt": b"hello"}


def test_trackio(tmp_path: Path) -> None:
    """A database of a project."""
    _need("trackio")
    _run(TRACKIO, tmp_path / "work")

    trial, _, _ = _imported("trackio", tmp_path / "work", tmp_path)

    assert trial.metrics["inf"] == dict.fromkeys(range(POINTS), float("-inf"))
    assert (trial.name, trial.project_id) == ("first", "digits")


def test_sacred(tmp_path: Path) -> None:
    """The folder of an observer."""
    _need("sacred")
    _run(SACRED, tmp_path / "work")

    trial, _, _ = _imported("sacred", tmp_path / "work" / "runs", tmp_path)

    assert (trial.name, trial.project_id, str(trial.status)) == ("digits-1", "digits", "completed")


def test_dvclive(tmp_path: Path) -> None:
    """A folder of plots."""
    _need("dvclive")
    _run(DVCLIVE, tmp_path / "work")

    trial, _, _ = _imported("dvclive", tmp_path / "work", tmp_path)

    assert trial.name == "work"


def test_aim(tmp_path: Path) -> None:
    """A folder ``.aim``, which stays as it is."""
    _need("aim")
    _run(AIM, tmp_path / "work")
    before = {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}

    trial, _, store = _imported("aim", tmp_path / "work", tmp_path)

    assert (trial.name, trial.project_id) == ("first", "digits")
    found = {one.name: (one.step, one.read_bytes()) for one in artifacts(store)}
    assert (found["said/0"], found["said/1"]) == ((4, b"one"), (4, b"two"))
    assert [one.text for number in range(2) for one in trial.media(f"said/{number}")] == ["one", "two"]
    assert (found["img"][0], found["img"][1][:4]) == (3, b"\x89PNG")
    assert {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()} == before


def test_tensorboard(tmp_path: Path) -> None:
    """What its own reader says: numbers of four bytes, steps and times."""
    _need("tensorboard")
    _need("tensorboardX")
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs" / "first")) as writer:
        for step, value in enumerate(VALUES):
            writer.add_scalar("loss", value, step)
        writer.add_text("note", "hello", 3)
    store = f"file:{tmp_path}/report.json"

    import_runs("tensorboard", tmp_path / "logs", store)

    (trial,) = track.fetch(store)
    accumulator = EventAccumulator(str(tmp_path / "logs" / "first"), size_guidance={SCALARS: 0})
    accumulator.Reload()
    said = [(one.step, one.value, one.wall_time) for one in accumulator.Scalars("loss")]
    points = trial.metrics["loss"].points
    assert said == list(zip(trial.metrics["loss"], points.values(), points.times(), strict=True))
    assert [one.read_bytes() for one in artifacts(store)] == [b"hello"]
