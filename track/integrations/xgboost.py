"""Trials of boosters of XGBoost: ``xgboost.train(..., callbacks=[TrackCallback()])``, ``cv`` and the estimators too."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xgboost.callback import TrainingCallback

from track.client import TrackClient
from track.integrations._recording import Recorded, Recording, checked_checkpoints, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]


class TrackCallback(Recorded, TrainingCallback):  # type: ignore[misc, unused-ignore]
    """Records what is evaluated after each round, with the booster's configuration as parameters.

    A number has the name that XGBoost prints (``eval-rmse``; of ``cv`` ``test-rmse-mean`` and ``test-rmse-std``), at
    the number of its round of the booster, from 0 on.

    Parameters
    ----------
    trial: TrialLogger, optional
        Where to; by default the trial whose block the program is in, else one of its own, which begins and ends with
        the training.
    client: TrackClient, optional
        In whose store, project and group its own trial is made; by default the store that is configured.
    key: str, optional
        Of its own trial, as for `TrackClient.open_trial`: a training that goes on with a booster (``xgb_model``) goes
        on with the trial of this key.
    checkpoints: {"best", "last"}, optional
        Whether the booster is kept with the trial at the end, as ``checkpoint-last``, or as far as its best round,
        which early stopping knows, as ``checkpoint-best``. None of `cv`.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^eval-rmse$@1s")]``.
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
        self._checkpoints = checked_checkpoints(checkpoints)
        self._before = 0

    def before_training(self, model: Any) -> Any:
        """Begin the trial."""
        self._begin(model)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Record what was evaluated."""
        self._record(epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """End the trial, where it is the callback's own."""
        self._end(model)
        return model

    @safely
    def _begin(self, model: Any) -> None:
        self._recording.end_left()
        self._recording.begin(_parameters(model))
        # XGBoost counts those of this training; what `cv` trains has none from before.
        self._before = getattr(model, "num_boosted_rounds", int)()
        if self._before:
            self._recording.resume(self._before)

    @safely
    def _record(self, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> None:
        found: dict[str, Any] = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                last = values[-1]
                if isinstance(last, tuple):
                    found |= {f"{data}-{metric}-mean": last[0], f"{data}-{metric}-std": last[1]}
                else:
                    found[f"{data}-{metric}"] = last
        self._recording.log(found, step=self._before + epoch, done={"step": self._before + epoch + 1})

    @safely
    def _end(self, model: Any) -> None:
        best = model.attributes().get("best_iteration") if hasattr(model, "attributes") else None
        if best is not None:
            self._recording.note(best_iteration=int(best))
        if self._checkpoints is not None and hasattr(model, "save_model"):
            kept = model if best is None or self._checkpoints == "last" else model[: int(best) + 1]
            with tempfile.TemporaryDirectory() as folder:
                kept.save_model(f"{folder}/model.ubj")
                self._recording.keep(f"{folder}/model.ubj", self._checkpoints)
        self._recording.end()


def _parameters(model: Any) -> dict[str, Any]:
    """Return the configuration of a booster, or of the first one of `cv`."""
    folds = getattr(model, "cvfolds", None)
    booster = folds[0].bst if folds else model
    return dict(_leaves(json.loads(booster.save_config())["learner"]))


def _leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif isinstance(value, str) and value:
            yield name, _read(value)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
