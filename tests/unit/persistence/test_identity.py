"""Every store has an id of its own, made at its creation, and the same wherever it is moved or served."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.servers.track import serving
from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.structure import Project

SCHEMES = ("file", "pickled", "sqlite")


@pytest.fixture(autouse=True)
def _own_spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))


def _written(uri: str, name: str = "digits") -> str:
    """Return the id of a store, once a project is in it."""
    protocol = get_protocol(uri)
    protocol.new_project(Project(name=name))
    identity = protocol.identity()
    protocol.close()
    return identity


def _read(uri: str) -> str:
    protocol = get_protocol(uri)
    identity = protocol.identity()
    protocol.close()
    return identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_stores_have_two_ids(scheme: str, tmp_path: Path) -> None:
    """Stores are told apart, also those that were at one place, one after the other."""
    first = _written(f"{scheme}:{tmp_path}/one")
    second = _written(f"{scheme}:{tmp_path}/two")
    os.remove(tmp_path / "one")
    third = _written(f"{scheme}:{tmp_path}/one")

    assert len({first, second, third}) == 3


def test_two_stores_in_memory_have_two_ids() -> None:
    """A store in memory is told from another one."""
    assert get_protocol("ephemeral:").identity() != get_protocol("ephemeral:").identity()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_store_that_is_moved_keeps_its_id(scheme: str, tmp_path: Path) -> None:
    """Renaming the folder changes nothing, read or written to."""
    (tmp_path / "work").mkdir()
    identity = _written(f"{scheme}:{tmp_path}/work/runs")
    (tmp_path / "work").rename(tmp_path / "archive")

    assert _read(f"{scheme}:{tmp_path}/archive/runs") == identity
    assert _written(f"{scheme}:{tmp_path}/archive/runs", "faces") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_copy_that_is_only_read_keeps_its_id(scheme: str, tmp_path: Path) -> None:
    """A copy is the same store until something is written to it."""
    identity = _written(f"{scheme}:{tmp_path}/runs")
    shutil.copy(tmp_path / "runs", tmp_path / "copy")

    assert _read(f"{scheme}:{tmp_path}/copy") == identity


@pytest.mark.network
@pytest.mark.parametrize("scheme", SCHEMES)
def test_server_tells_the_id_of_its_store(scheme: str, tmp_path: Path) -> None:
    """A client knows the store behind a server by its id, whatever the address."""
    with serving(f"{scheme}:{tmp_path}/runs", None) as port:
        served = _written(f"socket://127.0.0.1:{port}")

    assert served == _read(f"{scheme}:{tmp_path}/runs")


def test_backend_of_methods_is_known_by_its_uri() -> None:
    """Of a backend written method by method nothing else tells one store from another; one without a URI has no id."""

    class Own(Protocol):
        def __init__(self, uri: str) -> None:
            self.uri = uri

    assert Own("byob://user:secret@host/a?x=1").identity() == Own("byob://user:other@host/a").identity()
    assert Own("byob:a").identity() != Own("byob:b").identity()
    assert Own("").identity() == ""
