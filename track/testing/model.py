"""An independent model of a store: dictionaries and lists, no code shared with the library's own state."""

from __future__ import annotations

import struct
from typing import Any

from track.columns import Columns
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

    Everything is kept with its time, and looked through by time when it is asked.

    Examples
    --------
    >>> model = Model()
    >>> model.apply(TrialCreated("ab", 0, at=1.0))
    >>> model.apply(MetricsLogged("ab_0", {"loss": 0.5}, at=2.0, step=3))
    >>> model.answers()["trials"]["ab_0"]["metrics"]
    {'loss': {3: '0.5'}}
    """

    def __init__(self) -> None:
        self.projects: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, dict[str, Any]] = {}
        self._merged: dict[tuple[str, str], list[tuple[float, dict[str, Any]]]] = {}

    def answers(self) -> dict[str, Any]:
        """Return projects, groups and trials by uid, in the order they were created."""
        hidden = {uid for uid in self.trials if self._fields(uid, "deleted", {}).get("deleted")}
        groups = {
            uid: {
                **group,
                "metadata": self._fields(uid, "metadata", group["metadata"]),
                "trials": group["trials"] - hidden,
            }
            for uid, group in self.groups.items()
        }
        trials = {uid: self._trial(uid) for uid in self.trials if uid not in hidden}
        return {"projects": self.projects, "groups": groups, "trials": trials}

    def _trial(self, uid: str) -> dict[str, Any]:
        trial = self.trials[uid]
        shown = {name: value for name, value in trial.items() if name != "set"}
        for name in ("parameters", "metadata", "tags"):
            shown[name] = self._fields(uid, name, trial[name])
        for name in ("project", "group", "status"):
            shown[name] = _in_order(trial["set"].get(name, []))[-1] if name in trial["set"] else trial[name]
        shown["errors"] = [*trial["errors"], *_in_order(trial["set"].get("errors", []))]
        shown["metrics"] = {name: _metric(points) for name, points in trial["metrics"].items()}
        shown["times"] = {name: _in_order(times) for name, times in trial["times"].items()}
        return shown

    def _fields(self, uid: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
        fields = dict(given)
        for values in _in_order(self._merged.get((uid, name), [])):
            fields |= values
        return fields

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
            case FieldsMerged():
                self._merged.setdefault((event.uid, event.field), []).append((event.at, event.values))
                if event.kind == "trial":
                    self.trials[event.uid]["changes"] += 1
            case _:
                self._change_trial(self.trials[event.trial], event)

    def _change_trial(self, trial: dict[str, Any], event: Any) -> None:
        trial["changes"] += 1
        match event:
            case TrialAttached():
                trial["set"].setdefault(event.kind, []).append((event.at, event.owner))
                if event.kind == "group":
                    self.groups[event.owner]["trials"].add(event.trial)
            case MetricsLogged(columns=Columns() as columns):
                for step, value, at in _points(columns, event.at):
                    _log(trial["metrics"].setdefault(columns.name, []), step, value, at)
            case MetricsLogged():
                for name, value in event.values.items():
                    _log(trial["metrics"].setdefault(name, []), event.step, value, event.at)
            case TimeLogged():
                trial["times"].setdefault(event.name, []).append((event.at, event.seconds))
            case StatusChanged():
                trial["set"].setdefault("status", []).append((event.at, event.status[0]))
                if event.error is not None:
                    trial["set"].setdefault("errors", []).append((event.at, event.error))


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
        "set": {},
    }


def _in_order(dated: list[tuple[float, Any]]) -> list[Any]:
    """Return what was given, the oldest first; of what was given at one time, what came first."""
    return [value for _, value in sorted(dated, key=lambda item: item[0])]


def _log(points: list[tuple[float, Any]], step: Any, value: Any, at: float) -> None:
    """Add a point ``(at, (step, value))``: which step one without a step has is settled when it comes."""
    is_stepped = any(known is not None for _, (known, _) in points)
    if step is not None and not is_stepped:
        points[:] = [(point[0], (number, point[1][1])) for number, point in enumerate(sorted(points, key=_time))]
    if step is None and is_stepped:
        step = max([known for _, (known, _) in points if isinstance(known, int)], default=-1) + 1
    points.append((at, (step, value)))


def _points(columns: Columns, at: float) -> list[tuple[Any, Any, float]]:
    """Return step, value and time of each point, decoded in the plainest way."""
    steps: list[Any] = [None] * columns.size
    if columns.first is not None:
        steps = [columns.first + columns.stride * place for place in range(columns.size)]
    elif columns.step is not None:
        steps = _numbers(columns.step)
    times = [at] * columns.size if columns.at is None else list(struct.unpack(f"<{columns.size}d", columns.at))
    return list(zip(steps, _numbers(columns.value), times, strict=True))


def _numbers(column: Any) -> list[Any]:
    if isinstance(column, list):
        return [tuple(value) if isinstance(value, list) else _untagged(value) for value in column]
    found: list[Any] = list(struct.unpack(f"<{len(column.data) // 8}{column.typecode}", column.data))
    for place, value in column.odd.items():
        found[place] = _untagged(value)
    return found


def _untagged(value: Any) -> Any:
    """Return a number that JSON cannot say, which is the text of it beside the name of its type."""
    if not isinstance(value, dict):
        return value
    return {"float": float, "int": int}[value["dtype"]](value["value"])


def _time(point: tuple[float, Any]) -> float:
    return point[0]


def _metric(points: list[tuple[float, Any]]) -> Any:
    """Return what is shown of a metric: values by step, the last one at each counts; or all values."""
    ordered = [(step, _comparable(value)) for step, value in _in_order(points)]
    return [value for _, value in ordered] if ordered[0][0] is None else dict(ordered)


def _comparable(value: Any) -> Any:
    """Return a number in a form that equals another one only where both are the same, -0.0 and NaN too."""
    return repr(value) if isinstance(value, float) else value


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
    if hasattr(container, "keys"):
        return {step: _comparable(value) for step, value in container.items()}
    return list(map(_comparable, container.val))
