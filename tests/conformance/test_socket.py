"""A store behind a track server keeps the contract, plain and encrypted, and answers like the model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.servers.track import serving
from track.events import Event
from track.persistence import get_protocol
from track.persistence.delivery.protocol import DeliveredProtocol
from track.persistence.protocol import Protocol
from track.testing import ProtocolTests
from track.testing.model import Model, answers
from track.testing.strategies import event_lists

pytestmark = pytest.mark.network
_counter = itertools.count()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills, certificates and known servers in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))
    monkeypatch.setenv("TRACK_SOCKET_KNOWN_HOSTS", str(tmp_path / "known_hosts"))


class TestSocket(ProtocolTests):
    """A server of a store in memory."""

    backend = "ephemeral:"
    layer: str | None = None

    @pytest.fixture
    def protocol(self, tmp_path: Path) -> Iterator[Protocol]:
        """Give a client of an empty server."""
        with serving(self.backend.format(folder=tmp_path), self.layer) as port:
            self.uri = f"socket://127.0.0.1:{port}?security_layer={self.layer}"
            self.opened = [get_protocol(self.uri)]
            yield self.opened[0]
            for protocol in self.opened:
                protocol.close()

    def reopen(self, protocol: Protocol) -> Protocol:
        """Return another client, once everything is delivered."""
        protocol.flush()
        self.opened.append(get_protocol(self.uri))
        return self.opened[-1]


class TestSocketEncrypted(TestSocket):
    """The same through AES."""

    layer = "AES"


class TestSocketOfFile(TestSocket):
    """A server of one file."""

    backend = "file:{folder}/runs.json"


class TestSocketOfSqlite(TestSocket):
    """A server of a database, which is used without delivery of its own."""

    backend = "sqlite:{folder}/runs.db"


@pytest.mark.parametrize("backend", ["ephemeral:", "file:{path}", "sqlite:{path}"])
@settings(max_examples=15)
@given(events=event_lists())
def test_server_answers_like_the_model(tmp_path: Path, backend: str, events: list[Event]) -> None:
    """The answers through a server are the model's, also when every batch is sent twice."""
    model = Model()
    model.apply(*events)
    with serving(backend.format(path=tmp_path / f"{next(_counter)}.store")) as port:
        protocol = get_protocol(f"socket://127.0.0.1:{port}")
        assert isinstance(protocol, DeliveredProtocol)
        for _ in range(2):
            for first in range(0, len(events), 3):
                protocol.server.receive("writer", first, events[first : first + 3])

        found = answers(protocol)

        protocol.server.close()
        protocol.close()
    assert found == model.answers()
