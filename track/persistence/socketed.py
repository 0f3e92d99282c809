"""A track server, ``python -m track serve``: any backend for many clients; and `SocketClient`, which talks to one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import weakref
from typing import Any
from urllib.parse import quote

from track.errors import BackendUnavailable, InvalidUri, RPCCallFailure
from track.persistence.limits import LIMITS, read_limits
from track.persistence.reception import Reception
from track.persistence.registry import get_protocol
from track.persistence.running import signals_handled
from track.persistence.socketclient import DEFAULT_PORT, LAYERS, SocketClient, is_loopback, security_layer
from track.persistence.users import Users
from track.persistence.utils import parse_uri, read_choice, read_options
from track.persistence.wire import read, recv, send, to_bytes, to_obj, write
from track.utils import listen_socket
from track.utils.encrypted import certificate_context, fingerprint, server_context, server_folder
from track.utils.signal import SignalHandler

__all__ = [
    "SERVER_OPTIONS",
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

logger = logging.getLogger(__name__)

SERVER_OPTIONS: dict[str, Any] = {
    "backend": (str, ""),
    "security_layer": (read_choice(*LAYERS), ""),
    "users": (str, ""),
    "certificate": (str, ""),
    "key": (str, ""),
    "folder": (str, ""),
    **LIMITS,
}
"""What may follow the ``?`` of the URI that a `SocketServer` is made from."""

_TIDY = 15.0
_BACKLOG = 1024


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


class SocketServer(Reception):
    """Serves a backend to many clients, in one asyncio loop and one thread that uses the store.

    The methods of a `Protocol` go to the backend, for the process that runs the server.

    Parameters
    ----------
    uri: str
        ``socket://host:port?backend=file:runs.json&security_layer=AES&users=users.json``; see `SERVER_OPTIONS`. Port 0
        lets the system choose one. A ``&`` or ``#`` in the backend's URI is written %26 or %23.

    Raises
    ------
    InvalidUri
        The URI has an unknown option or no backend, or the backend cannot be served.
    """

    def __init__(self, uri: str) -> None:
        given = read_options(uri, SERVER_OPTIONS)
        parts = parse_uri(uri)
        if not given["backend"]:
            raise InvalidUri(f"a server needs a backend: {uri}?backend=file:runs.json")
        users = Users(given["users"]) if given["users"] else None
        super().__init__(get_protocol(given["backend"]), read_limits(given), users)
        self.uri = uri
        self.layer = security_layer(given["security_layer"])
        self._given = given
        self._host, self._port = parts.get("address") or "127.0.0.1", int(parts.get("port", DEFAULT_PORT))
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = asyncio.Event()
        self._is_stopped = threading.Event()
        self._has_ended = threading.Event()
        self._beginning = threading.Lock()
        self._has_begun = False

    # running

    def listen(self) -> tuple[str, int]:
        """Take the address, and return it: host and port. Clients may connect, and wait for `run_server`.

        Raises
        ------
        BackendUnavailable
            The address is taken, or not of this machine.
        """
        if self._listener is None:
            host = self._host
            if self._is_open_to_all and not is_loopback(host):
                host = "127.0.0.1"
                logger.warning(
                    "the server has no users, so it listens on %s only, not on %s: make some with "
                    "`python -m track user add NAME --users FILE`, and give it the file",
                    host,
                    self._host,
                )
            try:
                self._listener = listen_socket(host, self._port)
            except OSError as error:
                raise BackendUnavailable(f"{host}:{self._port} cannot be listened on: {error}") from error
            self._listener.listen(_BACKLOG)
        address = self._listener.getsockname()
        return str(address[0]), int(address[1])

    def notes(self) -> list[str]:
        """Return what the person who starts the server should know: who may come in, and how clients know it."""
        context = self._context()
        found = [self._who()]
        if context is None:
            found.append("not encrypted: --security-layer AES encrypts")
        elif self._given["certificate"]:
            found.append("clients: socket://USER:PASSWORD@HOST:PORT?security_layer=TLS")
        else:
            shown = fingerprint(self._given["folder"] or server_folder())
            found.append(f"clients: socket://USER:PASSWORD@HOST:PORT?security_layer=AES&fingerprint={shown}")
        return found

    def _who(self) -> str:
        if self._is_open_to_all:
            return "no users: clients on this machine only, and everybody there may do everything"
        if self.users is None:
            return "users: as the program says"
        nobody = "" if self.users.list() else " (nobody yet: python -m track user add NAME --users FILE)"
        return f"users: {self.users.path}{nobody}"

    def own_process(self) -> None:
        """Say that this process does nothing else with the store: a file's journal is shortened while it runs."""
        self._answering.served.own_process()

    def run_server(self) -> None:
        """Serve until `stop` is called, or the process is told to end.

        Raises
        ------
        KeyboardInterrupt
            It was interrupted; what was under way was answered.
        """
        with self._beginning:
            if self._is_stopped.is_set():
                return
            self.listen()
            self._has_begun = True
        try:
            asyncio.run(self._run(self._context()))
        finally:
            self._give_back()
            self._has_ended.set()

    def _context(self) -> ssl.SSLContext | None:
        if self.layer is None:
            return None
        if self.layer == "TLS" and not self._given["certificate"]:
            raise InvalidUri("security_layer=TLS needs a certificate and its key; AES makes its own")
        if self._given["certificate"]:
            return certificate_context(self._given["certificate"], self._given["key"] or None)
        return server_context(self._given["folder"] or server_folder())

    async def _run(self, context: ssl.SSLContext | None) -> None:
        assert self._listener is not None
        self._loop, self._is_told = asyncio.get_running_loop(), asyncio.Event()
        if self._is_stopped.is_set():
            return
        with signals_handled(self.stop):
            self._serving.start(self._listener, context)
            tidying = asyncio.create_task(self._tidy())
            await self._is_told.wait()
            tidying.cancel()
            await self._serving.stop()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY)
            await self._answering.tidy()

    def stop(self) -> None:
        """Tell the server to stop, from any thread or a signal handler; what is under way is answered."""
        self._is_stopped.set()
        if self._loop is not None:
            # The loop may be closed already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._is_told.set)

    def _give_back(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._gate.close()
        self._answering.close()
        super().close()

    def close(self) -> None:
        """Stop the server and wait for its end; everything that was acknowledged is stored."""
        self.stop()
        with self._beginning:
            has_begun = self._has_begun
        if has_begun:
            self._has_ended.wait(self.limits.stop_timeout + 5.0)
        else:
            self._give_back()


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
