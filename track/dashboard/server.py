"""A server for the page: threads of the standard library, connections that stay open, TLS for other machines."""

from __future__ import annotations

import io
import logging
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from track.dashboard.security import MOST_BYTES
from track.errors import InvalidCall
from track.utils.system import is_loopback

logger = logging.getLogger(__name__)
MOST_CONNECTIONS = 128
"""Each has a thread; more are closed. A browser opens six to one place, however many tabs it has."""
_MOST_OF_ONE = 40
"""Of one other machine."""
_HANDSHAKE_SECONDS = 10.0
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class PageServer(ThreadingHTTPServer):
    """Serves a WSGI callable to this machine, or, encrypted, to others.

    Parameters
    ----------
    application: callable
        The page.
    port: int
        0 for any that is free; `server_port` says which.
    host: str
        Where it listens.
    context: ssl.SSLContext, optional
        The certificate of an encrypted one.

    Raises
    ------
    InvalidCall
        It would be for other machines, and is not encrypted.
    """

    daemon_threads = True
    # Who comes while another one is let in waits, and is not sent away.
    request_queue_size = MOST_CONNECTIONS

    def __init__(
        self, application: Application, port: int = 0, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> None:
        if context is None and not is_loopback(host):
            raise InvalidCall(f"{host} is open to other machines: the page is encrypted there")
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.application, self.context = application, context
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._counting = threading.Lock()
        self._by_address: Counter[str] = Counter()

    def server_bind(self) -> None:
        # That of `HTTPServer` asks for the name of this machine, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Answer until the server is closed, be it before it has begun."""
        try:
            super().serve_forever(poll_interval)
        except (OSError, ValueError):
            if self.fileno() >= 0:
                raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._take(client_address[0]):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            if self.context is not None:
                request = self._encrypted(request, self.context)
            if request is not None:
                super().process_request_thread(request, client_address)
        finally:
            with self._counting:
                self._by_address[client_address[0]] -= 1
                self._by_address += Counter()
            self._room.release()

    def _take(self, address: str) -> bool:
        """Return whether there is room for one more connection of a machine."""
        with self._counting:
            if self._by_address[address] >= _MOST_OF_ONE and not is_loopback(address):
                return False
            if not self._room.acquire(blocking=False):
                return False
            self._by_address[address] += 1
            return True

    def _encrypted(self, request: Any, context: ssl.SSLContext) -> Any:
        """Return a connection once both sides have agreed on keys, in its own thread; None where they do not."""
        try:
            request.settimeout(_HANDSHAKE_SECONDS)
            return context.wrap_socket(request, server_side=True)
        except (OSError, ValueError) as error:
            # Of a browser that does not know the certificate yet, too.
            logger.debug("no encrypted connection: %s", error)
            self.shutdown_request(request)
            return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that goes away is no error.
        logger.debug("a connection of the page ended", exc_info=sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    # An answer goes out at once and in one piece: what follows a piece would wait until the browser confirms that.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: PageServer
    server_version, sys_version = "track", ""

    def answer(self) -> None:
        """Answer a request by the application."""
        body = self._body()
        if body is None:
            self.close_connection = True
        environ = self._environ(body)
        said: list[Any] = []
        parts = self.server.application(environ, lambda status, headers, _=None: said.extend((status, headers)))
        try:
            code, _, phrase = said[0].partition(" ")
            self.send_response(int(code), phrase)
            for name, value in said[1]:
                self.send_header(name, value)
            if body is None:
                self.send_header("Connection", "close")
            self.end_headers()
            for part in parts:
                self.wfile.write(part)
        finally:
            if hasattr(parts, "close"):
                parts.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _body(self) -> bytes | None:
        """Return the body; None where it is left unread, as it is too long or of unknown length."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            return None
        return None if len(length) > 9 or int(length) > MOST_BYTES else self.rfile.read(int(length))

    def _environ(self, body: bytes | None) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": self.server.server_name,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if self.server.context is None else "https",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = f"HTTP_{name.upper().replace('-', '_')}"
            # One header twice, such as two hosts, is not one of them.
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ

    def log_message(self, format: str, *args: Any) -> None:
        # Not the request's line: the first one has the token.
        return
