"""The store behind a track server, as a backend: reads and decisions go straight through."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import msgspec

from track.briefs import brief_from_plain
from track.errors import AnotherStore, ConcurrentWrite, InvalidEvent, InvalidQuery, RPCCallFailure
from track.events import Event, encode
from track.metrics import Metrics
from track.persistence.buckets import Buckets, Question
from track.persistence.contract import FetchedPoints, Since, from_line, unknown_trial
from track.persistence.eventprotocol import EventProtocol
from track.persistence.protocol import Forgotten
from track.persistence.query import ALSO_DELETED, Condition, Query, SortKey, parse_limit, parse_query, parse_sort
from track.persistence.rpc.connection import Link
from track.persistence.rpc.wire import FETCHES, NAMES, version
from track.persistence.state import with_members
from track.plain import is_utf8, to_plain
from track.serialization import from_json, trial_from_document, trial_from_text
from track.structure import CustomStatus, Project, Status, Trial, TrialGroup
from track.utils.collecting import nothing_collected
from track.utils.lifecycle import watch_forks

Result = TypeVar("Result")
_decode = msgspec.json.decode
# Bytes of a call, at most, besides its lines.
_HEAD = 1 << 12
# What of a question is asked of the server; the rest is checked here.
_CONDITIONS, _KEYS, _LONGEST_ATTRIBUTE = 100, 20, 200
# A character has at most so many in JSON.
_ESCAPED = 6
_encode = msgspec.json.Encoder().encode


class _Changed(Exception):
    """What a decision was based on is not so any more."""


class RemoteStore(EventProtocol):
    """A store that a server keeps; `SocketClient` adds delivery.

    A decision is made here, from what was read, and stored by a compare-and-set: if that is still so, and else it is
    made again. It is numbered, as events are, so to send it twice is idempotent. `track.persistence.server.calls`
    answers what is asked here.

    `uri`: for messages: with its secrets masked. `tries`: how often a decision is made while others change what it is
    based on.
    """

    def __init__(self, uri: str, link: Link, tries: int = 1000) -> None:
        super().__init__(uri)
        self.link = link
        self.tries = tries
        self._writer, self._number = secrets.token_hex(8), 0
        self._reads: dict[tuple[str, str], Any] | None = None
        self._fresh: dict[tuple[type, str], Any] = {}
        self._guesses = False
        self._known_ids, self._asked_at = [""], -1
        watch_forks(self)

    # writing

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        self.receive_after(writer, -1, first, events, lines)

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        given = {"writer": writer, "first": first, "after": after, "store": self.expected_store}
        try:
            self.link.call("receive", given, self._sendable(events, lines))
        except AnotherStore:
            self._asked_at = -1
            self.require_store(self.expected_store)
            raise

    def last(self, writer: str) -> int:
        return int(self.link.call("last", {"writer": writer})[0])

    def _sendable(self, events: Sequence[Event], lines: bytes | None = None) -> bytes:
        """Return events as lines; InvalidEvent where they are more than the server takes at once."""
        lines = b"".join(map(encode, events)) if lines is None else lines
        if len(lines) > self.link.largest - _HEAD:
            raise InvalidEvent(f"{len(lines)} bytes are more than the server takes at once ({self.link.largest})")
        return lines

    def apply(self, *events: Event) -> None:
        """Store facts, once, and only if what they are based on is still so."""
        expected = [[*name, seen] for name, seen in (self._reads or {}).items()]
        lines = self._sendable(events)
        with self.link.turn():
            given = {"writer": self._writer, "first": self._number, "expected": expected}
            self._number += len(events)
            made, documents = self.link.call("decide", given, lines, is_settled=True)
        if not made:
            raise _Changed
        for found in self._objects(documents):
            self._fresh[type(found), found.uid] = found

    def atomically(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, which is run again when somebody else has changed what it has read.

        Raises ConcurrentWrite: others have changed it again and again.
        """
        with self.link.turn():
            if self._reads is not None:
                return action()
            if not self.link.connections:
                # What is decided has a time: the server says first what time it is.
                self._identities()
            for attempt in range(self.tries):
                self._reads, self._fresh, self._guesses = {}, {}, attempt == 0
                try:
                    return action()
                except _Changed:
                    continue
                finally:
                    self._reads, self._fresh = None, {}
        raise ConcurrentWrite(f"others keep changing what is decided in {self.place}")

    # which store it is

    def identity(self) -> str:
        return self._identities()[-1]

    def former_identities(self) -> list[str]:
        return self._identities()[:-1]

    def _identities(self) -> list[str]:
        """Return the ids of the server's store, its own last, asked once a connection: another server has another."""
        if self._asked_at != self.link.connections or not self._known_ids[-1]:
            found = self.link.call("identity", {})[0]
            self._known_ids, self._asked_at = list(map(str, found)), self.link.connections
        return self._known_ids

    def store_time(self) -> float | None:
        return self.link.clock.told()

    def unread(self) -> list[str]:
        answer = self._asked_if_known("unread", {})
        return [] if answer is None else list(map(str, answer[0]))

    def forget_trials(self, older: float = 0.0) -> Forgotten:
        return Forgotten(*self.link.call("forget", {"older": older}, is_settled=True)[0])

    # asking

    def _asked_if_known(self, name: str, given: dict[str, Any], lines: bytes = b"") -> tuple[Any, bytes] | None:
        """Return what a server answers to a call; None from one of before it could say."""
        try:
            return self.link.call(name, given, lines)
        except RPCCallFailure:
            return None

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        return self._fetch(Trial, query)

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        keys, most = parse_sort(sort, Trial), parse_limit(limit)
        sent, rest = _divided(parse_query(query, Trial), self.link.largest - _HEAD)
        if rest.conditions or _are_large(keys) or (not keys and most is None) or self._reads is not None:
            return super().select_trials(query, keys, most)
        asked = {"query": sent, "sort": _written_keys(keys), "limit": most}
        _, documents = self.link.call(FETCHES[Trial], asked)
        return self._objects(documents)

    def brief_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        keys, most = parse_sort(sort, Trial), parse_limit(limit)
        sent, rest = _divided(parse_query(query, Trial), self.link.largest - _HEAD)
        if rest.conditions or _are_large(keys) or self._reads is not None:
            return super().brief_trials(query, keys, most)
        asked = {"query": sent, "sort": _written_keys(keys), "limit": most}
        answer = self._asked_if_known("brief_trials", asked)
        if answer is None:
            return super().brief_trials(query, keys, most)
        lines = answer[1].splitlines()
        with nothing_collected():
            return list(map(self._brief, lines[::2], lines[1::2]))

    def _brief(self, document: bytes, measured: bytes) -> Trial:
        metrics = _Elsewhere(
            lambda: self._metrics_of(trial.uid),
            lambda: {name: brief_from_plain(plain) for name, plain in _decode(measured)[1].items()},
        )
        trial = trial_from_text(document.decode(), metrics, Metrics(lambda: _decode(measured)[0]))
        return trial

    def _metrics_of(self, uid: str) -> dict[str, Any]:
        """Return the metrics of a trial as they are now; none where it is forgotten meanwhile."""
        found = self.fetch_trials({"uid": uid, **ALSO_DELETED})
        return dict(found[0].metrics) if found else {}

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        # A cursor may be as long as a list of trials.
        answer = self._asked_if_known("changes", {}, (since or "").encode())
        if answer is None:
            return super().changes(since)
        return str(answer[0]), [_decode(line) for line in answer[1].splitlines()]

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        if not self._can_ask(uid):
            raise unknown_trial(uid)
        asked = {"uid": uid, "names": None if names is None else list(names), "since": since}
        answer = self._asked_if_known("fetch_points", {}, _encode(asked))
        if answer is None:
            return super().fetch_points(uid, names, since)
        return dict(from_line(_decode(line)) for line in answer[1].splitlines())

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        known = list(filter(self._can_ask, uids))
        question.check_size(len(known))
        asked = _encode({"uids": known, **asdict(question)})
        if len(asked) > self.link.largest - _HEAD:
            raise InvalidQuery(f"{len(known):,} trials are more than the server is asked about at once")
        answer = self._asked_if_known("fetch_buckets", {}, asked)
        if answer is None:
            return super()._buckets(question, known)
        try:
            return Buckets.from_bytes(answer[1])
        except ValueError as error:
            raise RPCCallFailure(f"the server answers something else: {error}") from error

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        return self._fetch(TrialGroup, query)

    def fetch_projects(self, query: Any = None) -> list[Project]:
        return self._fetch(Project, query)

    def _fetch(self, kind: type, query: Any, **chosen: bool) -> list[Any]:
        parsed = parse_query(query, kind)
        known = self._fresh.pop((kind, parsed.exact("uid") or ""), None)
        if known is not None and len(parsed.conditions) == 1:
            return [known]
        try:
            found = self._found(kind, parsed, chosen)
        except InvalidQuery:
            if not parsed.asks_for_deleted:
                raise
            # A server of before trials could be hidden: none is.
            known = Query(tuple(one for one in parsed.conditions if not Query((one,)).asks_for_deleted))
            found = list(filter(parsed.matches, self._found(kind, known, {})))
        return found[:1] if chosen.get("first") else found

    def _found(self, kind: type, query: Query, chosen: dict[str, bool]) -> list[Any]:
        sent, rest = _divided(query, self.link.largest - _HEAD)
        if rest.conditions:
            # A pattern may be about what a brief answer leaves out, or about the second that matches.
            chosen = {}
        _, documents = self.link.call(FETCHES[kind], {"query": sent, **chosen})
        return [one for one in self._objects(documents) if rest.matches(one)]

    def _objects(self, documents: bytes) -> list[Any]:
        with nothing_collected():
            found = [self._object(_decode(line)) for line in documents.splitlines()]
        if self._reads is not None:
            for one in found:
                self._reads.setdefault((NAMES[type(one)], one.uid), version(one))
        return found

    def _object(self, document: dict[str, Any]) -> Any:
        if document["dtype"] == "trial":
            metrics, chronos = (Metrics(partial(_measured, document, name)) for name in ("metrics", "chronos"))
            return trial_from_document(document, metrics, chronos)
        return with_members(from_json(document), self._members, self.fetch_trials, self.fetch_groups)

    def _members(self, uid: str) -> list[str]:
        _, documents = self.link.call("members", {"uid": uid})
        return [_decode(line) for line in documents.splitlines()]

    def first_trial(self, query: Any = None) -> Trial | None:
        return next(iter(self._fetch(Trial, query, first=True, brief=True)), None)

    def revisions(self, digest: str) -> set[int]:
        # Most trials are new: that is tried first, and costs no question.
        if self._reads is not None and self._guesses:
            return set()
        return set(self.link.call("revisions", {"uid": digest})[0]) if self._can_ask(digest) else set()

    def has(self, kind: type, uid: Any) -> bool:
        return self._can_ask(uid) and bool(self.link.call("has", {"kind": NAMES[kind], "uid": uid})[0])

    def _can_ask(self, uid: Any) -> bool:
        """Return whether a uid is one that could have been stored by a call."""
        return is_utf8(uid) and len(uid) < self.link.largest // _ESCAPED

    def close(self) -> None:
        self.link.close()

    def after_fork(self) -> None:
        """In a child: be another writer, who has decided nothing yet."""
        self._writer, self._number = secrets.token_hex(8), 0
        self._reads, self._fresh = None, {}


class _Elsewhere(Metrics):
    """Metrics whose points a server is asked for when somebody looks, while no other thread waits to decode its own."""

    __slots__ = ()

    def _loaded(self) -> dict[str, Any]:
        load = self._load
        if load is not None:
            self._containers, self._load = load(), None
        return self._containers


def _written_keys(keys: tuple[SortKey, ...]) -> list[str]:
    return [f"{'-' * key.is_descending}{'.'.join(key.path)}" for key in keys]


def _are_large(keys: tuple[SortKey, ...]) -> bool:
    """Return whether a server would not sort by them."""
    return len(keys) > _KEYS or any(len(name) > _LONGEST_ATTRIBUTE for name in _written_keys(keys))


def _measured(document: dict[str, Any], name: str) -> Any:
    return document.get(name) or {}


def _divided(query: Query, largest: int) -> tuple[list[msgspec.Raw], Query]:
    """Return the conditions that the server checks, and those that are checked here: patterns, and what is too much.

    `largest`: bytes that a question may have.
    """
    sent: list[msgspec.Raw] = []
    rest: list[Condition] = []
    places = _CONDITIONS
    for condition in query.conditions:
        taken = Query((condition,)).size
        written = _written(condition) if taken <= places else None
        if written is None or len(written) > largest:
            rest.append(condition)
            continue
        largest -= len(written) + 1
        places -= taken
        sent.append(msgspec.Raw(written))
    if Query(tuple(rest)).asks_for_deleted:
        # Else the server leaves out those that are hidden.
        sent.append(msgspec.Raw(_encode(["deleted", "$exists", True])))
    return sent, Query(tuple(rest))


def _written(condition: Condition) -> bytes | None:
    """Return a condition as JSON; None for a pattern, and where an attribute is longer than a server reads."""
    if condition.queries:
        return _joined(condition)
    if condition.name == "$regex":
        return None
    name, operand, attribute = condition.name, condition.operand, ".".join(condition.path)
    if len(attribute) > _LONGEST_ATTRIBUTE:
        return None
    written = [_operand(name, one) for one in operand] if isinstance(operand, list) else _operand(name, operand)
    return _encode([attribute, name, written])


def _joined(condition: Condition) -> bytes | None:
    """Return a condition on whole queries as JSON, each a list of conditions; None where one of them cannot be sent."""
    written = [[_written(one) for one in query.conditions] for query in condition.queries]
    if any(one is None for query in written for one in query):
        return None
    queries = [[msgspec.Raw(one) for one in query if one is not None] for query in written]
    return _encode([condition.name, condition.name, queries])


def _operand(name: str, operand: Any) -> Any:
    if not isinstance(operand, (Status, CustomStatus)):
        return to_plain(operand)
    # Statuses are equal by name and code, and compared by code.
    is_equal = name in ("$eq", "$ne", "$in", "$nin")
    return {"name": operand.name, "value": operand.value} if is_equal else operand.value
