"""What a server does with the backend behind it: events are checked, and a decision is a compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from track.errors import InvalidEvent
from track.events import (
    Batch,
    Event,
    GroupCreated,
    ProjectCreated,
    TrialCreated,
    decode_record,
    encode_batch,
)
from track.persistence.contract import subject_of
from track.persistence.protocol import Protocol
from track.persistence.rpc import FETCHES, KINDS, version
from track.persistence.server.admission import admit
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
        if not _are_as(backend, expected):
            return False
        if any(_is_taken(backend, event) for event in events):
            return False
        backend.receive(writer, first, events, lines)
        return True

    return events if backend.atomically(compare_and_set) else None


def _are_as(backend: Protocol, expected: Sequence[Expectation]) -> bool:
    """Return whether everything is as it was; each thing is looked at once, however often it is named."""
    known: dict[tuple[str, str], Any] = {}
    for kind, uid, wanted in expected:
        if (kind, uid) not in known:
            known[kind, uid] = wanted
            if not _is_as(backend, kind, uid, wanted):
                return False
        elif known[kind, uid] != wanted:
            return False
    return True


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
