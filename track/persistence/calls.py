"""The calls that a track server answers: a fixed table; nothing else can be named by a client."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from track.errors import BackendUnavailable, InvalidQuery, RPCCallFailure
from track.persistence.served import Served
from track.plain import restore, to_plain
from track.serialization import to_json
from track.structure import Trial, TrialGroup

__all__ = ["CALLS", "Answer", "CallKind", "answer", "document"]

_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Kind: TypeAlias = Literal["trial", "trial_group", "project"]
_encode = msgspec.json.Encoder().encode


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""


class _Received(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name
    first: _Count


class _Decided(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name
    first: _Count
    expected: list[tuple[_Kind, str, Any]] = []


class _Writer(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    query: list[tuple[str, str, Any]] = []
    first: bool = False
    brief: bool = False


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    kind: _Kind
    uid: str


class _Uid(msgspec.Struct, forbid_unknown_fields=True):
    uid: str


@dataclass(frozen=True)
class Answer:
    """A value, and documents that are made one by one while they are sent."""

    value: Any = None
    documents: Iterable[bytes] = field(default=())


@dataclass(frozen=True)
class CallKind:
    """Who may call, with what, and what is done; a short call looks at one thing, however much is stored."""

    role: str
    arguments: type[msgspec.Struct]
    run: Callable[[Served, str, Any, bytes], Answer]
    is_short: bool = False


def answer(served: Served, user: str, kind: CallKind, arguments: dict[str, Any], lines: bytes) -> Answer:
    """Return what a call is answered.

    Parameters
    ----------
    served: Served
    user: str
        Who calls; empty where nobody has a name.
    kind: CallKind
        From the table.
    arguments: dict
    lines: bytes
        Of events.

    Raises
    ------
    RPCCallFailure
        The arguments are not those of the call.
    TrackError
        As the backend raises it.
    """
    try:
        given = msgspec.convert(arguments, kind.arguments)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RPCCallFailure(f"the arguments of the call are refused: {error}") from error
    return kind.run(served, user, given, lines)


def document(found: Any, is_brief: bool = False) -> bytes:
    """Return a trial, group or project as a line; a brief trial has no measurements, a group no members."""
    if isinstance(found, Trial):
        if is_brief:
            found = copy.copy(found)
            found.metrics, found.chronos = {}, {}
        return bytes(_encode(to_json(found))) + b"\n"
    fields = {"uid": found.uid, "name": found.name, "description": found.description}
    fields["metadata"] = to_plain(found.metadata)
    if isinstance(found, TrialGroup):
        return bytes(_encode({"dtype": "trial_group", **fields, "project_id": to_plain(found.project_id)})) + b"\n"
    return bytes(_encode({"dtype": "project", **fields, "tags": to_plain(found.tags)})) + b"\n"


def _own(user: str, writer: str) -> str:
    """Return the name of a writer that no other user can have."""
    return f"{user}/{writer}" if user else writer


def _ping(served: Served, user: str, given: _Nothing, lines: bytes) -> Answer:
    return Answer(True)


def _receive(served: Served, user: str, given: _Received, lines: bytes) -> Answer:
    served.receive(_own(user, given.writer), given.first, lines)
    return Answer(True)


def _decide(served: Served, user: str, given: _Decided, lines: bytes) -> Answer:
    made = served.decide(_own(user, given.writer), given.first, given.expected, lines)
    return Answer(False) if made is None else Answer(True, map(document, served.touched(made)))


def _last(served: Served, user: str, given: _Writer, lines: bytes) -> Answer:
    return Answer(served.last(_own(user, given.writer)))


def _fetch(kind: str) -> Callable[[Served, str, Any, bytes], Answer]:
    def fetch(served: Served, user: str, given: _Question, lines: bytes) -> Answer:
        found = served.fetch(kind, _query(given.query), given.first)
        return Answer(len(found), _documents(found, given.brief))

    return fetch


def _documents(found: list[Any], is_brief: bool) -> Iterator[bytes]:
    for one in found:
        yield document(one, is_brief)


def _query(conditions: list[tuple[str, str, Any]]) -> Any:
    """Return conditions as people write them; patterns, which may take for ever, are matched by the client."""
    query: dict[str, Any] = {}
    for attribute, name, operand in conditions:
        if name == "$regex":
            raise InvalidQuery("a server does not match patterns: the client does")
        operators = query.setdefault(attribute, {})
        if name in operators:
            return [(one, {operator: restore(value)}) for one, operator, value in conditions]
        operators[name] = restore(operand)
    return {attribute: _short(operators) for attribute, operators in query.items()} or None


def _short(operators: dict[str, Any]) -> Any:
    """Return the value alone where it is only to be equal."""
    operand = operators.get("$eq")
    return operand if list(operators) == ["$eq"] and not isinstance(operand, dict) else operators


def _has(served: Served, user: str, given: _Object, lines: bytes) -> Answer:
    return Answer(served.has(given.kind, given.uid))


def _revisions(served: Served, user: str, given: _Uid, lines: bytes) -> Answer:
    return Answer(served.revisions(given.uid))


def _members(served: Served, user: str, given: _Uid, lines: bytes) -> Answer:
    return Answer(None, (_encode(uid) + b"\n" for uid in served.members(given.uid)))


def _commit(served: Served, user: str, given: _Nothing, lines: bytes) -> Answer:
    try:
        served.protocol.commit()
    except OSError as error:
        raise BackendUnavailable(f"the server's store cannot be saved: {error}") from error
    return Answer(True)


CALLS: dict[str, CallKind] = {
    "commit": CallKind("admin", _Nothing, _commit),
    "decide": CallKind("write", _Decided, _decide, is_short=True),
    "fetch_groups": CallKind("read", _Question, _fetch("trial_group")),
    "fetch_projects": CallKind("read", _Question, _fetch("project")),
    "fetch_trials": CallKind("read", _Question, _fetch("trial")),
    "has": CallKind("read", _Object, _has, is_short=True),
    "last": CallKind("read", _Writer, _last, is_short=True),
    "members": CallKind("read", _Uid, _members),
    "ping": CallKind("read", _Nothing, _ping, is_short=True),
    "receive": CallKind("write", _Received, _receive),
    "revisions": CallKind("read", _Uid, _revisions, is_short=True),
}
"""Every call but ``authenticate``, by name."""
