"""Who may ask: programs of this machine that know the token of this start, by a name that is this machine's."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from track.dashboard.answers import Answer, Refused

MOST_BYTES = 1 << 20
"""The longest body of a request."""
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What every answer says."""
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
    """

    def __init__(self, token: str, hosts: Iterable[str] = ()) -> None:
        self._token = token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)
        self._cookie = hmac.new(self._token, b"the cookie of the page", hashlib.sha256).hexdigest()

    def check(self, environ: dict[str, Any]) -> Answer | None:
        """Return None where the request may be answered, or what is said instead: the cookie for the token.

        Raises
        ------
        Refused
            It may not.
        """
        self._check_place(environ)
        if not self._token:
            raise Refused(403, "this page has no token: start it with `track ui`")
        given = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=20).get("token")
        if given and environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO", "/") == "/":
            if not hmac.compare_digest(given[0].encode(), self._token):
                raise Refused(403, "this link is of an earlier start: use the one that `track ui` printed last")
            return self._welcome(environ)
        if not self._is_known(environ):
            raise Refused(403, "open the link that `track ui` has printed: it lets this browser in")
        self._check_method(environ)
        return None

    def _check_place(self, environ: dict[str, Any]) -> None:
        """Refuse who is not on this machine, and names that are not ours: a stranger's may lead here, too."""
        try:
            is_here = ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
        except ValueError:
            is_here = False
        if not is_here:
            raise Refused(403, "this page is for its own machine only")
        name = environ.get("HTTP_HOST", "").lower()
        host, _, port = name.rpartition(":") if not name.endswith("]") and ":" in name else (name, "", "80")
        is_ours = host in _LOCAL_NAMES and port == str(environ.get("SERVER_PORT", ""))
        if not is_ours and name not in self._hosts:
            raise Refused(403, "this page has another name")

    def _cookie_name(self, environ: dict[str, Any]) -> str:
        # Cookies know no ports: two pages of one machine would take each other's.
        return f"track-{environ.get('SERVER_PORT', '')}"

    def _welcome(self, environ: dict[str, Any]) -> Answer:
        cookie = f"{self._cookie_name(environ)}={self._cookie}; HttpOnly; SameSite=Lax; Path=/"
        return Answer(303, b"", "text/plain", (("Location", "./"), ("Set-Cookie", cookie)))

    def _is_known(self, environ: dict[str, Any]) -> bool:
        try:
            morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie_name(environ))
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self._cookie.encode())

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


def body_of(environ: dict[str, Any]) -> bytes:
    """Return the body of a request.

    Raises
    ------
    Refused
        It does not say its length, or is too long.
    """
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal()):
        raise Refused(411, "a question says its length")
    if len(length) > 9 or int(length) > MOST_BYTES:
        raise Refused(413, f"a question has at most {MOST_BYTES:,} bytes")
    body: bytes = environ["wsgi.input"].read(int(length))
    return body
