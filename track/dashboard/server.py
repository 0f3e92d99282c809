"""A server for the page on this machine: threads of the standard library, connections that stay open."""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from track.dashboard.security import MOST_BYTES

logger = logging.getLogger(__name__)
MOST_CONNECTIONS = 128
"""Each has a thread; more are closed. A browser opens six to one place, however many tabs it has."""
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class PageServer(ThreadingHTTPServer):
    """Serves a WSGI callable to this machine, and to no other.

    Parameters
    ----------
    application: callable
        The page.
    port: int
        0 for any that is free; `server_port` says which.
    """

    daemon_threads = True

    def __init__(self, application: Application, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.application = application
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def server_bind(self) -> None:
        # That of `HTTPServer` asks for the name of this machine, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that goes away is no error.
        logger.debug("a connection of the page ended", exc_info=sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
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
        code, _, phrase = said[0].partition(" ")
        self.send_response(int(code), phrase)
        for name, value in said[1]:
            self.send_header(name, value)
        if body is None:
            self.send_header("Connection", "close")
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

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
            "wsgi.url_scheme": "http",
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
