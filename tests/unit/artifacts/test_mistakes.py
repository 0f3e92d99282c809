"""A wrong name, place or call around artifacts is one sentence that names it and the way out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.artifacts.test_artifacts import logged, start
from track.artifacts import artifacts, find, gc, versions
from track.errors import CorruptArtifact, InvalidCall, InvalidUri, NotFound, UnsafePath
from track.logger import TrialLogger


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give the URI of a store."""
    return f"file:{tmp_path}/runs.json"


@pytest.fixture
def trial(uri: str) -> TrialLogger:
    """Give a trial with a file and a directory."""
    trial = start(uri)
    trial.log_artifact(b"weights", "model.bin")
    return trial


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder with a file in a folder."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "a.txt").write_text("a")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.bim", r"no artifact 'model\.bim' in project 'digits'; did you mean 'model\.bin'\?"),
        ("model.bin:9", r"did you mean 'model\.bin'\?"),
        ("model.bin:v7", r"no artifact 'model\.bin:v7': there is only v0"),
        ("else", "no artifact 'else' in project 'digits'$"),
    ],
)
def test_near_name_is_suggested(trial: TrialLogger, name: str, said: str) -> None:
    """A typo in a name or a version is answered with what there is."""
    with pytest.raises(NotFound, match=said):
        find(trial, name)


def test_many_versions_are_a_range(trial: TrialLogger) -> None:
    """They are counted, not listed."""
    for content in (b"1", b"2", b"3"):
        trial.log_artifact(content, "model.bin")

    with pytest.raises(NotFound, match="there are v0 to v3"):
        find(trial, "model.bin:v4")


@pytest.mark.parametrize("name", [None, 3, b"model.bin"])
def test_name_that_is_no_text_is_named(trial: TrialLogger, name: Any) -> None:
    """What is asked for is a text."""
    with pytest.raises(InvalidCall, match="an artifact goes by its name"):
        trial.use_artifact(name)


def test_artifact_that_was_found_can_be_used(trial: TrialLogger, uri: str) -> None:
    """It is recorded as its name would be."""
    found = find(uri, "model.bin")

    assert trial.use_artifact(found) == found

    assert trial.trial.metadata["uses"][0]["version"] == 0
    assert trial.use_artifact("model.bin:v0").digest == found.digest
    assert len(trial.trial.metadata["uses"]) == 1


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "x" * 256, "a/" + "é" * 128])
def test_names_that_no_file_should_have_are_refused(trial: TrialLogger, name: str) -> None:
    """Control characters, and what is longer than a disk takes."""
    with pytest.raises(UnsafePath, match="an artifact's name"):
        trial.log_artifact(b"x", name)


def test_path_of_bytes_is_a_path(trial: TrialLogger, tmp_path: Path) -> None:
    """As it is for `open`."""
    (tmp_path / "f.bin").write_bytes(b"f")
    path: Any = os.fsencode(tmp_path / "f.bin")

    assert logged(trial.log_file(path)).name == "f.bin"


def test_folder_that_may_not_be_read_is_an_error(
    trial: TrialLogger, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no empty directory."""

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        trial.log_directory(data)


def test_directory_without_a_file_is_said(trial: TrialLogger, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its folders belong to it only when that is asked for."""
    trial.log_directory(data)

    assert "no file is in the artifact 'data'; recursive=True takes its folders too" in caplog.text


def test_link_to_the_folder_itself_does_not_leave_it(
    trial: TrialLogger, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out as any link to a folder is."""
    (data / "loop").symlink_to(".")

    trial.log_directory(data, recursive=True)

    assert "loop is not in the artifact 'data': it is a link to something that is no file" in caplog.text


def test_file_has_no_files_in_it(trial: TrialLogger) -> None:
    """A path, or a mode, is nothing that a file's `open` takes."""
    kept = find(trial, "model.bin")

    with pytest.raises(UnsafePath, match=r"'model\.bin' is no directory: open\(\) it without 'rb'"):
        kept.open("rb")


def test_missing_content_is_said_with_its_place(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """Of a file, and of one in a directory; and nothing of the transfer is left."""
    kept = logged(trial.log_directory(data, recursive=True))
    (entry,) = kept.entries()
    place = tmp_path / "runs.json.artifacts" / entry.key
    place.unlink()

    for read in (lambda: kept.read_bytes("sub/a.txt"), lambda: kept.download(tmp_path / "back")):
        with pytest.raises(NotFound, match=rf"the content of 'sub/a\.txt' is not at file://{place}"):
            read()
    assert [path for path in (tmp_path / "back").rglob("*") if path.is_file()] == []


def test_damaged_content_is_said_with_its_place(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """So that it can be removed and stored again."""
    kept = logged(trial.log_directory(data, recursive=True))
    (entry,) = kept.entries()
    place = tmp_path / "runs.json.artifacts" / entry.key
    place.write_bytes(b"b")

    for read in (lambda: kept.read_bytes("sub/a.txt"), lambda: kept.download(tmp_path / "back")):
        with pytest.raises(CorruptArtifact, match=rf"file://{place} is not what was stored: remove it"):
            read()


def test_target_that_cannot_be_is_refused_before_a_byte(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """A folder for a file, a file for a folder; nothing is left there."""
    kept, tree = find(trial, "model.bin"), logged(trial.log_directory(data))
    folder = tmp_path / "targets"
    folder.mkdir()
    (folder / "file").write_text("file")

    with pytest.raises(UnsafePath, match="is a folder"):
        kept.download(f"{folder}/new/")
    with pytest.raises(UnsafePath, match="is a file, not a folder"):
        kept.download(folder / "file" / "model.bin")
    with pytest.raises(UnsafePath, match="is a file, not a folder"):
        tree.download(folder / "file")

    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "file"


def test_reference_to_a_file_is_absolute(trial: TrialLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found from any folder."""
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("1,2")

    kept = logged(trial.log_artifact("file://train.csv"))

    assert kept.uri == f"file://{tmp_path}/train.csv"


def test_unknown_scheme_is_an_error_of_ours(trial: TrialLogger, tmp_path: Path) -> None:
    """Of a reference, and of the place of the artifacts."""
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")

    with pytest.raises(InvalidUri, match="fsspec knows no foo://"):
        trial.log_artifact("foo://host/train.csv")
    with pytest.raises(InvalidUri, match="fsspec knows no foo://"):
        gc(f"file:{tmp_path}/runs.json?artifacts=foo://host")


def test_place_that_its_url_says_is_connected_to(trial: TrialLogger) -> None:
    """The host of a URL is told to fsspec; that it is away is no mistake of the program."""
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")

    assert trial.log_artifact("ftp://127.0.0.1:1/train.csv") is None

    assert "Connection refused" in trial.trial.metadata["artifacts_not_stored"]["train.csv"]


def test_data_behind_a_server_that_is_away_may_be_there(trial: TrialLogger) -> None:
    """A server that does not answer has not said that there is nothing."""
    for name in ("fsspec", "aiohttp"):
        pytest.importorskip(name, reason="needs fsspec and aiohttp")

    assert trial.log_artifact("http://127.0.0.1:1/train.csv") is None

    assert "cannot be used" in trial.trial.metadata["artifacts_not_stored"]["train.csv"]


def test_another_store_is_one_text(uri: str, trial: TrialLogger) -> None:
    """`also` need not be a list."""
    assert gc(uri, also=uri).removed == []


def test_content_elsewhere_is_not_missed(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who forgets where the artifacts are is told, and not that they are lost."""
    start(f"file:{tmp_path}/runs.json?artifacts={tmp_path}/files").log_directory(data, recursive=True)

    gc(f"file:{tmp_path}/runs.json")

    assert "is not there" not in caplog.text
    assert f"trials name content in file://{tmp_path}/files: to clean up there, give ?artifacts=" in caplog.text


def test_end_says_what_could_not_be_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the names; the reasons are in the metadata."""
    (tmp_path / "files").write_text("no folder")
    trial = start(f"file:{tmp_path}/runs.json?artifacts={tmp_path}/files")
    with trial:
        trial.log_artifact(b"a", "a")
        trial.log_artifact(b"b", "b")
        caplog.clear()

    assert [record.getMessage() for record in caplog.records] == [
        "2 artifacts could not be stored: 'a', 'b'; the metadata artifacts_not_stored says why"
    ]


def test_trial_that_was_read_names_no_store(trial: TrialLogger, uri: str) -> None:
    """A trial that `fetch` returned does not say where its files are: the error says how to ask, and that works."""
    trials = track.fetch(uri)

    for asked in (trials[0], trials):
        with pytest.raises(InvalidCall, match=r"give the store, as in find\(URI, name, trial="):
            find(asked, "model.bin")
        with pytest.raises(InvalidCall, match="give the store"):
            artifacts(asked)

    assert find(uri, "model.bin", trial=trials[0].uid).read_bytes() == b"weights"


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
@pytest.mark.parametrize("part", ["", ".journal", ".lock", "-wal"])
def test_artifacts_are_not_kept_in_the_store_itself(tmp_path: Path, scheme: str, part: str) -> None:
    """A place that is a file of the store would be made a folder, and the store could not be opened any more."""
    uri = f"{scheme}:{tmp_path}/runs"
    trial = start(f"{uri}?artifacts={tmp_path}/runs{part}")

    with pytest.raises(InvalidUri, match="names a file of the store itself"):
        trial.log_artifact(b"weights", "model.bin")

    trial.finish()
    assert len(track.fetch(uri)) == 1


@pytest.mark.parametrize("source", [5, None, b"file://runs.json", {"uri": "file://runs.json"}])
def test_what_is_no_store_is_said(source: Any) -> None:
    """A store is a URI, a client, a logger or a backend; anything else is named."""
    for question in (lambda: find(source, "model.bin", trial="a"), lambda: versions(source, "a"), lambda: gc(source)):
        with pytest.raises(InvalidCall, match="is no store"):
            question()
