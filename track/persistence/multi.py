"""``multi:``: several backends in one URI."""

from __future__ import annotations

import os
from urllib.parse import unquote

from track.errors import InvalidUri
from track.persistence.multiplexer import ProtocolMultiplexer
from track.persistence.protocol import Protocol
from track.persistence.registry import get_protocol
from track.persistence.utils import file_of, mask_secrets, parse_uri, uri_path
from track.shown import cut

__all__ = ["MultiProtocol"]


class MultiProtocol(ProtocolMultiplexer):
    """Several backends as one; the last in the URI decides, the others are told the same.

    Parameters
    ----------
    uri: str
        ``multi:?to=file://a.json&to=sqlite://b.db``; an ``&``, ``#`` or ``%`` in one of the URIs is percent-encoded.

    Raises
    ------
    InvalidUri
        It names no backend, or one twice, or another ``multi:``.
    UnknownBackend, MissingExtra
        One of the backends cannot be used.

    Examples
    --------
    >>> both = MultiProtocol("multi:?to=file://a.json&to=file://b.json")
    >>> both.protos
    (FileProtocol('file://a.json'), FileProtocol('file://b.json'))
    >>> both.close()
    """

    def __init__(self, uri: str) -> None:
        super().__init__(*_backends(uri))
        self.uri = uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({cut(repr(mask_secrets(self.uri)), 200)})"


def _backends(uri: str) -> list[Protocol]:
    targets = _targets(uri)
    places = [place for place in map(_place, targets) if place]
    if len(set(places)) < len(places):
        raise InvalidUri(f"{mask_secrets(uri)!r} names one backend twice: each event would be stored twice")
    *mirrors, main = map(get_protocol, targets)
    return [*map(_bare, mirrors), main]


def _bare(mirror: Protocol) -> Protocol:
    """Return a backend of methods without the copy in memory that answers for it: nobody asks a mirror."""
    return mirror.protos[-1] if type(mirror) is ProtocolMultiplexer else mirror


def _targets(uri: str) -> list[str]:
    """Return the URIs of the backends, in order."""
    options = [pair.partition("=") for pair in uri.partition("?")[2].split("&") if pair]
    for name, _, value in options:
        if name != "to":
            raise InvalidUri(
                f"unknown option {name!r} in {mask_secrets(uri)!r}; the only one is to; if it belongs to one of the "
                "backends, write the & before it as %26"
            )
        if unquote(value).startswith("multi:"):
            raise InvalidUri(f"{mask_secrets(uri)!r}: one multi: cannot be in another, name its backends here")
    targets = [unquote(value) for name, _, value in options if name == "to"]
    if not all(targets):
        raise InvalidUri(f"{mask_secrets(uri)!r} names a backend that is empty")
    parts = parse_uri(uri)
    if not targets or parts["path"] or parts.get("address") or parts["fragment"]:
        raise InvalidUri(f"{mask_secrets(uri)!r} should read like multi:?to=file://a.json&to=sqlite://b.db")
    return targets


def _place(target: str) -> str:
    """Return where a backend stores; '' in memory."""
    file, path = file_of(target), uri_path(target)
    return os.path.realpath(file) if file else path and f"{parse_uri(target)['scheme']}:{path}"
