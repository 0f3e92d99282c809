"""The calls that a track server answers, a fixed table, and the one thread that answers them.

Nothing else than what is in the table can be named by a client; `track.persistence.rpc.remote` is where they are made.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, TypeVar

import msgspec

from track.errors import AnotherStore, BackendUnavailable, InvalidQuery, LockTimeout, RPCCallFailure
from track.persistence.buckets import Buckets, Question, in_turns, uids_of
from track.persistence.contract import to_line
from track.persistence.protocol import Protocol
from track.persistence.query import DEEPEST, JOINING, Query, parse_query
from track.persistence.rpc import KINDS, SHORT, KindName, Reply, error_reply, without_place
from track.persistence.server.backend import decide, fetch, read_events, touched
from track.persistence.server.backpressure import SMALL
from track.persistence.server.listener import Connection
from track.persistence.utils import file_of, mask_secrets
from track.plain import restore, to_plain
from track.serialization import to_json
from track.shown import clean, shown
from track.structure import Project, Trial, TrialGroup

Answer = tuple[Any, Iterable[bytes | None]]
"""A value, and documents that are made one by one while they are sent; a None before what takes long."""
Piece = tuple[Reply, bytes]
"""One reply to a call, and the documents that come with it; the last one says that no more follow."""
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_encode = msgspec.json.Encoder().encode
logger = logging.getLogger(__name__)
_PIECE = 1 << 20
_LARGE = 1000
# Seconds that the buckets of one question may take; a client waits for 30.
_LONGEST = 20.0
_MOST_CONDITIONS = 100
_MOST_KEYS = 20
_JOINED = list(JOINING)
"""Not a set: what is looked for may be anything."""
_LONGEST_PATH = (4000, 200)


# what is given with a call


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""


class _Received(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name
    first: _Count
    after: int = -1
    store: str = ""


class _Decided(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name
    first: _Count
    expected: list[tuple[KindName, str, Any]] = []


class _Writer(msgspec.Struct, forbid_unknown_fields=True):
    writer: _Name


_Condition = tuple[str, str, Any]


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    query: list[_Condition] = []
    first: bool = False
    brief: bool = False
    sort: list[str] = []
    limit: int | None = None


class _Followed(msgspec.Struct, forbid_unknown_fields=True):
    """Of which trial and metrics points are wanted: as a line, since there may be many names."""

    uid: str
    names: list[str] | None = None
    since: int | dict[str, int] = 0


class _Bucketed(msgspec.Struct, forbid_unknown_fields=True):
    """Which buckets are wanted of which trials: as a line, since these may be many."""

    uids: list[str]
    name: str
    buckets: int
    x: str = "step"
    start: float | None = None
    end: float | None = None
    smoothing: float | None = None


class _Object(msgspec.Struct, forbid_unknown_fields=True):
    kind: KindName
    uid: str


class _Uid(msgspec.Struct, forbid_unknown_fields=True):
    uid: str


class _Age(msgspec.Struct, forbid_unknown_fields=True):
    older: Annotated[float, msgspec.Meta(ge=0)] = 0.0


@dataclass(frozen=True)
class CallKind:
    """Who may call, with what, and what is done; a short call looks at one thing, however much is stored.

    `run` is given the backend, who calls ('' where nobody has a name), the arguments, and lines of events.
    """

    role: str
    arguments: type[msgspec.Struct]
    run: Callable[[Protocol, str, Any, bytes], Answer]
    is_short: bool = False


# what is done


def _own(user: str, writer: str) -> str:
    """Return the name of a writer that no other user can have."""
    return f"{user}/{writer}" if user else writer


def _ping(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    return True, ()


def _receive(backend: Protocol, user: str, given: _Received, lines: bytes) -> Answer:
    writer = _own(user, given.writer)
    try:
        backend.require_store(given.store)
    except AnotherStore:
        # Where the server keeps it is none of the client's business, who knows the address.
        raise AnotherStore("the server has another store") from None
    backend.receive_after(writer, given.after, given.first, read_events(writer, given.first, lines), lines)
    return True, ()


def _decide(backend: Protocol, user: str, given: _Decided, lines: bytes) -> Answer:
    made = decide(backend, _own(user, given.writer), given.first, given.expected, lines)
    return (False, ()) if made is None else (True, _touched(touched(backend, made)))


def _touched(found: list[Any]) -> Iterator[bytes | None]:
    if any(isinstance(one, Trial) and _is_large(one) for one in found):
        yield None
    yield from map(_document, found)


def _is_large(trial: Trial) -> bool:
    """Return whether a trial has measured so much that its document takes long."""
    points = 0
    for measured in (trial.metrics, trial.chronos):
        if not measured.is_loaded:
            return True
        for name in measured:
            points += len(getattr(measured[name], "points", (0,)))
    return points > _LARGE


def _last(backend: Protocol, user: str, given: _Writer, lines: bytes) -> Answer:
    return backend.last(_own(user, given.writer)), ()


def _fetch(kind: type) -> Callable[[Protocol, str, Any, bytes], Answer]:
    def run(backend: Protocol, user: str, given: _Question, lines: bytes) -> Answer:
        query = _parsed(given, kind)
        if kind is Trial and (given.sort or given.limit is not None):
            found = backend.select_trials(query, given.sort, given.limit)
        elif given.first and kind is Trial:
            first = backend.first_trial(query)
            found = [] if first is None else [first]
        else:
            found = fetch(backend, kind, query)[: 1 if given.first else None]
        return len(found), (_document(one, given.brief) for one in found)

    return run


def _brief_trials(backend: Protocol, user: str, given: _Question, lines: bytes) -> Answer:
    query = _parsed(given, Trial)
    found = backend.brief_lines(query, given.sort, given.limit)
    return len(found), (line + b"\n" for lines in found for line in lines)


def _parsed(given: _Question, kind: type) -> Query:
    _check_size(given)
    return parse_query(_query(given.query), kind)


def _check_size(given: _Question) -> None:
    """Refuse a question that is larger than anybody writes, before it is made sense of."""
    if len(given.sort) > _MOST_KEYS:
        raise InvalidQuery(f"trials are sorted by at most {_MOST_KEYS} attributes, not {len(given.sort)}")
    for attribute in given.sort:
        _check_attribute(attribute)
    count, queries = 0, [given.query] if given.query else []
    while queries:
        # One that is empty holds, and is looked at, too.
        count += sum(max(1, len(query)) for query in queries)
        if count > _MOST_CONDITIONS:
            raise InvalidQuery(f"a question has at most {_MOST_CONDITIONS} conditions, not {count}")
        joined = (one[2] for query in queries for one in query if len(one) > 2 and one[1] in _JOINED)
        queries = [inside for operand in joined if isinstance(operand, list) for inside in operand if _is_query(inside)]


def _is_query(inside: Any) -> bool:
    """Return whether it reads like the conditions of a query; what does not is refused when it is read."""
    return isinstance(inside, list) and all(isinstance(one, list) for one in inside[: _MOST_CONDITIONS + 1])


def _check_attribute(attribute: str) -> None:
    if len(attribute) > _LONGEST_PATH[0] or attribute.count(".") > _LONGEST_PATH[1]:
        raise InvalidQuery(f"{shown(attribute)} is too long for the name of an attribute")


def _query(conditions: list[_Condition], depth: int = 0) -> Any:
    """Return conditions as people write them; patterns, which may take for ever, are matched by the client."""
    query: dict[str, Any] = {}
    for attribute, name, operand in conditions:
        _check_attribute(attribute)
        operators = query.setdefault(attribute, {})
        if name in operators or name in JOINING:
            return [_pair(*condition, depth) for condition in conditions]
        operators[name] = _pair(attribute, name, operand, depth)[1][name]
    return {attribute: _short(operators) for attribute, operators in query.items()} or None


def _pair(attribute: str, name: str, operand: Any, depth: int) -> tuple[str, Any]:
    if name == "$regex":
        raise InvalidQuery("a server does not match patterns: the client does")
    if name not in JOINING:
        return attribute, {name: restore(operand)}
    if depth > DEEPEST:
        raise InvalidQuery("too many queries are inside one another")
    try:
        inside = msgspec.convert(operand, list[list[_Condition]])
    except msgspec.ValidationError as error:
        raise InvalidQuery(f"{name} wants a list of queries: {error}") from error
    queries = [_query(one, depth + 1) or {} for one in inside]
    if name == "$not" and len(queries) == 1:
        return name, queries[0]
    return name, queries if name == "$or" else {"$or": queries}


def _short(operators: dict[str, Any]) -> Any:
    """Return the value alone where it is only to be equal."""
    operand = operators.get("$eq")
    return operand if list(operators) == ["$eq"] and not isinstance(operand, dict) else operators


def _has(backend: Protocol, user: str, given: _Object, lines: bytes) -> Answer:
    return backend.has(KINDS[given.kind], given.uid), ()


def _revisions(backend: Protocol, user: str, given: _Uid, lines: bytes) -> Answer:
    return sorted(backend.revisions(given.uid)), ()


def _members(backend: Protocol, user: str, given: _Uid, lines: bytes) -> Answer:
    groups = backend.fetch_groups({"uid": given.uid})
    return None, (_encode(uid) + b"\n" for group in groups for uid in group.trials)


def _changes(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    cursor, uids = backend.changes(lines.decode("utf-8", "replace") or None)
    return cursor, (_encode(uid) + b"\n" for uid in uids)


def _fetch_points(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    asked = msgspec.json.decode(lines, type=_Followed)
    found = backend.fetch_points(asked.uid, asked.names, asked.since)
    return len(found), (_encode(to_line(name, points)) + b"\n" for name, points in found.items())


def _fetch_buckets(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    try:
        asked = msgspec.json.decode(lines, type=_Bucketed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RPCCallFailure(f"the question is refused: {error}") from error
    question = Question(asked.name, asked.buckets, asked.x, asked.start, asked.end, asked.smoothing)
    uids = uids_of(asked.uids)
    turns = in_turns(question, uids, partial(_buckets, backend), _LONGEST)
    return None, (None if found is None else found.to_bytes() for found in turns)


def _buckets(backend: Protocol, uids: Sequence[str], asked: Question) -> Buckets:
    return backend.fetch_buckets(uids, *dataclasses.astuple(asked))


def _identity(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    return [*backend.former_identities(), backend.identity()], ()


def _unread(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    return [without_place(_places(backend), one) for one in backend.unread()], ()


def _forget(backend: Protocol, user: str, given: _Age, lines: bytes) -> Answer:
    return list(backend.forget_trials(given.older)), ()


def _commit(backend: Protocol, user: str, given: _Nothing, lines: bytes) -> Answer:
    try:
        backend.commit()
    except OSError as error:
        raise BackendUnavailable(f"the server's store cannot be saved: {error}") from error
    return True, ()


def _document(found: Any, is_brief: bool = False) -> bytes:
    """Return a trial, group or project as a line; a brief trial has no measurements, a group no members."""
    if isinstance(found, Trial):
        if is_brief:
            found = copy.copy(found)
            found.metrics, found.chronos = {}, {}
        return bytes(_encode(to_json(found))) + b"\n"
    fields = {"uid": found.uid, "name": found.name, "description": found.description}
    fields |= {"metadata": to_plain(found.metadata), "moments": found.moments}
    if isinstance(found, TrialGroup):
        return bytes(_encode({"dtype": "trial_group", **fields, "project_id": to_plain(found.project_id)})) + b"\n"
    return bytes(_encode({"dtype": "project", **fields, "tags": to_plain(found.tags)})) + b"\n"


CALLS: dict[str, CallKind] = {
    "brief_trials": CallKind("read", _Question, _brief_trials),
    "changes": CallKind("read", _Nothing, _changes),
    "commit": CallKind("admin", _Nothing, _commit),
    "decide": CallKind("write", _Decided, _decide, is_short=True),
    "fetch_buckets": CallKind("read", _Nothing, _fetch_buckets),
    "fetch_groups": CallKind("read", _Question, _fetch(TrialGroup)),
    "fetch_points": CallKind("read", _Nothing, _fetch_points),
    "fetch_projects": CallKind("read", _Question, _fetch(Project)),
    "fetch_trials": CallKind("read", _Question, _fetch(Trial)),
    "forget": CallKind("admin", _Age, _forget),
    "has": CallKind("read", _Object, _has, is_short=True),
    "identity": CallKind("read", _Nothing, _identity, is_short=True),
    "last": CallKind("read", _Writer, _last, is_short=True),
    "members": CallKind("read", _Uid, _members),
    "ping": CallKind("read", _Nothing, _ping, is_short=True),
    "receive": CallKind("write", _Received, _receive, is_short=True),
    "revisions": CallKind("read", _Uid, _revisions, is_short=True),
    "unread": CallKind("read", _Nothing, _unread),
}
"""Every call but ``authenticate``, by name."""


# answering

Result = TypeVar("Result")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Trouble:
    """Says when what clients send cannot be stored, as on a full disk: once, and again when it is stored."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, error: Exception | None) -> None:
        """Note how storing something has ended: with what error, or None."""
        if error is None:
            if self._count:
                logger.warning("what clients send is stored again: %d calls were refused meanwhile", self._count)
            self._count = 0
        elif isinstance(error, OSError) and not isinstance(error, (AnotherStore, LockTimeout)):
            self._count += 1
            if self._count == 1:
                text = "what clients send cannot be stored, and they are told so, until it can: %s"
                logger.error(text, clean(str(error)))


class Dispatcher:
    """The one thread that uses the store: it answers calls, one after another.

    What is done while the loop is busy is handed back together: a loop that is woken once for many results is what
    makes this faster than an executor.
    """

    def __init__(self, backend: Protocol) -> None:
        self._backend = backend
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_waking = False
        self._waited_for = 0
        self._thread = threading.Thread(target=self._work, name="track-store", daemon=True)
        self._has_begun = False
        self._trouble = Trouble()

    async def answer(self, to: Connection, user: str, kind: CallKind, number: int, given: Any, lines: bytes) -> None:  # noqa: PLR0917
        """Answer a call: with one reply, or several where the documents are many.

        `to`: who is answered. `user`: who calls; empty where nobody has a name. `kind`: from the table. `number`: of
        the call. `given`: its arguments by name, or their bytes. `lines`: of events.
        """
        is_short = kind.is_short and isinstance(given, dict) and len(lines) < SHORT
        try:
            while True:
                replies = _replies(self._backend, user, kind, number, given, lines, self._trouble)
                piece = await self._first(replies) if is_short else None
                reply, documents = piece or await self._next(replies)
                if not (reply.more or len(documents) > SMALL) or to.places.enter(to, to.group):
                    break
                # What it is made of is let go meanwhile, and is asked for again.
                del replies, piece, documents
                await to.places.wait(to, to.group)
            await to.send(reply, documents)
            while reply.more:
                reply, documents = await self._next(replies)
                await to.send(reply, documents)
        finally:
            to.places.leave(to)

    async def _first(self, replies: Iterator[Piece | None]) -> Piece | None:
        """Return the first reply to a short call: another thread costs more than one that waits for nobody."""
        if self._waited_for:
            # What the thread has now was there before.
            await self.run(int)
        if not self._waited_for:
            with self._backend.at_once() as is_held:
                if is_held:
                    return next(replies)
        return None

    async def _next(self, replies: Iterator[Piece | None]) -> Piece:
        """Return the next reply, made in the thread."""
        while True:
            piece: Piece | None = await self.run(next, replies)
            if piece is not None:
                return piece

    def run(self, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Return what will be ``function(*arguments)``, in the thread; to be called in a running loop."""
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waited_for += 1
        self._jobs.put((future, partial(function, *arguments)))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                if future.cancelled():
                    # Its client is gone.
                    function = int
                self._done.append((future, function(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
                self._done.append((future, None, error))
            if not self._is_waking:
                self._is_waking = True
                try:
                    future.get_loop().call_soon_threadsafe(self._hand_back)
                except RuntimeError:
                    # The loop has ended: nobody waits any more.
                    return

    def _hand_back(self) -> None:
        # First: what is done from now on wakes the loop again.
        self._is_waking = False
        while self._done:
            future, result, error = self._done.popleft()
            self._waited_for -= 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Wait until everything that was begun is done."""
        self._jobs.put(None)
        if self._has_begun:
            self._thread.join()


def _replies(  # noqa: PLR0917
    backend: Protocol, user: str, kind: CallKind, number: int, given: Any, lines: bytes, trouble: Trouble
) -> Iterator[Piece | None]:
    """Yield the replies to a call, None before one that takes long; whatever its backend raises is the last one."""
    try:
        value, documents = kind.run(backend, user, _converted(given, kind), lines)
        if kind.role != "read":
            trouble.note(None)
        last = b""
        for piece in _pieces(documents):
            if piece is None:
                yield None
                continue
            if last:
                yield Reply(number, 0, value, more=True), last
            last = piece
        yield Reply(number, 0, value), last
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is the client's answer
        if kind.role != "read" and not isinstance(error, RPCCallFailure):
            trouble.note(error)
        yield error_reply(number, error, _places(backend)), b""


def _places(backend: Protocol) -> list[str]:
    """Return how messages of a backend may name it, the longer ones first."""
    if not backend.uri:
        return []
    path = file_of(backend.uri)
    scheme, path = backend.uri.partition(":")[0], path and os.path.abspath(path)
    return [mask_secrets(backend.uri), *([f"{scheme}://{path}", f"{scheme}:{path}", path] if path else [])]


def _converted(given: Any, kind: CallKind) -> Any:
    try:
        if isinstance(given, msgspec.Raw):
            return msgspec.json.decode(given, type=kind.arguments)
        return msgspec.convert(given, kind.arguments)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RPCCallFailure(f"the arguments of the call are refused: {error}") from error


def _pieces(documents: Iterable[bytes | None]) -> Iterator[bytes | None]:
    """Yield the bytes of documents, in pieces that are neither many nor large; None where there is one."""
    waiting: list[bytes] = []
    size = 0
    for one in documents:
        if one is None:
            yield None
            continue
        waiting.append(one)
        size += len(one)
        if size >= _PIECE:
            joined = b"".join(waiting)
            yield from (joined[start : start + _PIECE] for start in range(0, size, _PIECE))
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
