"""An independent model of a store: dictionaries and lists, no code shared with the library's own state."""

from __future__ import annotations

from typing import Any

from track.events import (
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.persistence.protocol import Protocol
from track.structure import Trial


class Model:
    """What a store should answer after a list of events, said in the plainest way.

    Examples
    --------
    >>> model = Model()
    >>> model.apply(TrialCreated("ab", 0, at=1.0))
    >>> model.apply(MetricsLogged("ab_0", {"loss": 0.5}, at=2.0, step=3))
    >>> model.answers()["trials"]["ab_0"]["metrics"]
    {'loss': {3: 0.5}}
    """

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, dict[str, Any]] = {}

    def answers(self) -> dict[str, Any]:
        """Return projects, groups and trials by uid, in the order they were created."""
        return {"projects": self.projects, "groups": self.groups, "trials": self.trials}

    def apply(self, *events: Event) -> None:
        """Change the model as the events say."""
        for event in events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        match event:
            case ProjectCreated():
                self.projects.setdefault(event.uid, {"name": event.name, "metadata": dict(event.metadata)})
            case GroupCreated():
                fields = {"name": event.name, "project": event.project_id, "trials": set()}
                self.groups.setdefault(event.uid, fields | {"metadata": dict(event.metadata)})
            case TrialCreated():
                self.trials.setdefault(event.trial, _new_trial(event))
            case FieldsMerged(kind="group"):
                self.groups[event.uid]["metadata"].update(event.values)
            case FieldsMerged():
                trial = self.trials[event.uid]
                trial[event.field].update(event.values)
                trial["changes"] += 1
            case _:
                self._change_trial(self.trials[event.trial], event)

    def _change_trial(self, trial: dict[str, Any], event: Any) -> None:
        trial["changes"] += 1
        match event:
            case TrialAttached(kind="project"):
                trial["project"] = event.owner
            case TrialAttached():
                trial["group"] = event.owner
                self.groups[event.owner]["trials"].add(event.trial)
            case MetricsLogged():
                for name, value in event.values.items():
                    _log(trial["metrics"], name, event.step, value)
            case TimeLogged():
                trial["times"].setdefault(event.name, []).append(event.seconds)
            case StatusChanged():
                trial["status"] = event.status[0]
                if event.error is not None:
                    trial["errors"].append(event.error)


def _new_trial(event: TrialCreated) -> dict[str, Any]:
    return {
        "name": event.name,
        "parameters": dict(event.parameters),
        "metadata": dict(event.metadata),
        "tags": dict(event.tags),
        "project": event.project_id,
        "group": event.group_id,
        "status": event.status[0] if event.status else "CreatedGroup",
        "errors": list(event.errors),
        "metrics": {},
        "times": {},
        "changes": event.changes,
    }


def _log(metrics: dict[str, Any], name: str, step: Any, value: Any) -> None:
    stored = metrics.get(name)
    if stored is None:
        metrics[name] = [value] if step is None else {step: value}
        return
    if isinstance(stored, list) and step is None:
        stored.append(value)
        return
    if isinstance(stored, list):
        stored = metrics[name] = dict(enumerate(stored))
    if step is None:
        step = max([known for known in stored if isinstance(known, int)], default=-1) + 1
    stored[step] = value


def answers(protocol: Protocol) -> dict[str, Any]:
    """Return what a backend answers, in the form of `Model.answers`; times as their number and mean."""
    return {
        "projects": {
            project.uid: {"name": project.name, "metadata": project.metadata} for project in protocol.fetch_projects()
        },
        "groups": {
            group.uid: {
                "name": group.name,
                "project": group.project_id,
                "trials": set(group.trials),
                "metadata": group.metadata,
            }
            for group in protocol.fetch_groups()
        },
        "trials": {trial.uid: _trial_answer(trial) for trial in protocol.fetch_trials()},
    }


def _trial_answer(trial: Trial) -> dict[str, Any]:
    metadata = dict(trial.metadata)
    changes = metadata.pop("_update_count")
    metadata.pop("_last_change")
    return {
        "name": trial.name,
        "parameters": trial.parameters,
        "metadata": metadata,
        "tags": trial.tags,
        "project": trial.project_id,
        "group": trial.group_id,
        "status": trial.status.name,
        "errors": trial.errors,
        "metrics": {name: _values(container) for name, container in trial.metrics.items()},
        "times": {name: container.val for name, container in trial.chronos.items()},
        "changes": changes,
    }


def _values(container: Any) -> Any:
    return dict(container) if hasattr(container, "keys") else container.val
