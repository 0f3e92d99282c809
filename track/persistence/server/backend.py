"""What a server does with the backend behind it: events are checked, and a decision is a compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from track.errors import InvalidEvent
from track.events import (
    Batch,
    Event,
    FieldsMerged,
    GroupCreated,
    MetricsLogged,
    ProjectCreated,
    TimeLogged,
    TrialAttached,
    TrialCreated,
    decode_record,
    encode_batch,
)
from track.persistence.numbered import subject_of
from track.persistence.protocol import Protocol
from track.persistence.rpc import FETCHES, KINDS, version
from track.structure import Project, Trial, TrialGroup

Expectation = tuple[str, str, Any]
"""Kind, uid and version of something that a decision was based on."""


def decide(
    backend: Protocol, writer: str, first: int, expected: Sequence[Expectation], lines: bytes
) -> Sequence[Event] | None:
    """Store events if what they are based on is still so, and return them; None if it is not.

    It is idempotent: a decision that was stored before, whose answer was lost, is returned again.
    """
    events = read_events(writer, first, lines)

    def compare_and_set() -> bool:
        if backend.last(writer) >= first + len(events) - 1:
            return True
        if not all(_is_as(backend, *expectation) for expectation in expected):
            return False
        if any(_is_taken(backend, event) for event in events):
            return False
        backend.receive(writer, first, events, lines)
        return True

    return events if backend.atomically(compare_and_set) else None


def _is_as(backend: Protocol, kind: str, uid: str, expected: Any) -> bool:
    found = fetch(backend, KINDS[kind], {"uid": uid})
    return bool(found) and version(found[0]) == expected


def _is_taken(backend: Protocol, event: Event) -> bool:
    match event:
        case TrialCreated():
            return backend.has(Trial, event.trial)
        case GroupCreated():
            return backend.has(TrialGroup, event.uid)
        case ProjectCreated():
            return backend.has(Project, event.uid)
    return False


def fetch(backend: Protocol, kind: type, query: Any) -> list[Any]:
    """Return the objects of a kind that match, oldest first."""
    found: list[Any] = getattr(backend, FETCHES[kind])(query)
    return found


def touched(backend: Protocol, events: Sequence[Event]) -> list[Any]:
    """Return what events are about, as it is now."""
    subjects = dict.fromkeys(subject_of(event) for event in events)
    return [found for kind, uid in subjects for found in fetch(backend, kind, {"uid": uid})]


# what may be stored

_KINDS = {"trial", "group", "project"}
_FIELDS = {"metadata", "parameters", "tags"}
_OWNERS = {"group", "project"}
_LONGEST_SPECIFICATION = 8
_LARGEST_ARGUMENT = 1 << 20


def read_events(writer: str, first: int, lines: bytes) -> Sequence[Event]:
    """Return the events of these lines, numbered from `first` on, which may be stored.

    Raises InvalidEvent: a line is no event, or one that can never be stored.
    """
    # As the line of a journal, which it may become: what cannot be read there is not taken here.
    batch = decode_record(encode_batch(writer, first, lines))
    if not isinstance(batch, Batch) or (batch.writer, batch.first) != (writer, first) or not batch.events:
        raise InvalidEvent("the lines are no events")
    admit(batch.events)
    return batch.events


def admit(events: Iterable[Event]) -> None:
    """Return if every event may be stored.

    Raises InvalidEvent: one names a field that is not to be written, or asks for more memory than it has data.
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
