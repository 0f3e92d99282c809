"""The calls that a track server answers: a fixed table; nothing else can be named by a client."""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from track import errors
from track.errors import BackendUnavailable, InvalidQuery, LockTimeout, RPCCallFailure, TrackError
from track.persistence.rpc import Reply
from track.persistence.server.backend import KINDS, Served
from track.plain import restore, to_plain
from track.serialization import to_json
from track.structure import Trial, TrialGroup

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
    return Answer(served.protocol.last(_own(user, given.writer)))


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
    return Answer(served.protocol.has(KINDS[given.kind], given.uid))


def _revisions(served: Served, user: str, given: _Uid, lines: bytes) -> Answer:
    return Answer(sorted(served.protocol.revisions(given.uid)))


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
logger = logging.getLogger(__name__)
_PIECE = 1 << 20
_SHORT = 1 << 14
# What a backend raises for a value that it cannot store.
_REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
_Piece = tuple[Reply, bytes]


class Answering:
    """Answers calls, one after another.

    Parameters
    ----------
    served: Served
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self._thread = Worker("track-store")

    async def answer(self, user: str, kind: CallKind, number: int, args: dict[str, Any], lines: bytes) -> Answered:
        """Return the first reply to a call, and where the next ones come from."""
        # Another thread costs more than a short call that waits for nobody.
        if kind.is_short and len(lines) < _SHORT and await self._is_idle():
            with self.served.protocol.at_once() as is_held:
                if is_held:
                    return self._begin(user, kind, number, args, lines)
        return await self._thread.run(self._begin, user, kind, number, args, lines)

    async def _is_idle(self) -> bool:
        """Return whether the thread has nothing to do, once it has done what it has now."""
        if not self._thread.is_idle:
            await self._thread.run(int)
        return self._thread.is_idle

    async def go_on(self, answered: Answered) -> Answered:
        """Return the next reply."""
        assert answered.rest is not None
        return await self._thread.run(_next, answered.rest)

    async def tidy(self) -> None:
        """Let the store do what it does from time to time."""
        await self._thread.run(self.served.protocol.tidy)

    def close(self) -> None:
        """Wait for the call that is being answered."""
        self._thread.close()

    def _begin(self, user: str, kind: CallKind, number: int, args: dict[str, Any], lines: bytes) -> Answered:
        return _next(self._replies(user, kind, number, args, lines))

    def _replies(self, user: str, kind: CallKind, number: int, args: dict[str, Any], lines: bytes) -> Iterator[_Piece]:
        """Yield the replies to a call: one, or several where the documents are many."""
        try:
            found = answer(self.served, user, kind, args, lines)
            last = b""
            for piece in _pieces(found.documents):
                if last:
                    yield Reply(number, 0, found.value, more=True), last
                last = piece
            yield Reply(number, 0, found.value), last
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is the client's answer
            yield error_reply(number, error), b""


class Answered:
    """A reply, and the ones after it, if there are any."""

    __slots__ = ("lines", "reply", "rest")

    def __init__(self, reply: Reply, lines: bytes, rest: Iterator[_Piece] | None) -> None:
        self.reply = reply
        self.lines = lines
        self.rest = rest


def _next(replies: Iterator[_Piece]) -> Answered:
    reply, lines = next(replies)
    return Answered(reply, lines, replies if reply.more else None)


def _pieces(documents: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of documents, in pieces that are neither many nor large."""
    waiting: list[bytes] = []
    size = 0
    for document in documents:
        waiting.append(document)
        size += len(document)
        if size >= _PIECE:
            joined = b"".join(waiting)
            yield from (joined[start : start + _PIECE] for start in range(0, size, _PIECE))
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def error_reply(number: int, error: Exception) -> Reply:
    """Return what a client is told of an error: a class of `track.errors`, and the message."""
    if isinstance(error, LockTimeout):
        error = BackendUnavailable(f"the server is busy: {error}")
    if isinstance(error, TrackError):
        names = (kind.__name__ for kind in type(error).__mro__)
        kind = next(name for name in names if name in errors.__all__)
        return Reply(number, 1, error=str(error), kind=kind)
    logger.error("a call failed", exc_info=error)
    kind = "InvalidEvent" if isinstance(error, _REFUSALS) else "RPCCallFailure"
    return Reply(number, 1, error=f"the server failed: {type(error).__name__}: {error}", kind=kind)


Result = TypeVar("Result")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Worker:
    """Runs functions one after another in a thread of its own.

    What is done while the loop is busy is handed back together: a loop that is woken once for many results is what
    makes this faster than an executor.

    Parameters
    ----------
    name: str
        The thread's.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_waking = False
        self._waited_for = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._has_begun = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done, and nothing waits; to be asked in the loop."""
        return self._waited_for == 0

    def run(self, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Return what will be ``function(*arguments)``; to be called in a running loop."""
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
