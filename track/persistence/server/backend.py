"""A backend as a server uses it: batches of numbered events, decisions that others have made, questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

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
from track.persistence.delivery import DeliveredProtocol
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.local import FileProtocol
from track.persistence.mirrors import Mirror
from track.persistence.multiplexer import Telling
from track.persistence.protocol import Protocol
from track.plain import to_plain
from track.structure import Project, Trial, TrialGroup

Result = TypeVar("Result")
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

    What it is told is stored in it when the call returns: a backend that delivers is used without its delivery.
    Where a backend cannot remember who wrote what, it is remembered here, until the server ends.

    Parameters
    ----------
    protocol: Protocol

    Raises
    ------
    InvalidUri
        The backend keeps everything in memory until it is saved.
    """

    def __init__(self, protocol: Protocol) -> None:
        if isinstance(protocol, FileProtocol) and protocol.path is not None and not protocol.eager:
            raise InvalidUri(f"{protocol.uri!r} cannot be served: with eager=0 nothing is stored before it is saved")
        self._mirrors: list[Mirror] = []
        main = protocol
        if isinstance(protocol, Telling) and isinstance(protocol.protos[-1], EventProtocol):
            main, self._mirrors = protocol.protos[-1], protocol._mirrors
        self.protocol: Protocol = main.remote if isinstance(main, DeliveredProtocol) else main
        self._last: dict[str, int] = {}

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
        self._store(*self._batch(writer, first, lines))

    def decide(self, writer: str, first: int, expected: Sequence[Expectation], lines: bytes) -> Batch | None:
        """Store events if what they are based on is still so, and return them; None if it is not.

        A decision that was stored before, whose answer was lost, is returned again.
        """
        batch, line = self._batch(writer, first, lines)

        def action() -> bool:
            if self.last(writer) >= first + len(batch.events) - 1:
                return True
            if not all(self._is_as(*expectation) for expectation in expected):
                return False
            if any(self._is_taken(event) for event in batch.events):
                return False
            self._store(batch, line)
            return True

        return batch if self._atomically(action) else None

    def last(self, writer: str) -> int:
        """Return the number of the last event stored of `writer`, -1 for none."""
        remembers: Callable[[str], int] | None = getattr(self.protocol, "last", None)
        return self._last.get(writer, -1) if remembers is None else remembers(writer)

    def _batch(self, writer: str, first: int, lines: bytes) -> tuple[Batch, bytes]:
        # As the line of a journal, which it may become: what cannot be read there is not taken here.
        line = encode_batch(writer, first, lines)
        batch = decode_record(line)
        if not isinstance(batch, Batch) or (batch.writer, batch.first) != (writer, first) or not batch.events:
            raise InvalidEvent("the lines are no events")
        admit(batch.events)
        return batch, line

    def _store(self, batch: Batch, line: bytes) -> None:
        new = batch.events[max(0, self.last(batch.writer) + 1 - batch.first) :] if self._mirrors else []
        self._store_in_main(batch, line)
        for mirror in self._mirrors:
            if isinstance(mirror.backend, EventProtocol):
                mirror.apply(new)
            else:
                mirror.call("apply", *new)

    def _store_in_main(self, batch: Batch, line: bytes) -> None:
        receive: Callable[[str, int, list[Event]], None] | None = getattr(self.protocol, "receive", None)
        if isinstance(self.protocol, FileProtocol):
            self.protocol.receive_batch(batch, line)
        elif receive is not None:
            receive(batch.writer, batch.first, batch.events)
        else:
            self._apply_new(batch)

    def _apply_new(self, batch: Batch) -> None:
        for number, event in enumerate(batch.events, batch.first):
            if number > self._last.get(batch.writer, -1):
                self.protocol.apply(event)
                self._last[batch.writer] = number

    def _atomically(self, action: Callable[[], Result]) -> Result:
        # Other backends are written to by this server alone, one call after another.
        return self.protocol.atomically(action) if isinstance(self.protocol, EventProtocol) else action()

    def _is_as(self, kind: str, uid: str, expected: Any) -> bool:
        found = self.fetch(kind, {"uid": uid})
        return bool(found) and version(found[0]) == expected

    def _is_taken(self, event: Event) -> bool:
        match event:
            case TrialCreated():
                return self.has("trial", event.trial)
            case GroupCreated():
                return self.has("trial_group", event.uid)
            case ProjectCreated():
                return self.has("project", event.uid)
        return False

    def holding_at_once(self) -> AbstractContextManager[bool]:
        """Say whether a short call need not wait for anybody, and keep it so meanwhile."""
        if isinstance(self.protocol, FileProtocol):
            return self.protocol.holding_at_once()
        return nullcontext(isinstance(self.protocol, EphemeralProtocol))

    def own_process(self) -> None:
        """Note that nobody else in this process writes to the store."""
        if isinstance(self.protocol, FileProtocol):
            self.protocol.write_from_one_thread()

    def tidy(self) -> None:
        """Bring a file up to date where that is worth it."""
        if isinstance(self.protocol, FileProtocol):
            self.protocol.save_if_worth()

    # asking

    def fetch(self, kind: str, query: Any, is_first: bool = False) -> list[Any]:
        """Return the objects of a kind that match, oldest first, or only the first of them."""
        if is_first and kind == "trial" and isinstance(self.protocol, EventProtocol):
            found = self.protocol._first_trial(query)
            return [] if found is None else [found]
        fetch: dict[str, Callable[[Any], list[Any]]] = {
            "trial": self.protocol.fetch_trials,
            "trial_group": self.protocol.fetch_groups,
            "project": self.protocol.fetch_projects,
        }
        return fetch[kind](query)[: 1 if is_first else None]

    def has(self, kind: str, uid: str) -> bool:
        """Return whether something with this uid is stored."""
        if isinstance(self.protocol, EventProtocol):
            return self.protocol._has(KINDS[kind], uid)
        return bool(self.fetch(kind, {"uid": uid}))

    def revisions(self, digest: str) -> list[int]:
        """Return the revisions of a hash that are stored, sorted."""
        if isinstance(self.protocol, EventProtocol):
            return sorted(self.protocol._revisions(digest))
        return sorted({found.revision for found in self.protocol.fetch_trials({"hash": digest})})

    def members(self, uid: str) -> list[str]:
        """Return the uids of the trials of a group."""
        found = self.fetch("trial_group", {"uid": uid})
        return list(found[0].trials) if found else []

    def touched(self, batch: Batch) -> list[Any]:
        """Return what the events of a batch are about, as it is now."""
        names = dict.fromkeys(_subject(event) for event in batch.events)
        return [found for kind, uid in names for found in self.fetch(kind, {"uid": uid})]


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
