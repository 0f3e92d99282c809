"""Ending a trial that does worse than the others did when they had come as far."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from track.errors import BackendUnavailable, InvalidSpec, Pruned
from track.monitor.hooks import Hook, Watching, numbers_in
from track.monitor.spec import Spec
from track.structure import Status
from track.suggesting import PRUNED_AT, optuna_package, quiet_optuna

logger = logging.getLogger(__name__)
_WAITING = ("registered", "submitted", "requeue", "createdgroup")
_STATES = {Status.Completed: "COMPLETE", Status.Exception: "FAIL", Status.Interrupted: "FAIL"}
_DIRECTIONS = {"min": "minimize", "max": "maximize"}
_NOTED = "pruning"


class Pruner(Hook):
    """Ends a trial that does worse than others of its group, by a pruner of Optuna (extra ``sweep``).

    The number is a curve of the trial, ``val_loss_by_epoch``, and the others are those of the trial's group that have
    such a curve: those of its set, whoever runs them, and wherever. Where the pruner says so, `Pruned` is raised in the
    body: the block of the trial, or the experiment, ends as ``pruned``, which is no error, and its sampler is told.
    Nothing is done in a trial without a group, and while the store is away.

    Parameters
    ----------
    spec: str
        One number, and when: ``^val_loss$@1e``.
    pruner: object, optional
        With ``prune(study, trial)``, as Optuna's have it; by default its ``MedianPruner``.
    direction: str
        What is better: ``min``, or ``max``.

    Raises
    ------
    InvalidSpec
        More than one number matches, or `direction` is neither (a ValueError too).
    MissingExtra
        Optuna is not installed.
    """

    writes = True

    def __init__(self, spec: str | Spec, pruner: Any = None, direction: str = "min") -> None:
        super().__init__(spec)
        if direction not in _DIRECTIONS:
            raise InvalidSpec(f"direction is min or max, not {direction!r}")
        package = optuna_package()
        self._direction = _DIRECTIONS[direction]
        self._pruner = package.pruners.MedianPruner() if pruner is None else pruner
        if not callable(getattr(self._pruner, "prune", None)):
            raise InvalidSpec(f"a pruner is one of Optuna's, or an object with prune(study, trial), not {pruner!r}")
        self._uid, self._curve = "", dict[int, float]()
        # Others that have ended, by uid, with the time at which they began.
        self._ended: dict[str, tuple[tuple[Any, str], Any]] = {}

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        numbers = {name: float(value) for name, value in numbers_in(var_dict).items()}
        trial = monitor.trial
        if trial is None or not numbers:
            return
        if len(numbers) > 1:
            raise InvalidSpec(f"{str(self)!r} is one number, not {len(numbers)}: {', '.join(numbers)}")
        ((name, value),) = numbers.items()
        # By the count of the hook: with batches of two sizes two trials have other steps after an epoch.
        trigger = self.trigger or "step"
        count, curve = monitor.position(trigger, trigger), f"{name}_by_{trigger}"
        trial.log_metrics(step=count, **{curve: value})
        try:
            is_pruned = not math.isnan(value) and self._is_pruned(trial, curve, count, value)
        except BackendUnavailable as error:
            logger.debug("the store is away, and nothing is pruned: %s", error)
            return
        if is_pruned:
            trial.log_metadata(None, **{PRUNED_AT: count})
            pruned = Pruned(f"{name} is {value:g} at {trigger} {count}: other trials did better")
            pruned.trial = self._uid
            raise pruned

    def _is_pruned(self, logger_of_trial: Any, curve: str, count: int, value: float) -> bool:
        own = logger_of_trial.trial
        if own.group_id is None:
            return False
        if own.uid != self._uid:
            self._uid, self._curve, self._ended = own.uid, _points(own, curve), {}
        self._curve[count] = value
        with quiet_optuna() as optuna:
            others = self._others(logger_of_trial.protocol, own, curve)
            attributes = own.metadata.get(_NOTED) or {}
            # The numbers are those of all processes, as far as they know of each other: by when a trial began.
            began = own.timestamps.get("started", math.inf)
            place = sum(one < (began, own.uid) for one, _ in others)
            mine = _frozen("RUNNING", self._curve, attributes)
            study = optuna.create_study(study_name=str(own.group_id), direction=self._direction, pruner=self._pruner)
            study.add_trials([*(one for _, one in others[:place]), mine, *(one for _, one in others[place:])])
            is_pruned = bool(self._pruner.prune(study, study.trials[place]))
            noted = study.trials[place].system_attrs
        if noted != attributes:
            # What a pruner notes of a trial, others of its kind have to know.
            logger_of_trial.log_metadata(None, **{_NOTED: dict(noted)})
        return is_pruned

    def _others(self, protocol: Any, own: Any, curve: str) -> list[tuple[tuple[Any, str], Any]]:
        """Return the other trials of the group, as Optuna has them, in the order in which they began."""
        known = [*self._ended, own.uid]
        query = [("group_id", own.group_id), ("uid", {"$nin": known}), ("status", {"$nin": list(_WAITING)})]
        found = dict(self._ended)
        for trial in protocol.brief_trials(query):
            points = _points(trial, curve)
            state = _STATES.get(trial.status, "PRUNED" if str(trial.status) == "pruned" else "RUNNING")
            if state == "COMPLETE" and not points:
                state = "FAIL"
            frozen = _frozen(state, points, trial.metadata.get(_NOTED) or {})
            found[trial.uid] = (trial.timestamps.get("started", math.inf), trial.uid), frozen
            if state in ("COMPLETE", "PRUNED"):
                self._ended[trial.uid] = found[trial.uid]
        return sorted(found.values(), key=lambda one: one[0])


def _points(trial: Any, curve: str) -> dict[int, float]:
    return {int(step): float(value) for step, value in trial.metrics.get(curve, {}).items() if not math.isnan(value)}


def _frozen(state: str, curve: Mapping[int, float], attributes: Mapping[str, Any]) -> Any:
    kinds = optuna_package().trial
    last = curve[max(curve)] if state == "COMPLETE" else None
    return kinds.create_trial(
        state=kinds.TrialState[state], value=last, intermediate_values=dict(curve), system_attrs=dict(attributes)
    )
