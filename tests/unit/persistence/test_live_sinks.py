"""Live copies in Weights & Biases and MLflow, by the real packages, read back as these stored them."""

from __future__ import annotations

import contextlib
import importlib
import math
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from tests.trackers.readers import wandb_run
from track import TrackClient
from track.errors import InvalidUri, MissingExtra
from track.persistence import get_protocol

# What their own packages warn of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")
_RUN = """
import math, sys
from track import TrackClient

client = TrackClient(sys.argv[1], environment="none")
client.set_project(name="mnist")
with client.new_trial(name="first", parameters={"lr": 0.1, "opt": {"k": 1}}, tags={"a": 1}) as trial:
    for step in range(5):
        trial.log_metrics(step=step, loss=1.0 / (step + 1))
    trial.log_metrics(step=2, late=5)
    trial.log_metrics(step=5, loss=math.nan)
    trial.log_metrics(once=math.inf)
    trial.log_metadata(gpu="V100")
with client.new_trial(name="pruned", parameters={"lr": 0.2}, force=True) as trial:
    trial.set_status("pruned")
trial = client.new_trial(name="crashed", parameters={"lr": 0.3}, force=True)
trial.start()
trial.log_metrics(step=0, loss=2.0)
raise ValueError("no")
"""


def _ran(sink: str, folder: Path) -> Any:
    """Run a script that crashes at its end, and return the trials of its store by name."""
    uri = f"file:{folder}/report.json"
    done = python("-c", _RUN, f"multi:?to={sink}&to={uri}", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "ValueError: no" in done.stderr
    assert "does not take something" not in done.stderr, done.stderr
    return {trial.name: trial for trial in get_protocol(uri).fetch_trials()}


def test_mlflow_has_what_the_store_has(tmp_path: Path) -> None:
    """Parameters, numbers at their steps and times, and how each trial ended."""
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    trials = _ran(f"mlflow:digits?store={tmp_path}/mlflow.db", tmp_path)

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    place = client.get_experiment_by_name("digits").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([place])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "first": "FINISHED",
        "pruned": "FINISHED",
        "crashed": "FAILED",
    }
    assert {name: run.data.tags["trial_status"] for name, run in runs.items()} == {
        "first": "Completed",
        "pruned": "pruned",
        "crashed": "Exception",
    }
    first = runs["first"]
    assert first.data.params == {"lr": "0.1", "opt": "{'k': 1}"}
    assert (first.data.tags["a"], first.data.tags["metadata.gpu"]) == ("1", "V100")
    assert first.data.tags["trial_uid"] == trials["first"].uid
    loss = {one.step: (one.value, one.timestamp) for one in client.get_metric_history(first.info.run_id, "loss")}
    steps, values, times = (column.tolist() for column in trials["first"].metrics["loss"].to_numpy(times=True))
    assert list(loss) == steps
    assert repr([value for value, _ in loss.values()]) == repr(values)
    assert all(abs(at - known * 1000) < 1000 for (_, at), known in zip(loss.values(), times, strict=True))
    assert [one.step for one in client.get_metric_history(first.info.run_id, "late")] == [2]
    assert client.get_metric_history(first.info.run_id, "once")[0].value > 1e308


def test_mlflow_goes_on_with_the_run_of_a_trial(tmp_path: Path) -> None:
    """A trial that another process resumes is the same run there."""
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    sink, uri = f"mlflow:digits?store={tmp_path}/mlflow.db", f"file:{tmp_path}/report.json"
    for number in range(2):
        client = TrackClient(f"multi:?to={sink}&to={uri}", environment="none")
        if number:
            client.set_trial(uid=client.protocol.fetch_trials()[0].uid, force=True)
        with client.logger if number else client.new_trial(name="a", parameters={"lr": 0.1}) as trial:
            trial.log_metrics(step=number, loss=number)

    runs = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_runs(["1"])
    assert [(run.info.status, run.data.metrics) for run in runs] == [("FINISHED", {"loss": 1.0})]


def test_wandb_has_what_the_store_has(tmp_path: Path) -> None:
    """Rows with their step and time, the configuration, and how each run ended, in the folder that is synced later."""
    wandb = pytest.importorskip("wandb", reason="needs wandb")
    assert wandb.__version__
    trials = _ran(f"wandb:digits?mode=offline%26dir={tmp_path}", tmp_path)

    runs = {run["name"]: run for run in map(wandb_run, sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")))}
    assert {name: run["exit"] for name, run in runs.items()} == {"first": 0, "pruned": 0, "crashed": 1}
    assert {name: run["summary"]["trial_status"] for name, run in runs.items()} == {
        "first": "Completed",
        "pruned": "pruned",
        "crashed": "Exception",
    }
    first = runs["first"]
    assert first["config"].items() >= {"lr": 0.1, "opt": {"k": 1}, "trial_uid": trials["first"].uid}.items()
    assert (first["project"], first["tags"]) == ("digits", ["a-1"])
    loss = [row for row in first["rows"] if "loss" in row]
    steps, values, times = (column.tolist() for column in trials["first"].metrics["loss"].to_numpy(times=True))
    assert [row["step"] for row in loss] == steps
    assert repr([float(row["loss"]) for row in loss]) == repr(values)
    assert all(abs(row["_timestamp"] - known) < 1 for row, known in zip(loss, times, strict=True))
    assert [row["step"] for row in first["rows"] if "late" in row] == [2]
    assert [float(row["once"]) for row in first["rows"] if "once" in row] == [math.inf]


class _Fake:
    """Stands for a package: keeps each call, by its dotted name."""

    def __init__(self, calls: list[Any], name: str = "") -> None:
        self.__dict__.update(calls=calls, name=name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Fake(self.calls, f"{self.name}.{name}".strip("."))

    def __bool__(self) -> bool:
        """Find no run that is there already."""
        return not self.name.endswith("search_runs")

    def __setattr__(self, name: str, value: Any) -> None:
        self.calls.append((f"{self.name}.{name}".strip("."), value))

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls.append((self.name, *args, *named.items()))
        return _Fake(self.calls, "run" if self.name == "init" else self.name)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put stand-ins in the place of both packages, and give the calls."""
    calls: list[Any] = []
    fakes = {name: _Fake(calls) for name in ("wandb", "mlflow", "mlflow.entities")}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: fakes[name])
    real = importlib.import_module
    monkeypatch.setattr("importlib.import_module", lambda name: fakes.get(name) or real(name))
    return calls


def test_verbs_of_wandb_that_are_said(fakes: list[Any]) -> None:
    """Without the package: which of its verbs are called, with what."""
    with TrackClient("wandb:me/digits?mode=offline", environment="none").new_trial(parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=3, loss=0.5)
        trial.set_status("pruned")

    (begun,) = [dict(call[1:]) for call in fakes if call[0] == "init"]
    assert begun.items() >= {"project": "digits", "entity": "me", "mode": "offline", "config": {"lr": 0.1}}.items()
    (row,) = [call[1] for call in fakes if call[0] == "run.log"]
    assert {name: value for name, value in row.items() if name != "_timestamp"} == {"loss": 0.5, "step": 3}
    assert fakes[-1] == ("run.finish", ("exit_code", 0))


def test_verbs_of_mlflow_that_are_said(fakes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package: numbers go together, with their step and milliseconds, and the end is said."""
    client = TrackClient("mlflow:digits?store=mlflow.db", environment="none")
    with contextlib.suppress(ValueError), client.new_trial(parameters={"lr": 0.1}) as trial:
        for step in range(2500):
            trial.log_metrics(step=step, loss=0.5)
        raise ValueError("no")

    numbers = [call for call in fakes if call[0] == "Metric"]
    assert [call[1:3] + call[4:] for call in numbers] == [("loss", 0.5, step) for step in range(2500)]
    assert all(call[3] > 1e12 for call in numbers)
    sent = [dict(call[2:]) for call in fakes if call[0] == "MlflowClient.log_batch"]
    assert sum(len(batch.get("metrics", ())) for batch in sent) == 2500
    assert max(len(batch.get("metrics", ())) for batch in sent) <= 1000
    assert [call[2] for call in fakes if call[0] == "MlflowClient.set_terminated"] == ["FAILED"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_package_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtra, match=name):
        get_protocol(f"{name}:digits")


@pytest.mark.parametrize(
    "uri", ["wandb:", "wandb:a/b/c", "wandb:digits?mode=loud", "mlflow:", "mlflow:digits?nothing=1"]
)
def test_uri_that_makes_no_sense_is_refused(uri: str) -> None:
    """It says what it should read like, whether or not the package is there."""
    with pytest.raises(InvalidUri):
        get_protocol(uri)
