"""Who may ask: programs of this machine that know the token of this start, by a name that is this machine's."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from track.dashboard.answers import Answer, Refused

if TYPE_CHECKING:
    from track.dashboard.entering import Entrance
    from track.persistence.users import Users

MOST_BYTES = 1 << 20
"""The longest body of a request."""
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "media-src 'self'; frame-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What every answer says."""
_MACHINE = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
EMBEDDED_HEADERS = tuple(
    (name, value.replace("frame-ancestors 'none'", f"frame-ancestors {_MACHINE}"))
    for name, value in HEADERS
    if name != "X-Frame-Options"
)
"""And of a page that other pages of this machine may show in a frame."""
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


def new_token() -> str:
    """Return the secret of a start."""
    return secrets.token_urlsafe(32)


class Guard:
    """Lets in who has shown the token: it is exchanged for a cookie, so that it leaves the address bar.

    Parameters
    ----------
    token: str
        Without one nobody comes in.
    hosts: iterable of str
        Names, beside this machine's own, by which a proxy calls it.
    users: Users, optional
        Who comes in by password, and not by the token; over an encrypted connection from other machines, too.
    """

    def __init__(self, token: str, hosts: Iterable[str] = (), users: Users | None = None) -> None:
        self._entrance = None if users is None else _entrance_for(users)
        self._token = token.encode()
        own = () if users is None else (socket.gethostname(), socket.gethostname().partition(".")[0])
        self._hosts = frozenset(host.lower() for host in (*hosts, *own))
        self._cookie = hmac.new(self._token, b"the cookie of the page", hashlib.sha256).hexdigest()

    def check(self, environ: dict[str, Any]) -> Answer | None:
        """Return None where the request may be answered, or what is said instead: the cookie for the token.

        Raises
        ------
        Refused
            It may not.
        """
        self._check_place(environ)
        if self._entrance is not None:
            return self._check_user(environ, self._entrance)
        if not self._token:
            raise Refused(403, "this page has no token: start it with `track ui`")
        given = question_of(environ).get("token")
        if given and environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO", "/") == "/":
            if not hmac.compare_digest(given[0].encode(), self._token):
                raise Refused(403, "this link is of an earlier start: use the one that `track ui` printed last")
            return self._welcome(environ, self._cookie)
        if not hmac.compare_digest((self._cookie_of(environ) or "").encode(), self._cookie.encode()):
            raise Refused(403, "open the link that `track ui` has printed: it lets this browser in")
        self._check_method(environ)
        return None

    def _check_user(self, environ: dict[str, Any], entrance: Entrance) -> Answer | None:
        role = entrance.role_of(self._cookie_of(environ) or "")
        if role is not None:
            environ["track.role"] = role
            self._check_method(environ)
            return None
        if environ["REQUEST_METHOD"] != "GET" or environ.get("PATH_INFO", "/") not in ("/", ""):
            raise Refused(403, "open the page itself: it asks for a user name and a password")
        cookie = entrance.enter(environ.get("HTTP_AUTHORIZATION", ""), environ.get("REMOTE_ADDR", ""))
        return self._welcome(environ, cookie)

    def _check_place(self, environ: dict[str, Any]) -> None:
        """Refuse who is not on this machine, and names that are not ours: a stranger's may lead here, too."""
        try:
            is_here = ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
        except ValueError:
            is_here = False
        is_open = self._entrance is not None and environ.get("wsgi.url_scheme") == "https"
        if not is_here and not is_open:
            raise Refused(403, "this page is for its own machine only")
        name = environ.get("HTTP_HOST", "").lower()
        host, _, port = (
            name.rpartition(":") if not name.endswith("]") and ":" in name else (name, "", _usual_port(environ))
        )
        is_name = host in _LOCAL_NAMES or (is_open and (host in self._hosts or _is_address(host)))
        is_ours = is_name and port == str(environ.get("SERVER_PORT", ""))
        if not is_ours and name not in self._hosts:
            raise Refused(403, "this page has another name")

    def _cookie_name(self, environ: dict[str, Any]) -> str:
        # Cookies know no ports: two pages of one machine would take each other's.
        return f"track-{environ.get('SERVER_PORT', '')}"

    def _welcome(self, environ: dict[str, Any], cookie: str) -> Answer:
        secure = "; Secure" if environ.get("wsgi.url_scheme") == "https" else ""
        cookie = f"{self._cookie_name(environ)}={cookie}; HttpOnly; SameSite=Lax; Path=/{secure}"
        return Answer(303, b"", "text/plain", (("Location", "./"), ("Set-Cookie", cookie)))

    def _cookie_of(self, environ: dict[str, Any]) -> str | None:
        try:
            morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie_name(environ))
        except CookieError:
            return None
        return None if morsel is None else morsel.value

    def _check_method(self, environ: dict[str, Any]) -> None:
        """Refuse what could change something, and questions with a body that another site's page has sent."""
        method = environ["REQUEST_METHOD"]
        if method in {"GET", "HEAD"}:
            return
        if method != "POST":
            raise Refused(405, "this page is only read", (("Allow", "GET, HEAD, POST"),))
        if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") != "same-origin":
            raise Refused(403, "another site's page has asked")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and urlsplit(origin).netloc.lower() != environ.get("HTTP_HOST", "").lower():
            raise Refused(403, "another site's page has asked")
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "questions are application/json")


def _entrance_for(users: Users) -> Entrance:
    # With what a server needs for it, which most pages do not.
    from track.dashboard.entering import Entrance

    return Entrance(users)


def check_change(environ: dict[str, Any]) -> None:
    """Refuse a change that is not said to come from this very page by a browser, or of who may only look.

    Raises
    ------
    Refused
        It is not.
    """
    if environ.get("HTTP_SEC_FETCH_SITE") != "same-origin" or "HTTP_ORIGIN" not in environ:
        raise Refused(403, "changes are made in the page, with a browser that says so (Sec-Fetch-Site, Origin)")
    if environ.get("track.role", "write") == "read":
        raise Refused(403, "this user may only look")


def _is_address(host: str) -> bool:
    """Return whether a host is a number: a name may be a stranger's that leads here."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _usual_port(environ: dict[str, Any]) -> str:
    return "443" if environ.get("wsgi.url_scheme") == "https" else "80"


def question_of(environ: dict[str, Any]) -> dict[str, list[str]]:
    """Return what stands after the ``?`` of an address.

    Raises
    ------
    Refused
        It has more parts than any question.
    """
    try:
        return parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=20)
    except ValueError as error:
        raise Refused(400, "a question has at most 20 parts") from error


def body_of(environ: dict[str, Any]) -> bytes:
    """Return the body of a request.

    Raises
    ------
    Refused
        It does not say its length, is too long, or is no text.
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal()):
        raise Refused(411, "a question says its length")
    if len(length) > 9 or int(length) > MOST_BYTES:
        raise Refused(413, f"a question has at most {MOST_BYTES:,} bytes")
    body: bytes = environ["wsgi.input"].read(int(length))
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, "a question is text in UTF-8") from error
    return body
