"""Trials of PyTorch Lightning: ``Trainer(logger=TrackLogger())``, and of Fabric: ``Fabric(loggers=[TrackLogger()])``.

Both packages are served, ``lightning`` and ``pytorch_lightning``: the one that the program has imported, else the first
that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from track.client import TrackClient
from track.integrations._recording import LoopLeft, Recorded, Recording, checked_checkpoints, safely
from track.logger import TrialLogger
from track.monitor import Hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["TrackLogger"]

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_RANKS = ("lightning.fabric.utilities.rank_zero", "lightning_fabric.utilities.rank_zero")


def _package() -> str:
    """Return the package that the program uses."""
    imported = [name for name in _PACKAGES if name in sys.modules]
    there = imported or [name for name in _PACKAGES if importlib.util.find_spec(name.partition(".")[0]) is not None]
    return there[0] if there else "lightning.pytorch"


_BASES = tuple(
    importlib.import_module(f"{name}.loggers").Logger for name in _PACKAGES if name in sys.modules or name == _package()
)


# Where Lightning says which rank this process has, before there is a strategy, too.
_ranked = next((sys.modules[place].rank_zero_only for place in _RANKS if place in sys.modules), None)


def _rank() -> int:
    return getattr(_ranked, "rank", 0) or 0


class TrackLogger(Recorded, *_BASES):  # type: ignore[misc, unused-ignore]
    """Records what a LightningModule logs, with its hyperparameters as parameters.

    The numbers keep their names, at Lightning's global step. Only the process of rank zero records. A training that
    goes on from a checkpoint goes on with its trial, and what is tested after a training belongs to the same trial. A
    training that begins anew with the same logger has another one.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`.
    checkpoints: {"best", "last", "all"}, optional
        Which checkpoints of a ``ModelCheckpoint`` are kept with the trial, as artifacts ``checkpoint-best``, ...
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^val_loss$@1e")]``.
    **fields
        Of its own trial: ``name="baseline"``, ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no trial, no client, no hook.
    """

    def __init__(
        self,
        trial: TrialLogger | None = None,
        *,
        client: TrackClient | None = None,
        key: str | None = None,
        checkpoints: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        super().__init__()
        self._recording = Recording(trial, client, key, fields, hooks)
        self._checkpoints = checked_checkpoints(checkpoints, ("best", "last", "all"))
        self._kept: dict[str, float] = {}
        self._resumed: tuple[str, int] | None = None
        self._has_fitted, self._is_another = False, False

    # what Lightning asks

    @property
    def name(self) -> str | None:
        """The name of the trial, which is a folder of checkpoints; None for none."""
        trial = self._recording.trial
        return None if trial is None else trial._created().name

    @property
    def version(self) -> str | None:
        """The beginning of the trial's uid, which is a folder of checkpoints; None before it has begun."""
        trial = self._recording.trial
        return None if trial is None else trial._created().uid[:12]

    @property
    def experiment(self) -> Any:
        """The trial: ``self.logger.experiment.log_metadata(...)``; on other ranks it takes everything and does nothing.

        Lightning looks at it before it knows from which checkpoint it goes on: the trial begins at the first call.
        """
        return _Experiment(self)

    # recording

    @safely
    def log_hyperparams(self, params: Any, *arguments: Any, **kwargs: Any) -> None:
        """Record parameters, and begin the trial."""
        if _rank() == 0:
            self._begun(params)

    @safely
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers."""
        if _rank() == 0:
            if self._resumed is not None or not self._recording.is_open:
                self._begun()
            done = {} if step is None else {"step": int(step) + 1}
            if "epoch" in metrics:
                done["epoch"] = int(metrics["epoch"]) + 1
            self._recording.log(metrics, step, done)

    @safely
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Begin the trial of a module that has no hyperparameters."""
        if _rank() == 0:
            self._begun()

    @safely
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Keep a checkpoint, where that was asked for."""
        if self._checkpoints is None or _rank() != 0:
            return
        best = checkpoint_callback.best_model_path
        newest = (
            checkpoint_callback.last_model_path or getattr(checkpoint_callback, "_last_checkpoint_saved", "") or best
        )
        paths = {"best": best, "last": newest} if self._checkpoints != "all" else {"": newest}
        for kind, path in paths.items():
            if path and kind in {"", self._checkpoints} and os.path.exists(path):
                written = os.stat(path).st_mtime_ns
                if self._kept.get(path) != written:
                    self._kept[path] = written
                    self._begun().log_artifact(path, name=f"checkpoint-{kind}" if kind else "checkpoint")

    @safely
    def finalize(self, status: str) -> None:
        """End the trial, where it is the logger's own: well, or by the exception that left the training."""
        if _rank() != 0 or self._recording.trial is None:
            return
        error = None if status == "success" else sys.exc_info()[1] or RuntimeError(f"the training ended as {status!r}")
        self._recording.end(error)

    def go_on_with(self, uid: str, step: int) -> None:
        """Let the training, which goes on from a checkpoint, go on with the trial of this uid, after this step."""
        self._resumed = uid, step

    def begin_fit(self, goes_on: bool) -> None:
        """Take note that a training begins: another one than before, which has another trial, unless it goes on."""
        self._is_another, self._has_fitted = self._has_fitted and not goes_on, True

    def _begun(self, parameters: Any = None) -> TrialLogger:
        uid, step = self._resumed or (None, None)
        self._resumed = None
        goes_on, self._is_another = not self._is_another, False
        return self._recording.begin(parameters, uid, step, end=_not_finalized, goes_on=goes_on)


def _not_finalized() -> LoopLeft:
    return LoopLeft("logger.finalize() was not called, as where an exception leaves a loop of the program's own")


class _Experiment:
    """The trial of a logger, which begins at the first use; nothing on the ranks that do not record."""

    def __init__(self, logger: TrackLogger) -> None:
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._logger._begun(), name) if _rank() == 0 else lambda *arguments, **named: None
