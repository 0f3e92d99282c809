"""Every store has an id of its own, made at its creation, and the same wherever it is moved or served."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.servers.track import serving
from track.persistence import get_protocol
from track.persistence.file import FileStore
from track.persistence.protocol import Protocol
from track.structure import Project

ASSETS = Path(__file__).parents[2] / "assets"
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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_copy_that_is_written_to_is_a_store_of_its_own(scheme: str, tmp_path: Path) -> None:
    """A copy beside its original gets a new id at the first write, once, and says whose copy it is."""
    identity = _written(f"{scheme}:{tmp_path}/runs")
    shutil.copy(tmp_path / "runs", tmp_path / "copy")

    copied = _written(f"{scheme}:{tmp_path}/copy", "faces")

    copy = get_protocol(f"{scheme}:{tmp_path}/copy")
    assert copied != identity
    assert (copy.identity(), copy.former_identities()) == (copied, [identity])
    assert _written(f"{scheme}:{tmp_path}/copy", "birds") == copied
    assert _written(f"{scheme}:{tmp_path}/runs", "birds") == identity
    copy.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_backup_that_is_put_back_keeps_the_id(scheme: str, tmp_path: Path) -> None:
    """An older copy in the place of the store is that store."""
    identity = _written(f"{scheme}:{tmp_path}/runs")
    shutil.copy(tmp_path / "runs", tmp_path / "backup")
    _written(f"{scheme}:{tmp_path}/runs", "faces")
    for file in tmp_path.glob("runs*"):
        if file.name != "runs.lock":
            file.unlink()
    os.replace(tmp_path / "backup", tmp_path / "runs")

    assert _written(f"{scheme}:{tmp_path}/runs", "birds") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_copy_whose_original_is_gone_is_that_store(scheme: str, tmp_path: Path) -> None:
    """To move a store to another disk is to copy it and to remove the original."""
    identity = _written(f"{scheme}:{tmp_path}/runs")
    shutil.copy(tmp_path / "runs", tmp_path / "copy")
    os.remove(tmp_path / "runs")

    assert _written(f"{scheme}:{tmp_path}/copy", "faces") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_store_reached_by_two_paths_is_one(scheme: str, tmp_path: Path) -> None:
    """A folder that is mounted, or linked, elsewhere has the store that it has."""
    (tmp_path / "work").mkdir()
    identity = _written(f"{scheme}:{tmp_path}/work/runs")
    (tmp_path / "link").symlink_to(tmp_path / "work")

    assert _written(f"{scheme}:{tmp_path}/link/runs", "faces") == identity
    assert _written(f"{scheme}:{tmp_path}/work/runs", "birds") == identity


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_store_where_one_was_is_no_original(scheme: str, tmp_path: Path) -> None:
    """A store that was archived keeps its id when a new one begins where it was."""
    (tmp_path / "work").mkdir()
    identity = _written(f"{scheme}:{tmp_path}/work/runs")
    (tmp_path / "work").rename(tmp_path / "archive")
    (tmp_path / "work").mkdir()
    new = _written(f"{scheme}:{tmp_path}/work/runs")

    assert new != identity
    assert _written(f"{scheme}:{tmp_path}/archive/runs", "faces") == identity


def test_copy_of_a_journal_alone_is_told_from_its_original(tmp_path: Path) -> None:
    """A run that was killed early has a journal only; its copy is a store of its own too."""
    path, copy = tmp_path / "runs.json", tmp_path / "copy.json"
    store = FileStore(str(path), 1.0)
    store.start_writing()
    shutil.copy(f"{path}.journal", f"{copy}.journal")

    other = FileStore(str(copy), 1.0)
    other.start_writing()

    assert other.identity() != store.identity() != ""


def test_store_of_before_has_one_id_for_all_who_read_it(tmp_path: Path) -> None:
    """A journal of before stores had ids: readers and writers agree on one, and it stays when the file is saved."""
    shutil.copy(ASSETS / "journal-1.jsonl", tmp_path / "runs.json.journal")
    read = _read(f"file:{tmp_path}/runs.json")
    again = _read(f"file:{tmp_path}/runs.json")
    written = _written(f"file:{tmp_path}/runs.json")

    assert read == again == written == _read(f"file:{tmp_path}/runs.json") != ""


def test_to_ask_for_the_id_writes_nothing(tmp_path: Path) -> None:
    """A file of before has no id for a reader, and gets one by the first who writes."""
    shutil.copy(ASSETS / "snapshot-1.json", tmp_path / "runs.json")
    before = (tmp_path / "runs.json").read_bytes()

    assert _read(f"file:{tmp_path}/runs.json") == ""
    assert (tmp_path / "runs.json").read_bytes() == before
    assert _written(f"file:{tmp_path}/runs.json") == _read(f"file:{tmp_path}/runs.json") != ""


def test_database_of_before_gets_an_id_when_it_is_written_to(tmp_path: Path) -> None:
    """Tables without an id open, are read without one, and get one by the first who writes."""
    _written(f"sqlite:{tmp_path}/runs.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("DROP TABLE store")
        connection.commit()

    assert _read(f"sqlite:{tmp_path}/runs.db") == ""
    assert _written(f"sqlite:{tmp_path}/runs.db", "faces") == _read(f"sqlite:{tmp_path}/runs.db") != ""


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
