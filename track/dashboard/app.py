"""The page as a WSGI callable: it needs nothing but the standard library, and mounts wherever one does."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from track.configuration import options
from track.dashboard.answers import Answer, Refused, json_answer
from track.dashboard.code import differences
from track.dashboard.editing import STATUSES, edit, read_edit
from track.dashboard.planes import chart_bytes
from track.dashboard.rows import page_of
from track.dashboard.security import HEADERS, Guard, body_of, check_change, question_of
from track.dashboard.watching import Watched
from track.errors import InvalidQuery, TrackError
from track.persistence.buckets import Question, in_turns, uids_of
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets, names_no_store
from track.reading import environment_in, open_to_read

if TYPE_CHECKING:
    from track.persistence.users import Users

logger = logging.getLogger(__name__)
_STATIC = Path(__file__).with_name("static")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_USUAL = "report.json"
_SECONDS = 30.0
_MOST_AT_ONCE = 32


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a chart asks for, as `Protocol.fetch_buckets` has it."""

    uids: list[str]
    metric: str
    buckets: int
    x: str = "step"
    start: float | None = None
    end: float | None = None
    smoothing: float | None = None


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
    ) -> None:
        self._given = store
        self._token = token
        self._hosts = tuple(hosts)
        self._interval = interval
        self._writes, self._users = writes, users
        self._opening, self._editing = threading.Lock(), threading.Lock()
        self._guard: Guard | None = None
        self._opened: tuple[Protocol, Watched] | None = None
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._verbs: dict[tuple[str, str], Callable[[dict[str, Any]], Answer]] = {
            ("GET", "/api/runs"): self._runs,
            ("GET", "/api/run"): self._run,
            ("GET", "/api/find"): self._find,
            ("GET", "/api/code"): self._code,
            ("GET", "/api/file"): self._file,
            ("GET", "/api/files"): self._files,
            ("GET", "/api/media"): self._media,
            ("POST", "/api/chart"): self._chart,
            ("POST", "/api/edit"): self._edit,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        answer = self._answer(environ)
        body = answer.body
        length = len(body) if isinstance(body, bytes) else body.length
        own = {name for name, _ in answer.headers}
        usual = (
            ("Content-Type", answer.kind),
            ("Content-Length", str(length)),
            *HEADERS,
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
        return self._store()[0]

    def read_ahead(self) -> None:
        """Read what the page shows first, before somebody asks for it; what goes wrong is said to who asks."""
        try:
            self._store()[1].read_ahead()
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
        except (InvalidQuery, msgspec.MsgspecError) as error:
            return Answer(400, f"{error}\n".encode(), "text/plain; charset=utf-8")
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
        verb = self._verbs.get((method, path))
        if verb is not None:
            return verb(environ)
        if any(path == known for _, known in self._verbs):
            raise Refused(405, "this is asked in another way")
        if method != "GET":
            raise Refused(405, "this page is only read", (("Allow", "GET, HEAD"),))
        return _static(path, environ)

    def _store(self) -> tuple[Protocol, Watched]:
        with self._opening:
            if self._opened is None:
                store = self._given
                protocol = store if isinstance(store, Protocol) else open_to_read(store or _configured())
                self._opened = protocol, Watched(protocol, self._interval)
            return self._opened

    # what can be asked

    def _runs(self, environ: dict[str, Any]) -> Answer:
        _, watched = self._store()
        cursor = question_of(environ).get("since", [None])[0]
        found = watched.since(cursor)
        if found is None:
            return Answer(204, b"", "application/json")
        return Answer(200, found, "application/octet-stream")

    def _run(self, environ: dict[str, Any]) -> Answer:
        protocol, watched = self._store()
        uid = question_of(environ).get("uid", [""])[0]
        trials = protocol.brief_trials({"uid": uid})
        if not trials:
            raise Refused(404, "there is no such run")
        page = page_of(trials[0], watched.group_name, environment_in(protocol, trials[0]))
        may = self._writes and environ.get("track.role", "write") != "read"
        return json_answer(page | {"serves": True} | ({"statuses": STATUSES} if may else {}))

    def _find(self, environ: dict[str, Any]) -> Answer:
        _, watched = self._store()
        text = question_of(environ).get("q", [""])[0]
        return json_answer({"uids": watched.matching(text)})

    def _code(self, environ: dict[str, Any]) -> Answer:
        protocol, _ = self._store()
        uids = question_of(environ).get("uid", [])
        if len(uids) != 2:
            raise Refused(400, "two runs are compared")
        return json_answer({"files": differences(protocol, *uids)})

    def _file(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard.files import file_answer

        protocol, _ = self._store()
        return file_answer(protocol, *(question_of(environ).get(name, [""])[0] for name in ("uid", "digest", "file")))

    def _files(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard.files import listing_answer

        protocol, _ = self._store()
        return listing_answer(protocol, *(question_of(environ).get(name, [""])[0] for name in ("uid", "digest")))

    def _media(self, environ: dict[str, Any]) -> Answer:
        from track.dashboard import media

        protocol, _ = self._store()
        asked = question_of(environ)
        uid, digest, name, show = (asked.get(word, [""])[0] for word in ("uid", "digest", "name", "show"))
        if name:
            return media.histograms_answer(protocol, uid, name)
        return (media.html_answer if show == "page" else media.medium_answer)(protocol, uid, digest)

    def _chart(self, environ: dict[str, Any]) -> Answer:
        protocol, _ = self._store()
        asked = msgspec.json.decode(body_of(environ), type=_Asked)
        question = Question(asked.metric, asked.buckets, asked.x, asked.start, asked.end, asked.smoothing)

        def ask(uids: Any, part: Question) -> Any:
            given = part.name, part.buckets, part.x, part.start, part.end, part.smoothing
            return protocol.fetch_buckets(uids, *given)

        for found in in_turns(question, uids_of(asked.uids), ask, _SECONDS):
            if found is not None:
                return Answer(200, chart_bytes(found), "application/octet-stream")
        raise InvalidQuery("nothing was found")

    def _edit(self, environ: dict[str, Any]) -> Answer:
        if not self._writes:
            raise Refused(403, "this page is only read: start it with `track ui --write`")
        check_change(environ)
        protocol, watched = self._store()
        asked = read_edit(body_of(environ))
        # One after the other: what another one is about to store would look like one's own that waits.
        with self._editing:
            edit(protocol, asked)
        watched.look_again()
        return json_answer({})


def _configured() -> str:
    """Return the store that is looked at where none is named."""
    uri = options("log.backend.name", None)
    return f"file://{_USUAL}" if names_no_store(uri) else str(uri)


def _static(path: str, environ: dict[str, Any]) -> Answer:
    """Return a file of the client: of those that are there, by their names."""
    file = _static_files().get("/index.html" if path == "/" else path)
    if file is None:
        raise Refused(404, "there is no such page")
    body = file.read_bytes()
    headers = (("ETag", f'"{hashlib.sha256(body).hexdigest()[:16]}"'), ("Cache-Control", "no-cache"))
    if environ.get("HTTP_IF_NONE_MATCH") == headers[0][1]:
        return Answer(304, b"", _KINDS[file.suffix], headers)
    return Answer(200, body, _KINDS[file.suffix], headers)


def _static_files() -> dict[str, Path]:
    found = (path for path in _STATIC.rglob("*") if path.suffix in _KINDS)
    return {f"/{path.relative_to(_STATIC).as_posix()}": path for path in found}


dashboard_app = Dashboard()
"""The page of the configured store, for a server of WSGI; its token is ``TRACK_DASHBOARD_TOKEN`` of the environment."""
