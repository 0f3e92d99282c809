"""A backend as a server uses it: batches of numbered events, decisions that others have made, questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from track.errors import InvalidEvent, InvalidUri
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
from track.persistence.protocol import Protocol
from track.plain import to_plain
from track.structure import Project, Trial, TrialGroup

KINDS: dict[str, type] = {"trial": Trial, "trial_group": TrialGroup, "project": Project}
"""What a backend stores, by the name it has in documents."""
Expectation = tuple[str, str, Any]
"""Kind, uid and version of something that a decision was based on."""


def version(found: Any) -> Any:
    """Return what is another after each change of a trial, a group or a project."""
    if isinstance(found, Trial):
        return found.metadata.get("_update_count") if isinstance(found.metadata, dict) else None
    return to_plain(found.metadata)


class Served:
    """The backend behind a server, used by one thread.

    What it is told is stored in it when the call returns: a backend that delivers hands it on.

    Parameters
    ----------
    protocol: Protocol

    Raises
    ------
    InvalidUri
        The backend keeps everything in memory until it is saved.
    """

    def __init__(self, protocol: Protocol) -> None:
        # What delivers passes on what it receives.
        if not protocol.stores_at_once and protocol.server is None:
            raise InvalidUri(f"{protocol.uri!r} cannot be served: with eager=0 nothing is stored before it is saved")
        self.protocol = protocol

    # writing

    def receive(self, writer: str, first: int, lines: bytes) -> None:
        """Store the events of these lines, numbered from `first` on; those that were stored before change nothing.

        Raises
        ------
        InvalidEvent
            A line is no event, or one that can never be stored.
        BackendUnavailable
            They cannot be stored now.
        """
        self.protocol.receive(writer, first, _events(writer, first, lines), lines)

    def decide(self, writer: str, first: int, expected: Sequence[Expectation], lines: bytes) -> Sequence[Event] | None:
        """Store events if what they are based on is still so, and return them; None if it is not.

        A decision that was stored before, whose answer was lost, is returned again.
        """
        events = _events(writer, first, lines)

        def action() -> bool:
            if self.protocol.last(writer) >= first + len(events) - 1:
                return True
            if not all(self._is_as(*expectation) for expectation in expected):
                return False
            if any(self._is_taken(event) for event in events):
                return False
            self.protocol.receive(writer, first, events, lines)
            return True

        return events if self.protocol.atomically(action) else None

    def _is_as(self, kind: str, uid: str, expected: Any) -> bool:
        found = self.fetch(kind, {"uid": uid})
        return bool(found) and version(found[0]) == expected

    def _is_taken(self, event: Event) -> bool:
        match event:
            case TrialCreated():
                return self.protocol.has(Trial, event.trial)
            case GroupCreated():
                return self.protocol.has(TrialGroup, event.uid)
            case ProjectCreated():
                return self.protocol.has(Project, event.uid)
        return False

    # asking

    def fetch(self, kind: str, query: Any, is_first: bool = False) -> list[Any]:
        """Return the objects of a kind that match, oldest first, or only the first of them."""
        if is_first and kind == "trial":
            found = self.protocol.first_trial(query)
            return [] if found is None else [found]
        fetch: dict[str, Callable[[Any], list[Any]]] = {
            "trial": self.protocol.fetch_trials,
            "trial_group": self.protocol.fetch_groups,
            "project": self.protocol.fetch_projects,
        }
        return fetch[kind](query)[: 1 if is_first else None]

    def members(self, uid: str) -> list[str]:
        """Return the uids of the trials of a group."""
        found = self.fetch("trial_group", {"uid": uid})
        return list(found[0].trials) if found else []

    def touched(self, events: Sequence[Event]) -> list[Any]:
        """Return what events are about, as it is now."""
        names = dict.fromkeys(_subject(event) for event in events)
        return [found for kind, uid in names for found in self.fetch(kind, {"uid": uid})]


def _events(writer: str, first: int, lines: bytes) -> Sequence[Event]:
    # As the line of a journal, which it may become: what cannot be read there is not taken here.
    batch = decode_record(encode_batch(writer, first, lines))
    if not isinstance(batch, Batch) or (batch.writer, batch.first) != (writer, first) or not batch.events:
        raise InvalidEvent("the lines are no events")
    admit(batch.events)
    return batch.events


def _subject(event: Event) -> tuple[str, str]:
    match event:
        case ProjectCreated():
            return "project", event.uid
        case GroupCreated():
            return "trial_group", event.uid
        case FieldsMerged():
            return {"group": "trial_group"}.get(event.kind, event.kind), event.uid
    return "trial", event.trial


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
