"""Small trees, a round a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from track.integrations.lightgbm import TrackCallback

METRIC = "all/l2"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "s"


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import LightGBMPruningCallback

    return LightGBMPruningCallback(trial, "l2", "all")


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Train."""
    folder.mkdir(exist_ok=True)
    model = folder / "model.txt"
    before = lightgbm.Booster(model_file=model) if resume else None

    def after(env: Any) -> None:
        if at is not None:
            at(env.iteration)
        env.model.save_model(model)

    after.order = 90  # type: ignore[attr-defined]
    inputs = np.arange(256.0).reshape(64, 4)
    data = lightgbm.Dataset(inputs, inputs[:, 0], free_raw_data=False)
    parameters = {"num_leaves": 4, "min_data_in_leaf": 2, "verbose": -1, "num_threads": 1}
    left = steps - (before.current_iteration() if before else 0)
    evaluated = {"all": data, **({"again": lightgbm.Dataset(inputs, -inputs[:, 0], reference=data)} if early else {})}
    lightgbm.train(
        parameters, data, left, valid_sets=[*evaluated.values()], valid_names=[*evaluated], init_model=before,
        callbacks=[callback, *more, after, *([lightgbm.early_stopping(1, verbose=False)] if early else [])],
    )  # fmt: skip


def expected(steps: int) -> list[int]:
    """Return the rounds: counted from 0."""
    return list(range(steps))
