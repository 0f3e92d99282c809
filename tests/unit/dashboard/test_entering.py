"""A page for other machines: who has a password comes in, over an encrypted connection, and nobody else."""

from __future__ import annotations

import base64
import http.client
import math
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dashboard.asking import Asker
from track.cli import main
from track.dashboard import Dashboard, PageServer, entering
from track.errors import InvalidCall
from track.persistence.users import Users

REMOTE = {"REMOTE_ADDR": "10.0.0.7", "wsgi.url_scheme": "https", "HTTP_HOST": "10.0.0.1:8124"}


@pytest.fixture
def users(tmp_path: Path) -> Users:
    """Ann, who may log, and Bob, who may look."""
    users = Users(tmp_path / "users.json", cost={"n": 2, "r": 1, "p": 1})
    users.add("ann", "correct horse", "write")
    users.add("bob", "battery", "read")
    return users


@pytest.fixture
def page(uri: str, users: Users) -> Dashboard:
    """A page with users."""
    return Dashboard(uri, "", interval=0, users=users)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the pause after a wrong password."""
    monkeypatch.setattr(entering, "_FIRST_DELAY", 0.001)


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_browser_is_asked_for_a_password(page: Dashboard) -> None:
    """The first answer is the question, without a byte of the page."""
    asker = Asker(page)

    said = asker.ask("/", **REMOTE)

    assert asker.status == 401
    assert asker.headers["WWW-Authenticate"].startswith("Basic ")
    assert b"<html" not in said


def test_a_password_becomes_a_cookie(page: Dashboard) -> None:
    """The cookie is for this site, for HTTPS and out of reach of scripts; with it everything is answered."""
    asker = Asker(page)

    asker.ask("/", HTTP_AUTHORIZATION=_basic("ann", "correct horse"), **REMOTE)

    assert (asker.status, asker.headers["Location"]) == (303, "./")
    cookie = asker.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Secure"))
    asker.cookie = cookie.partition(";")[0]
    for path in ("/", "/app.js", "/api/runs"):
        asker.ask(path, **REMOTE)
        assert asker.status == 200


@pytest.mark.parametrize(
    "said",
    [
        _basic("ann", "wrong"),
        _basic("eve", "correct horse"),
        _basic("", ""),
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Bearer x",
        _basic("ann", "x" * 100_000),
    ],
)
def test_who_says_nothing_right_is_asked_again(page: Dashboard, said: str) -> None:
    """A wrong name and a wrong password get the same answer, nonsense too: no cookie."""
    asker = Asker(page)

    asker.ask("/", HTTP_AUTHORIZATION=said, **REMOTE)

    assert asker.status == 401
    assert "Set-Cookie" not in asker.headers


@pytest.mark.parametrize("path", ["/app.js", "/api/runs", "/api/run?uid=x", "/nothing"])
def test_a_password_opens_the_door_only(page: Dashboard, path: str) -> None:
    """A browser adds a password that it knows to any question, also to another site's; only the cookie answers them."""
    asker = Asker(page)

    asker.ask(path, HTTP_AUTHORIZATION=_basic("ann", "correct horse"), **REMOTE)

    assert asker.status == 403


def test_the_token_opens_nothing_where_there_are_users(uri: str, users: Users) -> None:
    """A page has one way in."""
    asker = Asker(Dashboard(uri, "secret", users=users))

    asker.ask("/?token=secret")

    assert asker.status == 401


def test_without_encryption_other_machines_are_refused(page: Dashboard) -> None:
    """A password is not asked for where everybody can read it."""
    asker = Asker(page)

    asker.ask("/", **{**REMOTE, "wsgi.url_scheme": "http"})

    assert asker.status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.1:8124", 401),
        ("[fd00::1]:8124", 401),
        ("localhost:8124", 401),
        ("10.0.0.1:9", 403),
        ("evil.example:8124", 403),
        ("", 403),
    ],
)
def test_names_of_others_are_refused(page: Dashboard, host: str, status: int) -> None:
    """It is called by an address, by the machine's own name, or by one that was allowed."""
    asker = Asker(page)

    asker.ask("/", **{**REMOTE, "HTTP_HOST": host})

    assert asker.status == status


def test_allowed_names_are_ours(uri: str, users: Users) -> None:
    """A name that was allowed has our port, or the usual one."""
    asker = Asker(Dashboard(uri, "", ["gpu7.example"], users=users))

    for host in ("gpu7.example:8124", "gpu7.example"):
        asker.ask("/", **{**REMOTE, "HTTP_HOST": host})
        assert asker.status == 401


def test_a_removed_user_is_out_at_once(page: Dashboard, users: Users) -> None:
    """Cookies end with the user, and with the password."""
    asker = Asker(page)
    for change in (lambda: users.remove("ann"), lambda: users.add("bob", "another", "read")):
        name, password = ("ann", "correct horse") if "ann" in users.list() else ("bob", "battery")
        asker.sign_in(name, password)
        asker.runs()
        change()

        asker.ask("/api/runs")

        assert asker.status == 403


def test_a_cookie_ends_after_half_a_day(users: Users) -> None:
    """Then the password is asked for again."""
    now = [0.0]
    entrance = entering.Entrance(users, lambda: now[0])
    cookie = entrance.enter(_basic("bob", "battery"), "10.0.0.7")

    now[0] = entering.SECONDS - 1
    before = entrance.role_of(cookie)
    now[0] = entering.SECONDS + 1

    assert (before, entrance.role_of(cookie)) == ("read", None)


def test_cookies_are_bounded(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs in again and again pushes out the oldest."""
    monkeypatch.setattr(entering, "_MOST", 3)
    entrance = entering.Entrance(users)
    cookies = [entrance.enter(_basic("bob", "battery"), "10.0.0.7") for _ in range(5)]

    assert [entrance.role_of(cookie) for cookie in cookies] == [None, None, "read", "read", "read"]


def test_a_damaged_file_of_users_lets_nobody_in(page: Dashboard, users: Users) -> None:
    """Neither who comes, nor who was in."""
    asker = Asker(page)
    asker.sign_in("ann", "correct horse")
    users.path.write_text("nonsense")

    asker.ask("/api/runs")
    before = asker.status
    asker.ask("/", HTTP_AUTHORIZATION=_basic("ann", "correct horse"), **REMOTE)

    assert (before, asker.status) == (403, 503)


def test_wrong_passwords_take_longer_each_time(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bounded as at a server, and a right one does not wait for them."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(entering, "_FIRST_DELAY", 1.0)
    monkeypatch.setattr("track.persistence.server.login.asyncio.sleep", sleep)
    page = Asker(Dashboard("file://nothing", "", users=users))
    for number in range(3):
        page.ask("/", HTTP_AUTHORIZATION=_basic("ann", f"wrong {number}"), **REMOTE)
    page.ask("/", HTTP_AUTHORIZATION=_basic("ann", "correct horse"), **REMOTE)

    assert page.status == 303
    assert [math.ceil(pause) for pause in pauses] == [1, 2, 4]


def test_too_many_guesses_at_once_are_sent_away(users: Users) -> None:
    """Those who wait have bounded room; who is in is answered meanwhile."""
    page = Dashboard("ephemeral:", "", users=users)
    inside = Asker(page)
    inside.sign_in("ann", "correct horse")
    entrance = page._guard._entrance  # type: ignore[union-attr]
    assert entrance is not None
    for _ in range(entering._MOST_TRIED):
        entrance._room.acquire()
    stranger = Asker(page)

    stranger.ask("/", HTTP_AUTHORIZATION=_basic("ann", "wrong"), **REMOTE)
    inside.ask("/app.js")

    assert (stranger.status, inside.status) == (503, 200)


# the server


@pytest.fixture
def address(page: Dashboard, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A page that is served encrypted."""
    pytest.importorskip("cryptography")
    from track.utils.encrypted import server_context

    server = PageServer(page, 0, "127.0.0.1", server_context(tmp_path / "server"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield "127.0.0.1", server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_the_page_is_served_encrypted(address: tuple[str, int]) -> None:
    """A browser comes in over TLS 1.3; a connection stays open for the next question."""
    browser = http.client.HTTPSConnection(*address, context=_context(), timeout=20)
    browser.request("GET", "/", headers={"Authorization": _basic("ann", "correct horse")})
    first = browser.getresponse()
    first.read()
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    browser.request("GET", "/api/runs", headers={"Cookie": cookie})
    second = browser.getresponse()

    assert (first.status, second.status) == (303, 200)
    assert browser.sock.version() == "TLSv1.3"
    browser.close()


def test_who_does_not_encrypt_keeps_nobody_waiting(address: tuple[str, int]) -> None:
    """Strangers that say nothing, or nonsense, hold a thread of their own."""
    silent = [http.client.HTTPConnection(*address, timeout=20) for _ in range(5)]
    for one in silent:
        one.connect()
    silent[0].sock.sendall(b"GET / HTTP/1.1\r\n\r\n")

    browser = http.client.HTTPSConnection(*address, context=_context(), timeout=20)
    browser.request("GET", "/")

    assert browser.getresponse().status == 401
    for one in [*silent, browser]:
        one.close()


def test_one_machine_does_not_take_all_connections(page: Dashboard) -> None:
    """A stranger's connections are bounded; those of this machine only by all there are."""
    server = PageServer(page)
    taken = [server._take("10.0.0.7") for _ in range(50)]

    assert (taken.count(True), server._take("10.0.0.8"), server._take("127.0.0.1")) == (40, True, True)
    server.server_close()


def test_an_open_address_without_encryption_is_refused(page: Dashboard) -> None:
    """Also from Python."""
    with pytest.raises(InvalidCall, match="open to other machines"):
        PageServer(page, 0, "0.0.0.0")


# the command line


@pytest.mark.parametrize(
    "given",
    [
        ["--host", "0.0.0.0"],
        ["--host", "0.0.0.0", "--users", "users.json"],
        ["--host", "::", "--security-layer", "AES"],
        ["--host", "gpu7", "--security-layer", "TLS", "--certificate", "a.pem"],
        ["--users", "users.json", "--security-layer", "TLS"],
        ["--users", "users.json", "--certificate", "a.pem"],
        ["--users", "users.json", "--security-layer", "TLS", "--certificate", "none.pem"],
        ["--security-layer", "AES"],
    ],
)
def test_an_open_page_takes_users_and_encryption(
    given: list[str], uri: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything less is one sentence and wrong usage; nothing listens."""
    monkeypatch.chdir(tmp_path)

    assert main(["ui", uri, "--no-browser", *given]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.strip().splitlines()[-1][:16]) == ("", "track ui: error:")
