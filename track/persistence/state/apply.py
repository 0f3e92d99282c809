"""What an event means for a trial: the one place where it is written, used by every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from track.aggregators.aggregator import Aggregator, make_aggregator
from track.containers.series import hashable
from track.events import (
    ArtifactAdded,
    Event,
    FieldsMerged,
    MetricsLogged,
    StatusChanged,
    TimeLogged,
    TrialAttached,
    TrialCreated,
)
from track.metrics import Metrics, container_from_plain
from track.plain import restore
from track.structure import Status, Trial
from track.structure import status as make_status


def update(trial: Trial, event: Event) -> None:
    """Change `trial` as the event says.

    Examples
    --------
    >>> trial = Trial("ab", metrics=Metrics())
    >>> update(trial, MetricsLogged("ab_0", {"loss": 0.5}, at=1.0, step=3))
    >>> trial.metrics["loss"]
    {3: 0.5}
    """
    # Read before: a user may log metadata of the same name.
    count = trial.metadata.get("_update_count", 0)
    _updates[type(event)](trial, event)
    metadata = trial.metadata
    metadata["_update_count"] = count + 1
    metadata["_last_change"] = event.at


def _log_metrics(trial: Trial, event: MetricsLogged) -> None:
    step = event.step
    if step.__class__ is list or step.__class__ is dict:
        step = hashable(restore(step))
    trial.metrics.log_values(event.values, step, event.aggregator, event.at)


def _log_time(trial: Trial, event: TimeLogged) -> None:
    trial.chronos.log_time(event.name, restore(event.seconds), event.aggregator, event.at)


def _merge_fields(trial: Trial, event: FieldsMerged) -> None:
    values = {name: restore(value) for name, value in event.values.items()}
    target = getattr(trial, event.field)
    if not isinstance(target, dict):
        target = {str(tag): True for tag in target} if target else {}
        setattr(trial, event.field, target)
    if event.aggregator is None:
        target.update(values)
        return
    for name, value in values.items():
        if not isinstance(target.get(name), Aggregator):
            target[name] = make_aggregator(event.aggregator)
        target[name].append_at(value, event.at)


def _change_status(trial: Trial, event: StatusChanged) -> None:
    trial.status = make_status(*event.status) or Status.CreatedGroup
    if event.error is not None:
        trial.errors.append(event.error)
    if event.process is not None:
        trial.process = event.process
        trial.timestamps.setdefault("started", event.at)
    if trial.status.value is not None and trial.status.value >= Status.ErrorGroup.value:
        trial.timestamps["finished"] = event.at


def _add_artifact(trial: Trial, event: ArtifactAdded) -> None:
    fields = {"name": event.name, "uri": event.uri, "digest": event.digest, "size": event.size, "at": event.at}
    trial.artifacts.append(fields)


def _attach(trial: Trial, event: TrialAttached) -> None:
    if event.kind == "project":
        trial.project_id = event.owner
    else:
        trial.group_id = event.owner


_updates: dict[type, Callable[[Trial, Any], None]] = {
    MetricsLogged: _log_metrics,
    TimeLogged: _log_time,
    FieldsMerged: _merge_fields,
    StatusChanged: _change_status,
    ArtifactAdded: _add_artifact,
    TrialAttached: _attach,
}


def make_trial(event: TrialCreated) -> Trial:
    """Return the trial that the event says exists."""
    return Trial(
        event.hash,
        event.revision,
        event.name,
        event.description,
        restore(event.tags),
        event.version,
        restore(event.group_id),
        restore(event.project_id),
        restore(event.parameters),
        restore(event.metadata) | {"_update_count": event.changes, "_last_change": event.at},
        _make_metrics(event.metrics),
        _make_metrics(event.chronos),
        make_status(*event.status) if event.status else Status.CreatedGroup,
        restore(event.errors),
        artifacts=restore(event.artifacts),
        timestamps={"created": event.at} | event.timestamps,
        process=event.process,
    )


def _make_metrics(plain: dict[str, Any]) -> Metrics:
    metrics = Metrics()
    for name, value in plain.items():
        metrics[name] = container_from_plain(value)
    return metrics
