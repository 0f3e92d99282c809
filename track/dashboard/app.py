"""The page as a WSGI callable: it needs nothing but the standard library, and mounts wherever one does."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from track.configuration import options
from track.dashboard.answers import Answer, Refused
from track.dashboard.security import EMBEDDED_HEADERS, HEADERS, Guard
from track.errors import TrackError
from track.persistence.utils import mask_secrets, names_no_store

if TYPE_CHECKING:
    from track.dashboard.questions import Questions
    from track.persistence.protocol import Protocol
    from track.persistence.users import Users

logger = logging.getLogger(__name__)
_STATIC = Path(__file__).with_name("static")
# One that begins a line; of several lines, too.
_COMMENT = re.compile(rb"^[ \t]*(?://.*|/\*[\s\S]*?\*/)", re.MULTILINE)
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_OWN = re.compile(rb'(?:href|src)="(?=[a-z])')
"""In the page, what is before the name of a file of its own."""
_VERSIONED = re.compile(r"/([0-9a-f]{16})/")
_USUAL = "report.json"
_MOST_AT_ONCE = 32


class Dashboard:
    """The page of a store, as a WSGI callable. It reads, and changes nothing unless it is told that it may.

    It answers only programs of this machine that came with the token once, and have its cookie since; or, where there
    are users, who has said a password.

    Parameters
    ----------
    store: str or Protocol, optional
        The URI of the store, or its backend; by default the configured one. It is opened at the first request.
    token: str
        Who opens ``/?token=...`` comes in; by default ``TRACK_DASHBOARD_TOKEN`` of the environment. Without one every
        answer is 403.
    hosts: iterable of str
        Names, with their ports, by which a proxy in front of it is called.
    interval: float
        Seconds for which the store is not asked again for what changed.
    writes: bool
        Tags, notes and statuses may be changed.
    users: Users, optional
        Who comes in by password instead of a token, over HTTPS from other machines, too.
    embed: bool
        Pages of this machine, as a notebook's, may show it in a frame.
    """

    def __init__(
        self,
        store: str | Protocol | None = None,
        token: str | None = None,
        hosts: Iterable[str] = (),
        interval: float = 1.0,
        *,
        writes: bool = False,
        users: Users | None = None,
        embed: bool = False,
    ) -> None:
        self._given = store
        self._token = token
        self._hosts = tuple(hosts)
        self._interval = interval
        self._writes, self._users = writes, users
        self._headers = EMBEDDED_HEADERS if embed else HEADERS
        self._opening = threading.Lock()
        self._guard: Guard | None = None
        self._opened: Questions | None = None
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        answer = self._answer(environ)
        body = answer.body
        length = len(body) if isinstance(body, bytes) else body.length
        own = {name for name, _ in answer.headers}
        usual = (
            ("Content-Type", answer.kind),
            ("Content-Length", str(length)),
            *self._headers,
            ("Cache-Control", "no-store"),
        )
        headers = [one for one in usual if one[0] not in own]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", [*headers, *answer.headers])
        if environ["REQUEST_METHOD"] != "HEAD":
            return [body] if isinstance(body, bytes) else body
        if not isinstance(body, bytes):
            body.close()
        return []

    def open(self) -> Protocol:
        """Open the store, once, and return its backend.

        Raises
        ------
        TrackError
            It is not there, or does not answer.
        """
        return self._questions().protocol

    def read_ahead(self) -> None:
        """Read what the page shows first, before somebody asks for it; what goes wrong is said to who asks."""
        try:
            self._questions().read_ahead()
        except (TrackError, OSError):
            logger.debug("nothing could be read ahead", exc_info=True)

    def _answer(self, environ: dict[str, Any]) -> Answer:
        try:
            if self._guard is None:
                token = os.environ.get("TRACK_DASHBOARD_TOKEN", "") if self._token is None else self._token
                self._guard = Guard(token, self._hosts, self._users)
            welcome = self._guard.check(environ)
            if welcome is not None:
                return welcome
            if not self._room.acquire(blocking=False):
                raise Refused(503, "too many questions at once")
            try:
                return self._said(environ)
            finally:
                self._room.release()
        except Refused as error:
            return Answer(error.status, f"{error}\n".encode(), "text/plain; charset=utf-8", error.headers)
        except (TrackError, OSError) as error:
            text = mask_secrets(str(error))
            return Answer(502, f"the store does not answer: {text}\n".encode(), "text/plain; charset=utf-8")
        except Exception:
            # One question must not end the page.
            logger.exception("the page could not answer")
            return Answer(500, b"this could not be answered; the program's output says more\n", "text/plain")

    def _said(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "/") or "/"
        method = "GET" if environ["REQUEST_METHOD"] == "HEAD" else environ["REQUEST_METHOD"]
        if path.startswith("/api/"):
            return self._questions().answer(method, path, environ)
        if method != "GET":
            raise Refused(405, "this page is only read", (("Allow", "GET, HEAD"),))
        return _static(path, environ)

    def _questions(self) -> Questions:
        with self._opening:
            if self._opened is None:
                # With what a store needs: files of the client are answered before.
                from track.dashboard.questions import Questions
                from track.reading import open_to_read

                given = self._given or _configured()
                protocol = open_to_read(given) if isinstance(given, str) else given
                self._opened = Questions(protocol, self._interval, self._writes)
            return self._opened


def _configured() -> str:
    """Return the store that is looked at where none is named."""
    uri = options("log.backend.name", None)
    return f"file://{_USUAL}" if names_no_store(uri) else str(uri)


def _static(path: str, environ: dict[str, Any]) -> Answer:
    """Return a file of the client: of those that are there, by their names, in the folder of a version or without."""
    files, version = client_files()
    match = _VERSIONED.match(path)
    found = files.get("/index.html" if path == "/" else path[match.end() - 1 :] if match else path)
    if found is None:
        raise Refused(404, "there is no such page")
    if match and match[1] == version:
        # A browser that has it asks nobody: another version has another folder.
        return replace(found, headers=(("Cache-Control", "private, max-age=31536000, immutable"),))
    if environ.get("HTTP_IF_NONE_MATCH") == found.headers[0][1]:
        return Answer(304, b"", found.kind, found.headers)
    return found


@functools.cache
def client_files() -> tuple[dict[str, Answer], str]:
    """Return the files of the client, and their version: a hash of them, whose folder the page names.

    They are as they were when this program began: an upgrade of the library mixes none.
    """
    bodies = {}
    for path in sorted(_STATIC.rglob("*")):
        if path.suffix in _KINDS:
            body = path.read_bytes()
            if path.suffix == ".js" and path.parent == _STATIC:
                # Types, and words for people, are read where they stand; lines keep their numbers.
                body = _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), body)
            bodies[f"/{path.relative_to(_STATIC).as_posix()}"] = body
    version = hashlib.sha256(b"".join(bodies.values())).hexdigest()[:16]
    bodies["/index.html"] = _OWN.sub(rb"\g<0>" + version.encode() + b"/", bodies["/index.html"])
    headers = (("ETag", f'"{version}"'), ("Cache-Control", "no-cache"))
    kinds = {name: _KINDS[os.path.splitext(name)[1]] for name in bodies}
    return {name: Answer(200, body, kinds[name], headers) for name, body in bodies.items()}, version


dashboard_app = Dashboard()
"""The page of the configured store, for a server of WSGI; its token is ``TRACK_DASHBOARD_TOKEN`` of the environment."""
