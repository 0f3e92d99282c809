"""Which events a server takes from others: those that mean something, and cannot be made to mean more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from track.errors import InvalidEvent
from track.events import Event, FieldsMerged, MetricsLogged, TimeLogged, TrialAttached, TrialCreated

__all__ = ["admit"]

_KINDS = {"trial", "group", "project"}
_FIELDS = {"metadata", "parameters", "tags"}
_OWNERS = {"group", "project"}
_LONGEST_SPECIFICATION = 8
_LARGEST_ARGUMENT = 1 << 20


def admit(events: Iterable[Event]) -> None:
    """Return if every event may be stored.

    Raises
    ------
    InvalidEvent
        One names a field that is not to be written, or asks for more memory than it has data.
    """
    for event in events:
        if type(event) is MetricsLogged and event.aggregator is None:
            continue
        check = _checks.get(type(event))
        if check is not None:
            check(event)


def _check_fields(event: FieldsMerged) -> None:
    if event.kind not in _KINDS or event.field not in _FIELDS:
        raise InvalidEvent(f"{event.field!r} of a {event.kind!r} cannot be written")
    _check_specification(event)
    _check_states(event.values)


def _check_owner(event: TrialAttached) -> None:
    if event.kind not in _OWNERS:
        raise InvalidEvent(f"a trial cannot belong to a {event.kind!r}")


def _check_specification(event: Any) -> None:
    specification = event.aggregator
    if specification is None:
        return
    if not specification or len(specification) > _LONGEST_SPECIFICATION or not isinstance(specification[0], str):
        raise InvalidEvent(f"{specification!r:.80} is no aggregator")
    _check_arguments(specification[1:])


def _check_trial(event: TrialCreated) -> None:
    for states in (event.metrics, event.chronos, event.metadata, event.tags):
        _check_states(states)


def _check_states(plain: Any) -> None:
    """Look for states of aggregators, whose arguments say how large they are, at any depth."""
    waiting = [plain]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            _check_arguments(item.get("arguments"))
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_arguments(arguments: Any) -> None:
    for argument in arguments if isinstance(arguments, list) else ():
        if isinstance(argument, (int, float)) and not -_LARGEST_ARGUMENT <= argument <= _LARGEST_ARGUMENT:
            raise InvalidEvent(f"an aggregator of size {argument} is too large: at most {_LARGEST_ARGUMENT}")


_checks: dict[type, Callable[[Any], None]] = {
    FieldsMerged: _check_fields,
    MetricsLogged: _check_specification,
    TimeLogged: _check_specification,
    TrialAttached: _check_owner,
    TrialCreated: _check_trial,
}
