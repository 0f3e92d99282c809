"""Trials of Optuna: ``study.optimize(objective, callbacks=[TrackCallback()])``, or live, by `track_objective`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import optuna
from optuna.trial import TrialState

from track.client import TrackClient
from track.integrations._recording import Recording, numbers, safely
from track.logger import TrialLogger

__all__ = ["TrackCallback", "track_objective"]
_TRACKED = "track"
Objective = TypeVar("Objective", bound=Callable[..., Any])


class TrackCallback:
    """Records each trial of a study as a trial, once it has ended.

    With its parameters, the values it reported at their steps (``intermediate``), and its value (``value``, or
    ``value_0``, ... of several objectives); as completed, as pruned, or as failed. A trial that `track_objective` has
    recorded already is not recorded again.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group trials are made; by default the store that is configured.
    metric_name: str or list of str
        What the values are called.
    **fields
        Of each trial: ``tags={...}``.

    Raises
    ------
    InvalidCall
        There is no such field.
    """

    def __init__(
        self, client: TrackClient | None = None, *, metric_name: str | list[str] = "value", **fields: Any
    ) -> None:
        self._recording = Recording(None, client, None, fields)
        self._metric_name = metric_name

    @safely
    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Record a trial that has ended."""
        if _TRACKED in trial.user_attrs:
            return
        logger = self._recording.new_trial(trial.params)
        logger.start()
        _describe(logger, study, trial)
        for step, value in sorted(trial.intermediate_values.items()):
            logger.log_metrics(step=step, intermediate=value)
        if trial.values is not None:
            _log_values(logger, trial.values, self._metric_name)
        if trial.state is TrialState.PRUNED:
            logger.set_status("pruned")
        error = _Failed("the objective has failed") if trial.state is TrialState.FAIL else None
        logger._finish(None if error is None else type(error), error, None)


class _Failed(RuntimeError):
    """Optuna says of a trial that it has failed, and not how."""


def track_objective(
    client: TrackClient | None = None, *, metric_name: str | list[str] = "value", **fields: Any
) -> Callable[[Objective], Objective]:
    """Record each trial of a study while it runs: the objective runs in the block of its trial.

    So what the objective does with trackers, callbacks and hooks belongs to its trial, an exception is its end, with
    its text, and ``TrialPruned`` ends it as pruned.

    Parameters
    ----------
    client: TrackClient, optional
        In whose store, project and group trials are made; by default the store that is configured.
    metric_name: str or list of str
        What the values are called.
    **fields
        Of each trial: ``tags={...}``.

    Returns
    -------
    callable
        Takes an objective and returns the one to optimize.

    Examples
    --------
    >>> from track import TrackClient
    >>> client = TrackClient("ephemeral:")
    >>> @track_objective(client)
    ... def objective(trial):
    ...     return trial.suggest_float("x", -1, 1) ** 2
    """
    recording = Recording(None, client, None, fields)

    def decorate(objective: Objective) -> Objective:
        @functools.wraps(objective)
        def tracked(trial: optuna.Trial, *arguments: Any, **named: Any) -> Any:
            logger = recording.new_trial({})
            _follow(trial, logger)
            with logger:
                try:
                    value = objective(trial, *arguments, **named)
                    _log_values(logger, value if isinstance(value, (list, tuple)) else [value], metric_name)
                    return value
                finally:
                    logger.protocol.log_trial_arguments(logger._created(), **trial.params)
                    _describe(logger, trial.study, trial)

        return tracked  # type: ignore[return-value]

    return decorate


def _follow(trial: optuna.Trial, logger: TrialLogger) -> None:
    """Note in a trial of Optuna which trial it is, and record what it reports."""
    report = trial.report

    def reported(value: float, step: int) -> None:
        report(value, step)
        logger.log_metrics(step=step, intermediate=value)

    trial.report = reported  # type: ignore[method-assign]
    trial.set_user_attr(_TRACKED, logger._created().uid)


def _describe(logger: TrialLogger, study: optuna.Study, trial: Any) -> None:
    logger.log_metadata(None, study=study.study_name, number=trial.number)


def _log_values(logger: TrialLogger, values: Sequence[Any], metric_name: str | list[str]) -> None:
    names = [metric_name] if isinstance(metric_name, str) else metric_name
    if len(values) > len(names):
        names = [f"{names[0]}_{number}" for number in range(len(values))]
    logger.log_metrics(numbers(dict(zip(names, values, strict=False))))
