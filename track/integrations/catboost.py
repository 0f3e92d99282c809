"""Trials of CatBoost: ``model.fit(data, callbacks=[TrackCallback(model=model)])``."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable
from typing import Any

import catboost

from track.client import TrackClient
from track.errors import InvalidCall
from track.integrations._recording import LoopLeft, Recorded, Recording, checked_checkpoints, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]

_ITERATIONS = ("iterations", "num_boost_round", "n_estimators", "num_trees")
_DEFAULT = 1000


class TrackCallback(Recorded):
    """Records what is evaluated after each iteration, with the parameters of the model.

    A number is named after its data and its metric, ``validation/RMSE``, at the number of its iteration, from 0 on.
    CatBoost says neither with which parameters it trains nor when it has ended: both are known of a `model`. What was
    stopped early, or left by an exception, is ended by the next training, or with the program.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    model: catboost.CatBoost, optional
        The model that is fitted.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`.
    checkpoints: {"best", "last"}, optional
        Whether the `model` is kept with the trial when that ends well: as it was fitted, as ``checkpoint-last``, or up
        to its best iteration, as ``checkpoint-best``. CatBoost gives it only after its last iteration: a trial of its
        own is ended by the next training then, or with the program.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^validation/RMSE$@1s")]``.
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
        model: catboost.CatBoost | None = None,
        client: TrackClient | None = None,
        key: str | None = None,
        checkpoints: str | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, key, fields, hooks)
        self._has_begun = False
        self.model = model
        self._checkpoints = checked_checkpoints(checkpoints)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: there it is another model."""
        return {**vars(self), "model": None}

    def after_iteration(self, info: Any) -> bool:
        """Record what was evaluated, and let the training go on."""
        self._record(info)
        return True

    @safely
    def _record(self, info: Any) -> None:
        parameters = {} if self.model is None else self.model.get_params()
        if not self._has_begun or info.iteration == 1:
            self._begin(parameters, info.iteration - 1)
        found = {f"{data}/{metric}": values[-1] for data, by in info.metrics.items() for metric, values in by.items()}
        self._recording.log(found, step=info.iteration - 1, done={"step": info.iteration})
        if self.model is not None and info.iteration == _iterations(parameters):
            self._has_begun = False
            if self._checkpoints is None:
                self._recording.end()

    def _begin(self, parameters: dict[str, Any], step: int) -> None:
        self._has_begun = True
        self._recording.end_left()
        model = None if self.model is None else weakref.ref(self.model)
        self._recording.begin(parameters, end=lambda: None if model is None else _outcome(model()))
        if step:
            self._recording.resume(step)
        fitted = self.model
        if self._checkpoints is not None:
            self._recording.at_end(lambda: self._keep(fitted))

    def _keep(self, model: Any) -> None:
        if model is None:
            raise InvalidCall("a checkpoint is kept of a model: TrackCallback(model=model, checkpoints=...)")
        if not model.is_fitted():
            return
        best = model.get_best_iteration()
        if self._checkpoints == "best" and best is not None and best + 1 < model.tree_count_:
            model = model.copy()
            model.shrink(best + 1)
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(f"{folder}/model.cbm")
            self._recording.keep(f"{folder}/model.cbm", str(self._checkpoints))


def _iterations(parameters: dict[str, Any]) -> Any:
    """Return how many iterations a model is trained for, under whichever of its names that is given."""
    return next((parameters[name] for name in _ITERATIONS if name in parameters), _DEFAULT)


def _outcome(model: Any) -> BaseException | None:
    """Return how the training of a model ended that has not come to its last iteration: None for well, or unknown."""
    if model is None or model.is_fitted():
        return None
    return LoopLeft()
