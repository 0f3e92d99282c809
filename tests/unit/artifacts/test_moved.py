"""A place of artifacts that moved is found by what the URI says now; a copy of the record knows where its files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.artifacts.test_artifacts import logged, start
from track import TrackClient
from track.artifacts import artifacts, find, gc
from track.errors import InvalidCall, NotFound


def _read(uri: str, name: str = "model") -> bytes:
    return find(uri, name).read_bytes()


@pytest.fixture(params=["file", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URI of a store without options."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return f"{request.param}://{tmp_path}/runs"


def _log(uri: str) -> TrackClient:
    client = TrackClient(uri)
    client.set_project(name="digits")
    with client.new_trial(parameters={}) as trial:
        logged(trial.log_artifact(b"weights", "model"))
        (Path(client.protocol.file or "").parent / "data").mkdir(exist_ok=True)
        (Path(client.protocol.file or "").parent / "data" / "a.txt").write_text("a")
        logged(trial.log_artifact(f"{os.path.dirname(client.protocol.file or '')}/data", "data"))
    client.protocol.flush()
    return client


def test_place_that_was_renamed_is_found(store: str, tmp_path: Path) -> None:
    """Content is where the URI says, whatever the record says of where it was; so is that of a directory."""
    _log(f"{store}?artifacts={tmp_path}/disk1")
    os.rename(tmp_path / "disk1", tmp_path / "disk2")
    uri = f"{store}?artifacts={tmp_path}/disk2"

    find(uri, "data").download(tmp_path / "back")

    assert _read(uri) == b"weights"
    assert (tmp_path / "back" / "a.txt").read_text() == "a"
    assert gc(uri).removed == []


def test_place_behind_another_link_is_found(store: str, tmp_path: Path) -> None:
    """The URI names a link: it counts where that leads now."""
    (tmp_path / "old").mkdir()
    (tmp_path / "place").symlink_to("old")
    uri = f"{store}?artifacts={tmp_path}/place"
    _log(uri)
    os.rename(tmp_path / "old", tmp_path / "new")
    (tmp_path / "place").unlink()
    (tmp_path / "place").symlink_to("new")

    assert _read(uri) == b"weights"


def test_place_of_before_is_looked_in_too(store: str, tmp_path: Path) -> None:
    """What was logged before the URI said another place is found where it was logged."""
    _log(f"{store}?artifacts={tmp_path}/first")
    later = start(f"{store}?artifacts={tmp_path}/second", name="later")
    later.log_artifact(b"later", "other")
    later.protocol.flush()

    assert _read(f"{store}?artifacts={tmp_path}/second") == b"weights"
    assert _read(store) == b"weights"
    assert _read(store, "other") == b"later"


def test_content_that_is_nowhere_is_said_where_it_should_be(store: str, tmp_path: Path) -> None:
    """The place that the URI says is named."""
    _log(f"{store}?artifacts={tmp_path}/disk1")
    os.rename(tmp_path / "disk1", tmp_path / "lost")

    with pytest.raises(NotFound, match=rf"is not at file://{tmp_path}/disk2/objects/"):
        _read(f"{store}?artifacts={tmp_path}/disk2")


def test_saved_copy_names_the_files_where_they_are(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy of a record has no files beside it: it says so, and they are read from where they stay."""
    client = _log(store)

    client.save(str(tmp_path / "copies" / "copy.json"))

    copy = f"file://{tmp_path}/copies/copy.json"
    assert _read(copy) == b"weights"
    assert find(copy, "data").read_bytes("a.txt") == b"a"
    assert f"the files of 1 trial are not in {tmp_path}/copies/copy.json: they stay in file://{tmp_path}" in caplog.text
    assert next(artifact.uri for artifact in artifacts(store)).startswith("objects/")
    client.save()
    assert _read(store) == b"weights"


def test_copy_with_its_files_beside_it_reads_them(store: str, tmp_path: Path) -> None:
    """Files that were copied along are found when the old place is gone."""
    client = _log(store)
    (tmp_path / "copies").mkdir()
    client.save(str(tmp_path / "copies" / "copy.json"))
    os.rename(f"{client.protocol.file}.artifacts", tmp_path / "copies" / "copy.json.artifacts")

    assert _read(f"file://{tmp_path}/copies/copy.json") == b"weights"


@pytest.mark.parametrize("name", ["copy.db", "copy.sqlite", "copy.SQLITE3", "copy.db3"])
def test_copy_is_not_called_like_a_database(store: str, tmp_path: Path, name: str) -> None:
    """Nobody would find JSON in it; what makes a database of it is named."""
    client = _log(store)

    with pytest.raises(InvalidCall, match=r"and a copy is JSON: name it copy\.json, or .* track copy FROM sqlite://"):
        client.save(str(tmp_path / name))

    assert not (tmp_path / name).exists()


def test_trial_means_its_own(store: str) -> None:
    """What other trials have logged since is not what a trial finds by a name that it has logged itself."""
    mine, other = start(store, lr=0.1), start(store, lr=0.2)
    mine.log_artifact(b"mine", "ckpt")
    other.log_artifact(b"other", "ckpt")
    other.log_artifact(b"data", "data")
    for trial in (mine, other):
        trial.protocol.flush()

    assert find(mine, "ckpt").read_bytes() == b"mine"
    assert mine.use_artifact("ckpt").read_bytes() == b"mine"
    assert find(mine, "ckpt:latest").read_bytes() == b"other"
    assert find(mine, "ckpt:v1").read_bytes() == b"other"
    assert find(mine, "data").read_bytes() == b"data"
    assert find(other.protocol, "ckpt").read_bytes() == b"other"
