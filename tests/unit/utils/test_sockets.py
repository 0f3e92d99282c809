"""Plain TCP sockets of track.utils; encrypted ones are in test_encrypted.py."""

from __future__ import annotations

import socket

import pytest

from track.errors import ItemNotFound
from track.utils import ItemNotFound as SameItemNotFound
from track.utils import listen_socket, open_socket


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "localhost",
        pytest.param("::1", marks=pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_bytes_travel_both_ways(address: str) -> None:
    """A connection to a listening socket carries bytes, over IPv4 and IPv6."""
    with listen_socket(address, 0) as listener:
        port = listener.getsockname()[1]

        with open_socket(address, port) as client, listener.accept()[0] as server:
            client.sendall(b"ping")
            request = server.recv(4, socket.MSG_WAITALL)
            server.sendall(b"pong")
            answer = client.recv(4, socket.MSG_WAITALL)

    assert (request, answer) == (b"ping", b"pong")


def test_server_may_restart_on_its_port() -> None:
    """A port whose last connection was closed by the server can be used again at once."""
    with listen_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        client = open_socket("127.0.0.1", port)
        listener.accept()[0].close()
        client.close()

    with listen_socket("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def test_taken_port_is_refused_without_a_leak() -> None:
    """A second listener on the same port raises, and leaves no open socket behind."""
    with listen_socket("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        listen_socket("127.0.0.1", listener.getsockname()[1])


@pytest.mark.parametrize("function", [open_socket, listen_socket])
def test_unknown_layer_is_named(function: object) -> None:
    """A security layer is refused by name, before anything is opened."""
    with pytest.raises(ValueError, match=r"'DES': there are 'AES', 'TLS', 'ssl' and None \(plain TCP\)"):
        function("127.0.0.1", 1, backend="DES")  # type: ignore[operator]


def test_item_not_found_is_the_error_of_the_tree() -> None:
    """The old name is the class of track.errors."""
    assert SameItemNotFound is ItemNotFound
