"""Trials of fastai: ``Learner(..., cbs=TrackCallback())``, or ``learner.fit(5, cbs=TrackCallback())``."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from fastai.callback.core import Callback
from fastai.torch_core import rank_distrib

from track.client import TrackClient
from track.integrations._recording import Recorded, Recording, checked_checkpoints, checked_freq, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]


class TrackCallback(Recorded, Callback):  # type: ignore[misc, unused-ignore]
    """Records what the ``Recorder`` of a learner records after each epoch, with the learner's arguments as parameters.

    The numbers keep the names of the recorder (``train_loss``, ``valid_loss``, ``accuracy``), at the number of the
    epoch, from 0 on. Only the process of rank zero records; a search for a learning rate and predictions do not.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`.
    freq: int, optional
        Record the loss every so many batches too, as ``batch_loss``, at the count of batches from 0 on.
    checkpoints: {"best", "last"}, optional
        Whether what ``learner.save`` writes is kept with the trial at the end, as ``checkpoint-last``, or as it was
        after its best epoch, as ``checkpoint-best``.
    monitor: str, optional
        By which number an epoch is the best: the least of it. By default ``valid_loss``, else ``train_loss``.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^valid_loss$@1e")]``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client, no hook, no number of batches.
    """

    order = 60
    """After the recorder."""

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
        self._freq = checked_freq(freq)
        self._checkpoints, self._monitor = checked_checkpoints(checkpoints), monitor
        self._best, self._folder = math.inf, ""

    @safely
    def before_fit(self) -> None:
        """Begin the trial."""
        self.run = not hasattr(self.learn, "lr_finder") and not hasattr(self, "gather_preds") and rank_distrib() == 0
        self._best, self._folder = math.inf, ""
        if self.run:
            self._recording.end_left()
            self._recording.begin(self._parameters())

    @safely
    def after_batch(self) -> None:
        """Record the loss of a batch, where that was asked for."""
        if self._freq is not None and self.learn.training and (self.learn.train_iter - 1) % self._freq == 0:
            # The learner has counted this one already.
            step = self.learn.train_iter - 1
            self._recording.log({"batch_loss": self.learn.loss.detach()}, step=step, done={"step": step + 1})

    @safely
    def after_epoch(self) -> None:
        """Record the numbers of an epoch."""
        recorder = self.learn.recorder
        values = dict(zip(recorder.metric_names, recorder.log, strict=False))
        values.pop("epoch", None)
        values["lr"] = self.learn.opt.hypers[-1]["lr"]
        self._recording.log(values, step=self.learn.epoch, done={"epoch": self.learn.epoch + 1})
        if self._checkpoints == "best":
            self._save_best(values)

    @safely
    def after_fit(self) -> None:
        """End the trial, where it is the callback's own."""
        if self._checkpoints == "last":
            self._save()
        if self._folder:
            self._recording.keep(f"{self._folder}/model.pth", str(self._checkpoints))
            shutil.rmtree(self._folder, ignore_errors=True)
        self._recording.end()

    def _save_best(self, values: dict[str, Any]) -> None:
        name = self._monitor or ("train_loss" if values.get("valid_loss") is None else "valid_loss")
        value = float(values.get(name, math.nan))
        if value < self._best:
            self._best = value
            self._save()

    def _save(self) -> None:
        self._folder = self._folder or tempfile.mkdtemp(prefix="track-fastai-")
        self.learn.save(f"{self._folder}/model")

    def _parameters(self) -> dict[str, Any]:
        learn = self.learn
        known = {"epochs": learn.n_epoch, "lr": learn.lr, "wd": learn.wd, "bs": getattr(learn.dls, "bs", None)}
        named = {"model": type(learn.model), "loss_func": learn.loss_func, "opt_func": learn.opt_func}
        return {**known, **{name: getattr(one, "__name__", type(one).__name__) for name, one in named.items()}}
