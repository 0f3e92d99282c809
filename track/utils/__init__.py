"""Small tools the rest of the library is built from; none of them knows what a trial is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from track.errors import ItemNotFound

if TYPE_CHECKING:
    from socket import socket

__all__ = ["ItemNotFound", "listen_socket", "open_socket"]

# Of `track.experiment_utils`, where the original had them.
_HELPERS = {
    "IncompatibleYmlException", "TypedMeta", "dic_from_yml", "dic_to_yaml", "dics_to_pandas", "flatten",
    "get_attribute_helps", "get_docs", "get_git", "get_meta", "get_run_script", "get_size", "get_version", "load_param",
    "load_params", "save_param",
}  # fmt: skip

_LAYERS = {None: None, "AES": "AES", "TLS": "TLS", "ssl": "TLS"}


def __getattr__(name: str) -> Any:
    if name not in _HELPERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("track.experiment_utils"), name)


def open_socket(add: str, port: int, backend: str | None = None) -> socket:
    """Return a TCP connection to `add`, over IPv4 or IPv6, whichever answers.

    Parameters
    ----------
    add: str
        Host name or address.
    port: int
        TCP port, 1 to 65535.
    backend: str, optional
        Security layer: None is plain TCP; ``'AES'`` is encrypted, to a server that is known by its fingerprint;
        ``'TLS'`` (``'ssl'``) is encrypted, to one whose certificate the system trusts. `track.utils.encrypted` has
        what can be said in more detail.

    Raises
    ------
    ValueError
        There is no such layer.
    OSError
        Nobody answers there.
    UntrustedServer
        Somebody else answers there.
    """
    import socket

    layer = _layer(backend)
    if layer is None:
        return socket.create_connection((add, port))
    from track.utils.encrypted import HANDSHAKE_SECONDS, client_context, verified_context, wrap_socket

    context = client_context() if layer == "AES" else verified_context()
    connection = socket.create_connection((add, port))
    try:
        connection.settimeout(HANDSHAKE_SECONDS)
        wrapped = wrap_socket(connection, context=context, hostname=add)
    except BaseException:
        connection.close()
        raise
    wrapped.settimeout(socket.getdefaulttimeout())
    return wrapped


def listen_socket(add: str, port: int, backend: str | None = None) -> socket:
    """Return a TCP socket that listens on `add`, an address of this machine.

    Parameters
    ----------
    add: str
        Host name or address, IPv4 or IPv6; an empty one listens on all.
    port: int
        TCP port; 0 lets the system choose one.
    backend: str, optional
        Security layer: None is plain TCP; ``'AES'`` and ``'TLS'`` (``'ssl'``) are encrypted, with the certificate of
        this user's servers.

    Raises
    ------
    ValueError
        There is no such layer.
    OSError
        The address is taken, or not of this machine.
    """
    import socket

    layer = _layer(backend)
    family, *_, address = socket.getaddrinfo(add or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A server that restarts gets its port back at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        if layer is None:
            return listener
        from track.utils.encrypted import wrap_socket

        return wrap_socket(listener, server_side=True)
    except BaseException:
        listener.close()
        raise


def _layer(backend: str | None) -> str | None:
    if backend not in _LAYERS:
        names = ", ".join(repr(name) for name in _LAYERS if name)
        raise ValueError(f"no security layer {backend!r}: there are {names} and None (plain TCP)")
    return _LAYERS[backend]
