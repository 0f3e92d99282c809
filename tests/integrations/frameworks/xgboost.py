"""Small trees, a round a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from track.integrations.xgboost import TrackCallback

METRIC = "all-rmse"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "s"


class _At(xgboost.callback.TrainingCallback):  # type: ignore[misc, unused-ignore]
    def __init__(self, at: Callable[[int], Any], model: Path) -> None:
        super().__init__()
        self._at, self._model = at, model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._at(epoch)
        model.save_model(self._model)
        return False


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import XGBoostPruningCallback

    return XGBoostPruningCallback(trial, METRIC)


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Train."""
    folder.mkdir(exist_ok=True)
    model = folder / "model.ubj"
    before = xgboost.Booster(model_file=model) if resume else None
    inputs = np.arange(64.0).reshape(16, 4)
    data = xgboost.DMatrix(inputs, inputs[:, 0])
    callbacks = [callback, *more, _At(at or (lambda _: None), model)]
    if early:
        callbacks.append(xgboost.callback.EarlyStopping(1, min_delta=1e9))
    left = steps - (before.num_boosted_rounds() if before else 0)
    xgboost.train(
        {"eta": 0.3, "nthread": 1}, data, left, evals=[(data, "all")], callbacks=callbacks, xgb_model=before,
        verbose_eval=False,
    )  # fmt: skip


def expected(steps: int) -> list[int]:
    """Return the rounds: counted from 0."""
    return list(range(steps))
