"""Trials of models that Keras 3 trains: ``model.fit(..., callbacks=[TrackCallback()])``."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

import keras

from track.client import TrackClient
from track.integrations._recording import Recorded, Recording, checked_checkpoints, checked_freq, numbers, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]


class TrackCallback(Recorded, keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Records the numbers of each epoch, with the configuration of optimizer and training as parameters.

    The numbers keep the names that Keras gives them (``loss``, ``val_loss``), at the number of the epoch, from 0 on.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`: a training that goes on, as with ``BackupAndRestore``, goes
        on with the trial of this key, from the epoch at which it begins again; with `freq` nothing is hidden.
    freq: int, optional
        Record the numbers every so many batches too, as ``batch_loss``, at the count of batches from 0 on.
    checkpoints: {"best", "last"}, optional
        Whether the model is kept with the trial at the end, as ``checkpoint-last``, or as it was after its best epoch,
        as ``checkpoint-best``.
    monitor: str, optional
        By which number an epoch is the best: the least of it. By default ``val_loss``, else ``loss``.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^val_loss$@1e")]``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client, no hook, no number of batches.
    """

    def __init__(
        self,
        trial: TrialLogger | None = None,
        *,
        client: TrackClient | None = None,
        key: str | None = None,
        freq: int | None = None,
        checkpoints: str | None = None,
        monitor: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        super().__init__()
        self._recording = Recording(trial, client, key, fields, hooks)
        self._checkpoints, self._monitor = checked_checkpoints(checkpoints), monitor
        self._best, self._folder = math.inf, ""
        self._freq, self._batches, self._is_first = checked_freq(freq), 0, True
        if freq is not None:
            # Keras reads its numbers after each batch where any callback wants to hear of batches, which takes longer
            # than to record them.
            self.on_train_batch_end = self._record_batch

    @safely
    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the trial."""
        self._is_first, self._batches = True, 0
        self._best, self._folder = math.inf, ""
        self._recording.end_left()
        self._recording.begin(self._parameters())

    @safely
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Take note of the epoch from which a training goes on."""
        if self._is_first and epoch > 0:
            self._go_on(epoch)
        self._is_first = False

    def _go_on(self, epoch: int) -> None:
        if self._freq is None:
            self._recording.resume(epoch)
            return
        # Batches are counted beside epochs: no step divides both. What is computed again takes the place of the first.
        self._batches = epoch * ((self.params or {}).get("steps") or 0)

    @safely
    def _record_batch(self, batch: int, logs: Any = None) -> None:
        """Record the numbers of a batch, where that was asked for."""
        step = self._batches
        self._batches = step + 1
        if self._freq is not None and step % self._freq == 0:
            named = {f"batch_{name}": value for name, value in (logs or {}).items()}
            self._recording.log(named, step=step, done={"step": step + 1})

    @safely
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record the numbers of an epoch, and the learning rate."""
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        known = {} if rate is None else numbers({"learning_rate": keras.ops.convert_to_numpy(rate)})
        self._recording.log({**known, **(logs or {})}, step=epoch, done={"epoch": epoch + 1})
        if self._checkpoints == "best":
            self._save_best(logs or {})

    @safely
    def on_train_end(self, logs: Any = None) -> None:
        """End the trial, where it is the callback's own."""
        if self._checkpoints == "last":
            self._save()
        if self._folder:
            self._recording.keep(f"{self._folder}/model.keras", str(self._checkpoints))
            shutil.rmtree(self._folder, ignore_errors=True)
        self._recording.end()

    def _save_best(self, logs: dict[str, Any]) -> None:
        name = self._monitor or ("val_loss" if "val_loss" in logs else "loss")
        if logs.get(name, math.nan) < self._best:
            self._best = logs[name]
            self._save()

    def _save(self) -> None:
        self._folder = self._folder or tempfile.mkdtemp(prefix="track-keras-")
        self.model.save(f"{self._folder}/model.keras")

    def _parameters(self) -> dict[str, Any]:
        optimizer = getattr(self.model, "optimizer", None)
        found = {"model": self.model.name, "weights": self.model.count_params() if self.model.built else None}
        if optimizer is not None:
            found["optimizer"] = optimizer.get_config()
        loss = getattr(self.model, "loss", None)
        if loss is not None:
            found["loss"] = loss if isinstance(loss, str) else getattr(loss, "name", None) or type(loss).__name__
        return {**(self.params or {}), **found}
