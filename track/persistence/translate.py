"""From an event back to the method that says it, for backends that were written method by method."""

from __future__ import annotations

from typing import Any

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
from track.persistence.protocol import Protocol
from track.plain import restore
from track.structure import Project, Trial, TrialGroup, split_uid
from track.structure import status as make_status

__all__ = ["call_method"]


def call_method(protocol: Protocol, event: Event) -> None:
    """Say an event with the method of `protocol` that means the same.

    The objects passed carry identity and the event's values only. Times, which only a clock of the backend's own
    could say, become metadata.
    """
    match event:
        case ProjectCreated():
            protocol.new_project(Project(event.uid, event.name, event.description, restore(event.metadata)))
        case GroupCreated():
            group = TrialGroup(event.uid, event.name, event.description, restore(event.metadata))
            group.project_id = event.project_id
            protocol.new_trial_group(group)
        case TrialCreated():
            names = ("name", "description", "tags", "version", "group_id", "project_id", "parameters", "metadata")
            values = {name: restore(getattr(event, name)) for name in names}
            protocol.new_trial(Trial(event.hash, event.revision, **values))
        case TrialAttached(kind="project"):
            protocol.add_project_trial(Project(_uid=event.owner, name=event.owner), _reference(event.trial))
        case TrialAttached():
            protocol.add_group_trial(TrialGroup(_uid=event.owner), _reference(event.trial))
        case FieldsMerged(kind="trial"):
            method = {
                "parameters": protocol.log_trial_arguments,
                "metadata": protocol.log_trial_metadata,
                "tags": protocol.add_trial_tags,
            }[event.field]
            method(_reference(event.uid), **_restored(event.values))
        case FieldsMerged():
            protocol.set_group_metadata(TrialGroup(_uid=event.uid), **_restored(event.values))
        case MetricsLogged():
            protocol.log_trial_metrics(_reference(event.trial), step=restore(event.step), **_restored(event.values))
        case StatusChanged():
            protocol.set_trial_status(_reference(event.trial), make_status(*event.status), event.error)
        case ArtifactAdded():
            protocol.log_trial_artifact(_reference(event.trial), event.name, event.uri, event.digest, event.size)
        case TimeLogged():
            protocol.log_trial_metadata(_reference(event.trial), **{f"chrono.{event.name}": event.seconds})


def _restored(values: dict[str, Any]) -> dict[str, Any]:
    # One by one: values named "dtype" and "value" are no tag.
    return {name: restore(value) for name, value in values.items()}


def _reference(uid: str) -> Trial:
    digest, revision = split_uid(uid)
    return Trial(digest, revision)
