"""URIs: ``scheme:[//authority]path[?query][#fragment]``, typed options, masked secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from track.configuration import options
from track.errors import InvalidUri
from track.utils.environment import read_parts
from track.utils.files import absolute_path, expand_user
from track.utils.masking import mask_secrets

__all__ = [
    "ARTIFACTS",
    "COMMON_OPTIONS",
    "artifact_places",
    "artifacts_beside",
    "artifacts_home",
    "file_of",
    "fixed_place",
    "is_beside",
    "is_stored",
    "is_url",
    "mask_secrets",
    "named_from_elsewhere",
    "names_no_store",
    "parse_options",
    "parse_uri",
    "read_bool",
    "read_choice",
    "read_options",
    "store_path",
    "uri_path",
]

_URI = re.compile(
    r"^(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?$",
    re.DOTALL,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_PORT = re.compile(r"^(?P<address>.*?|\[[^\]]*\])(?::(?P<port>\d+))?$")
_FILES = {"file", "pickled", "pickleddb", "sqlite"}
_TRUE, _FALSE = {"1", "true", "yes", "on", ""}, {"0", "false", "no", "off"}

ARTIFACTS = ".artifacts"
"""What the folder of artifacts beside a store is called, after the store's own name."""
COMMON_OPTIONS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "artifacts": (str, ""),
    "environment": (read_parts, None),
}
"""What may follow the ``?`` of the URI of every backend: how to read it, and its default."""


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
        text = mask_secrets(uri if isinstance(uri, str) else repr(uri))
        raise InvalidUri(f"{text!r} is no URI: it should read like file://report.json")
    path, _, params = match["path"].partition(";")
    parts: dict[str, Any] = {
        "scheme": (match["scheme"] or "").lower(),
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

    ``file:a.json``, ``file://a.json`` and ``file://dir/a.json`` are relative, ``file:///dir/a.json`` absolute,
    and ``file://~/a.json`` is in the user's home.

    Raises
    ------
    InvalidUri
        A ``#`` would cut the path off, a NUL is in it, or it is in a home and the user has none.
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
    path = f"{authority}{parts['path']}{params}"
    if "\0" in path:
        raise InvalidUri(f"{mask_secrets(uri)!r} has a NUL in its path: no file is called so")
    return expand_user(path) if path.startswith("~/") else path


def file_of(uri: str) -> str | None:
    """Return the path of the file that the store of a URI is; None where it is none.

    Examples
    --------
    >>> file_of("sqlite:runs.db?strict=1"), file_of("socket://host/runs.db"), file_of("file:")
    ('runs.db', None, None)
    """
    return (uri_path(uri) or None) if parse_uri(uri)["scheme"] in _FILES else None


def is_url(text: str) -> bool:
    """Return whether a place is a URL and not a path."""
    return _SCHEME.match(text) is not None


def fixed_place(place: str) -> str:
    """Return a path, or a URL, that means the same wherever the process goes: local ones become absolute paths."""
    if place.startswith("file:"):
        return os.path.abspath(uri_path(place))
    return place if not place or is_url(place) else absolute_path(place)


def artifacts_beside(path: str) -> str:
    """Return the folder of the artifacts that are kept beside the store at a path: they move with it."""
    return f"{path}{ARTIFACTS}"


def artifacts_home(path: str | None) -> str:
    """Return the URL of the folder beside the store at a path, as other stores name it; '' where it has no path."""
    return f"file://{os.path.realpath(artifacts_beside(path))}" if path else ""


def is_beside(uri: Any) -> bool:
    """Return whether a manifest names content in the folder beside the store."""
    return str(uri).startswith(("objects/", "trees/", "packs/"))


def named_from_elsewhere(uri: str, home: str) -> str:
    """Return a URI of content as other stores say it: what is beside this one is named where it is, in `home`."""
    return f"{home}/{uri}" if home and is_beside(uri) else uri


def artifact_places(chosen: str, file: str | None) -> tuple[str, str]:
    """Return where a store keeps artifacts: the place chosen for it, or configured, and that beside its file; or ''."""
    told = chosen or str(options("artifacts.url", "") or "")
    return fixed_place(told), "" if file is None else artifacts_beside(file)


def is_stored(path: str) -> bool:
    """Return whether a store is at a path: its file, or the journal of one that was never saved."""
    return os.path.exists(path) or os.path.exists(f"{path}.journal")


def names_no_store(uri: str | None) -> bool:
    """Return whether a backend is left open: None, ``''``, ``none`` or ``none:``, which keep everything in memory."""
    return uri in (None, "", "none", "none:")


def store_path(uri: str) -> str:
    """Return the path of the one file that a URI names, as `uri_path` does.

    Raises
    ------
    InvalidUri
        It names a folder, a device, a pipe or a socket.
    """
    path = uri_path(uri)
    if path.endswith("/") or os.path.isdir(path):
        head, _, tail = mask_secrets(uri).partition("?")
        scheme = parse_uri(uri)["scheme"]
        name = {"file": "report.json", "sqlite": "runs.db"}.get(scheme, "runs")
        raise InvalidUri(f"{head} is a folder: name a file in it, as in {head.rstrip('/')}/{name}{tail and '?' + tail}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidUri(
            f"{mask_secrets(uri)} is a device, a pipe or a socket, and no file: where nothing should be kept, use "
            "ephemeral:"
        )
    return path


def read_options(uri: str, known: dict[str, tuple[Callable[[str], Any], Any]]) -> dict[str, Any]:
    """Return the value of each known option of a URI.

    Parameters
    ----------
    known: dict
        By name: how to read the text, and the value when it is not given; `COMMON_OPTIONS` are known too.

    Raises
    ------
    InvalidUri
        The URI has an option that is not known, or one whose text cannot be read.
    """
    known = {**COMMON_OPTIONS, **known}
    values = {name: default for name, (_, default) in known.items()}
    for name, text in parse_uri(uri)["query"].items():
        if name not in known:
            options = ", ".join(sorted(known))
            if "@" in name:
                raise InvalidUri(f"{mask_secrets(uri)!r} has an @ after its ?: in a password, write %3F for a ?")
            raise InvalidUri(f"unknown option {name!r} in {mask_secrets(uri)!r}; the options are: {options}")
        try:
            values[name] = known[name][0](text)
        except (KeyError, ValueError) as error:
            if "@" in text:
                raise InvalidUri(f"option {name} of {mask_secrets(uri)!r} cannot be read") from None
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
