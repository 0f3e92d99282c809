"""URIs: ``scheme:[//authority]path[?query][#fragment]``, typed options, masked secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from track.errors import InvalidUri

__all__ = [
    "mask_secrets",
    "parse_options",
    "parse_uri",
    "read_bool",
    "read_choice",
    "read_options",
    "uri_path",
]

_URI = re.compile(
    r"^(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?$",
    re.DOTALL,
)
_PORT = re.compile(r"^(?P<address>.*?|\[[^\]]*\])(?::(?P<port>\d+))?$")
_SECRET = re.compile(r"(?i)(passw|pwd|passphrase|secret|token|credential|api_?key|(^|[_-])key$)")
_TRUE, _FALSE = {"1", "true", "yes", "on", ""}, {"0", "false", "no", "off"}


def parse_uri(uri: str) -> dict[str, Any]:
    """Return the parts of a URI.

    Parameters
    ----------
    uri: str
        User, password, path and option values may be percent-encoded.

    Returns
    -------
    dict
        Always ``scheme, path, query, fragment, params``; ``address`` when there is an authority, and
        then ``port`` (text), ``username`` and ``password`` when given.

    Raises
    ------
    InvalidUri
        `uri` is no text, or an authority's port is no number.

    Examples
    --------
    >>> parts = parse_uri("socket://ann:secret@localhost:8123?security_layer=AES")
    >>> parts["address"], parts["port"], parts["username"], parts["query"]
    ('localhost', '8123', 'ann', {'security_layer': 'AES'})
    """
    match = _URI.match(uri) if isinstance(uri, str) else None
    if match is None:
        raise InvalidUri(f"{uri!r} is no URI: it should read like file://report.json")
    path, _, params = match["path"].partition(";")
    parts: dict[str, Any] = {
        "scheme": match["scheme"] or "",
        "path": unquote(path),
        "query": parse_options(match["query"]),
        "fragment": match["fragment"] or "",
        "params": params,
    }
    if match["authority"]:
        parts |= _parse_authority(match["authority"], uri)
    return parts


def _parse_authority(authority: str, uri: str) -> dict[str, str]:
    user, at, hosts = authority.rpartition("@")
    parts: dict[str, str] = {}
    if "," in hosts:
        parts["address"] = hosts
    else:
        match = _PORT.match(hosts)
        if match is None or (":" in match["address"] and not match["address"].startswith("[")):
            raise InvalidUri(f"the port of {mask_secrets(uri)!r} is no number; an IPv6 address goes in brackets")
        parts["address"] = unquote(match["address"]).strip("[]")
        if match["port"]:
            parts["port"] = match["port"]
    if at:
        username, colon, password = user.partition(":")
        parts["username"] = unquote(username)
        if colon:
            parts["password"] = unquote(password)
    return parts


def parse_options(options: str | None) -> dict[str, str]:
    """Return the options of a query string; an option without ``=`` has the value ``''``.

    Examples
    --------
    >>> parse_options("backend=file://test.json&eager")
    {'backend': 'file://test.json', 'eager': ''}
    """
    if not options:
        return {}
    pairs = (option.partition("=") for option in options.split("&") if option)
    return {unquote(key): unquote(value) for key, _, value in pairs}


def uri_path(uri: str) -> str:
    """Return the path a file URI names; '' when it names none.

    ``file:a.json``, ``file://a.json`` and ``file://dir/a.json`` are relative, ``file:///dir/a.json`` absolute.

    Raises
    ------
    InvalidUri
        A ``#`` would cut the path off.
    """
    parts = parse_uri(uri)
    if parts["fragment"]:
        raise InvalidUri(f"'#' in {mask_secrets(uri)!r} ends the path: write %23")
    authority = parts.get("address", "")
    if "username" in parts:
        authority = f"{parts['username']}@{authority}"
    if "port" in parts:
        authority = f"{authority}:{parts['port']}"
    params = parts["params"] and f";{unquote(parts['params'])}"
    return f"{authority}{parts['path']}{params}"


def read_options(uri: str, known: dict[str, tuple[Callable[[str], Any], Any]]) -> dict[str, Any]:
    """Return the value of each known option of a URI.

    Parameters
    ----------
    uri: str
    known: dict
        By name: how to read the text, and the value when it is not given.

    Raises
    ------
    InvalidUri
        The URI has an option that is not known, or one whose text cannot be read.
    """
    values = {name: default for name, (_, default) in known.items()}
    for name, text in parse_uri(uri)["query"].items():
        if name not in known:
            options = ", ".join(sorted(known)) or "none"
            raise InvalidUri(f"unknown option {name!r} in {mask_secrets(uri)!r}; the options are: {options}")
        try:
            values[name] = known[name][0](text)
        except (KeyError, ValueError) as error:
            raise InvalidUri(f"option {name}={text!r} of {mask_secrets(uri)!r} cannot be read: {error}") from error
    return values


def read_bool(text: str) -> bool:
    """Return the truth of ``1 true yes on`` or ``0 false no off``, in any case.

    Raises
    ------
    ValueError
        `text` is none of them.
    """
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("it should be 1 or 0")


def read_choice(*choices: str) -> Callable[[str], str]:
    """Return a reader that accepts these words only."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it should be one of {', '.join(choices)}")
        return text

    return read


def mask_secrets(uri: str) -> str:
    """Return the URI with its password, and every option named like a secret, as ``***``.

    Examples
    --------
    >>> mask_secrets("mongodb://ann:secret@db:27017/runs?token=abc&w=1")
    'mongodb://ann:***@db:27017/runs?token=***&w=1'
    """
    # Up to the last @: a password with a slash in it is malformed, and still a secret.
    masked = re.sub(r"((?:^|:)//[^/?#@:]*:)[^?#]*@", r"\1***@", str(uri))
    head, question, query = masked.partition("?")
    if not question:
        return masked
    pairs = (pair.partition("=") for pair in query.split("&"))
    return f"{head}?" + "&".join(f"{k}{eq}{'***' if eq and _SECRET.search(k) else v}" for k, eq, v in pairs)
