"""Trials of the Trainer of Hugging Face Transformers.

``Trainer(..., callbacks=[TrackCallback()])``, or ``report_to="track"`` once this module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import integration_utils
from transformers.trainer_callback import ExportableState

from track.client import TrackClient
from track.integrations._recording import Recorded, Recording, checked_checkpoints, safely
from track.logger import TrialLogger
from track.monitor import Hook

__all__ = ["TrackCallback"]


class TrackCallback(Recorded, TrainerCallback, ExportableState):  # type: ignore[misc, unused-ignore]
    """Records what a Trainer logs, with its arguments and the model's configuration as parameters.

    The numbers keep the names that the Trainer gives them (``loss``, ``eval_loss``), at its global step. Only the
    process of rank zero records. A training that goes on from a checkpoint goes on with its trial.

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
        Which checkpoints of the Trainer are kept with the trial: at its end as ``checkpoint-best``, which it knows by
        its ``metric_for_best_model``, or ``checkpoint-last``; or (also ``True``) each, once it is written, as a new
        version of ``checkpoint``.
    hooks: iterable of Hook
        Of `track.monitor`, called with the numbers: ``hooks=[Pruner("^eval_loss$@1s")]``.
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
        checkpoints: str | bool | None = None,
        hooks: Iterable[Hook] = (),
        **fields: Any,
    ) -> None:
        self._recording = Recording(trial, client, key, fields, hooks)
        self._checkpoints = checked_checkpoints(checkpoints, ("best", "last", "all", True, False))
        self._newest = ""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: which trial it belongs to."""
        trial = self._recording.trial
        return {"args": {}, "attributes": {"trial": None if trial is None else trial._created().uid}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TrackCallback:
        """Return a new callback: the trial that a checkpoint names is found when the training goes on."""
        return cls()

    @safely
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Begin the trial."""
        if not state.is_world_process_zero:
            return
        noted = (state.stateful_callbacks or {}).get(type(self).__name__) or {}
        uid = noted.get("attributes", {}).get("trial") if isinstance(noted, dict) else None
        parameters = args.to_sanitized_dict()
        config = getattr(model, "config", None)
        if config is not None and hasattr(config, "to_dict"):
            parameters["model"] = config.to_dict()
        resumed = state.global_step if state.global_step else None
        self._recording.end_left()
        self._recording.begin(parameters, uid if resumed else None, None if resumed is None else resumed + 1)

    @safely
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record numbers."""
        if state.is_world_process_zero:
            done = {"step": state.global_step, "epoch": int(state.epoch or 0)}
            self._recording.log(logs or {}, step=state.global_step, done=done)

    @safely
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep a checkpoint, where that was asked for."""
        trial = self._recording.trial
        self._newest = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if self._checkpoints in {"all", True} and state.is_world_process_zero and trial is not None:
            trial.log_directory(self._newest, recursive=True, artifact="checkpoint")

    @safely
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the trial, where it is the callback's own."""
        if state.is_world_process_zero:
            if state.best_metric is not None:
                self._recording.note(best_metric=state.best_metric, best_checkpoint=state.best_model_checkpoint)
            kept = {"best": state.best_model_checkpoint, "last": self._newest}.get(self._checkpoints)
            if kept:
                self._recording.keep(kept, self._checkpoints)
            self._recording.end()


integration_utils.INTEGRATION_TO_CALLBACK.update(track=TrackCallback)
