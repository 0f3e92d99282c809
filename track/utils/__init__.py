"""Small tools the rest of the library is built from; none of them knows what a trial is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from track.errors import ItemNotFound

if TYPE_CHECKING:
    from socket import socket

__all__ = ["ItemNotFound", "listen_socket", "open_socket"]


def open_socket(add: str, port: int, backend: str | None = None) -> socket:
    """Return a TCP connection to `add`, over IPv4 or IPv6, whichever answers.

    Parameters
    ----------
    add: str
        Host name or address.
    port: int
        TCP port, 1 to 65535.
    backend: str, optional
        Security layer; only None, plain TCP, exists here. `track.utils.encrypted` has the secure one.

    Raises
    ------
    ValueError
        `backend` names a layer.
    OSError
        Nobody answers there.
    """
    import socket

    _check_layer(backend)
    return socket.create_connection((add, port))


def listen_socket(add: str, port: int, backend: str | None = None) -> socket:
    """Return a TCP socket that listens on `add`, an address of this machine.

    Parameters
    ----------
    add: str
        Host name or address, IPv4 or IPv6; an empty one listens on all.
    port: int
        TCP port; 0 lets the system choose one.
    backend: str, optional
        As for `open_socket`.

    Raises
    ------
    ValueError
        `backend` names a layer.
    OSError
        The address is taken, or not of this machine.
    """
    import socket

    _check_layer(backend)
    family, *_, address = socket.getaddrinfo(add or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A server that restarts gets its port back at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _check_layer(backend: str | None) -> None:
    if backend is not None:
        raise ValueError(f"no security layer {backend!r} here: this version knows None (plain TCP)")
