"""The client of a track server: ``socket://user:password@host:port``, behind the delivery layer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from track.configuration import options
from track.errors import InvalidUri
from track.persistence.delivery import DELIVERY_OPTIONS, DeliveredProtocol
from track.persistence.rpc.connection import Address, Link
from track.persistence.rpc.remote import RemoteStore
from track.persistence.utils import (
    fixed_place,
    mask_secrets,
    parse_uri,
    read_bool,
    read_choice,
    read_options,
)
from track.utils.system import is_loopback

DEFAULT_PORT = 8123
"""Where a server listens when nobody says otherwise."""
_LARGEST_PORT = 65535
LAYERS = ("AES", "TLS", "ssl", "None", "")
"""What may be said of the encryption; the last two are none."""
OPTIONS: dict[str, Any] = {
    "cafile": (fixed_place, ""),
    "connect_timeout": (float, 5.0),
    "fingerprint": (str, ""),
    "insecure": (read_bool, False),
    "security_layer": (read_choice(*LAYERS), ""),
    "timeout": (float, 30.0),
    **DELIVERY_OPTIONS,
}
"""What may follow the ``?`` of a ``socket:`` URI."""


class SocketClient(DeliveredProtocol):
    """A store that a track server keeps: a log call returns at once, and a thread delivers.

    Parameters
    ----------
    uri: str
        ``socket://[user:password@]host[:port][?security_layer=AES]``; by default port 8123.

    Attributes
    ----------
    link: Link
        The connection for decisions and questions; what was logged goes over another one.

    Raises
    ------
    InvalidUri
        The URI names no host, has an unknown option, or would send a password readable for everybody.
    """

    def __init__(self, uri: str) -> None:
        given = read_options(uri, OPTIONS)
        address = _address(uri, given)
        credentials = _Credentials(self, uri)
        place = mask_secrets(uri)
        self.link = Link(address, credentials)
        remote, server = RemoteStore(place, self.link), RemoteStore(place, Link(address, credentials))
        super().__init__(place, remote, server, **{name: given[name] for name in DELIVERY_OPTIONS})

    def authenticate(self, uri: str) -> tuple[str | None, str | None]:
        """Return the user name and the password that are sent; for a subclass to override.

        Parameters
        ----------
        uri: str
            With its password.
        """
        parts = parse_uri(uri)
        return parts.get("username"), parts.get("password")

    @property
    def token(self) -> Any:
        """What the server answered to the user name and the password; None before the first call."""
        return self.link.token


class _Credentials:
    """Asks the client who it is, and remembers that for the thread that sends when the client is gone."""

    def __init__(self, client: SocketClient, uri: str) -> None:
        self._ask: Callable[[], Any] = weakref.WeakMethod(client.authenticate)
        self._uri = uri
        self._known: tuple[str | None, str | None] | None = None

    def __call__(self) -> tuple[str | None, str | None]:
        authenticate = self._ask()
        if authenticate is not None:
            self._known = authenticate(self._uri)
        return self._known or (None, None)


def security_layer(name: str) -> str | None:
    """Return ``"AES"``, ``"TLS"`` or None, whatever the URI called it."""
    return {"ssl": "TLS", "None": None, "": None}.get(name, name)


def port_of(uri: str) -> int:
    """Return the port in a URI, `DEFAULT_PORT` where it has none; InvalidUri where it is above 65535."""
    port = int(parse_uri(uri).get("port", DEFAULT_PORT))
    if port > _LARGEST_PORT:
        raise InvalidUri(f"port {port} of {mask_secrets(uri)!r} is none: they end at {_LARGEST_PORT}")
    return port


def _address(uri: str, given: dict[str, Any]) -> Address:
    parts = parse_uri(uri)
    place = mask_secrets(uri)
    if not parts.get("address") or parts["path"].strip("/"):
        raise InvalidUri(f"{place!r} should read like socket://host:{DEFAULT_PORT}")
    layer = security_layer(given["security_layer"])
    _check_layer(place, layer, given)
    if layer is None and "password" in parts and not is_loopback(parts["address"]) and not given["insecure"]:
        raise InvalidUri(
            f"{place!r} would send the password so that everybody in between can read it: add ?security_layer=AES "
            "(the server needs it too), or ?insecure=1 if the network is yours"
        )
    port = port_of(uri)
    known_hosts = fixed_place(str(options("socket.known_hosts", "") or ""))
    chosen = (given["fingerprint"] or None, given["cafile"] or None, known_hosts or None)
    return Address(parts["address"], port, layer, *chosen, given["connect_timeout"], given["timeout"])


def _check_layer(place: str, layer: str | None, given: dict[str, Any]) -> None:
    for option, wanted in (("fingerprint", "AES"), ("cafile", "TLS")):
        if given[option] and layer != wanted:
            raise InvalidUri(f"{place!r}: {option} is for security_layer={wanted}")
