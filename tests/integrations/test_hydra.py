"""Each job of Hydra is a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.children import python
from track.structure import Status

pytest.importorskip("hydra")

_PROGRAM = """
import hydra
from track.integrations import current_trial

@hydra.main(version_base=None, config_path=".", config_name="config")
def train(config):
    for step in range(3):
        current_trial().log_metrics(step=step, loss=config.model.lr / (step + 1))
    if config.model.lr > 1:
        raise ArithmeticError("it diverges")

train()
"""
_CONFIG = """
model: {lr: 0.1, name: line}
double: ${model.lr}
hydra:
  callbacks:
    track:
      _target_: track.integrations.hydra.TrackCallback
      tags: {by: hydra}
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program with its configuration."""
    (tmp_path / "config.yaml").write_text(_CONFIG)
    (tmp_path / "train.py").write_text(_PROGRAM)
    return tmp_path / "train.py"


def test_sweep_is_a_trial_a_job(program: Path, uri: str, tmp_path: Path) -> None:
    """Each has its configuration as parameters, without Hydra's own, and its numbers."""
    done = python(program, "--multirun", "model.lr=0.1,0.2", cwd=tmp_path)

    found = track.fetch(uri)
    assert done.returncode == 0, done.stderr
    assert [trial.parameters for trial in found] == [
        {"model": {"lr": lr, "name": "line"}, "double": lr} for lr in (0.1, 0.2)
    ]
    assert [dict(trial.metrics["loss"])[0] for trial in found] == [0.1, 0.2]
    assert {(trial.name, trial.status, trial.tags["by"]) for trial in found} == {("train", Status.Completed, "hydra")}


def test_value_that_cannot_be_had_is_recorded_as_it_is_written(program: Path, uri: str, tmp_path: Path) -> None:
    """A job need not use all of its configuration: its trial is there, with the rest of it."""
    written = tmp_path / "config.yaml"
    written.write_text("key: ${oc.env:TRACK_TEST_IS_NOT_SET}\nbelow: {key: '${key}'}\n" + written.read_text())

    done = python(program, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    (trial,) = track.fetch(uri)
    assert (trial.parameters["key"], trial.parameters["double"]) == ("${oc.env:TRACK_TEST_IS_NOT_SET}", 0.1)
    assert trial.parameters["below"] == {"key": "${key}"}


def test_store_that_is_away_does_not_stop_a_job(program: Path, tmp_path: Path) -> None:
    """There is a trial to log to, which is not stored, and a warning says so."""
    done = python(program, cwd=tmp_path, TRACK_LOG_BACKEND_NAME=f"file:{program}/runs.json")

    assert done.returncode == 0, done.stderr
    assert "not recorded" in done.stdout + done.stderr


def test_job_that_fails_is_a_failed_trial(program: Path, uri: str, tmp_path: Path) -> None:
    """The exception of the job, which Hydra catches, is the end of its trial."""
    done = python(program, "model.lr=2", cwd=tmp_path)

    (trial,) = track.fetch(uri)
    assert done.returncode == 1
    assert trial.status is Status.Exception
    assert "it diverges" in str(trial.errors)
    assert len(trial.metrics["loss"]) == 3
