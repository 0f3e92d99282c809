"""Sweeps that choose the next trial by what is known of the others, one at a time, as Optuna suggests.

What is to be searched stands in the metadata of the set's group, so any worker goes on with it. The trials of a sweep
have the numbers 0, 1, 2, ... below its budget, and the hash of one is made of its number: whoever stores it first has
it, so there are never more than the budget, whoever asks.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from track.errors import BackendUnavailable, InvalidCall
from track.experiment.parts import folder_name, messages_in, name_of
from track.front import store_trial
from track.manager.grid import Range, Space
from track.manager.registering import Asked, Template, name_of_overrides, new_trial, template_of
from track.manager.sets import ExperimentSet
from track.metrics import briefs_of
from track.persistence.protocol import Protocol
from track.shown import shown
from track.structure import Project, Trial, TrialGroup
from track.suggesting import PRUNED_AT, optuna_package, quiet_optuna
from track.versioning import compute_hash
from track.yaml12 import Commented

logger = logging.getLogger(__name__)
_PREFIX = "sampling."
TPE = "tpe"
_METHODS = ("infer_relative_search_space", "sample_relative", "sample_independent")
_DIRECTIONS = {"min": "minimize", "max": "maximize"}
_WINDOW = 64
_ENDED = ("finished", "error", "stopped", "timeout", "pruned")
_objects: dict[str, Any] = {}
"""The samplers that this process was given as objects, by the name of their class."""
_kept: weakref.WeakKeyDictionary[Protocol, dict[tuple[str, str], Study]] = weakref.WeakKeyDictionary()


# declaring


def declare(
    experiments: ExperimentSet,
    space: Space,
    asked: Asked,
    *,
    trials: int,
    sampler: Any,
    goal: str | None,
    seed: int,
    name: str | None,
) -> None:
    """Let workers make so many more trials, as a sampler suggests; one that is there already has a greater budget then.

    Raises
    ------
    InvalidCall
        There is no such sampler or goal, or nothing to search (a ValueError too).
    """
    if not any(isinstance(values, Range) or len(values) > 1 for values in space.values()):
        raise InvalidCall("a sampler needs something to search: a range, as in 'lr: 1e-5 .. 1e-1 log', or alternatives")
    _direction_and_name(goal)
    wanted = {
        "space": _space_as_data(space), "sampler": sampler_name(sampler), "goal": goal, "seed": seed,
        "name": name or "",
    }  # fmt: skip
    template = template_of(experiments, asked)
    # A worker that makes the trials may have no disk in common with this process.
    made_of = {
        "defaults": dict(template.defaults), "shared": template.shared, "purpose": asked.purpose,
        "header": asked.header, "shell": asked.shell,
    }  # fmt: skip
    with experiments.locked():
        protocol, _, group = experiments.store()
        known = samplings(group)
        same = (key for key, one in known.items() if all(one.get(field) == wanted[field] for field in wanted))
        key = next(same, str(len(known)))
        budget = trials + int(known[key]["budget"] if key in known else 0)
        named: Any = {_PREFIX + key: {**wanted, **made_of, "budget": budget}}
        protocol.set_group_metadata(group, **named)
        protocol.flush()


def samplings(group: TrialGroup) -> dict[str, dict[str, Any]]:
    """Return what is to be searched in a group, by its key."""
    named = ((name.removeprefix(_PREFIX), value) for name, value in group.metadata.items() if name.startswith(_PREFIX))
    found = {key: value for key, value in named if key.isdecimal() and isinstance(value, dict) and "budget" in value}
    return {key: found[key] for key in sorted(found, key=int)}


def _space_as_data(space: Space) -> list[Any]:
    # A list: the order is the order of the name.
    return [
        [name, {"low": values.low, "high": values.high, "log": values.is_log} if isinstance(values, Range) else values]
        for name, values in space.items()
    ]


def _direction_and_name(goal: Any) -> tuple[str, str]:
    way, _, name = goal.partition(":") if isinstance(goal, str) else ("", "", "")
    if way not in _DIRECTIONS or not name.strip():
        raise InvalidCall(
            f"a sampler needs a goal: goal='min:NAME' or 'max:NAME' of a message or metric, not {shown(goal)}"
        )
    return _DIRECTIONS[way], name.strip()


def sampler_name(sampler: Any) -> str:
    """Return what a sampler is called in the store: ``tpe``, or ``module:name``.

    Raises
    ------
    InvalidCall
        It is no sampler (a ValueError too).
    MissingExtra
        Optuna is not installed.
    """
    optuna_package()
    if isinstance(sampler, str):
        if sampler != TPE:
            _imported(sampler)
        return sampler
    kind = sampler if isinstance(sampler, type) else type(sampler)
    if not _is_sampler(sampler):
        raise InvalidCall(f"a sampler is 'tpe', 'module:name', or an object as Optuna's samplers, not {shown(sampler)}")
    name = f"{kind.__module__}:{kind.__qualname__}"
    if sampler is not kind:
        _objects[name] = sampler
        logger.warning(
            "only this process asks this sampler; others make one by %s(): give 'module:name' to share its settings",
            name,
        )
    return name


def _is_sampler(found: Any) -> bool:
    return all(callable(getattr(found, method, None)) for method in _METHODS)


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidCall(f"there is no sampler {shown(name)}: {error}") from error
    # Whatever else the name of a module may lead to is not called.
    if not _is_sampler(found):
        raise InvalidCall(f"{shown(name)} is no sampler: it lacks {', '.join(_METHODS)}")
    return found


# asking


def next_sampled(protocol: Protocol, group: TrialGroup, root: str) -> Trial | None:
    """Return a new trial of a sweep of a group, which waits to be run; None where all are made, or none is declared.

    Parameters
    ----------
    protocol: Protocol
        The store; what is known of the trials is kept as long as the object lives.
    group: TrialGroup
        That of the set.
    root: str
        The path of the set, in which the trial will have a folder.

    Raises
    ------
    BackendUnavailable
        The store is away: only it can say which number is free.
    """
    stored = protocol.get_trial_group(group)
    if stored is None:
        return None
    studies = _kept.setdefault(protocol, {})
    for key, sampling in samplings(stored).items():
        study = studies.get((stored.uid, key))
        if study is None:
            study = studies[stored.uid, key] = Study(stored, key, sampling)
        trial = study.next_trial(protocol, int(sampling["budget"]), root)
        if trial is not None:
            return trial
    return None


class _Asked(NamedTuple):
    """A trial as Optuna has it."""

    number: int
    params: dict[str, Any]


class Study:
    """What is known of the trials of one sweep, kept between two suggestions."""

    def __init__(self, group: TrialGroup, key: str, sampling: Mapping[str, Any]) -> None:
        self._group, self._key, self._sampling = group, key, sampling
        direction, self._goal = _direction_and_name(sampling["goal"])
        self._choices = {name: values for name, values in sampling["space"] if isinstance(values, list)}
        self._distributions = dict(_distributions(sampling["space"]))
        self._names = [name for name, _ in sampling["space"]]
        self._turn = threading.Lock()
        # The trials that have not ended, with what Optuna calls them and has suggested.
        self._open: dict[int, _Asked | None] = {}
        self._count = 0
        self._next = 0
        with quiet_optuna() as optuna:
            self._study = optuna.create_study(direction=direction, sampler=self._sampler(0))

    def next_trial(self, protocol: Protocol, budget: int, root: str) -> Trial | None:
        """Return a new trial; None where there are as many as there may be."""
        with self._turn, quiet_optuna():
            self._learn(protocol, budget)
            while self._next < budget:
                trial = self._make(protocol, self._next, root)
                if trial is not None:
                    return trial
                # Another worker has this number; the next suggestion is another one.
                self._learn(protocol, budget)
        return None

    def _make(self, protocol: Protocol, number: int, root: str) -> Trial | None:
        self._study.sampler = self._sampler(number)
        suggested = self._study.ask(self._distributions)
        asked = _Asked(self._count, dict(suggested.params))
        self._count += 1
        trial = self._trial(number, self._decoded(asked.params), root)
        project = Project(name=self._group.project_id)
        trial.project_id, trial.group_id = project.uid, self._group.uid
        try:
            stored = store_trial(protocol, trial, False, project, self._group)
        except BaseException:
            self._tell(asked, "FAIL")
            raise
        if stored is None:
            self._tell(asked, "FAIL")
            self._open[number], self._next = None, number + 1
            return None
        if stored.revision != 0:
            # Made while the server is away, which may know the number already.
            protocol.delete_trial(stored)
            self._tell(asked, "FAIL")
            raise BackendUnavailable(f"{protocol!r} is away: only the store can say which trial is the next one")
        self._open[number], self._next = asked, number + 1
        return stored

    def _trial(self, number: int, values: dict[str, Any], root: str) -> Trial:
        sampling = self._sampling
        asked = Asked(sampling["purpose"], sampling["header"], sampling["shell"])
        template = Template(Commented(sampling["defaults"]), sampling["shared"], asked)
        of_sweep = "" if self._key == "0" else f"{self._key}."
        name = folder_name(f"t{of_sweep}{number:04}__{sampling['name'] or name_of_overrides(values)}")
        return new_trial(template, os.path.join(root, name), values, self._digest(number))

    def _digest(self, number: int) -> str:
        return compute_hash("sampled", self._group.uid, self._key, number)

    def _sampler(self, number: int) -> Any:
        """Return a sampler whose chance is that of one number: two that ask at once get two answers."""
        name, seed = self._sampling["sampler"], self._sampling["seed"]
        chance = int(compute_hash("seed", self._group.uid, self._key, seed, number)[:8], 16)
        if name == TPE:
            return optuna_package().samplers.TPESampler(seed=chance, constant_liar=True)
        found = _objects.get(name) or _imported(name)
        if not isinstance(found, type):
            if number == 0:
                found.reseed_rng()
            return found
        return found(seed=chance)

    # what has become of the others

    def _learn(self, protocol: Protocol, budget: int) -> None:
        """Take what the store knows of trials that had not ended, and of new ones."""
        while True:
            window = range(self._next, min(self._next + _WINDOW, budget))
            numbers = {f"{self._digest(number)}_0": number for number in (*self._open, *window)}
            if not numbers:
                return
            found = protocol.brief_trials({"uid": {"$in": list(numbers)}})
            for trial in found:
                self._take(numbers[trial.uid], trial)
            new = [numbers[trial.uid] for trial in found if numbers[trial.uid] >= self._next]
            if not new:
                return
            self._next = max(new) + 1

    def _take(self, number: int, trial: Trial) -> None:
        status = name_of(trial.status)
        has_ended, asked = status in _ENDED, self._open.get(number)
        if asked is None:
            asked = self._add(self._encoded(trial.parameters))
        if not has_ended:
            self._open[number] = asked
            return
        self._open.pop(number, None)
        if asked is None:
            return
        # A person may have changed the parameters before it ran.
        params, state, value = self._encoded(trial.parameters), *self._outcome(trial, status)
        if state == "PRUNED":
            self._tell(asked, "FAIL")
            self._add(params, (int(trial.metadata[PRUNED_AT]), value))
            return
        if params != asked.params:
            self._tell(asked, "FAIL")
            asked = self._add(params)
        if asked is not None:
            self._tell(asked, state, value)

    def _add(self, params: dict[str, Any] | None, pruned: tuple[int, float | None] | None = None) -> _Asked | None:
        """Let Optuna know of a trial that somebody else has made; it runs, or was pruned at a count with a value."""
        if params is None:
            return None
        kinds = optuna_package().trial
        state, values = ("RUNNING", {}) if pruned is None else ("PRUNED", dict([pruned]))
        self._study.add_trial(
            kinds.create_trial(
                state=kinds.TrialState[state],
                params=params,
                distributions=self._distributions,
                intermediate_values=values,
            )
        )
        self._count += 1
        return _Asked(self._count - 1, params)

    def _outcome(self, trial: Trial, status: str) -> tuple[str, float | None]:
        """Return how a trial has ended, in Optuna's words, and what it was worth."""
        if status not in ("finished", "pruned"):
            return "FAIL", None
        value = messages_in(trial.metadata).get(self._goal)
        if value is None:
            brief = briefs_of(trial.metrics).get(self._goal)
            value = None if brief is None else brief.last
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            logger.warning("trial %r has no %r that is a number: nothing is learned of it", trial.name, self._goal)
            return "FAIL", None
        # It is compared with others that came as far, not with those that came to their end.
        is_cut = status == "pruned" and isinstance(trial.metadata.get(PRUNED_AT), int)
        return "PRUNED" if is_cut else "COMPLETE", float(value)

    def _tell(self, asked: _Asked, state: str, value: float | None = None) -> None:
        self._study.tell(asked.number, value, state=optuna_package().trial.TrialState[state])

    # parameters as Optuna has them

    def _decoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: self._choices[name][params.get(name, 0)] if name in self._choices else params[name]
            for name in self._names
        }

    def _encoded(self, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what Optuna would have suggested for parameters; None where it could not have."""
        found = {}
        for name, distribution in self._distributions.items():
            value = parameters.get(name)
            if name in self._choices:
                written = [repr(choice) for choice in self._choices[name]]
                if repr(value) not in written:
                    return None
                value = written.index(repr(value))
            elif not (isinstance(value, (int, float)) and distribution._contains(value)):
                return None
            found[name] = value
        return found


def _distributions(space: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    kinds = optuna_package().distributions
    for name, values in space:
        if isinstance(values, list):
            if len(values) > 1:
                # Their places: Optuna's own alternatives are numbers and texts only.
                yield name, kinds.CategoricalDistribution(range(len(values)))
            continue
        is_whole = isinstance(values["low"], int)
        kind = kinds.IntDistribution if is_whole else kinds.FloatDistribution
        yield name, kind(values["low"], values["high"], log=values["log"])
