"""Batches of a spill on their way to a server: what is refused is put aside, what is missing is sent again."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from track.errors import CorruptJournal, EventsMissing, UnknownSubject
from track.events import Event
from track.persistence.contract import REFUSALS, subject_of
from track.persistence.delivery.segment import Segment
from track.persistence.delivery.spill import Leftover
from track.shown import shown

logger = logging.getLogger(__name__)
BATCH = 5_000
"""Events in one transaction, about."""
_BATCH_BYTES = 1 << 20


class Server(Protocol):
    """What delivery asks of a backend that is far away."""

    expected_store: str

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:
        """Store events, numbered from `first` on, those that are new, all or none; see `Protocol.receive`."""

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        """Store them if the event `after` is stored and what they are about is; see `Protocol.receive_after`."""

    def last(self, writer: str) -> int:
        """Return the number of the last event stored of `writer`, -1 for none."""

    def identity(self) -> str:
        """Return the id of the store that is there."""

    def close(self) -> None:
        """Close the connection."""


class Delivered(NamedTuple):
    """How many events of a batch the server has, and how many it did not take."""

    stored: int
    refused: int


def send_segment(segment: Segment, server: Server) -> Iterator[Delivered]:
    """Send what the server has not acknowledged of a file, and yield after each batch how many it has taken.

    Raises BackendUnavailable: the server cannot be reached; what was acknowledged stays so. AnotherStore: what is there
    is not the store that the events are for.
    """
    batch = _Batch(segment)
    for events, lines, after in segment.unsent():
        batch.add(events, lines, after)
        if batch.is_large:
            yield batch.deliver(server)
            batch = _Batch(segment)
    if batch.after > segment.position[1]:
        yield batch.deliver(server)


class _Batch:
    """The next events of a segment: sent at once, as the lines they are, and put aside one by one when refused."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.events: list[Event] = []
        self.lines: bytes | None = b""
        self.after = segment.position[1]
        self._refused = 0

    def add(self, events: list[Event], lines: bytes | None, after: int) -> None:
        self.events += events
        self.lines = None if lines is None or self.lines is None else self.lines + lines
        self.after = after

    @property
    def is_large(self) -> bool:
        return len(self.events) >= BATCH or self.after - self.segment.position[1] >= _BATCH_BYTES

    def deliver(self, server: Server) -> Delivered:
        """Send them, note how far that was, and return how many were taken."""
        first = self.segment.position[0]
        if self.events:
            # Whatever is there when it is sent first is the store that it is for.
            self.segment.store = self.segment.store or server.identity()
            server.expected_store = self.segment.store
            self._send(server, first, self.events, self.lines)
        self.segment.acknowledge(first + len(self.events), self.after)
        return Delivered(len(self.events) - self._refused, self._refused)

    def _send(self, server: Server, first: int, events: list[Event], lines: bytes | None) -> None:
        """Send events; one that is refused is found by halving."""
        try:
            server.receive_after(self.segment.writer, self.segment.stored, first, events, lines)
        except CorruptJournal:
            raise
        except REFUSALS as error:
            unknown = error.numbers if isinstance(error, UnknownSubject) else []
            if unknown and first <= min(unknown) <= max(unknown) < first + len(events):
                self._put_aside(server, first, events, sorted(unknown), error)
                return
            if len(events) > 1:
                middle = len(events) // 2
                self._send(server, first, events[:middle], None)
                self._send(server, first + middle, events[middle:], None)
                return
            path = self.segment.refuse([(first, events[0])], error)
            self._refused += 1
            logger.error("an event can never be stored there and is kept in %s: %s", path, error)
            return
        self.segment.stored = max(self.segment.stored, first + len(events) - 1)

    def _put_aside(self, server: Server, first: int, events: list[Event], unknown: list[int], error: Exception) -> None:
        """Keep the events that are about nothing the server knows, and send those between them."""
        path = self.segment.refuse(((number, events[number - first]) for number in unknown), error)
        self._refused += len(unknown)
        for uid in dict.fromkeys(subject_of(events[number - first])[1] for number in unknown):
            _tell_unknown(uid, path)
        start = first
        for number in [*unknown, first + len(events)]:
            if number > start:
                self._send(server, start, events[start - first : number - first], None)
            start = number + 1


@functools.lru_cache(maxsize=1000)
def _tell_unknown(uid: str, path: str) -> None:
    logger.error(
        "the store does not know %s: its events are kept in %s and are not stored; once it knows it again, "
        "`python -m track sync --refused` sends them",
        shown(uid),
        path,
    )


def send_leftover(leftover: Leftover, server: Server) -> Iterator[Delivered]:
    """Send the spill of a process that is gone, as `send_segment` does; it is removed once all is sent."""
    with leftover.taken() as taken:
        segments = taken or []
        try:
            for segment in segments:
                yield from send_segment(segment, server)
        except EventsMissing as error:
            logger.warning("%s: it was put back to an older state; what %r has is sent again", error, leftover)
            for segment in segments:
                segment.rewind()
            for segment in segments:
                yield from send_segment(segment, server)
        for segment in segments:
            segment.remove()
