"""What an event means for a trial: the one place where it is written, used by every store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
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
from track.persistence.contract import counted
from track.persistence.state.order import Moments, add_artifact, add_error, newer
from track.persistence.state.runs import Run
from track.plain import LEAVES, named_tags, restore
from track.structure import FORGOTTEN, Project, Status, Trial, TrialGroup
from track.structure import status as make_status
from track.utils.environment import ENVIRONMENT


def update(trial: Trial, event: Event) -> None:
    """Change `trial` as the event says.

    Examples
    --------
    >>> trial = Trial("ab", metrics=metrics_from_plain({}))
    >>> update(trial, MetricsLogged("ab_0", {"loss": 0.5}, at=1.0, step=3))
    >>> trial.metrics["loss"]
    {3: 0.5}
    """
    if trial.deleted and trial.deleted == FORGOTTEN:
        _count_late(trial)
        return
    # Every event of a trial has one.
    if event.attempt is not None and is_overtaken(trial, event):  # type: ignore[union-attr]
        # It is no sign of life either: who says it has lost the trial.
        _count_late(trial)
        trial.metadata["_update_count"] = trial.metadata.get("_update_count", 0) + 1
        return
    # Read before: a user may log metadata of the same name.
    metadata, at = trial.metadata, event.at
    count, latest = metadata.get("_update_count", 0), trial.latest
    if at > latest:
        # Earlier versions noted the time of what came last only.
        trial.latest = at if latest or not count else max(at, counted(trial, "_last_change"))
    _updates[type(event)](trial, event)
    metadata = trial.metadata
    metadata["_update_count"] = count + 1
    metadata["_last_change"] = at


def update_by(trial: Trial, run: Run) -> None:
    """Change `trial` as a run says, which is what `update` does with one log call after another."""
    count, latest, at = trial.metadata.get("_update_count", 0), trial.latest, max(run.times)
    if at > latest:
        trial.latest = at if latest or not count else max(at, counted(trial, "_last_change"))
    for name, values in run.values.items():
        trial.metrics.log_column(name, run.steps, values, run.times)
    trial.metadata["_update_count"] = count + len(run.times)
    trial.metadata["_last_change"] = run.times[-1]


def is_overtaken(trial: Trial, event: Event) -> bool:
    """Return whether an event is of an attempt for which a process had reserved a trial that was reserved since."""
    attempt: int | None = getattr(event, "attempt", None)
    if attempt is None or attempt >= trial.attempt:
        return False
    # Of one that was not reserved, the error of an end that comes late is kept.
    return not (isinstance(event, StatusChanged) and event.process is not None and not event.process.get(RESERVED))


def _log_metrics(trial: Trial, event: MetricsLogged) -> None:
    if event.columns is not None:
        trial.metrics.log_columns(event.columns, event.aggregator, event.at)
        return
    step = event.step
    # Nearly all are whole numbers, as they are.
    if type(step) is not int and (step.__class__ is list or step.__class__ is dict):
        step = hashable(restore(step))
    trial.metrics.log_values(event.values, step, event.aggregator, event.at)


def _log_time(trial: Trial, event: TimeLogged) -> None:
    trial.chronos.log_time(event.name, restore(event.seconds), event.aggregator, event.at)


def _merge_fields(trial: Trial, event: FieldsMerged) -> None:
    if event.field == DELETED:
        _delete(trial, event)
        return
    given = getattr(trial, event.field)
    target = named_tags(given)
    if target is not given:
        setattr(trial, event.field, target)
    values = newer(trial.moments, event.field, event.values, event.at)
    if event.aggregator is None:
        for name, value in values.items():
            target[name] = value if type(value) in LEAVES else _facts(value) if name == ENVIRONMENT else restore(value)
        return
    for name, value in event.values.items():
        if not isinstance(target.get(name), Aggregator):
            if name not in values:
                continue
            target[name] = make_aggregator(event.aggregator)
        add_to(target[name], name, restore(value), event.at)


_restored: tuple[Any, Any] = (None, None)


def _facts(value: Any) -> Any:
    """Return what `restore` does of where a process runs, which is the same object for each trial that it begins."""
    global _restored  # noqa: PLW0603
    known, facts = _restored
    # Those who read a trial are given a copy; who has told it may have changed what they told.
    if known is not value or facts != value:
        facts = restore(value)
        _restored = value, facts
    return facts


DELETED = "deleted"
"""The field of a trial, and the name in it, that says whether it is hidden."""


def hidden(uid: str, value: bool | str, at: float, attempt: int | None = None) -> FieldsMerged:
    """Return the fact that a trial is hidden, or not any more, or forgotten."""
    return FieldsMerged("trial", uid, DELETED, {DELETED: value}, at, attempt=attempt)


def is_forgetting(event: Event) -> bool:
    """Return whether an event says that a trial is forgotten."""
    return isinstance(event, FieldsMerged) and event.field == DELETED and event.values.get(DELETED) == FORGOTTEN


def _delete(trial: Trial, event: FieldsMerged) -> None:
    value = event.values.get(DELETED)
    if value == FORGOTTEN:
        _forget(trial)
    elif newer(trial.moments, DELETED, {DELETED: value}, event.at):
        trial.deleted = bool(value)


def _forget(trial: Trial) -> None:
    """Keep nothing but what a trial is called by other stores, and that nobody may create it again."""
    kept = {"created": trial.timestamps["created"]} if "created" in trial.timestamps else {}
    empty = Trial(trial.hash, trial.revision, project_id=trial.project_id, timestamps=kept, deleted=FORGOTTEN)
    # Metrics may stand for columns.
    empty.metrics, empty.chronos = type(trial.metrics)(), type(trial.chronos)()
    empty.latest = trial.latest
    vars(trial).update(vars(empty))


RESUMES = "_resumes"
"""The name in the metadata of the steps that a trial was resumed from, each with when that life began."""


def is_resume(event: Event) -> bool:
    """Return whether an event says that a trial goes on from an earlier step."""
    return isinstance(event, FieldsMerged) and event.field == "metadata" and RESUMES in event.values


def _change_status(trial: Trial, event: StatusChanged) -> None:
    if event.error is not None:
        add_error(trial, event.error, event.at)
    if event.process is None:
        is_counted = _set_status(trial, make_status(*event.status) or Status.CreatedGroup, event.at)
    else:
        is_counted = _change_process(trial, event, event.process)
        if is_counted and not _is_said_later(trial, event.at):
            processes = trial.processes
            trial.status = (
                # Nearly always.
                make_status(*processes[0]["status"])
                if len(processes) == 1
                else status_of_all([make_status(*process["status"]) for process in processes])
            )
    if is_counted and is_end(trial.status):
        ends = [one["at"] for one in trial.processes]
        trial.timestamps["finished"] = max(event.at, trial.timestamps.get("finished", event.at), *ends)


def _set_status(trial: Trial, status: Any, at: float) -> bool:
    """Take the status that the program says, and return whether it counts: not what was said of an earlier attempt."""
    if at < _began(trial):
        _count_late(trial)
        return False
    if at < _said(trial) or (not is_end(status) and any(one["at"] > at for one in trial.processes)):
        return False
    trial.moments["status"] = {"set": at}
    # A worker that gives its trial back, and ends then, has given it back.
    trial.status, trial.is_set = status, is_end(status) or (_is_reserved(trial) and _is_waiting(status))
    return True


def _change_process(trial: Trial, event: StatusChanged, process: dict[str, Any]) -> bool:
    """Note how far a process is, and return whether that counts: not in an attempt that was followed by another."""
    attempt = event.attempt or max(trial.attempt, 1)
    if attempt < trial.attempt or (event.attempt is None and event.at < _began(trial)):
        _count_late(trial)
        return False
    is_running = event.status[0] == _RUNNING
    if attempt > trial.attempt:
        trial.attempt, trial.processes = attempt, []
        trial.is_set = trial.is_set and _said(trial) > event.at
    known, others = None, []
    for one in trial.processes:
        if known is None and _is_same(one, process):
            known = one
        else:
            others.append(one)
    if is_running:
        trial.timestamps["started"] = min(event.at, trial.timestamps.get("started", event.at))
    noted = {**process, "status": list(event.status), "at": event.at, "began": event.at}
    if known is not None and event.at < known["at"]:
        noted = {**known, "began": min(event.at, known["began"])}
    elif known is not None and is_running and known["status"][0] != _RUNNING:
        # It begins again what it had ended.
        trial.is_set = trial.is_set and _said(trial) > event.at
    elif known is not None:
        noted["began"] = known["began"]
    # Never changed in place: a reader may have the list.
    trial.processes = sorted([*others, noted], key=_AT) if others else [noted]
    if is_running:
        last = max(trial.processes, key=_BEGAN) if others else noted
        found: dict[str, Any] = {}
        for name in IDENTITY:
            if name in last:
                found[name] = last[name]
        trial.process = found
    return True


def _count_late(trial: Trial) -> None:
    # A user may log metadata of the same name.
    late = trial.metadata.get(LATE)
    trial.metadata[LATE] = (late if isinstance(late, int) else 0) + 1


def _began(trial: Trial) -> float:
    """Return when the present attempt began, unix seconds."""
    return min([one["began"] for one in trial.processes], default=-math.inf)


def _said(trial: Trial) -> float:
    """Return when the program last said what the status is, unix seconds."""
    return trial.moments.get("status", {}).get("set", -math.inf)


def _is_said_later(trial: Trial, at: float) -> bool:
    """Return whether the status is one that the program has said, after what a process has said at `at`."""
    said = _said(trial)
    return trial.is_set or (said > at and all(said >= one["at"] for one in trial.processes))


LATE = "late_events"
"""The name in the metadata of how many events were dropped, because their attempt was followed by another."""
DEATHS = "deaths"
"""The name in the metadata of how often a trial was reserved because who had it was killed."""
RESERVED = "reserved"
"""The name in a process that says that it has the attempt for itself."""
IDENTITY = ("host", "pid", "started")
_AT, _BEGAN = itemgetter("at"), itemgetter("began")
_RUNNING = Status.Running.name
_FIRST_END = Status.ErrorGroup.value
_WORST_FIRST = (Status.Running, Status.Exception, Status.Broken, Status.Interrupted)


def identity_of(process: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells one process from all others."""
    get = process.get
    return get("host"), get("pid"), get("started")


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two records are of one process: what `identity_of` says, without making it."""
    is_same: bool = (
        one.get("pid") == other.get("pid")
        and one.get("started") == other.get("started")
        and one.get("host") == other.get("host")
    )
    return is_same


def is_end(status: Any) -> bool:
    """Return whether a trial with this status has ended; a custom one is an end unless its code says else."""
    if isinstance(status, Status):
        return bool(status._value_ >= _FIRST_END)
    return status.value is None or status.value >= Status.RunningGroup.value


def _is_waiting(status: Any) -> bool:
    return status.value is not None and status.value < Status.RunningGroup.value


def _is_reserved(trial: Trial) -> bool:
    return any(process.get(RESERVED) for process in trial.processes)


def status_of_all(statuses: Iterable[Any]) -> Any:
    """Return the status of a trial with several processes: running while one is, then the worst of their ends."""
    found = list(statuses)
    for status in _WORST_FIRST:
        if status in found:
            return status
    return found[-1]


def _add_artifact(trial: Trial, event: ArtifactAdded) -> None:
    fields = {"name": event.name, "uri": event.uri, "digest": event.digest, "size": event.size, "at": event.at}
    said = {"step": restore(event.step), "media": restore(event.media)}
    add_artifact(trial, fields | {name: value for name, value in said.items() if value is not None})


def _attach(trial: Trial, event: TrialAttached) -> None:
    if not newer(trial.moments, "owner", {event.kind: event.owner}, event.at):
        return
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
    return Project(*fields, tags=restore(event.tags), moments=_copied(event.moments))


def make_group(event: GroupCreated) -> TrialGroup:
    """Return the group that the event says exists."""
    fields = (event.uid, event.name, event.description, restore(event.metadata))
    return TrialGroup(*fields, project_id=restore(event.project_id), moments=_copied(event.moments))


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
        latest=event.latest,
        moments=_copied(event.moments),
    )


def _copied(moments: Moments) -> Moments:
    return {field: times.copy() for field, times in moments.items()}


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
