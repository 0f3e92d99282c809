"""The server's side: it lets clients in, and one thread answers their calls from the backend it owns."""

from __future__ import annotations

from track.persistence.server.listener import LIMITS
from track.persistence.server.login import Login
from track.persistence.server.server import ServerSignalHandler, SocketServer

__all__ = [
    "LIMITS",
    "Login",
    "ServerSignalHandler",
    "SocketServer",
]
