"""Small trees, an iteration a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import catboost
import numpy as np

from track.integrations.catboost import TrackCallback

METRIC = "learn/RMSE"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "s"


class _At:
    def __init__(self, at: Callable[[int], Any]) -> None:
        self._at = at

    def after_iteration(self, info: Any) -> bool:
        self._at(info.iteration - 1)
        return True


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import CatBoostPruningCallback

    return CatBoostPruningCallback(trial, "RMSE")


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Train."""
    inputs = np.arange(256.0).reshape(64, 4)
    options = {"early_stopping_rounds": 1} if early else {}
    model = catboost.CatBoostRegressor(
        iterations=steps,
        verbose=False,
        thread_count=1,
        train_dir=folder,
        save_snapshot=True,
        snapshot_interval=0,
        **options,
    )
    callback.model = model
    callbacks = [callback, *more] if at is None else [callback, *more, _At(at)]
    # What is learned is the contrary of what is evaluated, so that it never gets better.
    evaluated = (inputs, -inputs[:, 0]) if early or more else None
    model.fit(inputs, inputs[:, 0], eval_set=evaluated, callbacks=callbacks)
    for one in more:
        one.check_pruned()


def expected(steps: int) -> list[int]:
    """Return the iterations: counted from 0."""
    return list(range(steps))
