"""What the methods of a backend decide before a fact is recorded: pure functions."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from track.aggregators.aggregator import specification
from track.containers.series import hashable
from track.errors import InvalidEvent, refuse_unnamed
from track.events import GroupCreated, ProjectCreated, TrialCreated
from track.metrics import metrics_to_plain
from track.plain import is_number, named_tags, restore, text_keys, to_number, to_plain, utf8
from track.shown import shown, text_of
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup
from track.structure import status as make_status
from track.utils import _exit_code, signal

MUTATORS = frozenset(
    {
        "add_group_trial",
        "add_project_trial",
        "add_trial_tags",
        "log_trial_arguments",
        "log_trial_finish",
        "log_trial_metadata",
        "log_trial_metrics",
        "log_trial_start",
        "set_group_metadata",
        "set_trial_status",
    }
)
"""The methods that ``fetch_and_update_*`` may call by name."""
RESERVING = "log_trial_start"
"""The one of them by which a process takes a trial for itself."""
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a backend raises for an event, or a call, that makes no sense to it: the same again would be vain."""
_LARGEST_CODE = 10**4000
"""The largest code of a status: Python reads and writes integers of at most 4,300 digits as text."""
_LARGEST = 2**62
_COUNTED = ("_update_count", "_last_change")
_RAISED_FOR_OTHERS = (signal.__file__, _exit_code.__file__)
"""Files of ours that raise what a signal, or ``sys.exit``, means."""


def text_or_none(value: Any) -> str | None:
    """Return a name or a description as text that has a UTF-8 form."""
    return None if value is None else utf8(text_of(value))


def fields_by_name(what: str, value: Any) -> dict[str, Any]:
    """Return values by name as JSON-safe data; one value without a name is called `what`."""
    plain = to_plain(value)
    if plain is None:
        return {}
    return plain if _has_names(plain) else {what: plain}


def plain_tags(tags: Any) -> Any:
    """Return tags as JSON-safe data: by name, or a list of them."""
    if type(tags) is dict and not tags:
        return {}
    plain = to_plain(tags)
    return plain if _has_names(plain) or (plain and type(plain) is list) else named_tags(restore(plain))


def _has_names(plain: Any) -> bool:
    """Return whether data is values by name; a number that JSON cannot say is a dictionary until it is restored."""
    return type(plain) is dict and (len(plain) != 2 or isinstance(restore(plain), dict))


def plain_fields(values: dict[str, Any]) -> dict[str, Any]:
    """Return user-named values as JSON-safe data, whatever the names are."""
    plain = {}
    for name, value in values.items():
        if type(name) is not str or not name.isascii():
            return {name: to_plain(value) for name, value in text_keys(values.items()).items()}
        plain[name] = to_plain(value)
    return plain


def normal_status(status: Any) -> Status | CustomStatus:
    """Return the status that an object, a name or a code says.

    Raises InvalidEvent: it says none. A status of one's own is ``CustomStatus(name, code)``.
    """
    if isinstance(status, Status):
        return status
    if isinstance(status, CustomStatus):
        return _checked_status(status.name, status.value)
    made: Any = None
    if isinstance(status, str):
        made = make_status(status)
    elif isinstance(status, int) and not isinstance(status, bool):
        made = make_status(value=status)
    elif isinstance(status, dict) and {"name", "value"} <= set(status):
        return _checked_status(status["name"], status["value"])
    if isinstance(made, Status) or (isinstance(status, str) and made.value is not None):
        chosen: Status | CustomStatus = made
        return chosen
    raise _no_status(status)


def _checked_status(name: Any, code: Any) -> Status | CustomStatus:
    if not (name is None or isinstance(name, str)) or not (code is None or isinstance(code, int)):
        raise _no_status((name, code))
    if code is not None and abs(code) > _LARGEST_CODE:
        raise _no_status((name, code))
    made = make_status(None if name is None else utf8(name), None if code is None else int(code))
    return made or Status.CreatedGroup


def _no_status(status: Any) -> InvalidEvent:
    names = ", ".join([*(member.name for member in Status), "submitted", "pruned"])
    return InvalidEvent(f"{shown(status)} is no status; use {names}, or CustomStatus(name, code)")


def final_status(exc_type: Any, exc_val: Any) -> Status:
    """Return the status of a trial that ends with this exception, or with none."""
    if exc_type is None:
        return Status.Completed
    if issubclass(exc_type, KeyboardInterrupt):
        return Status.Interrupted
    if issubclass(exc_type, SystemExit):
        code = getattr(exc_val, "code", exc_val)
        if code in (None, 0):
            return Status.Completed
        return Status.Interrupted if code == 128 + 15 else Status.Exception
    return Status.Exception


def describe_error(exc_type: Any, exc_val: Any, exc_tb: Any) -> str:
    """Return ``TypeName: message`` and the end of the traceback, down to where the program was."""
    text = utf8(text_of(exc_val)) if exc_val is not None else ""
    head = f"{exc_type.__name__}: {text}" if text else str(exc_type.__name__)
    frames = traceback.extract_tb(exc_tb)
    while frames and frames[-1].filename in _RAISED_FOR_OTHERS:
        frames.pop()
    tail = "".join(traceback.format_list(frames[-3:]))
    return f"{head}\n{tail}".rstrip()


def numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values as Python numbers.

    Raises InvalidEvent: one of them is no number.
    """
    converted = {}
    for name, value in values.items():
        number = to_number(value)
        if number is None:
            raise InvalidEvent(
                f"metric {shown(name)} is {shown(value)}, of type {type(value).__name__}: a metric is a number; "
                "other values belong in log_metadata"
            )
        converted[name] = number
    return converted


def are_finite(values: dict[str, Any]) -> bool:
    """Return whether no number is NaN or infinite."""
    return all(number - number == 0 for number in values.values())


def metric_step(step: Any, values: dict[str, Any]) -> Any:
    """Return the step of metrics as JSON-safe data.

    Raises InvalidCall: it is the metrics themselves, in a dictionary. InvalidEvent: it cannot be a key, as a dictionary
    cannot.
    """
    if not values and isinstance(step, Mapping):
        refuse_unnamed(step, "log_metrics", "loss=0.5")
    return plain_step(step)


def plain_step(step: Any) -> Any:
    """Return one step as JSON-safe data; InvalidEvent where it cannot be a key."""
    number = None if isinstance(step, tuple) else to_number(step)
    plain = list(map(plain_step, step)) if isinstance(step, tuple) else to_plain(step if number is None else number)
    if type(plain) is list or type(plain) is dict:
        try:
            hash(hashable(restore(plain)))
        except TypeError as error:
            raise InvalidEvent(
                f"step {shown(step)} cannot be a key: use a number, a text or a tuple of them"
            ) from error
    return plain


_LARGEST_MEDIA = 4096
"""Bytes of what is said of an artifact, as JSON."""


def artifact_media(media: Any) -> dict[str, Any]:
    """Return what is said of an artifact, for who displays it, as JSON-safe data.

    Raises InvalidEvent: it is no mapping, or more than 4 kB.
    """
    plain = plain_fields(dict(media)) if isinstance(media, Mapping) else None
    if plain is None or len(msgspec.json.encode(plain)) > _LARGEST_MEDIA:
        raise InvalidEvent(f"media is a small mapping, of at most {_LARGEST_MEDIA} bytes as JSON, not {shown(media)}")
    return plain


def metric_specification(aggregator: Any) -> list[Any] | None:
    """Return how to write the factory of a metric's aggregator down in an event.

    Raises InvalidCall: it is no factory: a value without its name, perhaps.
    """
    if not callable(aggregator):
        refuse_unnamed(aggregator, "log_metrics", "loss=0.5")
    spec: list[Any] | None = to_plain(specification(aggregator))
    return spec


def project_created(project: Project, at: float) -> ProjectCreated:
    """Return the fact that `project` exists."""
    texts = (text_or_none(project.name), text_or_none(project.description))
    fields = (fields_by_name("metadata", project.metadata), named_tags(plain_tags(project.tags)))
    return ProjectCreated(project.uid, at, *texts, *fields)


def group_created(group: TrialGroup, at: float) -> GroupCreated:
    """Return the fact that `group` exists."""
    fields = (fields_by_name("metadata", group.metadata), to_plain(group.project_id))
    return GroupCreated(group.uid, at, group.name, text_or_none(group.description), *fields)


def trial_created(trial: Trial, at: float) -> TrialCreated:
    """Return the fact that `trial` exists."""
    digest = trial.hash
    require_text("the hash of a trial", digest)
    if abs(trial.revision) > _LARGEST:
        raise InvalidEvent(f"revision {shown(trial.revision)} of a trial cannot be stored")
    status = Status.CreatedGroup if trial.status is None else normal_status(trial.status)
    return TrialCreated(
        digest,
        trial.revision,
        at,
        text_or_none(trial.name),
        text_or_none(trial.description),
        plain_tags(trial.tags),
        text_or_none(trial.version),
        to_plain(trial.group_id),
        to_plain(trial.project_id),
        fields_by_name("parameters", trial.parameters),
        _plain_metadata(trial.metadata),
        metrics_to_plain(trial.metrics),
        metrics_to_plain(trial.chronos),
        [utf8(text_of(error)) for error in (trial.errors if isinstance(trial.errors, list) else [trial.errors])],
        None if status is Status.CreatedGroup else (status.name, status.value),
    )


def _plain_metadata(metadata: Any) -> dict[str, Any]:
    """Return metadata as JSON-safe data, in which an aggregator keeps its state."""
    if not issubclass(type(metadata), dict):
        return fields_by_name("metadata", metadata)
    plain = metrics_to_plain(metadata)
    return {"dtype": "dict", "value": plain} if set(plain) == {"dtype", "value"} else plain


def trial_copied(trial: Trial) -> TrialCreated:
    """Return the fact that `trial`, of another store, exists as it is there, with all that it measured."""
    created = trial_created(trial, counted(trial, "_last_change"))
    if isinstance(trial.metadata, dict):
        metadata = {name: value for name, value in trial.metadata.items() if name not in _COUNTED}
        created = msgspec.structs.replace(created, metadata=_plain_metadata(metadata))
    # A file that somebody else has written may hold anything.
    return msgspec.structs.replace(
        created,
        changes=int(counted(trial, "_update_count")),
        timestamps={str(name): _finite(at) for name, at in trial.timestamps.items()},
        process=to_plain(trial.process) if isinstance(trial.process, dict) else None,
        artifacts=[to_plain(artifact) for artifact in trial.artifacts if isinstance(artifact, dict)],
        attempt=max(0, int(_finite(trial.attempt))),
        processes=[
            to_plain(process) for process in trial.processes if isinstance(process, dict) and "status" in process
        ],
        is_set=bool(trial.is_set),
        latest=_finite(trial.latest),
        moments=moments_copied(trial),
    )


def moments_copied(thing: Trial | TrialGroup | Project) -> dict[str, dict[str, float]]:
    """Return when what an object of another store has was given."""
    known = thing.moments.items() if isinstance(thing.moments, dict) else ()
    return {
        str(field): {str(name): _finite(at) for name, at in times.items()}
        for field, times in known
        if isinstance(times, dict)
    }


def counted(trial: Trial, name: str) -> float:
    """Return what a store notes in a trial's metadata, ``_update_count`` or ``_last_change``; 0 where it does not."""
    return _finite(trial.metadata.get(name)) if isinstance(trial.metadata, dict) else 0.0


def _finite(value: Any) -> float:
    return float(value) if is_number(value) and -_LARGEST < value < _LARGEST else 0.0


def require_text(what: str, name: Any) -> None:
    """Check that a name can be stored; InvalidEvent when it is no text."""
    if not isinstance(name, str) or utf8(name) != name:
        raise InvalidEvent(f"{what} is text that has a UTF-8 form, not {shown(name)}")


def require_mutator(attr: str) -> None:
    """Check that ``fetch_and_update_*`` may call the method `attr`.

    Raises InvalidEvent: it is none of `MUTATORS`.
    """
    if attr not in MUTATORS:
        raise InvalidEvent(f"{attr!r} cannot be called here; use one of {', '.join(sorted(MUTATORS))}")
