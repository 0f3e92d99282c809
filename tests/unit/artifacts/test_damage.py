"""Damaged notes, files that come and go, content that somebody removed: each is said, and costs only itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.artifacts.test_artifacts import logged, start
from tests.unit.artifacts.test_gc import _garbage, _store
from track import TrackClient
from track.artifacts import find, gc, trees
from track.artifacts.content import Source, copy_source, hash_source
from track.artifacts.keys import content_key
from track.artifacts.leases import live_leases
from track.artifacts.local import LocalFolder
from track.errors import CorruptArtifact, FileChanged


@pytest.fixture(params=["local", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store with its artifacts in a folder, or behind fsspec."""
    if request.param == "local":
        return f"file:{tmp_path}/runs.json"
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    return f"file:{tmp_path}/runs.json?artifacts=memory://{tmp_path.name}/files"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder with three files."""
    (tmp_path / "data").mkdir()
    for name in "abc":
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


# notes


@pytest.mark.parametrize("kind", ["condemned", "leases", "stores"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"pid": "x", "keys": 1}'], ids=ascii)
def test_damaged_note_breaks_no_training(uri: str, kind: str, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Files are stored beside it, and it is named."""
    start(uri).log_artifact(b"weights", "model")
    _store(uri).folder.write(f"{kind}/0123456789abcdef", content)

    assert logged(start(uri, later=1).log_artifact(b"more", "more")).read_bytes() == b"more"

    if kind == "condemned":
        assert "condemned/0123456789abcdef is damaged, and not heeded" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"pid": -3}'], ids=ascii)
def test_damaged_lease_is_named_and_waited_for(uri: str, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whose it is: it counts as that of another machine, for a day."""
    start(uri).log_artifact(b"weights", "model")
    folder = _store(uri).folder
    folder.write("leases/0123456789abcdef", content)

    assert live_leases(folder) == {"0123456789abcdef"}

    assert f"{folder.url}/leases/0123456789abcdef is damaged" in caplog.text


def test_damaged_note_of_what_is_on_its_way_stops_the_clean_up(uri: str) -> None:
    """It keeps something, and nobody knows what: nothing is removed, and it is named."""
    start(uri).log_artifact(b"weights", "model")
    key = _garbage(uri)
    folder = _store(uri).folder

    for content in (b"", b"{", b"objects/../x", b'{"key": "x"}'):
        folder.write("pending/0123456789abcdef", content)
        with pytest.raises(CorruptArtifact, match="pending/0123456789abcdef is damaged"):
            gc(uri)

    folder.remove(["pending/0123456789abcdef"])
    assert gc(uri).removed == [key]


def test_note_of_an_earlier_version_is_read(uri: str) -> None:
    """A note that has the key alone keeps its content; one of a store without an id asks that store."""
    trial = start(uri)
    trial.log_artifact(b"weights", "model")
    key = _garbage(uri)
    folder = _store(uri).folder
    folder.write("pending/0123456789abcdef", key.encode())
    (note,) = folder.files("stores")
    folder.write(note.key, msgspec.json.encode({"uri": msgspec.json.decode(folder.read(note.key))["uri"]}))

    assert gc(uri).removed == []


def test_note_that_is_gone_or_damaged_is_written_again(tmp_path: Path) -> None:
    """Who names content in a place is noted there at each upload, also after somebody has removed the folder."""
    trial = start(f"file:{tmp_path}/runs.json")
    trial.log_artifact(b"a", "a")
    folder = LocalFolder(f"{tmp_path}/runs.json.artifacts")
    (note,) = folder.files("stores")
    content = folder.read(note.key)

    for damage in (lambda: folder.write(note.key, b""), lambda: folder.remove([note.key])):
        damage()
        trial.log_artifact(b"b", "b")
        assert folder.read(note.key) == content


def test_listing_that_is_not_what_was_stored_stops_the_clean_up(uri: str, data: Path) -> None:
    """Its files would look like nobody's: nothing is removed, and it is named."""
    kept = logged(start(uri).log_directory(data))
    key = _garbage(uri)
    folder = _store(uri).folder
    listing = content_key("trees", str(kept.digest))
    whole = folder.read(listing)

    folder.write(listing, b'{"entries":[]}')
    for dry_run in (True, False):
        with pytest.raises(CorruptArtifact, match=f"{listing} is not what was stored"):
            gc(uri, dry_run=dry_run)

    folder.write(listing, whole)
    assert gc(uri).removed == [key]


# directories


@pytest.mark.parametrize("step", ["looked at", "opened"])
def test_file_that_vanishes_costs_only_itself(
    uri: str, data: Path, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named; the others are stored."""
    survey, scandir = trees.survey, os.scandir

    def surveyed(*arguments: Any) -> Any:
        rows = survey(*arguments)
        (data / "b").unlink()
        return rows

    @contextmanager
    def scanned(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield map(looked_at, entries)

    def looked_at(entry: os.DirEntry[str]) -> os.DirEntry[str]:
        if entry.path == f"{data}/b":
            (data / "b").unlink()
        return entry

    trial = start(uri)
    if step == "opened":
        monkeypatch.setattr(trees, "survey", surveyed)
    else:
        monkeypatch.setattr(os, "scandir", lambda path: scanned(path) if path == str(data) else scandir(path))
    kept = logged(trial.log_directory(data))

    assert sorted(entry.name for entry in kept.entries()) == ["a", "c"]
    assert kept.left_out() == {"b": "is gone"}
    assert "b is not in the artifact 'data': it is gone" in caplog.text


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [("folder", "cannot be read: Is a directory"), ("link", "has become a link"), ("pipe", "is a pipe")],
)
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_file_that_becomes_something_else_costs_only_itself(
    uri: str, data: Path, becomes: str, reason: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a pipe or a link that leaves, put in place of a file after a look at it: none of it is followed."""
    survey, outside = trees.survey, data.parent / "outside"
    outside.write_bytes(b"secret" * size)
    (data / "b").write_bytes(b"b" * size)

    def surveyed(*arguments: Any) -> Any:
        rows = survey(*arguments)
        (data / "b").unlink()
        if becomes == "link":
            (data / "b").symlink_to(outside)
        elif becomes == "folder":
            (data / "b").mkdir()
        else:
            os.mkfifo(data / "b")
        return rows

    trial = start(uri)
    monkeypatch.setattr(trees, "survey", surveyed)
    kept = logged(trial.log_directory(data))

    assert sorted(entry.name for entry in kept.entries()) == ["a", "c"]
    assert list(kept.left_out()) == ["b"]
    assert reason in kept.left_out()["b"] or "is a folder, not a file" in kept.left_out()["b"]


def test_many_that_are_left_out_are_counted(uri: str, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first are named, all are counted and in the listing."""
    for number in range(30):
        (data / f"link{number}").symlink_to("/nothing/there")

    kept = logged(start(uri).log_directory(data))

    assert len([record for record in caplog.records if "it is a link to nothing" in record.getMessage()]) == 5
    assert "30 files in all are not in the artifact 'data': its left_out() names them" in caplog.text
    assert len(kept.left_out()) == 30


def test_file_with_an_error_of_its_disk_costs_only_itself(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one file cannot give is no reason to lose the others; want of descriptors is."""
    opened = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == f"{data}/b":
            raise OSError(code, os.strerror(code), path)
        return opened(path, *arguments, **options)

    trial = start(f"file:{tmp_path}/runs.json")
    code = errno.EIO
    monkeypatch.setattr(os, "open", failing)
    kept = logged(trial.log_directory(data))
    code = errno.EMFILE
    (data / "d").write_text("d")

    assert kept.left_out() == {"b": "cannot be read: Input/output error"}
    assert trial.log_directory(data) is None


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_store_is_not_stored_in_itself(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`log_directory(".")` takes what is there, but for the record, its journal and lock, spills and artifacts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    for name in ("train.py", "runs.csv", "runs.json.md", "runs-2.txt", "report.json"):
        Path(name).write_text(name)
    client = TrackClient({"file": "multi:?to=file://mirror.json&to=file://runs", "sqlite": "sqlite:runs"}[scheme])
    trial = client.new_trial(parameters={})
    trial.log_artifact(b"weights", "model")
    trial.log_metrics(loss=1.0)

    kept = logged(trial.log_directory(".", recursive=True, artifact="all"))

    assert sorted(entry.name for entry in kept.entries()) == [
        "report.json", "runs-2.txt", "runs.csv", "runs.json.md", "train.py",
    ]  # fmt: skip
    assert "is not in the artifact" not in caplog.text


# content


@pytest.mark.parametrize("what", ["object", "objects", "listing", "store"])
def test_content_that_was_removed_is_stored_again(
    uri: str, data: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory and a file that are known, and unchanged, are not believed to be there still."""
    monkeypatch.setattr("track.artifacts.store.SETTLED", -(10**12))
    monkeypatch.setattr("track.artifacts.content.SETTLED", -(10**12))
    (data / "large").write_bytes(os.urandom(300_000))
    trial = start(uri)
    kept = logged(trial.log_directory(data))
    logged(trial.log_directory(data))
    folder = _store(uri).folder
    objects = [found.key for found in folder.files("objects")]
    gone = {"object": objects[:1], "objects": objects, "listing": [content_key("trees", str(kept.digest))]}
    folder.remove(
        gone.get(what, [found.key for kind in ("objects", "trees", "stores") for found in folder.files(kind)])
    )

    again = logged(trial.log_directory(data))
    logged(trial.log_file(data / "large"))

    assert again.digest == kept.digest
    assert {entry.name for entry in again.entries() if again.read_bytes(entry.path)} == {"a", "b", "c", "large"}
    assert find(uri, "large").read_bytes() == (data / "large").read_bytes()


def test_what_was_stored_in_the_end_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An artifact that did not fit, and later did, is not listed; others still are."""
    trial = start(f"file:{tmp_path}/runs.json")
    replace = os.replace
    with trial:
        monkeypatch.setattr(os, "replace", _full)
        assert trial.log_artifact(b"a", "a") is None
        assert trial.log_artifact(b"b", "b") is None
        monkeypatch.setattr(os, "replace", replace)
        logged(trial.log_artifact(b"a", "a"))
        caplog.clear()

    assert list(trial.trial.metadata["artifacts_not_stored"]) == ["b"]
    assert "1 artifact could not be stored: 'b'" in caplog.text
    assert list(TrackClient(f"file:{tmp_path}/runs.json").protocol.fetch_trials()[0].metadata["artifacts_not_stored"])


def _full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# files that grow


class _Growing:
    """What reads a file that grows by as much as is read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = 0
        self._read = os.read
        self._copy = os.copy_file_range

    def _grow(self) -> None:
        self.reads += 1
        assert self.reads < 100
        with self.path.open("ab") as file:
            file.write(b"x" * (1 << 20))

    def read(self, descriptor: int, length: int) -> bytes:
        self._grow()
        return self._read(descriptor, length)

    def copy_file_range(self, source: int, target: int, length: int) -> int:
        self._grow()
        return self._copy(source, target, min(length, 1 << 20))


def _copied(source: Source, tmp_path: Path) -> None:
    with (tmp_path / "copy").open("wb") as target:
        copy_source(source, target.fileno(), target.name, lambda count: None)


@pytest.mark.parametrize("size", [0, 1000, 2 << 20])
@pytest.mark.parametrize(
    "action",
    [
        _copied,
        lambda source, _: hash_source(source, lambda count: None),
        lambda source, folder: LocalFolder(f"{folder}/s").put(source, "x", (), None, lambda count: None),
    ],
    ids=["copied", "hashed", "put"],
)
def test_file_that_grows_without_end_is_given_up(
    tmp_path: Path, size: int, action: Callable[[Source, Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is read than there was at the first look, and it is found out."""
    path = tmp_path / "train.log"
    path.write_bytes(b"x" * size)
    growing = _Growing(path)

    with Source(str(path)) as source:
        monkeypatch.setattr("track.artifacts.content.UNTOLD", 4 << 20)
        monkeypatch.setattr(os, "read", growing.read)
        monkeypatch.setattr(os, "copy_file_range", growing.copy_file_range)
        with pytest.raises(FileChanged, match="changed while it was read"):
            action(source, tmp_path)
