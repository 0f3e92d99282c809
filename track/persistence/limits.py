"""What a track server allows its clients, and how the URI says it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from track.persistence.wire import LARGEST

__all__ = ["LIMITS", "Limits", "read_limits"]


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Parameters
    ----------
    clients: int
        Connections at the same time; one more is closed at once.
    strangers: int
        Connections that have not said who they are; for one more, the oldest of them is closed.
    frame: int
        Bytes of one message.
    waiting: int
        Bytes of all messages that are on their way in at the same time; beyond, the next one waits its turn.
    authentication_timeout: float
        Seconds to say who one is, the handshake of the encryption included.
    frame_timeout: float
        Seconds for a message that has begun, in either direction.
    idle_timeout: float
        Seconds without a message before a connection is closed; the client makes a new one when it needs it.
    failure_delay: float
        Seconds before a wrong password is answered, and twice as long after each further one from the same
        address, up to 30.
    stop_timeout: float
        Seconds for what is under way when the server is told to stop.
    """

    clients: int = 2000
    strangers: int = 200
    frame: int = LARGEST
    waiting: int = 256 << 20
    authentication_timeout: float = 10.0
    frame_timeout: float = 30.0
    idle_timeout: float = 600.0
    failure_delay: float = 1.0
    stop_timeout: float = 5.0


LIMITS: dict[str, Any] = {one.name: (type(one.default), one.default) for one in fields(Limits)}
"""What may follow the ``?`` of a server's URI: how each limit is read, and its default."""


def read_limits(given: dict[str, Any]) -> Limits:
    """Return the limits among the options of a URI, as `read_options` gives them."""
    return Limits(**{name: given[name] for name in LIMITS})
