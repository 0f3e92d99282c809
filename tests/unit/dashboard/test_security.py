"""Who may ask the page, and what it never does."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dashboard.asking import HOST, PORT, Asker
from track.dashboard import Dashboard, dashboard_app
from track.dashboard.security import MOST_BYTES
from track.dashboard.server import PageServer

EVERYTHING = ("/", "/app.js", "/style.css", "/vendor/uPlot.iife.min.js", "/api/runs", "/api/run?uid=x", "/nothing")


@pytest.mark.parametrize("path", EVERYTHING)
def test_stranger_sees_nothing(stranger: Asker, path: str) -> None:
    """Without the cookie every path is refused, also those of files."""
    stranger.ask(path)

    assert stranger.status == 403


def test_token_becomes_a_cookie(stranger: Asker) -> None:
    """The link with the token gives a cookie that no script reads, and leads to an address without the token."""
    stranger.ask("/?token=secret")

    assert (stranger.status, stranger.headers["Location"]) == (303, "./")
    name, *rest = stranger.headers["Set-Cookie"].split("; ")
    assert name.startswith(f"track-{PORT}=")
    assert "secret" not in name
    assert rest == ["HttpOnly", "SameSite=Lax", "Path=/"]


@pytest.mark.parametrize("query", ["token=wrong", "token=", "token", "token=secre", "token=secret2", "Token=secret"])
def test_wrong_token_is_refused(stranger: Asker, query: str) -> None:
    """Only the whole token is one."""
    stranger.ask(f"/?{query}")

    assert stranger.status == 403
    assert "Set-Cookie" not in stranger.headers


@pytest.mark.parametrize(
    "cookie", ["", f"track-{PORT}=", f"track-{PORT}=secret", f"track-{PORT}=" + 64 * "0", "a b;;=", "\x00"]
)
def test_wrong_cookie_is_refused(stranger: Asker, cookie: str) -> None:
    """Neither is the token itself a cookie, nor any other text."""
    stranger.cookie = cookie

    stranger.ask("/api/runs")

    assert stranger.status == 403


def test_cookie_of_another_start_is_refused(asker: Asker, uri: str) -> None:
    """A start has its own token, so what an earlier one gave is worth nothing."""
    later = Asker(Dashboard(uri, "another"), asker.cookie)

    later.ask("/")

    assert later.status == 403


@pytest.mark.parametrize("token", ["", None])
def test_page_without_a_token_answers_nobody(uri: str, token: str | None) -> None:
    """A page that was given no token refuses, also who has an empty one."""
    asker = Asker(Dashboard(uri, token), f"track-{PORT}=")

    assert b"no token" in asker.ask("/?token=")
    assert asker.status == 403


def test_token_of_the_environment(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a server of WSGI the token is said by the environment."""
    monkeypatch.setenv("TRACK_DASHBOARD_TOKEN", "said")
    asker = Asker(Dashboard(uri))

    asker.ask("/?token=said")

    assert asker.status == 303


def test_callable_of_the_configured_store_is_there() -> None:
    """`dashboard_app` is a WSGI callable under both of its names, and refuses strangers before it opens a store."""
    from track.dashboard import dasboard

    asker = Asker(dashboard_app)
    asker.ask("/")

    assert asker.status == 403
    assert dasboard.dashboard_app is dashboard_app


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8124",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1:8125",
        "localhost.evil.example:8124",
        "127.0.0.1:",
        "127.0.0.1.nip.io:8124",
        "10.0.0.1:8124",
        "127.0.0.1:8124,evil.example",
        "[::2]:8124",
        "::1",
        ":8124",
        "@127.0.0.1:8124",
    ],
)
def test_another_name_is_refused_before_anything(asker: Asker, host: str) -> None:
    """A page elsewhere whose name leads to this machine (DNS rebinding) is refused, cookie or not."""
    asker.ask("/api/runs", HTTP_HOST=host)
    assert asker.status == 403

    asker.ask("/?token=secret", HTTP_HOST=host)
    assert asker.status == 403
    assert "Set-Cookie" not in asker.headers


@pytest.mark.parametrize("host", [HOST, "localhost:8124", "LocalHost:8124", "[::1]:8124"])
def test_names_of_this_machine_are_answered(asker: Asker, host: str) -> None:
    """Its three names, with the page's own port."""
    asker.ask("/api/runs", HTTP_HOST=host)

    assert asker.status == 200


def test_name_of_a_proxy_is_answered_where_it_is_allowed(uri: str) -> None:
    """A proxy calls it by the name that was allowed, and by no longer one."""
    asker = Asker(Dashboard(uri, "secret", ["hub.example"]))

    asker.ask("/?token=secret", HTTP_HOST="hub.example")
    assert asker.status == 303
    asker.ask("/?token=secret", HTTP_HOST="a.hub.example")
    assert asker.status == 403


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.2", "::2", "8.8.8.8", "", "unknown"])
def test_other_machines_are_refused(asker: Asker, address: str) -> None:
    """Only this machine asks, also where somebody mounts the page on an open address."""
    asker.ask("/api/runs", REMOTE_ADDR=address)

    assert asker.status == 403


@pytest.mark.parametrize("path", EVERYTHING)
def test_every_answer_has_the_headers(asker: Asker, stranger: Asker, path: str) -> None:
    """The policy of contents is strict, frames are refused, and no other site is let in, whoever asks whatever."""
    for who in (asker, stranger):
        who.ask(path, HTTP_ORIGIN="https://evil.example")

        policy = who.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert who.headers["X-Content-Type-Options"] == "nosniff"
        assert who.headers["X-Frame-Options"] == "DENY"
        assert who.headers["Referrer-Policy"] == "no-referrer"
        assert not [name for name in who.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "WHATEVER"])
@pytest.mark.parametrize("path", ["/", "/api/runs", "/api/chart"])
def test_what_could_change_something_is_refused(asker: Asker, method: str, path: str) -> None:
    """There is no way to write, nor to ask whether another site may."""
    asker.ask(path, method)

    assert asker.status == 405


@pytest.mark.parametrize("path", ["/", "/api/runs", "/api/run", "/app.js"])
def test_only_charts_are_asked_by_post(asker: Asker, path: str) -> None:
    """A body is taken where a question needs one, and nowhere else."""
    asker.ask(path, "POST", {})

    assert asker.status == 405


@pytest.mark.parametrize(
    "tell",
    [
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": "http://127.0.0.1:9999"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_SEC_FETCH_SITE": "none"},
    ],
)
def test_questions_of_other_sites_are_refused(asker: Asker, tell: dict[str, str]) -> None:
    """A question with a body that another site's page has sent is not answered, though the browser adds the cookie."""
    asker.ask("/api/chart", "POST", {"uids": [], "metric": "loss", "buckets": 5}, **tell)

    assert asker.status == 403


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b"])
def test_forms_are_refused(asker: Asker, kind: str) -> None:
    """What a form of another site can send is no question."""
    asker.ask("/api/chart", "POST", {"uids": [], "metric": "loss", "buckets": 5}, CONTENT_TYPE=kind)

    assert asker.status == 415


def test_who_comes_all_at_once_is_let_in(page: Dashboard) -> None:
    """Seven tabs of a browser open forty connections: none is sent away because others come at the same time."""
    with PageServer(page) as server, ExitStack() as stack:
        many = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=5)))
            for _ in range(60)
        ]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for one in many:
            one.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())

        assert {one.recv(12) for one in many} == {b"HTTP/1.1 403"}
        server.shutdown()


def test_answer_does_not_wait_for_the_browser(page: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of it is held back until the browser has confirmed another one, which takes 40 ms."""
    held = []
    with PageServer(page) as server:
        finish = server.finish_request

        def watched(request: Any, address: Any) -> None:
            finish(request, address)
            held.append(request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)

        monkeypatch.setattr(server, "finish_request", watched)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as asking:
            asking.sendall(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nConnection: close\r\n\r\n".encode()
            )
            while asking.recv(4096):
                pass
        server.shutdown()

    assert held == [False]


@pytest.mark.parametrize(
    ("length", "status"), [(str(MOST_BYTES + 1), 413), ("9" * 400, 413), ("", 411), ("-1", 411), ("x", 411), ("²", 411)]
)
def test_long_questions_are_refused_unread(asker: Asker, length: str, status: int) -> None:
    """A body of more than a megabyte, or of unknown length, is not read."""
    asker.ask("/api/chart", "POST", b"{}", CONTENT_LENGTH=length, **{"wsgi.input": None})

    assert asker.status == status


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"[]",
        b"{",
        b'{"uids": "x", "metric": "loss", "buckets": 5}',
        b'{"uids": [], "metric": "loss", "buckets": 5, "more": 1}',
        b'{"uids": [], "metric": "loss", "buckets": 0}',
        b'{"uids": [], "metric": "loss", "buckets": 1000000}',
        b'{"uids": [], "metric": "loss", "buckets": 5, "x": "nothing"}',
        b'{"uids": [], "metric": "loss", "buckets": 5, "smoothing": 1}',
        b'{"uids": [], "metric": "loss", "buckets": 5, "start": 2, "end": 1}',
        b"[" * 100_000,
        b'{"uids": [], "metric": "\xed\xa0\x80", "buckets": 5}',
    ],
)
def test_nonsense_is_refused_with_a_reason(asker: Asker, asked: bytes) -> None:
    """What is no question of a chart is answered by a sentence."""
    said = asker.ask("/api/chart", "POST", asked, CONTENT_TYPE="application/json")

    assert asker.status == 400
    assert said.strip()


@pytest.mark.parametrize("path", ["/", "/api/run", "/api/runs", "/api/find", "/api/code"])
def test_question_of_too_many_parts_is_refused(
    asker: Asker, stranger: Asker, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """It is nobody's question: neither a fault of the page, nor does a stranger write into its log with it."""
    for somebody in (asker, stranger):
        somebody.ask(f"{path}?{'uid=a&' * 40}")

        assert somebody.status == 400
    assert not caplog.records


def test_more_buckets_than_one_answer_has_are_refused(asker: Asker) -> None:
    """Runs times buckets have a limit."""
    asked = {"uids": [f"{number}_0" for number in range(300)], "metric": "loss", "buckets": 10_000}

    said = asker.ask("/api/chart", "POST", asked)

    assert (asker.status, b"2,000,000" in said) == (400, True)


def test_more_questions_at_once_than_the_page_has_room_for_are_refused(asker: Asker, page: Dashboard) -> None:
    """The thirty-third of questions that wait is told so."""
    for _ in range(32):
        page._room.acquire()

    asker.ask("/api/runs")

    assert asker.status == 503


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/../../setup.py",
        "//etc/passwd",
        "/vendor/../../app.py",
        "/app.js/",
        "/.",
        "/static/app.js",
        "/%2e%2e/app.py",
        "/vendor",
        "/vendor/",
        "/\x00",
        "/app.py",
        "/__init__.py",
        "/vendor\\uPlot.min.css",
    ],
)
def test_only_the_clients_files_are_served(asker: Asker, path: str) -> None:
    """A path is looked up among the names of the client's files: none leads out of them."""
    asker.ask(path)

    assert asker.status == 404


def test_looking_changes_no_byte_of_the_store(asker: Asker, uri: str) -> None:
    """All questions together leave every file as it was."""
    folder = Path(uri.removeprefix("file://")).parent
    before = _sums(folder)
    uid = asker.runs()["runs"][0]["uid"]

    asker.json(f"/api/run?uid={uid}")
    asker.ask("/api/chart", "POST", {"uids": [uid], "metric": "loss", "buckets": 5})

    assert asker.status == 200
    assert _sums(folder) == before


def _sums(folder: Path) -> dict[str, Any]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_password_of_the_store_is_not_shown(asker: Asker, page: Dashboard) -> None:
    """Where the store is is said without what opens it."""
    page.open().uri = "socket://ann:hunter2@db:8123"

    said = asker.ask("/api/runs")

    assert b"hunter2" not in said
    assert b"db:8123" in said
