"""Stores that share a place of artifacts keep what is theirs, though they are known by one address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.servers import mongo
from tests.servers.track import serving
from tests.unit.artifacts.test_artifacts import logged, start
from tests.unit.artifacts.test_gc import _garbage
from track.artifacts import find, gc
from track.errors import CorruptJournal
from track.persistence import get_protocol

Make = Callable[[str], str]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spills and what belongs to servers in a folder of the test."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_SOCKET_FOLDER", str(tmp_path / "server"))


@pytest.fixture(params=["file", "sqlite", "cockroach", "mongodb", "socket"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Give what makes an empty store of a kind, of a name, and returns its URI with one place for artifacts."""
    ends: list[Any] = []

    def served(name: str) -> str:
        context = serving(f"file:{tmp_path}/{name}.json")
        ends.append(context)
        return f"socket://127.0.0.1:{context.__enter__()}"

    def made(name: str) -> str:
        uris: dict[str, Callable[[], str]] = {
            "file": lambda: f"file:{tmp_path}/{name}.json",
            "sqlite": lambda: f"sqlite:{tmp_path}/{name}.db",
            "cockroach": lambda: str(request.getfixturevalue("sql_server").new_database()),
            "mongodb": lambda: mongo.new_database(request.getfixturevalue("mongo_server")),
            "socket": lambda: served(name),
        }
        uri = uris[request.param]()
        return f"{uri}{'&' if '?' in uri else '?'}artifacts={tmp_path}/shared"

    yield made
    for context in ends:
        context.__exit__(None, None, None)


def _log(uri: str, content: bytes) -> str:
    """Store a model in a store; return the store's id."""
    trial = start(uri)
    logged(trial.log_artifact(content, "model"))
    trial.protocol.flush()
    identity = str(trial.protocol.identity())
    trial.protocol.close()
    return identity


def _read(uri: str) -> bytes:
    with closing(get_protocol(uri)) as protocol:
        return find(protocol, "model").read_bytes()


def _notes(tmp_path: Path) -> dict[str, Path]:
    """Return the notes of stores in the place, by the ids in them."""
    found = (tmp_path / "shared" / "stores").iterdir()
    return {msgspec.json.decode(path.read_bytes())["id"]: path for path in found}


def test_store_of_another_host_keeps_its_content(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What another host's store names is kept, though its address is that of one here; with its URI both are asked."""
    away, here = make("away"), make("here")
    theirs = _log(away, b"theirs")
    # No note on what was on its way is left.
    gc(away)
    ours = _log(here, b"ours")
    notes = _notes(tmp_path)
    address = msgspec.json.decode(notes[ours].read_bytes())["uri"]
    notes[theirs].write_bytes(msgspec.json.encode({"uri": address, "id": theirs}))
    key = _garbage(here)

    swept = gc(here)

    assert (swept.removed, swept.waiting) == ([], 2)
    assert "keeps artifacts here too, and at its place there is another: nothing is removed" in caplog.text
    assert gc(here, also=away).removed == [key]
    assert (_read(away), _read(here)) == (b"theirs", b"ours")


def test_record_of_another_store_on_its_way_is_kept(make: Make, tmp_path: Path) -> None:
    """That we name the same content does not mean that the other store's record has arrived."""
    uri = make("here")
    identity = _log(uri, b"model")
    gc(uri)
    store = tmp_path / "shared"
    (store / "pending").mkdir(exist_ok=True)
    (content,) = [path for path in (store / "objects").rglob("*") if path.is_file()]
    key = content.relative_to(store).as_posix()
    (store / "pending" / "theirs").write_bytes(msgspec.json.encode({"key": key, "store": "f" * 32}))
    (store / "pending" / "ours").write_bytes(msgspec.json.encode({"key": key, "store": identity}))

    gc(uri)

    assert [path.name for path in (store / "pending").iterdir()] == ["theirs"]


@pytest.mark.parametrize("scheme", ["file", "socket"])
def test_line_that_cannot_be_read_stops_the_clean_up(scheme: str, tmp_path: Path) -> None:
    """It may name what would be removed; a server says so of its file, but not where that is."""
    called = {"file": r"runs\.json\.journal", "socket": r"the server's store\.journal"}[scheme]
    place = f"artifacts={tmp_path}/shared"
    path = tmp_path / "runs.json"
    trial = start(f"file:{path}?{place}")
    trial.log_artifact(b"model", "model")
    key = _garbage(f"file:{path}?{place}")
    with (tmp_path / "runs.json.journal").open("ab") as journal:
        journal.write(b'{"event":"artifact", "trial" rubbish}\n')
    trial.log_metrics(loss=1.0)

    with serving(f"file:{path}") as port:
        uri = f"file:{path}?{place}" if scheme == "file" else f"socket://127.0.0.1:{port}?{place}"
        with pytest.raises(CorruptJournal, match=rf"{called}: the line at byte \d+ cannot be read"):
            gc(uri)

    assert (tmp_path / "shared" / key).read_bytes() == b"garbage"
