"""What an event means for a trial: the one place where it is written, used by every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from track.aggregators.aggregator import Aggregator, make_aggregator
from track.aggregators.base import add_to, aggregator_or_value
from track.containers.series import hashable
from track.events import (
    ArtifactAdded,
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
from track.metrics import metrics_from_plain
from track.plain import named_tags, restore
from track.structure import Project, Status, Trial, TrialGroup
from track.structure import status as make_status


def update(trial: Trial, event: Event) -> None:
    """Change `trial` as the event says.

    Examples
    --------
    >>> trial = Trial("ab", metrics=metrics_from_plain({}))
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
    target = named_tags(getattr(trial, event.field))
    setattr(trial, event.field, target)
    if event.aggregator is None:
        target.update(values)
        return
    for name, value in values.items():
        if not isinstance(target.get(name), Aggregator):
            target[name] = make_aggregator(event.aggregator)
        add_to(target[name], name, value, event.at)


RESUMES = "_resumes"
"""The name in the metadata of the steps that a trial was resumed from, each with when that life began."""


def is_resume(event: Event) -> bool:
    """Return whether an event says that a trial goes on from an earlier step."""
    return isinstance(event, FieldsMerged) and event.field == "metadata" and RESUMES in event.values


def _change_status(trial: Trial, event: StatusChanged) -> None:
    if event.error is not None:
        trial.errors.append(event.error)
    status = make_status(*event.status) or Status.CreatedGroup
    if event.process is None:
        trial.status, trial.is_set = status, is_end(status)
    elif not _change_process(trial, event, event.process):
        return
    elif not trial.is_set:
        trial.status = status_of_all(make_status(*process["status"]) for process in trial.processes)
    if is_end(trial.status):
        trial.timestamps["finished"] = event.at


def _change_process(trial: Trial, event: StatusChanged, process: dict[str, Any]) -> bool:
    """Note how far a process is, and return whether that counts: not in an attempt that was followed by another."""
    attempt = event.attempt or max(trial.attempt, 1)
    if attempt < trial.attempt:
        # A user may log metadata of the same name.
        late = trial.metadata.get(LATE)
        trial.metadata[LATE] = (late if isinstance(late, int) else 0) + 1
        return False
    if attempt > trial.attempt:
        trial.attempt, trial.processes, trial.is_set = attempt, [], False
    is_running = event.status[0] == _RUNNING
    if is_running:
        trial.process = {name: process[name] for name in IDENTITY if name in process}
        trial.timestamps.setdefault("started", event.at)
    known = next((one for one in trial.processes if identity_of(one) == identity_of(process)), None)
    if is_running and known is not None and known["status"][0] != _RUNNING:
        # It begins again what it had ended.
        trial.is_set = False
    noted = {**process, "status": list(event.status), "at": event.at}
    noted["began"] = event.at if known is None else known["began"]
    # Never changed in place: a reader may have the list.
    trial.processes = [*[one for one in trial.processes if one is not known], noted]
    return True


LATE = "late_events"
"""The name in the metadata of how many events were dropped, because their attempt was followed by another."""
IDENTITY = ("host", "pid", "started")
_RUNNING = Status.Running.name
_ENDS = tuple(status for status in Status if status.value >= Status.ErrorGroup.value)
_WORST_FIRST = (Status.Running, Status.Exception, Status.Broken, Status.Interrupted)


def identity_of(process: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells one process from all others."""
    return tuple(map(process.get, IDENTITY))


def is_end(status: Any) -> bool:
    """Return whether a trial with this status has ended; a custom one is an end unless its code says else."""
    if isinstance(status, Status):
        return status in _ENDS
    return status.value is None or status.value >= Status.RunningGroup.value


def status_of_all(statuses: Iterable[Any]) -> Any:
    """Return the status of a trial with several processes: running while one is, then the worst of their ends."""
    found = list(statuses)
    for status in _WORST_FIRST:
        if status in found:
            return status
    return found[-1]


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


def make_project(event: ProjectCreated) -> Project:
    """Return the project that the event says exists."""
    fields = (event.uid, event.name, event.description, restore(event.metadata))
    return Project(*fields, tags=restore(event.tags))


def make_group(event: GroupCreated) -> TrialGroup:
    """Return the group that the event says exists."""
    fields = (event.uid, event.name, event.description, restore(event.metadata))
    return TrialGroup(*fields, project_id=restore(event.project_id))


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
        _metadata(event.metadata) | {"_update_count": event.changes, "_last_change": event.at},
        metrics_from_plain(event.metrics),
        metrics_from_plain(event.chronos),
        make_status(*event.status) if event.status else Status.CreatedGroup,
        restore(event.errors),
        artifacts=restore(event.artifacts),
        timestamps={"created": event.at} | event.timestamps,
        process=event.process,
        attempt=event.attempt,
        processes=[process for process in restore(event.processes) if _is_process(process)],
        is_set=event.is_set,
    )


def _metadata(plain: dict[str, Any]) -> dict[str, Any]:
    tagged = plain.get("value") if set(plain) == {"dtype", "value"} else None
    values = tagged if isinstance(tagged, dict) else plain
    return {name: aggregator_or_value(value) for name, value in values.items()}


def _is_process(process: dict[str, Any]) -> bool:
    """Return whether a process of a trial from elsewhere has what ours have."""
    status, times = process.get("status"), (process.get("at"), process.get("began"))
    if not isinstance(status, (list, tuple)) or len(status) != 2 or not all(isinstance(at, float) for at in times):
        return False
    return isinstance(status[0], str | None) and isinstance(status[1], int | None)
