"""A linear layer, trained by the Trainer of Lightning."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from track.integrations.lightning import TrackLogger

METRIC = "loss"
RESUMED_BY: dict[str, Any] | None = {}
HOOKED_BY = "s"
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class _Line(pl.LightningModule):  # type: ignore[misc, unused-ignore]
    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, number: int) -> None:
        self.log("val_loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])


class _At(pl.Callback):  # type: ignore[misc, unused-ignore]
    def __init__(self, at: Callable[[int], Any]) -> None:
        self._at = at

    def on_train_batch_end(self, trainer: Any, *arguments: Any) -> None:
        self._at(trainer.global_step - 1)


def callback(**options: Any) -> TrackLogger:
    """Return the logger."""
    return TrackLogger(**options)


def pruned_by(trial: Any) -> Any:
    """Return Optuna's callback."""
    from optuna_integration import PyTorchLightningPruningCallback

    return PyTorchLightningPruningCallback(trial, "val_loss")


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False, more: Sequence[Any] = (), rate: float = 0.1,
) -> None:  # fmt: skip
    """Train."""
    saving = ModelCheckpoint(folder, filename="last", every_n_train_steps=1, save_top_k=1, enable_version_counter=False)
    callbacks = [*more, saving] if at is None else [*more, _At(at), saving]
    if early:
        callbacks.append(EarlyStopping("loss", patience=1, mode="max", check_on_train_epoch_end=True))
    trainer = pl.Trainer(
        max_steps=steps,
        devices=int(os.environ.get("WORLD_SIZE", "1")),
        logger=callback,
        log_every_n_steps=1,
        val_check_interval=1,
        callbacks=callbacks,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    data = torch.utils.data.DataLoader(torch.arange(256.0).reshape(64, 4) / 256, batch_size=4 if not early else 64)
    trainer.fit(_Line(rate), data, data if more else None, ckpt_path=folder / "last.ckpt" if resume else None)


def expected(steps: int) -> list[int]:
    """Return the steps: counted from 0."""
    return list(range(steps))
