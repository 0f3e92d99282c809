"""A track server, ``python -m track serve``: any backend for many clients; and `SocketClient`, which talks to one."""

from __future__ import annotations

import weakref
from typing import Any
from urllib.parse import quote

from track.errors import RPCCallFailure
from track.persistence.rpc import SocketClient, read, recv, send, to_bytes, to_obj, write
from track.persistence.server import SocketServer
from track.utils.signal import SignalHandler

__all__ = [
    "RPCCallFailure",
    "ServerSignalHandler",
    "SocketClient",
    "SocketServer",
    "read",
    "recv",
    "send",
    "server_uri",
    "start_track_server",
    "to_bytes",
    "to_obj",
    "write",
]


class ServerSignalHandler(SignalHandler):
    """Stops a server that runs in another thread when the process is told to end.

    Parameters
    ----------
    server: SocketServer
    """

    def __init__(self, server: SocketServer) -> None:
        super().__init__()
        self._server = weakref.ref(server)

    def sigterm(self, signum: int, frame: Any) -> None:
        """Stop the server: what is under way is answered first."""
        server = self._server()
        if server is not None:
            server.stop()

    def sigint(self, signum: int, frame: Any) -> None:
        """Stop the server: what is under way is answered first."""
        self.sigterm(signum, frame)


def start_track_server(
    protocol: str,
    hostname: str,
    port: int,
    security_layer: str | None = None,
    backend: str | None = None,
    **options: Any,
) -> None:
    """Serve a backend until the process is told to end.

    Parameters
    ----------
    protocol: str
        URI of the backend.
    hostname: str
        Address of this machine; without users it is ``127.0.0.1``, whatever is given.
    port: int
        0 lets the system choose one.
    security_layer: str, optional
        ``"AES"``, or ``"TLS"`` with a certificate of one's own.
    backend: str, optional
        Another name of `security_layer`.
    **options
        Other options of the server's URI: ``users="users.json"``; see `SERVER_OPTIONS`.

    Raises
    ------
    KeyboardInterrupt
        It was interrupted.
    """
    SocketServer(server_uri(protocol, hostname, port, security_layer or backend, **options)).run_server()


def server_uri(protocol: str, hostname: str, port: int, security_layer: str | None, **options: Any) -> str:
    """Return the URI of a server; see `start_track_server`."""
    given = {"backend": protocol, "security_layer": security_layer, **options}
    query = "&".join(f"{name}={quote(str(value), safe='/:')}" for name, value in given.items() if value is not None)
    host = f"[{hostname}]" if ":" in hostname else hostname
    return f"socket://{host}:{port}?{query}"
