"""The one thread of a server that uses its store: calls in, replies out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from track import errors
from track.errors import BackendUnavailable, LockTimeout, TrackError
from track.persistence.calls import CallKind, answer
from track.persistence.messages import Reply
from track.persistence.served import Served
from track.persistence.worker import Worker

__all__ = ["Answered", "Answering", "error_reply"]

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
            with self.served.holding_at_once() as is_held:
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
        await self._thread.run(self.served.tidy)

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
