"""Files of trials in a database: the content is there first, and the record follows when the server is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.deliveries import Place, new_trial
from track.artifacts import artifacts, find, gc
from track.artifacts.local import LocalFolder
from track.artifacts.recording import Recorder
from track.errors import BackendUnavailable
from track.persistence.delivery.protocol import DeliveredProtocol
from track.structure import Trial

pytestmark = pytest.mark.network


def _opened(place: Place, tmp_path: Path) -> DeliveredProtocol:
    return place.open(f"{'&' if '?' in place.uri else '?'}artifacts={tmp_path}/files")


def _garbage(protocol: DeliveredProtocol, trial: Trial) -> str:
    store = Recorder(protocol, trial).store
    with store.storing() as lease:
        return store.put_bytes(b"garbage", lease).key


def test_files_of_a_database_are_found_and_kept(place: Place, tmp_path: Path) -> None:
    """What is logged to a server is found through another connection, and a clean-up knows it."""
    protocol = _opened(place, tmp_path)
    trial = new_trial(protocol)
    Recorder(protocol, trial).add_bytes(b"weights", "model")
    key = _garbage(protocol, trial)
    protocol.flush(60)

    other = _opened(place, tmp_path)

    assert find(other, "model").read_bytes() == b"weights"
    assert gc(other).removed == [key]
    assert find(other, "model:v0").read_bytes() == b"weights"


def test_file_is_kept_while_the_server_is_away(sql_place: Place, tmp_path: Path) -> None:
    """A file is stored at once; its record waits, and until it has arrived no clean-up removes the content."""
    protocol = _opened(sql_place, tmp_path)
    trial = new_trial(protocol)
    protocol.flush(30)
    key = _garbage(protocol, trial)

    sql_place.proxy.refuse()
    kept = Recorder(protocol, trial).add_bytes(b"weights", "model")
    with pytest.raises(BackendUnavailable):
        gc(protocol)
    assert kept.read_bytes() == b"weights"
    sql_place.proxy.heal()
    # As somebody else sees it, who does not know what waits here.
    other = _opened(sql_place, tmp_path)
    removed = gc(other).removed
    protocol.flush(60)

    assert removed == [key]
    assert [found.name for found in artifacts(other)] == ["model"]
    assert find(other, "model").read_bytes() == b"weights"
    assert gc(other).removed == []
    assert LocalFolder(f"{tmp_path}/files").files("pending") == []
