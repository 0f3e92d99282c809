"""Sending files of events to a server: batches, acknowledgements, and what is refused for good."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Protocol

from track.errors import CorruptJournal
from track.events import Event
from track.persistence.segment import Segment
from track.persistence.spill import Leftover

__all__ = ["BATCH", "Server", "send_leftover", "send_segment"]

logger = logging.getLogger(__name__)

BATCH = 5_000
"""Events in one transaction, about."""

_BATCH_BYTES = 1 << 20

# What says that an event cannot be stored, and not that the server is away. (CorruptJournal is about tables.)
_REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)


class Server(Protocol):
    """What delivery asks of a backend that is far away."""

    def receive(self, writer: str, first: int, events: list[Event]) -> None:
        """Store events, numbered from `first` on, those that are new, all or none of them.

        Raises
        ------
        BackendUnavailable
            To try again later.
        InvalidEvent
            One of them can never be stored.
        """

    def close(self) -> None:
        """Close the connection."""


def send_segment(segment: Segment, server: Server) -> Iterator[int]:
    """Send what the server has not acknowledged of a file, and yield after each batch how many it refused for good.

    Raises
    ------
    BackendUnavailable
        The server cannot be reached; what was acknowledged stays so.
    """
    begin = segment.position[1]
    batch: list[Event] = []
    after = begin
    for _, events, after in segment.unsent():
        batch += events
        if len(batch) >= BATCH or after - begin >= _BATCH_BYTES:
            yield _deliver_and_note(segment, server, batch, after)
            batch, begin = [], after
    if after > begin:
        yield _deliver_and_note(segment, server, batch, after)


def _deliver_and_note(segment: Segment, server: Server, events: list[Event], after: int) -> int:
    first, refused = segment.position[0], segment.refused
    if events:
        _deliver(segment, server, first, events)
    segment.acknowledge(first + len(events), after)
    return segment.refused - refused


def _deliver(segment: Segment, server: Server, first: int, events: list[Event]) -> None:
    """Send a batch; an event that is refused is found by halving and put aside."""
    try:
        server.receive(segment.writer, first, events)
    except CorruptJournal:
        raise
    except _REFUSALS as error:
        if len(events) > 1:
            middle = len(events) // 2
            _deliver(segment, server, first, events[:middle])
            _deliver(segment, server, first + middle, events[middle:])
            return
        path = segment.refuse(first, events[0], error)
        logger.error("an event can never be stored there and is kept in %s: %s", path, error)


def send_leftover(leftover: Leftover, server: Server) -> Iterator[int]:
    """Send the spill of a process that is gone, as `send_segment` does; it is removed once all is sent."""
    with leftover.taken() as segments:
        for segment in segments or []:
            yield from send_segment(segment, server)
            segment.remove()
