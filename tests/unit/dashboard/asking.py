"""Somebody who asks a page without a socket."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

PORT = "8124"
HOST = f"127.0.0.1:{PORT}"


class Asker:
    """Asks a page, as a browser that has come in; `tell` changes what it says."""

    def __init__(self, page: Any, cookie: str = "") -> None:
        self.page = page
        self.cookie = cookie
        self.status = 0
        self.headers: dict[str, str] = {}

    def ask(self, path: str, method: str = "GET", body: Any = None, **tell: Any) -> bytes:
        """Return the body of the answer."""
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        place, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": place,
            "QUERY_STRING": query,
            "SERVER_PORT": PORT,
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": HOST,
            "HTTP_COOKIE": self.cookie,
            "CONTENT_TYPE": "application/json" if sent else "",
            "CONTENT_LENGTH": str(len(sent)),
            "wsgi.input": io.BytesIO(sent),
        }
        environ |= tell

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            self.status, self.headers = int(status[:3]), dict(headers)

        return b"".join(self.page({name: value for name, value in environ.items() if value is not None}, start))

    def sign_in(self, name: str, password: str) -> None:
        """Come in by name and password."""
        self.ask("/", HTTP_AUTHORIZATION="Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())
        assert self.status == 303
        self.cookie = self.headers["Set-Cookie"].partition(";")[0]

    def json(self, path: str, **tell: Any) -> Any:
        """Return what is answered, as data."""
        said = self.ask(path, **tell)
        assert self.status == 200, said
        return json.loads(said)


def enter(page: Any, token: str) -> Asker:
    """Return somebody who has shown the token."""
    asker = Asker(page)
    asker.ask(f"/?token={token}")
    assert asker.status == 303
    asker.cookie = asker.headers["Set-Cookie"].partition(";")[0]
    return asker
