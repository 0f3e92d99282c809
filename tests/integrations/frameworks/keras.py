"""A tiny dense model, an epoch a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch  # noqa: F401 - the backend

from track.integrations.keras import TrackCallback

METRIC = "loss"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "e"


class _At(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    def __init__(self, at: Callable[[int], Any]) -> None:
        super().__init__()
        self._at = at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._at(epoch)


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import KerasPruningCallback

    return KerasPruningCallback(trial, METRIC)


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Train."""
    folder.mkdir(exist_ok=True)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    backup = keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)
    inputs = np.arange(64.0).reshape(16, 4) / 64
    callbacks = [callback, *more, backup] + ([] if at is None else [_At(at)])
    if early:
        callbacks.append(keras.callbacks.EarlyStopping("loss", mode="max", patience=1))
    model.fit(inputs, inputs[:, :1], epochs=steps, verbose=0, callbacks=callbacks)


def expected(steps: int) -> list[int]:
    """Return the epochs: counted from 0."""
    return list(range(steps))
