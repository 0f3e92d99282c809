"""What the tests of the client start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from track import TrackClient
from track.persistence import register, unregister
from track.persistence.ephemeral import EphemeralProtocol


@pytest.fixture
def client() -> TrackClient:
    """Give a client on an empty store in memory, with a project."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits")
    return client


@pytest.fixture
def another(client: TrackClient) -> Callable[[], TrackClient]:
    """Give what makes one more client of the store of `client`."""

    def make() -> TrackClient:
        other = TrackClient("ephemeral:")
        other.protocol = client.protocol
        return other

    return make


@pytest.fixture
def shared() -> Iterator[EphemeralProtocol]:
    """Give a store in memory that every client of ``shared:`` uses, as processes share a file."""
    store = EphemeralProtocol()
    register("shared", lambda uri: store)
    yield store
    unregister("shared")
