"""A linear layer, an epoch a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.tracker import EarlyStoppingCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from track.integrations.fastai import TrackCallback

METRIC = "train_loss"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "e"


class _At(Callback):  # type: ignore[misc, unused-ignore]
    order = 70

    def __init__(self, at: Callable[[int], Any]) -> None:
        super().__init__()
        self._at = at

    def after_epoch(self) -> None:
        self._at(self.learn.epoch)
        (self.learn.path / "epoch").write_text(str(self.learn.epoch + 1))


def callback(**options: Any) -> TrackCallback:
    """Return the callback."""
    return TrackCallback(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import FastAIV2PruningCallback

    return FastAIV2PruningCallback(trial)


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Train."""
    folder.mkdir(exist_ok=True)
    inputs = torch.arange(64.0).reshape(16, 4) / 64
    loaded = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, inputs[:, :1]), batch_size=8)
    learner = Learner(
        DataLoaders(loaded, loaded), torch.nn.Linear(4, 1), loss_func=torch.nn.MSELoss(), path=folder, lr=0.01,
        opt_func=partial(_optimizer), cbs=[callback],
    )  # fmt: skip
    beside = [*more] if at is None else [*more, _At(at)]
    if early:
        beside.append(EarlyStoppingCallback("train_loss", comp=np.greater, patience=1))
    with learner.no_bar(), learner.no_logging():
        learner.fit(steps, cbs=beside, start_epoch=int((folder / "epoch").read_text()) if resume else 0)


def _optimizer(parameters: Any, lr: float = 0.01) -> Any:
    from fastai.optimizer import SGD

    return SGD(parameters, lr=lr)


def expected(steps: int) -> list[int]:
    """Return the epochs: counted from 0."""
    return list(range(steps))
