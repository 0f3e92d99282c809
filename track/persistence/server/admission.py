"""What a server takes: events that every store can apply, save and read back, whatever they are about.

Memory that an event asks for is in proportion to its bytes, and what is shown of it can be said in every store: names
have a length that an index of a database takes, times a year, numbers eight bytes where a column has no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from track.aggregators.aggregator import TimeSeriesAggregator
from track.aggregators.base import is_known, make_aggregator
from track.columns import Columns
from track.containers.series import Points, Series, hashable
from track.errors import InvalidEvent
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
from track.metrics import Undecoded
from track.persistence.contract import artifact_media
from track.persistence.state import (
    DELETED,
    RESUMES,
    Liveness,
    PointColumns,
    make_trial,
    measure_into,
    parameter_cells,
    shown_fields,
    trial_document,
)
from track.plain import is_number, restore
from track.shown import shown
from track.structure import Trial

_FIELDS = {
    "trial": {"deleted", "metadata", "parameters", "tags"},
    "group": {"metadata"},
    "project": {"metadata", "tags"},
}
_OWNERS = {"group", "project"}
_LONGEST_SPECIFICATION = 8
_LARGEST_ARGUMENT = 1 << 20
_LARGEST = 2**62
_DEEPEST = 252
_LONGEST_UID = 1000
_LONGEST_NAME = 2000
"""Bytes of a name in JSON: an index of PostgreSQL takes 2,700."""
_LONGEST_TITLE = 20_000
_MOST_NAMES = 10_000
_YEARS = (-62_135_596_800, 253_402_300_800)
"""Unix seconds of the years 1 to 9999, which a calendar can say."""
_STEPS = (int, float, str, type(None), bool)
_NONE = type(None)
_LEAVES = frozenset(_STEPS)
_SHORT = 160
"""Characters of names that fit everywhere."""


def admit(events: Iterable[Event]) -> None:
    """Return if every event may be stored.

    Raises InvalidEvent: a store cannot apply one, or save or show what comes of it, or it asks for more memory than it
    has data.
    """
    least, most = _YEARS
    for event in events:
        # Nearly all of them; written out, because it is done for every point.
        if type(event) is MetricsLogged and event.aggregator is None and least <= event.at < most:
            step = type(event.step)
            is_short = len(event.trial) < _SHORT and "\0" not in event.trial
            if (step is int or step is _NONE or step is float) and is_short and event.columns is None:
                for name, value in event.values.items():
                    if (type(value) is not float and type(value) is not int) or len(name) > _SHORT:
                        break
                else:
                    if len(event.values) <= _MOST_NAMES:
                        continue
        _checks[type(event)](event)


# what all of them have


def _check_at(*times: float) -> None:
    for at in times:
        if not _YEARS[0] <= at < _YEARS[1]:
            raise InvalidEvent(f"{at:g} is no time: unix seconds of the years 1 to 9999")


def _check_uid(what: str, uid: Any) -> None:
    if not isinstance(uid, str) or not _fits(uid, _LONGEST_UID) or "\0" in uid:
        raise InvalidEvent(f"{shown(uid)} cannot be {what}: up to {_LONGEST_UID} bytes of text without a NUL")


def _check_title(what: str, text: Any, has_column: bool = False) -> None:
    if text is None or (isinstance(text, str) and _fits(text, _LONGEST_TITLE) and not (has_column and "\0" in text)):
        return
    raise InvalidEvent(f"{shown(text)} cannot be a {what}: up to {_LONGEST_TITLE} bytes of text without a NUL")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _fits(name, _LONGEST_NAME):
        raise InvalidEvent(f"{shown(name)} is too long for a name: up to {_LONGEST_NAME} bytes")


def _fits(text: str, size: int) -> bool:
    # A character is at most six bytes in JSON.
    return len(text) * 6 <= size or (len(text) <= size and len(msgspec.json.encode(text)) <= size)


def _check_count(what: str, number: Any, least: int = -_LARGEST) -> None:
    if number is not None and not least <= number <= _LARGEST:
        raise InvalidEvent(f"{shown(number)} is too large for {what}")


def _check_value(name: str, value: Any) -> None:
    if not is_number(value) and not is_number(restore(value)):
        raise InvalidEvent(f"{shown(name)} is {shown(value)}, and only numbers are measured")


def _check_plain(*values: Any) -> None:
    """Look at data of any depth: it has an end, and states of aggregators in it say how large they are."""
    level = list(values)
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                _check_arguments(item.get("arguments"))
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise InvalidEvent(f"data is nested more than {_DEEPEST} levels deep")


def _check_mapping(what: str, plain: Any) -> None:
    _check_plain(plain)
    if not isinstance(restore(plain), dict):
        raise InvalidEvent(f"{what} are values by name, not {shown(plain)}")


def _check_parameters(parameters: dict[str, Any]) -> None:
    """Look at the dotted names by which parameters are found."""
    level, count = [(0, parameters)], 0
    while level:
        before, nested = level.pop()
        for name, value in nested.items():
            if before + len(name) > _LONGEST_NAME:
                raise InvalidEvent(f"{shown(name)} is too deep, or too long, for the name of a parameter")
            if isinstance(value, dict):
                level.append((before + len(name) + 1, value))
                continue
            count += 1
            if before:
                # Its whole name, as if every character of what is before took as many bytes as it may.
                _check_name("." * min(before, _LONGEST_NAME) + name)
            else:
                _check_name(name)
    if count > _MOST_NAMES:
        raise InvalidEvent(f"{count} parameters at once are too many: at most {_MOST_NAMES}")


# aggregators


def _check_specification(specification: list[Any] | None) -> None:
    if specification is None:
        return
    if not specification or len(specification) > _LONGEST_SPECIFICATION or not isinstance(specification[0], str):
        raise InvalidEvent(f"{shown(specification, 80)} is no aggregator")
    _check_arguments(specification[1:])
    _check_made(msgspec.json.encode(specification))


@lru_cache(maxsize=256)
def _check_made(specification: bytes) -> None:
    """Make the aggregator once: one that cannot be made, or not be stored, is refused."""
    kind, *arguments = msgspec.json.decode(specification)
    if len(specification) > _LONGEST_NAME or not all(isinstance(one, (int, float, str)) for one in arguments):
        raise InvalidEvent(f"{shown([kind, *arguments], 80)} has odd arguments for an aggregator")
    if not is_known(kind):
        # All values are kept.
        return
    if make_aggregator([kind, *arguments]).kind != kind:
        raise InvalidEvent(f"no aggregator can be made of {shown([kind, *arguments], 80)}")


def _check_arguments(arguments: Any) -> None:
    for argument in arguments if isinstance(arguments, list) else ():
        if isinstance(argument, (int, float)) and not -_LARGEST_ARGUMENT <= argument <= _LARGEST_ARGUMENT:
            raise InvalidEvent(f"an aggregator of size {shown(argument)} is too large: at most {_LARGEST_ARGUMENT}")


# each of the nine


def _check_metrics(event: MetricsLogged) -> None:
    _check_uid("the uid of a trial", event.trial)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)
    if type(event.step) not in _STEPS:
        _check_step(event.step)
    _check_specification(event.aggregator)
    if len(event.values) > _MOST_NAMES:
        raise InvalidEvent(f"{len(event.values)} metrics in one call are too many: at most {_MOST_NAMES}")
    for name, value in event.values.items():
        _check_name(name)
        _check_value(name, value)
    if event.columns is not None:
        _check_columns(event.columns, event.at)


def _check_columns(columns: Columns, at: float) -> None:
    _check_name(columns.name)
    if isinstance(columns.step, list):
        for step in columns.step:
            if type(step) not in _STEPS:
                _check_step(step)
    elif columns.step is not None:
        for step in columns.step.odd.values():
            _check_step(step)
    odd = columns.value if isinstance(columns.value, list) else columns.value.odd.values()
    for value in odd:
        _check_value(columns.name, value)
    if columns.at is not None:
        for logged in columns.times(at):
            _check_at(logged)


def _check_step(step: Any) -> None:
    _check_plain(step)
    try:
        hash(hashable(restore(step)))
    except TypeError as error:
        raise InvalidEvent(f"step {shown(step)} cannot be a key") from error


def _check_time(event: TimeLogged) -> None:
    _check_uid("the uid of a trial", event.trial)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)
    _check_name(event.name)
    _check_value(event.name, event.seconds)
    _check_specification(event.aggregator)


def _check_fields(event: FieldsMerged) -> None:
    if event.field not in _FIELDS.get(event.kind, ()):
        raise InvalidEvent(f"{shown(event.field)} of a {shown(event.kind)} cannot be written")
    _check_uid(f"the uid of a {event.kind}", event.uid)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)
    _check_specification(event.aggregator)
    if event.aggregator is not None and event.kind != "trial":
        raise InvalidEvent(f"a {event.kind} has no aggregators")
    _check_plain(event.values)
    if event.field == DELETED and not (event.aggregator is None and _says_hidden(event.values)):
        raise InvalidEvent(f"a trial is hidden or not, not {shown(event.values)}: to forget it is a call of its own")
    if event.field == "parameters":
        _check_parameters(event.values)
    if event.aggregator is not None and RESUMES in event.values:
        _check_resume(restore(event.values[RESUMES]))


def _says_hidden(values: dict[str, Any]) -> bool:
    return set(values) == {DELETED} and isinstance(values[DELETED], bool)


def _check_resume(rule: Any) -> None:
    if not (isinstance(rule, list) and len(rule) == 2 and all(map(is_number, rule))):
        raise InvalidEvent(f"{shown(rule)} is not where a trial goes on: its step, and when that was")


def _check_owner(event: TrialAttached) -> None:
    if event.kind not in _OWNERS:
        raise InvalidEvent(f"a trial cannot belong to a {shown(event.kind)}")
    _check_uid("the uid of a trial", event.trial)
    _check_uid(f"the uid of a {event.kind}", event.owner)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)


def _check_status(event: StatusChanged) -> None:
    _check_uid("the uid of a trial", event.trial)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)
    _check_state(event.status)
    if event.process is not None:
        _check_process(event.process)


def _check_state(status: tuple[str | None, int | None] | None) -> None:
    if status is not None:
        _check_title("status", status[0], has_column=True)


def _check_process(process: dict[str, Any]) -> None:
    """Look at what tells a process from others."""
    _check_plain(process)
    for name in ("host", "machine", "started", "signal"):
        if not isinstance(process.get(name), (str, int, float, type(None))):
            raise InvalidEvent(f"{name} of a process is {shown(process[name])}")
    pid = process.get("pid")
    if pid is not None and (type(pid) is not int or not 0 < pid < 2**31):
        raise InvalidEvent(f"{shown(pid)} is no number of a process")


def _check_artifact(event: ArtifactAdded) -> None:
    _check_uid("the uid of a trial", event.trial)
    _check_at(event.at)
    _check_count("an attempt", event.attempt, 0)
    _check_count("a size", event.size)
    if len(event.name) > _LONGEST_TITLE:
        raise InvalidEvent(f"{shown(event.name)} is too long for the name of an artifact")
    if type(event.step) not in _STEPS:
        _check_step(event.step)
    if event.media is not None:
        _check_plain(event.media)
        artifact_media(event.media)


def _check_project(event: ProjectCreated) -> None:
    _check_uid("the uid of a project", event.uid)
    _check_at(event.at)
    _check_title("name", event.name)
    _check_mapping("the metadata of a project", event.metadata)
    _check_mapping("the tags of a project", event.tags)


def _check_group(event: GroupCreated) -> None:
    _check_uid("the uid of a group", event.uid)
    _check_at(event.at)
    _check_title("name", event.name)
    _check_mapping("the metadata of a group", event.metadata)
    _check_member(event.project_id)


def _check_member(owner: Any) -> None:
    known = restore(owner) if isinstance(owner, dict) else owner
    if isinstance(known, str):
        _check_uid("the uid of an owner", known)
    elif known is not None and (type(known) is not int or abs(known) > _LARGEST):
        raise InvalidEvent(f"{shown(owner)} is no uid of an owner")


def _check_trial(event: TrialCreated) -> None:
    _check_uid("the hash of a trial", event.hash)
    _check_at(event.at, *event.timestamps.values())
    _check_count("a revision", event.revision)
    _check_title("name", event.name)
    _check_title("version", event.version, has_column=True)
    for owner in (event.group_id, event.project_id):
        _check_member(owner)
    if not (event.status or event.process or event.errors or _is_of_another_store(event)) and all(
        map(_is_simple, (event.parameters, event.metadata, event.tags))
    ):
        return
    _check_plain(event.tags, event.metadata, event.metrics, event.chronos, event.errors, event.artifacts)
    _check_mapping("parameters", event.parameters)
    _check_parameters(event.parameters)
    _check_state(event.status)
    for process in (event.process, *event.processes):
        if process is not None:
            _check_process({name: value for name, value in process.items() if name not in ("status", "at", "began")})
    if not all(isinstance(restore(artifact), dict) for artifact in event.artifacts):
        raise InvalidEvent("an artifact of a trial has no fields")
    is_plain = isinstance(event.metadata, dict) and not any(type(value) is dict for value in event.metadata.values())
    if _has_measured(event) or event.processes or not is_plain or "dtype" in event.metadata:
        _try(event)


def _is_of_another_store(event: TrialCreated) -> bool:
    return bool(_has_measured(event) or event.processes or event.artifacts)


def _has_measured(event: TrialCreated) -> bool:
    """Return whether it says what was measured; what is empty and nothing by name, as None, says that falsely."""
    return bool(event.metrics != {} or event.chronos != {})


def _is_simple(fields: Any) -> bool:
    """Return whether values by name are few, short and flat, as nearly all are."""
    if type(fields) is not dict or len(fields) > _SHORT or "dtype" in fields:
        return False
    return max(map(len, fields), default=0) <= _SHORT and _LEAVES.issuperset(map(type, fields.values()))


def _try(event: TrialCreated) -> None:
    """Do with a trial of another store what every store does: make, save and show it."""
    try:
        for measured in (event.metrics, event.chronos):
            if len(measured) > _MOST_NAMES:
                raise InvalidEvent(f"{len(measured)} measured names of one trial are too many: at most {_MOST_NAMES}")
            for name in measured:
                _check_name(name)
        trial = make_trial(event)
        _show(trial)
        trial_document(trial)
        parameter_cells(trial)
        columns = PointColumns(), PointColumns()
        measure_into(trial, *columns)
        for column in [*columns[0].columns.values(), *columns[1].columns.values()]:
            column.last()
    except InvalidEvent:
        raise
    except Exception as error:  # whatever it is, it would be raised at each look
        raise InvalidEvent(f"trial {shown(event.trial)} makes no sense: {shown(str(error))}") from error


def _show(trial: Trial) -> None:
    fields = shown_fields(trial, lambda uid: None, Liveness(), {})
    for measured in (trial.metrics, trial.chronos, fields.get("metrics", {})):
        for container in measured.values():
            repr(container)
            if isinstance(container, Undecoded) and container.get("dtype") in ("steps", "series"):
                raise InvalidEvent("the points of a metric cannot be read")
            if isinstance(container, (Series, TimeSeriesAggregator)):
                _check_points(container.points)


def _check_points(points: Points) -> None:
    columns = [points.value, points.at, *([] if points.step is None else [points.step])]
    if len(set(map(len, columns))) > 1:
        raise InvalidEvent("the columns of a metric are not of one length")
    _check_at(*points.times())
    for step in points.steps():
        hash(step)


_checks: dict[type, Callable[[Any], None]] = {
    ArtifactAdded: _check_artifact,
    FieldsMerged: _check_fields,
    GroupCreated: _check_group,
    MetricsLogged: _check_metrics,
    ProjectCreated: _check_project,
    StatusChanged: _check_status,
    TimeLogged: _check_time,
    TrialAttached: _check_owner,
    TrialCreated: _check_trial,
}
