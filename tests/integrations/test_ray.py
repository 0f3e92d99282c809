"""Each trial of Ray Tune is a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.children import python
from track.structure import Status

pytest.importorskip("ray.tune", reason="Ray Tune is not installed")

_PROGRAM = """
import ray
from ray import tune

def train(config):
    for step in range(3):
        tune.report({"loss": config["lr"] / (step + 1)})
    if config["lr"] > 1:
        raise ArithmeticError("it diverges")

ray.init(num_cpus=1, include_dashboard=False)
tune.Tuner(
    train,
    param_space={"lr": tune.grid_search([0.1, 2.0])},
    run_config=tune.RunConfig(name="grid", storage_path=STORAGE),
).fit()
"""


def test_trials_of_tune_are_trials(uri: str, tmp_path: Path) -> None:
    """By a variable of the environment alone: with their configuration, their numbers, and how each ended."""
    (tmp_path / "train.py").write_text(_PROGRAM.replace("STORAGE", repr(str(tmp_path / "tune"))))

    done = python("train.py", cwd=tmp_path, seconds=110, RAY_TUNE_CALLBACKS="track.integrations.ray.TrackCallback")

    assert (tmp_path / "runs.json").exists(), done.stderr
    found = {trial.parameters["lr"]: trial for trial in track.fetch(uri)}
    assert set(found) == {0.1, 2.0}, done.stderr
    assert {lr: trial.status for lr, trial in found.items()} == {0.1: Status.Completed, 2.0: Status.Exception}
    assert all([*trial.metrics["loss"]] == [1, 2, 3] for trial in found.values())
    assert "it diverges" in str(found[2.0].errors)
    assert found[0.1].metadata["experiment"] == "grid"


_ASHA = """
import ray
from ray import tune

def train(config):
    for step in range(9):
        tune.report({"loss": config["lr"]})

ray.init(num_cpus=1, include_dashboard=False)
tune.Tuner(
    train,
    param_space={"lr": tune.grid_search([0.1, 2.0, 3.0])},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", max_concurrent_trials=1,
        scheduler=tune.schedulers.ASHAScheduler(grace_period=1, reduction_factor=2, max_t=4),
    ),
    run_config=tune.RunConfig(name="grid", storage_path=STORAGE),
).fit()
"""


def test_trial_that_a_scheduler_stops_is_pruned(uri: str, tmp_path: Path) -> None:
    """What ASHA stops early is pruned; what comes to the end of its budget has completed."""
    (tmp_path / "train.py").write_text(_ASHA.replace("STORAGE", repr(str(tmp_path / "tune"))))

    done = python("train.py", cwd=tmp_path, seconds=110, RAY_TUNE_CALLBACKS="track.integrations.ray.TrackCallback")

    assert done.returncode == 0, done.stderr
    found = {trial.parameters["lr"]: trial for trial in track.fetch(uri)}
    assert {lr: str(trial.status) for lr, trial in found.items()} == {0.1: "completed", 2.0: "pruned", 3.0: "pruned"}
    assert [len(found[lr].metrics["loss"]) for lr in (0.1, 2.0)] == [4, 1]
