"""Which class serves which URI scheme. Nothing is imported until a scheme is used."""

from __future__ import annotations

import difflib
import importlib
import logging
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from track.errors import AlreadyExists, MissingExtra, UnknownBackend
from track.persistence.utils import mask_secrets, names_no_store, parse_uri

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol

__all__ = ["ENTRY_POINTS", "get_protocol", "known_schemes", "register", "unregister"]

logger = logging.getLogger(__name__)

ENTRY_POINTS = "track.protocols"

_BUILT_IN = {
    "cockroach": "track.persistence.cockroach:make_cockroach",
    "cometml": "track.persistence.cometml:CometMLProtocol",
    "ephemeral": "track.persistence.ephemeral:EphemeralProtocol",
    "ephemeraldb": "track.persistence.ephemeral:EphemeralProtocol",
    "file": "track.persistence.local:FileProtocol",
    "mlflow": "track.persistence.sinks.mlflow:MLflowProtocol",
    "mongodb": "track.persistence.mongodb:make_mongodb",
    "mongodb+srv": "track.persistence.mongodb:make_mongodb",
    "multi": "track.persistence.multi:MultiProtocol",
    "none": "track.persistence.ephemeral:EphemeralProtocol",
    "pickled": "track.persistence.pickled:make_pickled",
    "pickleddb": "track.persistence.pickled:make_pickled",
    "socket": "track.persistence.rpc.client:SocketClient",
    "sqlite": "track.persistence.sqlite:make_sqlite",
    "tensorboard": "track.persistence.tensorboard:TensorBoardProtocol",
    "wandb": "track.persistence.sinks.wandb:WandbProtocol",
}
_registered: dict[str, Any] = {}


_opened_uris: weakref.WeakKeyDictionary[Protocol, str] = weakref.WeakKeyDictionary()
"""What the backends of this process were opened with, passwords included: for other processes, never for a message."""


def known_schemes() -> list[str]:
    """Return the schemes that can be used, sorted."""
    return sorted(_BUILT_IN | _registered)


def register(name: str, proto: Any, clobber: bool = False) -> None:
    """Let URIs that start with ``name:`` be served by `proto`.

    Parameters
    ----------
    name: str
        The scheme.
    proto: class, callable or str
        Called with the whole URI, returns a `Protocol`. Text ``"module:Class"`` is imported at first use.
    clobber: bool
        Whether an existing registration may be replaced by another one.

    Raises
    ------
    AlreadyExists
        The scheme is registered for something else, and `clobber` is false.

    Examples
    --------
    >>> from track.persistence.ephemeral import EphemeralProtocol
    >>> register("scratch", EphemeralProtocol)
    >>> get_protocol("scratch:")
    EphemeralProtocol('scratch:')
    >>> unregister("scratch")
    """
    name = name.lower()
    current = _registered.get(name, _BUILT_IN.get(name))
    if current is not None and current != proto and not clobber:
        raise AlreadyExists(f"{name!r} is served by {current!r} already: pass clobber=True to replace it")
    _registered[name] = proto


def unregister(name: str) -> None:
    """Forget a registration made with `register`; a built-in scheme is as it was before."""
    _registered.pop(name.lower(), None)


def get_protocol(backend_name: str | None) -> Protocol:
    """Return the backend of a URI.

    Parameters
    ----------
    backend_name: str
        ``scheme:...``; None, ``''`` and ``'none'`` store in memory.

    Raises
    ------
    UnknownBackend
        No backend has this scheme.
    MissingExtra
        The backend needs a package that is not installed.
    InvalidUri
        The URI is malformed or has an option its backend does not know.
    """
    uri = "none:" if backend_name is None or names_no_store(backend_name) else backend_name
    scheme = parse_uri(uri)["scheme"]
    if not scheme:
        raise UnknownBackend(f"{mask_secrets(uri)!r} names no backend: did you mean 'file:{mask_secrets(uri)}'?")
    protocol = _finished(_factory(scheme)(uri))
    _opened_uris[protocol] = uri
    return protocol


def _finished(protocol: Protocol) -> Protocol:
    """Give a backend that was written method by method a mirror in memory, which answers what it cannot."""
    if protocol.answers:
        return protocol
    from track.persistence.multiplexer import ProtocolMultiplexer, make_mirror

    return ProtocolMultiplexer(make_mirror(), protocol)


def _factory(scheme: str) -> Callable[[str], Protocol]:
    target = _registered.get(scheme, _BUILT_IN.get(scheme))
    if target is None:
        _read_entry_points()
        target = _registered.get(scheme)
    if target is None:
        raise UnknownBackend(f"no backend {scheme + ':'!r}{_suggestion(scheme)}")
    factory: Callable[[str], Protocol] = _import(scheme, target) if isinstance(target, str) else target
    return factory


_KNOWN_ELSEWHERE = {
    "json": "'file:'",
    "memory": "'ephemeral:'",
    "postgres": "'cockroach:' (PostgreSQL speaks its protocol: cockroach://user@host:5432/database)",
    "postgresql": "'cockroach:' (PostgreSQL speaks its protocol: cockroach://user@host:5432/database)",
}


def _suggestion(scheme: str) -> str:
    if scheme in _KNOWN_ELSEWHERE:
        return f"; did you mean {_KNOWN_ELSEWHERE[scheme]}?"
    close = difflib.get_close_matches(scheme, known_schemes(), n=1)
    schemes = ", ".join(known_schemes())
    return f"; did you mean {close[0] + ':'!r}?" if close else f"; the backends are: {schemes}"


def _import(scheme: str, target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] == "track":
            raise
        needed = error.name or error
        raise MissingExtra(f"{scheme + ':'!r} needs {needed}, which is not installed") from error


def _read_entry_points() -> None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS):
        _registered.setdefault(entry.name, entry.value)
