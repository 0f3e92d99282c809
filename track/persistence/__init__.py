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


def make_ephemeral_protocol(uri: str) -> Protocol:
    """Return a store in memory."""
    from track.persistence.ephemeral import EphemeralProtocol

    return EphemeralProtocol(uri)


def make_pickled_protocol(uri: str) -> Protocol:
    """Return the store of a ``pickled:`` URI; see `track.persistence.pickled.make_pickled`."""
    from track.persistence.pickled import make_pickled

    return make_pickled(uri)


def make_socket_protocol(uri: str) -> Protocol:
    """Return the client of a track server; UnknownBackend where this version has none."""
    return get_protocol(uri)


def make_cockroach_protocol(uri: str) -> Protocol:
    """Return the SQL backend of a ``cockroach:`` URI; UnknownBackend where this version has none."""
    return get_protocol(uri)


def make_mongodb_protocol(uri: str) -> Protocol:
    """Return the MongoDB backend; UnknownBackend where this version has none."""
    return get_protocol(uri)


def make_comet_ml(uri: str) -> Protocol:
    """Return the Comet backend; UnknownBackend where this version has none."""
    return get_protocol(uri)
