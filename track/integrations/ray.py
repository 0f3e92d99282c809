"""Trials of Ray Tune: ``RAY_TUNE_CALLBACKS=track.integrations.ray.TrackCallback``, or ``callbacks=[...]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.logger import LoggerCallback
from ray.tune.trainable.function_trainable import FunctionTrainable

from track.client import TrackClient
from track.integrations._recording import Recording, numbers, safely
from track.logger import TrialLogger

__all__ = ["TrackCallback", "TrialFailed"]

_OF_THE_PROCESS = {"done", "pid", "should_checkpoint", "timestamp"}


class TrackCallback(LoggerCallback):  # type: ignore[misc, unused-ignore]
    """Records each trial of Tune as a trial, from the program that started it, with its configuration as parameters.

    What is reported is at Tune's ``training_iteration``. A trial that Tune restores goes on. What a scheduler stops, as
    ASHA does, is pruned where another trial has got further: who comes to a scheduler's ``max_t`` has completed. What
    ends by a criterion of the run, or of a ``Stopper``, and what a class says to be done, has completed, too: of a
    class Tune does not tell whether a scheduler has stopped it.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group trials are made; by default the store that is configured.
    **fields
        Of each trial: ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field, or what is given is no client.
    """

    def __init__(self, client: TrackClient | None = None, **fields: Any) -> None:
        super().__init__()
        self._recording = Recording(None, client, None, fields)
        self._fields = fields
        self._trials: dict[str, TrialLogger] = {}
        self._stopper: Any = None
        self._furthest = 0
        self._stopped: dict[str, int] = {}

    def setup(self, stop: Any = None, **info: Any) -> None:
        """Take note of what the run itself says about when a trial ends."""
        super().setup(stop=stop, **info)
        self._stopper = None if not stop or isinstance(stop, Mapping) else stop

    @safely
    def log_trial_start(self, trial: Any) -> None:
        """Begin a trial, or go on with it."""
        key = f"ray {trial.experiment_dir_name} {trial.trial_id}"
        fields = {"name": str(trial), "parameters": dict(trial.config), **self._fields}
        logger = self._recording.client().open_trial(key, **fields)
        logger.start()
        logger.log_metadata(None, experiment=trial.experiment_dir_name, ray_trial=trial.trial_id)
        self._trials[trial.trial_id] = logger

    @safely
    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Record what a trial reports."""
        logger = self._trials.get(trial.trial_id)
        reached = result.get("training_iteration", iteration)
        self._furthest = max(self._furthest, reached)
        if result.get("done") and self._is_stopped_by_scheduler(trial, result):
            self._stopped[trial.trial_id] = reached
        if logger is not None:
            values = {name: value for name, value in result.items() if name not in {*_OF_THE_PROCESS, "config"}}
            logger.log_metrics(numbers(values), step=result.get("training_iteration", iteration))

    @safely
    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End a trial: well, or by what Tune knows of its error."""
        logger = self._trials.pop(trial.trial_id, None)
        if logger is None:
            return
        if not failed:
            if self._stopped.pop(trial.trial_id, self._furthest) < self._furthest:
                logger.set_status("pruned")
            logger._finish(None, None, None)
            return
        error = TrialFailed(_said_of(trial) or "Tune says of the trial that it has failed, and not how")
        logger.finish(TrialFailed, error, None)

    def _is_stopped_by_scheduler(self, trial: Any, result: dict[str, Any]) -> bool:
        # Of a function that has ended Tune tells no result that is the last one.
        if self._stopper is not None or not issubclass(trial.get_trainable_cls(), FunctionTrainable):
            return False
        criteria = trial.stopping_criterion or {}
        return not any(name in result and result[name] >= limit for name, limit in criteria.items())


class TrialFailed(RuntimeError):
    """A trial of Tune has failed, in a process of its own."""


def _said_of(trial: Any) -> str:
    """Return the last line of the error of a trial, which Tune writes into its folder."""
    path = trial.error_file
    text = Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).is_file() else ""
    return text.strip().rpartition("\n")[2]
