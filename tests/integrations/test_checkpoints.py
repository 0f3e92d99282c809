"""What a checkpoint that is kept of trees and of a loop of the program's own holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import track
from tests.children import python
from track import TrackClient

INPUTS = np.arange(256.0).reshape(64, 4)
_STOPPED = """
import lightgbm, numpy
from track.integrations.lightgbm import TrackCallback

inputs = numpy.arange(256.0).reshape(64, 4)
data = lightgbm.Dataset(inputs, inputs[:, 0])
worse = lightgbm.Dataset(inputs, -inputs[:, 0], reference=data)
options = {"num_leaves": 4, "verbose": -1, "num_threads": 1}
callbacks = [TrackCallback(checkpoints="best"), lightgbm.early_stopping(2, verbose=False)]
lightgbm.train(options, data, 9, valid_sets=[data, worse], valid_names=["train", "held"], callbacks=callbacks)
"""


@pytest.mark.parametrize(
    ("patience", "kind", "rounds"), [(2, "best", 1), (9, "best", 1), (None, "best", 1), (None, "last", 3)]
)
def test_rounds_of_lightgbm(patience: int | None, kind: str, rounds: int, uri: str, tmp_path: Path) -> None:
    """The best is the round that early stopping names, or would name; the last has all rounds."""
    lightgbm = pytest.importorskip("lightgbm")
    from track.integrations.lightgbm import TrackCallback

    data = lightgbm.Dataset(INPUTS, INPUTS[:, 0])
    worse = lightgbm.Dataset(INPUTS, -INPUTS[:, 0], reference=data)
    options = {"num_leaves": 4, "min_data_in_leaf": 2, "verbose": -1, "num_threads": 1}
    stopping = [] if patience is None else [lightgbm.early_stopping(patience, verbose=False)]
    with TrackClient(uri).new_trial():
        lightgbm.train(
            options, data, 9 if patience == 2 else 3, valid_sets=[data, worse], valid_names=["training", "held"],
            callbacks=[TrackCallback(checkpoints=kind), *stopping],
        )  # fmt: skip

    track.artifacts.find(uri, f"checkpoint-{kind}").download(tmp_path / "model.txt")
    assert lightgbm.Booster(model_file=tmp_path / "model.txt").current_iteration() == rounds


def test_program_whose_training_is_stopped_early_keeps_the_best(uri: str, tmp_path: Path) -> None:
    """A trial of the callback's own, which ends with the program, has its checkpoint too."""
    pytest.importorskip("lightgbm")
    (tmp_path / "train.py").write_text(_STOPPED)

    done = python("train.py", cwd=tmp_path, seconds=100)

    assert done.returncode == 0, done.stderr
    (trial,) = track.fetch(uri)
    assert [str(trial.status), *(one["name"] for one in trial.artifacts)] == ["completed", "checkpoint-best"]


@pytest.mark.parametrize(("kind", "trees"), [("best", 1), ("last", 3)])
def test_trees_of_catboost(kind: str, trees: int, uri: str, tmp_path: Path) -> None:
    """The best is up to the iteration that CatBoost names; the last is the model as it was fitted."""
    catboost = pytest.importorskip("catboost")
    from track.integrations.catboost import TrackCallback

    model = catboost.CatBoostRegressor(
        iterations=3, verbose=False, thread_count=1, allow_writing_files=False, use_best_model=False
    )
    with TrackClient(uri).new_trial():
        callback = TrackCallback(model=model, checkpoints=kind)
        model.fit(INPUTS, INPUTS[:, 0], eval_set=(INPUTS, -INPUTS[:, 0]), callbacks=[callback])

    track.artifacts.find(uri, f"checkpoint-{kind}").download(tmp_path / "model.cbm")
    assert catboost.CatBoost().load_model(str(tmp_path / "model.cbm")).tree_count_ == trees


@pytest.mark.parametrize(("kind", "step"), [("best", 1), ("last", 2)])
def test_state_of_accelerate(kind: str, step: int, uri: str, tmp_path: Path) -> None:
    """The best is the state that was saved after the least number; the last is the newest."""
    accelerate = pytest.importorskip("accelerate")
    from track.integrations.accelerate import TrackTracker

    accelerator = accelerate.Accelerator(cpu=True, log_with=TrackTracker(checkpoints=kind, monitor="eval"))
    accelerator.init_trackers("lines")
    tracker: Any = accelerator.trackers[0]
    tracker.attach_checkpoints(accelerator)
    for number, value in enumerate([3.0, 1.0, 2.0]):
        accelerator.log({"eval": value}, step=number)
        saved = tmp_path / str(number)
        accelerator.save_state(saved)
        (saved / "number.txt").write_text(str(number))
    accelerator.end_training()

    track.artifacts.find(uri, f"checkpoint-{kind}").download(tmp_path / "kept")
    assert (tmp_path / "kept" / "number.txt").read_text() == str(step)
