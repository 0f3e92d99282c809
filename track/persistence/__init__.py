"""Backends: where trials are stored, chosen by a URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from track.persistence.registry import get_protocol, known_schemes, register, unregister

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol

__all__ = [
    "get_protocol",
    "known_schemes",
    "make_cockroach_protocol",
    "make_comet_ml",
    "make_ephemeral_protocol",
    "make_local",
    "make_mongodb_protocol",
    "make_pickled_protocol",
    "make_socket_protocol",
    "register",
    "unregister",
]


def make_local(uri: str, strict: bool = True, eager: bool = True) -> Protocol:
    """Return the file backend of a ``file:`` URI; see `track.persistence.local.FileProtocol`."""
    from track.persistence.local import FileProtocol

    return FileProtocol(uri, strict=strict, eager=eager)


def _make(uri: str) -> Protocol:
    """Return the backend of a URI, as `get_protocol` does."""
    return get_protocol(uri)


# Names of the original: the scheme says which.
make_cockroach_protocol = make_comet_ml = make_ephemeral_protocol = make_mongodb_protocol = _make
make_pickled_protocol = make_socket_protocol = _make
