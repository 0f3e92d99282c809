"""Whoever may write to a store of artifacts, or to a record, harms nobody who uploads, downloads or cleans up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.unit.artifacts.test_artifacts import logged, start
from tests.unit.artifacts.test_gc import _garbage, _store
from track.artifacts import artifacts, find, gc
from track.artifacts.keys import content_key
from track.errors import BackendUnavailable, CorruptArtifact, NotFound, UnsafePath
from track.objectstore import FsspecStore

_CLIMBS = ["../../victim/x", "objects/../../../victim/x", "/victim/x", "objects/ab/x", "", "objects/\udcff", "a\0b"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Give a folder outside of every store, with a file that is called like content."""
    folder = tmp_path / "victim"
    (folder / "ab").mkdir(parents=True)
    for name in ("x", ".bashrc", f"ab/{'ab' * 32}", ".dead-1.1"):
        (folder / name).write_text("precious")
    return folder


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store with an artifact."""
    uri = f"file:{tmp_path}/home/runs.json?artifacts={tmp_path}/home/files"
    start(uri).log_artifact(b"weights", "model")
    return uri


@pytest.fixture
def place(uri: str, tmp_path: Path) -> Path:
    """Give the place of its artifacts."""
    return tmp_path / "home" / "files"


def _seen(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _crafted(place: Path, *entries: dict[str, Any]) -> tuple[str, str]:
    """Store a listing that somebody has written by hand; return its URI and digest."""
    data = json.dumps({"entries": list(entries)}).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = place / content_key("trees", digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"file://{place}/{content_key('trees', digest)}", digest


def _recorded(uri: str, name: str, where: str, digest: str) -> None:
    trial = start(uri)
    trial.protocol.log_trial_artifact(trial.trial, name, where, digest, 1)


@pytest.mark.parametrize("key", _CLIMBS)
def test_condemned_key_that_is_none_removes_nothing(
    uri: str, place: Path, victim: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A note of what is to be removed names content, or is named itself and not heeded."""
    before = _seen(victim)
    keys = [os.path.relpath(victim / "x", place) if key.startswith("..") else key.replace("/victim", str(victim))]
    (place / "condemned").mkdir()
    (place / "condemned" / "0123456789abcdef").write_text(json.dumps({"keys": keys, "waits_for": []}))

    start(uri).log_artifact(b"more", "more")
    swept = gc(uri)

    assert swept.removed == []
    assert "condemned/0123456789abcdef is damaged, and not heeded" in caplog.text
    assert _seen(victim) == before
    assert list((place / "condemned").iterdir()) == []
    assert find(uri, "model").read_bytes() == b"weights"


@pytest.mark.parametrize("folder", ["objects", "objects/ab", "condemned", "leases", "partial"])
def test_link_in_the_store_leads_nowhere(uri: str, place: Path, victim: Path, folder: str) -> None:
    """Nothing is written or removed through a link that somebody has put into the store."""
    before = _seen(victim)
    link = place / folder
    if link.exists():
        link.rename(f"{link}-away")
    link.symlink_to(victim / "ab" if folder == "objects/ab" else victim)

    with suppress(BackendUnavailable):
        gc(uri)
    start(uri).log_artifact(b"x" * 300_000, "large")

    assert _seen(victim) == before


def test_clean_up_removes_only_its_own(tmp_path: Path) -> None:
    """Where artifacts are kept in a folder that has other files, these are none of ours, whatever they are called."""
    home = tmp_path / "home"
    (home / "objects").mkdir(parents=True)
    for name in (".bashrc", ".config-1.1", "notes.txt", "objects/thesis.tex", "objects/.hidden"):
        (home / name).write_text("precious")
    uri = f"file:{tmp_path}/runs.json?artifacts={home}"
    start(uri).log_artifact(b"weights", "model")
    key = _garbage(uri)
    before = _seen(home)

    swept = gc(uri)

    assert swept.removed == [key]
    assert _seen(home) == {name: text for name, text in before.items() if name != key}


@pytest.mark.parametrize("where", _CLIMBS)
@pytest.mark.parametrize("field", ["digest", "place"])
def test_listing_reads_only_content(
    uri: str, place: Path, victim: Path, tmp_path: Path, where: str, field: str
) -> None:
    """What a listing says of where content is, is a key or a digest; else it is refused, and nothing is written."""
    entry: dict[str, Any] = {"path": "a.txt", "digest": hashlib.sha256(b"precious").hexdigest(), "size": 8}
    if field == "place" and not where:
        pytest.skip("no place is the usual place")
    entry[field] = os.path.relpath(victim / "x", place) if where.startswith("..") else where
    _recorded(uri, "d", *_crafted(place, entry))

    with pytest.raises((UnsafePath, CorruptArtifact)):
        find(uri, "d").download(tmp_path / "back")

    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "..", "", ".", "a//b", "a/", "a\0b", "\ud800", "./x", "a/./b"], ids=ascii
)
def test_listing_writes_only_below_its_target(uri: str, place: Path, victim: Path, tmp_path: Path, path: str) -> None:
    """A path that leads out, or is none, is refused before anything is written."""
    digest = hashlib.sha256(b"weights").hexdigest()
    before = _seen(tmp_path)
    _recorded(uri, "d", *_crafted(place, {"path": path, "digest": digest, "size": 7}))

    with pytest.raises((UnsafePath, CorruptArtifact)):
        find(uri, "d").download(victim / "ab" / "back")

    assert {name for name in _seen(tmp_path) if not name.startswith("home/")} == {
        name for name in before if not name.startswith("home/")
    }


def test_odd_path_stays_in_its_target(uri: str, place: Path, tmp_path: Path) -> None:
    """A file may be called by a line break, or by what is no text: it is written where it belongs."""
    digest = hashlib.sha256(b"weights").hexdigest()
    odd = [{"path": "a\nb/c", "digest": digest, "size": 7}, {"path": "/w==", "digest": digest, "size": 7, "raw": True}]
    _recorded(uri, "d", *_crafted(place, *odd))

    find(uri, "d").download(tmp_path / "back")

    assert sorted(os.fsencode(path) for path in os.listdir(tmp_path / "back")) == [b"a\nb", b"\xff"]


@pytest.mark.parametrize("digest", ["../../../victim/x", "/victim/x", "\0", "ab" * 31, "AB" * 32, ""], ids=ascii)
def test_digest_that_is_none_is_no_path(uri: str, place: Path, victim: Path, tmp_path: Path, digest: str) -> None:
    """A record of a file whose digest is a path is an error, and leaves nothing anywhere."""
    before = _seen(victim)
    _recorded(uri, "m", find(uri, "model").uri, digest)
    (tmp_path / "back").mkdir()

    with pytest.raises(CorruptArtifact):
        find(uri, "m").download(tmp_path / "back" / "m")

    assert list((tmp_path / "back").iterdir()) == []
    assert _seen(victim) == before


@pytest.mark.parametrize("name", ["../x", "/x", "a\nb", "a\0b", "a/../../x", "link/x"], ids=ascii)
def test_recorded_name_is_no_way_out(
    uri: str, victim: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a target the name is where it goes, which somebody else has chosen: it climbs nowhere, not by a link."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(victim)
    monkeypatch.chdir(tmp_path / "here")
    kept = find(uri, "model")
    _recorded(uri, name, kept.uri, str(kept.digest))
    before = _seen(victim)

    with pytest.raises(UnsafePath):
        find(uri, name).download()

    assert _seen(victim) == before


def test_directory_is_not_written_through_a_link_of_its_name(
    uri: str, place: Path, victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a target, a link in the working folder that is called like the artifact is not followed."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "home").symlink_to(victim)
    monkeypatch.chdir(tmp_path / "here")
    digest = hashlib.sha256(b"weights").hexdigest()
    _recorded(uri, "home", *_crafted(place, {"path": ".bashrc", "digest": digest, "size": 7}))

    with pytest.raises(UnsafePath, match="is a link: files are not written through it"):
        find(uri, "home").download()

    assert (victim / ".bashrc").read_text() == "precious"


@pytest.mark.parametrize(
    "line", [{}, {"name": 3, "uri": "objects/x"}, {"name": "x"}, {"name": "x", "uri": None}, {"name": "x", "uri": []}]
)
def test_line_of_a_manifest_that_is_none_hides_no_other(
    uri: str, line: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out and said."""
    trial = start(uri)
    protocol: Any = trial.protocol
    with protocol.reading() as state:
        state.trials  # noqa: B018 - read first
        state._trials[trial.trial.uid].artifacts.append(line)

    found = artifacts(protocol)

    assert [artifact.name for artifact in found] == ["model"]
    assert "names an artifact that is none, which is left out" in caplog.text


def test_copy_writes_no_note_where_a_record_says(uri: str, victim: Path, tmp_path: Path) -> None:
    """A place that a record names, and that has no such content, is not written to."""
    from track.cli import main

    before = _seen(victim)
    _recorded(uri, "m", f"file://{victim}/{content_key('objects', 'cd' * 32)}", "cd" * 32)

    assert main(["copy", uri.partition("?")[0], f"file:{tmp_path}/other.json"]) in (0, 1)

    assert _seen(victim) == before


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make",
    [_pipe, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()],
    ids=["pipe", "zero", "folder"],
)
@pytest.mark.parametrize("kind", ["leases", "condemned", "pending", "stores"])
def test_note_that_is_no_file_holds_nobody_up(uri: str, place: Path, kind: str, make: Callable[[Path], None]) -> None:
    """Nothing waits for a pipe, or reads a device for ever."""
    (place / kind).mkdir(exist_ok=True)
    make(place / kind / "0123456789abcdef")

    assert logged(start(uri).log_artifact(b"more", "more")).size == 4
    assert gc(uri).removed == []


@pytest.mark.parametrize("name", ["../victim/x", "/etc/x", "a/../../victim/x", ".."])
def test_object_store_behind_a_url_has_no_names_that_climb(tmp_path: Path, victim: Path, name: str) -> None:
    """What a stored record calls a file is no way out of a store, behind a URL as in a folder."""
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    store = FsspecStore(f"file://{tmp_path}/store")

    for action in (store.read, store.remove, lambda name: store.write(name, b"x"), store.children):
        with pytest.raises(UnsafePath):
            action(name)

    assert (victim / "x").read_text() == "precious"


def test_crafted_note_of_a_store_is_named(uri: str, place: Path) -> None:
    """Who else names content here is said by a note; one that cannot be read, or leads nowhere, stops the clean-up."""
    key = _garbage(uri)
    note = place / "stores" / "0123456789abcdef.json"

    for text, error in (("", CorruptArtifact), ("[]", CorruptArtifact), ('{"uri": "file:///none.json"}', NotFound)):
        note.write_text(text)
        with pytest.raises(error, match="0123456789abcdef"):
            gc(uri)
        start(uri).log_artifact(b"trains on", "model")

    note.unlink()
    assert gc(uri).removed == [key]
    assert _store(uri).folder.files("condemned") == []
