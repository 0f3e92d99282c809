"""The nouns as JSON and back: the full form that is stored, the short form that reports show."""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from track.aggregators.aggregator import Aggregator, StatAggregator
from track.aggregators.base import aggregator_or_value
from track.briefs import brief_to_plain
from track.chrono import ChronoContext
from track.containers.series import Series
from track.metrics import briefs_of, container_to_plain, metrics_from_plain, metrics_to_plain
from track.plain import flatten, printable, restore, text_keys, to_plain, unflatten
from track.shown import text_of
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup, split_uid
from track.structure import status as make_status
from track.table import HIDDEN_METADATA, files_and_media
from track.utils.environment import PACKAGES

__all__ = [
    "SerializerAspect",
    "SerializerChronoContext",
    "SerializerDatetime",
    "SerializerProject",
    "SerializerStatStream",
    "SerializerStatus",
    "SerializerTrial",
    "SerializerTrialGroup",
    "SerializerUUID",
    "brief_lines",
    "flatten",
    "from_json",
    "measured_line",
    "status_from_json",
    "to_json",
    "trial_from_document",
    "trial_from_text",
    "trial_to_document",
    "unflatten",
]


class SerializerAspect:
    """How one type becomes JSON-safe data, and is made again from it."""

    def from_json(self, obj: Any) -> Any:
        """Return the object `obj` describes; `obj` itself by default."""
        return obj

    def to_json(self, obj: Any, short: bool = False) -> Any:
        """Return `obj` as JSON-safe data; `short` leaves out what a person does not read."""
        raise NotImplementedError


class SerializerUUID(SerializerAspect):
    """A UUID as text."""

    def to_json(self, obj: uuid.UUID, short: bool = False) -> str:
        """Return the 36 characters of the UUID."""
        return str(obj)


class SerializerDatetime(SerializerAspect):
    """A date as unix seconds; one without a time zone is UTC."""

    def to_json(self, obj: datetime.datetime, short: bool = False) -> Any:
        """Return unix seconds."""
        return to_plain(obj)


class SerializerStatus(SerializerAspect):
    """A status as its name and code."""

    def to_json(self, obj: Any, short: bool = False) -> dict[str, Any]:
        """Return ``{"name": ..., "value": ...}``."""
        return {"name": obj.name, "value": obj.value}


class SerializerChronoContext(SerializerAspect):
    """A running timer has nothing to store."""

    def to_json(self, obj: ChronoContext, short: bool = False) -> dict[str, Any]:
        """Return ``{}``."""
        return {}


class SerializerStatStream(SerializerAspect):
    """The state of a `StatAggregator`."""

    def from_json(self, obj: Any, short: bool = False) -> StatAggregator:
        """Return the aggregator with this state."""
        return StatAggregator.from_json(obj)

    def to_json(self, obj: Any, short: bool = False) -> Any:
        """Return the summary (`short`), or all of the state."""
        return printable(obj.to_json(True)) if short else obj.to_json()


_TAGGED = ("tags", "group_id", "project_id", "parameters", "errors", "artifacts")
_EXTRAS = ("artifacts", "timestamps", "process", "attempt", "processes", "is_set", "latest", "deleted")


class SerializerTrial(SerializerAspect):
    """A trial: the report's form (`short`), or everything."""

    ignore_short = frozenset({"uid", "project_id", "group_id", "hash", "dtype"})
    ignore_meta = HIDDEN_METADATA

    def to_json(self, obj: Trial, short: bool = False) -> dict[str, Any]:
        """Return the trial's document; the short one has the key order of a report."""
        return self._report(obj) if short else trial_to_document(obj)

    def _report(self, trial: Trial) -> dict[str, Any]:
        metadata = trial.metadata
        if isinstance(metadata, dict):
            metadata = {key: to_json(value, True) for key, value in metadata.items() if key not in self.ignore_meta}
        report = {
            "revision": trial.revision,
            "name": trial.name,
            "description": trial.description,
            "version": trial.version,
            "tags": to_json(trial.tags, True),
            "parameters": unflatten(to_json(trial.parameters, True)),
            "metadata": metadata,
            "metrics": to_json(trial.metrics, True),
            "chronos": _runtime_first(to_json(trial.chronos, True)),
            "errors": list(map(text_of, trial.errors)),
            "status": {"value": trial.status.value, "name": trial.status.name},
        }
        files, media = files_and_media(trial.artifacts)
        if files:
            report["artifacts"] = to_json(files, True)
        if media:
            report["media"] = media
        shown: dict[str, Any] = printable(report)
        return shown

    def from_json(self, obj: Any) -> Trial:
        """Return the trial of a document; missing keys have their defaults, unknown ones are passed over."""
        times = metrics_from_plain(obj.get("chronos") or {})
        return trial_from_document(obj, metrics_from_plain(obj.get("metrics") or {}), times)


class SerializerTrialGroup(SerializerAspect):
    """A group and the uids of its trials; the short form nests dotted keys of its metadata."""

    @staticmethod
    def maybe_unflatten(v: Any) -> Any:
        """Return a dictionary with its dotted keys nested again; anything else unchanged."""
        return unflatten(v) if isinstance(v, dict) else v

    def to_json(self, obj: TrialGroup, short: bool = False) -> dict[str, Any]:
        return {
            "dtype": "trial_group",
            "uid": obj.uid,
            "name": obj.name,
            "description": obj.description,
            "metadata": {key: self._shown(value) if short else to_plain(value) for key, value in obj.metadata.items()},
            "project_id": to_plain(obj.project_id),
            "trials": list(obj.trials) if isinstance(obj.trials, dict) else sorted(obj.trials),
        } | ({} if short else _moments(obj))

    def _shown(self, value: Any) -> Any:
        return self.maybe_unflatten(to_json(value, True))

    def from_json(self, obj: Any) -> TrialGroup:
        return TrialGroup(
            _uid=obj.get("uid"),
            name=obj.get("name"),
            description=obj.get("description"),
            metadata=restore(obj.get("metadata") or {}),
            trials=set(obj.get("trials") or ()),
            project_id=restore(obj.get("project_id")),
            moments=obj.get("moments") or {},
        )


class SerializerProject(SerializerAspect):
    """A project with the documents of its groups and trials."""

    def to_json(self, obj: Project, short: bool = False) -> dict[str, Any]:
        metadata = obj.metadata
        if short and isinstance(metadata, dict):
            metadata = {name: value for name, value in metadata.items() if not str(name).startswith(PACKAGES)}
        trials = sorted(obj.trials, key=lambda trial: (trial.timestamps.get("created", 0.0), trial.uid))
        document = {
            "dtype": "project",
            "uid": obj.uid,
            "name": obj.name,
            "description": obj.description,
            "metadata": to_plain(metadata),
            "trials": [to_json(trial, short) for trial in trials],
            "groups": [to_json(group, short) for group in sorted(obj.groups, key=lambda group: str(group.name))],
        }
        return document | ({"tags": to_plain(obj.tags)} if obj.tags else {}) | ({} if short else _moments(obj))

    def from_json(self, obj: Any) -> Project:
        """Return the project of a document, with its groups and trials."""
        return Project(
            _uid=obj.get("uid"),
            name=obj.get("name"),
            description=obj.get("description"),
            metadata=restore(obj.get("metadata") or {}),
            groups={from_json(group, "trial_group") for group in obj.get("groups") or ()},
            trials={from_json(trial, "trial") for trial in obj.get("trials") or ()},
            tags=restore(obj.get("tags") or {}),
            moments=obj.get("moments") or {},
        )


def _moments(obj: Trial | TrialGroup | Project) -> dict[str, Any]:
    """Return the part of a document that says when things were given: names of users', and finite numbers only."""
    return {"moments": obj.moments} if obj.moments else {}


_aspects: dict[type, SerializerAspect] = {
    uuid.UUID: SerializerUUID(),
    datetime.datetime: SerializerDatetime(),
    Status: SerializerStatus(),
    CustomStatus: SerializerStatus(),
    ChronoContext: SerializerChronoContext(),
    Trial: SerializerTrial(),
    TrialGroup: SerializerTrialGroup(),
    Project: SerializerProject(),
    StatAggregator: SerializerStatStream(),
}
_by_dtype: dict[str, SerializerAspect] = {
    "project": _aspects[Project],
    "trial_group": _aspects[TrialGroup],
    "trial": _aspects[Trial],
    "statstream": _aspects[StatAggregator],
}


def to_json(k: Any, short: bool = False) -> Any:
    """Return `k` as JSON-safe data.

    Parameters
    ----------
    k: any
        A project, group, trial, status, aggregator, or any value.
    short: bool
        The form of a report: numbers that are not finite become None, series show their last 20 values.

    Examples
    --------
    >>> to_json(Status.Completed)
    {'name': 'Completed', 'value': 302}
    """
    aspect = _aspects.get(type(k))
    if aspect is not None:
        return aspect.to_json(k, short)
    if isinstance(k, Series):
        if not short:
            return container_to_plain(k)
        return {step: to_json(value, True) for step, value in text_keys(k.items()).items()}
    if isinstance(k, Aggregator):
        return to_json(k.to_json(True), True) if short else k.to_json()
    if isinstance(k, Mapping):
        return {key: to_json(value, short) for key, value in text_keys(k.items()).items()}
    if isinstance(k, (list, tuple)):
        return [to_json(value, short) for value in k]
    own = getattr(k, "to_json", None)
    if callable(own) and not isinstance(k, type):
        return _own_json(own, short)
    return printable(k) if short else to_plain(k)


def from_json(obj: Any, dtype: str | None = None) -> Any:
    """Return the object that ``to_json(obj)`` described; what is not tagged with a dtype comes back unchanged.

    Examples
    --------
    >>> from_json(to_json(Project(name="mnist"))).name
    'mnist'
    """
    if not isinstance(obj, dict):
        return obj
    dtype = dtype or obj.get("dtype")
    aspect = _by_dtype.get(dtype) if isinstance(dtype, str) else None
    if aspect is not None:
        return aspect.from_json(obj)
    return obj


def trial_to_document(trial: Trial, metrics: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the full document of a trial; `metrics` are its metrics as data, where they are not all in it."""
    document = {
        "dtype": "trial",
        "uid": trial.uid,
        "revision": trial.revision,
        "hash": trial.hash,
        "name": trial.name,
        "description": trial.description,
        "version": trial.version,
        "tags": to_plain(trial.tags),
        "group_id": to_plain(trial.group_id),
        "project_id": to_plain(trial.project_id),
        "parameters": to_plain(trial.parameters),
        "metadata": (metrics_to_plain if isinstance(trial.metadata, dict) else to_plain)(trial.metadata),
        "metrics": metrics_to_plain(trial.metrics) if metrics is None else metrics,
        "chronos": metrics_to_plain(trial.chronos),
        "errors": to_plain(trial.errors),
        "status": {"name": trial.status.name, "value": trial.status.value},
    }
    return document | {name: to_plain(value) for name in _EXTRAS if (value := getattr(trial, name))} | _moments(trial)


def trial_from_text(stored: str, metrics: Any, chronos: Any) -> Trial:
    """Return the trial of a full document that is JSON, with these metrics and times."""
    # The one tag is its own: nothing in it is tagged, and must be restored.
    return trial_from_document(msgspec.json.decode(stored), metrics, chronos, is_restored=stored.count('"dtype"') == 1)


def brief_lines(trial: Trial) -> tuple[bytes, bytes]:
    """Return a trial in brief as JSON: its document without what it measured, and times and briefs on their own."""
    without = copy.copy(trial)
    without.metrics, without.chronos = {}, {}
    return msgspec.json.encode(trial_to_document(without)), measured_line(trial)


def measured_line(trial: Trial) -> bytes:
    """Return the times of a trial, and what its metrics come to, as JSON."""
    briefs = {name: brief_to_plain(brief) for name, brief in briefs_of(trial.metrics).items()}
    return msgspec.json.encode([metrics_to_plain(trial.chronos), briefs])


def trial_from_document(document: Any, metrics: Any, chronos: Any, is_restored: bool = False) -> Trial:
    """Return the trial of a full document, with these metrics and times; `is_restored`: no value in it is tagged."""
    values = [document.get(name) for name in _TAGGED]
    metadata = document.get("metadata") or {}
    if not is_restored:
        values, metadata = list(map(restore, values)), _metadata(metadata)
    tags, group_id, project_id, parameters, errors, artifacts = values
    digest, revision = document.get("hash"), document.get("revision") or 0
    if digest is None and document.get("uid"):
        digest, revision = split_uid(document["uid"])
    return Trial(
        _hash=digest,
        revision=revision,
        name=document.get("name"),
        description=document.get("description"),
        tags=tags or {},
        version=document.get("version"),
        group_id=group_id,
        project_id=project_id,
        parameters=parameters or {},
        metadata=metadata,
        metrics=metrics,
        chronos=chronos,
        status=status_from_json(document.get("status")),
        errors=errors or [],
        artifacts=artifacts or [],
        timestamps=document.get("timestamps") or {},
        process=document.get("process"),
        attempt=document.get("attempt") or 0,
        processes=document.get("processes") or [],
        is_set=bool(document.get("is_set")),
        latest=document.get("latest") or 0.0,
        deleted=document.get("deleted") or False,
        moments=document.get("moments") or {},
    )


def status_from_json(plain: Any) -> Any:
    """Return the status that a document, a name or a code says; CreatedGroup for None."""
    if plain is None:
        return Status.CreatedGroup
    if isinstance(plain, dict):
        return make_status(plain.get("name"), plain.get("value"))
    return make_status(plain) if isinstance(plain, str) else make_status(value=plain)


def _runtime_first(chronos: Any) -> Any:
    if isinstance(chronos, dict) and "runtime" in chronos:
        return {"runtime": chronos["runtime"], **chronos}
    return chronos


def _own_json(own: Any, short: bool) -> Any:
    try:
        return own(short)
    except TypeError:
        return own()


def _metadata(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return restore(plain)
    return {key: aggregator_or_value(value) for key, value in plain.items()}
