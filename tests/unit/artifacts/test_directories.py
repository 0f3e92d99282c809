"""Whole directories: what is in one, what is left out, and how it comes back."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.artifacts.test_artifacts import logged, start
from track.artifacts import Artifact, artifacts, find
from track.artifacts import download as downloading
from track.artifacts.keys import check_clashes
from track.artifacts.trees import Entry, Listing, encode_listing
from track.errors import CorruptArtifact, NotFound, UnsafePath
from track.logger import TrialLogger


@pytest.fixture
def trial(tmp_path: Path) -> TrialLogger:
    """Give a trial."""
    return start(f"file:{tmp_path}/runs.json")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder with files."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _places(folder: Path) -> dict[str, int]:
    """Return the inode of every file."""
    return {path.relative_to(folder).as_posix(): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_directory_comes_back(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """All files are back, where they were."""
    kept = logged(trial.log_directory(data, recursive=True))

    kept.download(tmp_path / "back")

    assert (kept.name, kept.size, kept.is_directory) == ("data", 2, True)
    assert _content(tmp_path / "back") == {"a.txt": b"a", "sub/b.txt": b"b"}


def test_directory_without_its_folders(trial: TrialLogger, data: Path) -> None:
    """Folders in it belong to it only when that is asked for."""
    kept = logged(trial.log_directory(data))

    assert [entry.path for entry in kept.entries()] == ["a.txt"]


def test_file_of_a_directory_is_read(trial: TrialLogger, data: Path) -> None:
    """One file is read without the others; one that is not there is named."""
    kept = logged(trial.log_directory(data, recursive=True))

    assert kept.read_bytes("sub/b.txt") == b"b"
    with pytest.raises(NotFound, match=r"no file 'c\.txt' in the directory 'data'"):
        kept.open("c.txt")
    with pytest.raises(UnsafePath, match="is a directory: name a file in it"):
        kept.open()


def test_same_files_are_the_same_version(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """A directory is its content: neither its times nor its place matter."""
    first = logged(trial.log_directory(data, recursive=True))
    data.rename(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "a.txt", (1.0, 1.0))

    again = logged(trial.log_directory(tmp_path / "elsewhere", recursive=True, artifact="data"))

    assert again.digest == first.digest
    assert find(trial, "data").version == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "a.txt").write_text("A"),
        lambda data: (data / "new.txt").write_text("n"),
        lambda data: (data / "a.txt").unlink(),
        lambda data: (data / "a.txt").rename(data / "c.txt"),
    ],
    ids=["written", "added", "removed", "renamed"],
)
def test_changed_directory_is_another_version(
    trial: TrialLogger, data: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], Any]
) -> None:
    """A directory that is remembered is read again where anything in it changed."""
    monkeypatch.setattr("track.artifacts.store.SETTLED", -(10**12))
    first = logged(trial.log_directory(data, recursive=True))
    same = logged(trial.log_directory(data, recursive=True))
    change(data)

    other = logged(trial.log_directory(data, recursive=True))

    assert same.digest == first.digest
    assert {entry.path: entry.digest for entry in other.entries()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in _content(data).items()
    }
    assert other.digest != first.digest


def test_remembered_file_is_not_read_again(trial: TrialLogger, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose size, times and inode are known is not opened for its content."""
    monkeypatch.setattr("track.artifacts.content.SETTLED", -(10**12))
    content = b"a" * 300_000
    (data / "a.txt").write_bytes(content)
    trial.log_file(data / "a.txt")
    monkeypatch.setattr("track.artifacts.local.LocalFolder.put", lambda *args: pytest.fail("it was read"))

    again = logged(trial.log_file(data / "a.txt"))

    assert again.digest == hashlib.sha256(content).hexdigest()


def test_large_file_that_may_be_known_is_read_before_it_is_written(
    trial: TrialLogger, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a size that was stored before is hashed first, and not written when it is the same."""
    (data / "a.txt").write_bytes(b"a" * 300_001)
    (data / "b.txt").write_bytes(b"a" * 300_001)
    first = logged(trial.log_file(data / "a.txt"))
    monkeypatch.setattr("track.artifacts.local.LocalFolder.put", lambda *args: pytest.fail("it was written"))

    again = logged(trial.log_file(data / "b.txt"))

    assert again.uri == first.uri


def test_what_is_left_out_is_said(
    trial: TrialLogger, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Links that lead out, links to nothing, pipes: each is named with its reason, here and in the listing."""
    (tmp_path / "secret.txt").write_text("secret")
    (data / "inside").symlink_to("sub/b.txt")
    (data / "outside").symlink_to(tmp_path / "secret.txt")
    (data / "climbs").symlink_to("../secret.txt")
    (data / "nothing").symlink_to("none")
    (data / "loop").symlink_to(".")
    os.mkfifo(data / "pipe")

    with caplog.at_level(logging.WARNING):
        kept = logged(trial.log_directory(data, recursive=True))

    assert {entry.path: kept.read_bytes(entry.path) for entry in kept.entries()} == {
        "a.txt": b"a",
        "sub/b.txt": b"b",
        "inside": b"b",
    }
    said = {record.getMessage() for record in caplog.records}
    assert {
        "outside is not in the artifact 'data': it is a link that leaves the folder",
        "climbs is not in the artifact 'data': it is a link that leaves the folder",
        "nothing is not in the artifact 'data': it is a link to nothing",
        "loop is not in the artifact 'data': it is a link to something that is no file",
        "pipe is not in the artifact 'data': it is no file: a device, a pipe or a socket",
    } == said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything: see the end-to-end test")
def test_unreadable_file_is_left_out(trial: TrialLogger, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that may not be read does not keep the others from being stored."""
    (data / "a.txt").chmod(0)

    kept = logged(trial.log_directory(data, recursive=True))

    assert [entry.path for entry in kept.entries()] == ["sub/b.txt"]
    assert "a.txt is not in the artifact 'data': it cannot be read: Permission denied" in caplog.text


ODD = [
    "new\nline",
    "tab\t",
    "quo\"te'",
    " space ",
    "-rf",
    "$(x)",
    "a:b",
    "back\\slash",
    "*",
    "ü",
    "日本",
    ".hidden",
    "~",
]


def test_odd_names_come_back(trial: TrialLogger, tmp_path: Path) -> None:
    """Whatever a file may be called here, it is called after a download."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ODD:
        (folder / name).write_text(name)
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))).write_text("no text")

    kept = logged(trial.log_directory(folder))
    kept.download(tmp_path / "back")

    assert sorted(os.listdir(os.fsencode(tmp_path / "back"))) == sorted([*map(os.fsencode, ODD), b"\xff\xfe"])
    assert kept.read_bytes("new\nline") == b"new\nline"


def test_name_that_is_no_text_needs_another(trial: TrialLogger, tmp_path: Path) -> None:
    """A manifest is text: a file whose name is none is given a name."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin")
    Path(path).write_text("x")

    with pytest.raises(UnsafePath, match="is no text"):
        trial.log_file(path)
    assert logged(trial.log_file(path, name="x.bin")).read_bytes() == b"x"


def test_download_fetches_what_differs(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """A file that is there with the same content is not fetched; one that differs is; others stay."""
    kept = logged(trial.log_directory(data, recursive=True))
    kept.download(tmp_path / "back")
    (tmp_path / "back" / "a.txt").write_text("A")
    (tmp_path / "back" / "mine.txt").write_text("mine")
    before = _places(tmp_path / "back")

    kept.download(tmp_path / "back")

    # What is fetched is another file that takes the name.
    assert [name for name, place in _places(tmp_path / "back").items() if place != before[name]] == ["a.txt"]
    assert _content(tmp_path / "back") == {"a.txt": b"a", "sub/b.txt": b"b", "mine.txt": b"mine"}


def test_download_goes_on(trial: TrialLogger, tmp_path: Path) -> None:
    """What a transfer had collected before it was broken off is not fetched again."""
    content = os.urandom(3 << 20)
    kept = logged(trial.log_artifact(content, "model"))
    part = tmp_path / f".{str(kept.digest)[:32]}.part"
    part.write_bytes(content[: 2 << 20])
    opened: list[int] = []

    class Seen:
        def __init__(self) -> None:
            self.file = kept.open()

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def seek(self, offset: int) -> None:
            opened.append(offset)
            self.file.seek(offset)

        def read(self, size: int) -> bytes:
            return self.file.read(size)

    seen: Any = Seen
    target = str(tmp_path / "back")
    downloading.download_content(seen, kept.digest, kept.size, target, lambda count: None, damaged=CorruptArtifact)

    assert opened == [2 << 20]
    assert (tmp_path / "back").read_bytes() == content
    assert not part.exists()


def test_downloads_at_the_same_time_do_not_mix(trial: TrialLogger, tmp_path: Path) -> None:
    """A transfer whose beginning somebody else is collecting begins on its own."""
    kept = logged(trial.log_artifact(b"weights", "model"))
    part = tmp_path / f".{str(kept.digest)[:32]}.part"
    with part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"we")

        kept.download(tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == b"weights"
    assert part.read_bytes() == b"we"


def test_download_begins_again_after_damage(trial: TrialLogger, tmp_path: Path) -> None:
    """What was collected and is wrong is thrown away, once."""
    kept = logged(trial.log_artifact(b"weights", "model"))
    (tmp_path / f".{str(kept.digest)[:32]}.part").write_bytes(b"wrong")

    kept.download(tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == b"weights"


def _crafted(trial: TrialLogger, tmp_path: Path, *paths: str) -> Artifact:
    """Return a directory whose listing somebody has written by hand."""
    digest = hashlib.sha256(b"x").hexdigest()
    kept = logged(trial.log_artifact(b"x", "x"))
    data = encode_listing(Listing([Entry(path, digest, 1) for path in paths]))
    name = hashlib.sha256(data).hexdigest()
    place = tmp_path / "runs.json.artifacts" / "trees" / name[:2]
    place.mkdir(parents=True)
    (place / name).write_bytes(data)
    return dataclasses.replace(kept, name="d", uri=f"trees/{name[:2]}/{name}", digest=name)


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../../up", "a//b", "", "x\0y"])
def test_listing_that_climbs_is_refused(trial: TrialLogger, tmp_path: Path, path: str) -> None:
    """A listing cannot write outside of the folder it is downloaded to."""
    crafted = _crafted(trial, tmp_path, "fine", path)

    with pytest.raises(UnsafePath):
        crafted.download(tmp_path / "back")

    assert not (tmp_path / "back").exists()


def test_name_that_climbs_is_refused_at_a_download(trial: TrialLogger) -> None:
    """Nobody else's name decides where a download without a target goes."""
    evil = Artifact("../../evil", "objects/00/" + "0" * 64, "0" * 64, 1, 0.0, "t")

    with pytest.raises(UnsafePath, match="not climb"):
        evil.download()


def test_link_in_the_target_is_not_followed(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """A link in the folder that is written to leads nowhere: as a folder it is refused, as a file replaced."""
    kept = logged(trial.log_directory(data, recursive=True))
    (tmp_path / "outside").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "a.txt").symlink_to(tmp_path / "precious")
    (tmp_path / "back" / "sub").symlink_to(tmp_path / "outside")

    with pytest.raises(UnsafePath, match="files are not written through it"):
        kept.download(tmp_path / "back")
    (tmp_path / "back" / "sub").unlink()
    kept.download(tmp_path / "back")

    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "precious").read_text() == "precious"
    assert _content(tmp_path / "back") == {"a.txt": b"a", "sub/b.txt": b"b"}


def test_folder_in_the_way_is_said(trial: TrialLogger, tmp_path: Path) -> None:
    """A file does not replace a folder."""
    kept = logged(trial.log_artifact(b"x", "x"))
    (tmp_path / "x").mkdir()

    with pytest.raises(UnsafePath, match="is a folder"):
        kept.download(tmp_path / "x")


def test_clash_of_cases_is_refused_where_it_matters(
    trial: TrialLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files that are one on a disk without upper and lower case: nothing is written there, both elsewhere."""
    crafted = _crafted(trial, tmp_path, "Readme", "readme")

    crafted.download(tmp_path / "apart")
    monkeypatch.setattr(downloading, "folds_case", lambda folder: True)
    with pytest.raises(UnsafePath, match="'Readme' and 'readme' are one file"):
        crafted.download(tmp_path / "together")

    assert sorted(_content(tmp_path / "apart")) == ["Readme", "readme"]
    assert _content(tmp_path / "together") == {}


def test_case_is_told_apart_here(tmp_path: Path) -> None:
    """The disk is asked, and left as it was."""
    expected = not (tmp_path / "X").exists()
    (tmp_path / "x").touch()
    expected = (tmp_path / "X").exists()

    assert downloading.folds_case(str(tmp_path)) is expected
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("paths", [["a", "A"], ["é", "e\u0301"], ["straße", "STRASSE"]])
def test_clashes_are_found(paths: list[str]) -> None:
    """Case, composition and special letters: what a disk may fold, clashes."""
    with pytest.raises(UnsafePath, match="are one file on this disk"):
        check_clashes(paths)


def test_broken_listing_is_named(trial: TrialLogger, data: Path, tmp_path: Path) -> None:
    """A listing that was damaged, or comes from a later version, is an error that names it."""
    kept = logged(trial.log_directory(data))
    (tmp_path / "runs.json.artifacts" / kept.uri).write_bytes(b"{}")
    later = msgspec.json.encode({"format": 99, "entries": []})
    name = hashlib.sha256(later).hexdigest()
    place = tmp_path / "runs.json.artifacts" / "trees" / name[:2]
    place.mkdir(exist_ok=True, parents=True)
    (place / name).write_bytes(later)

    with pytest.raises(CorruptArtifact, match="is not what was stored"):
        kept.entries()
    with pytest.raises(CorruptArtifact, match="later version of track"):
        dataclasses.replace(kept, uri=f"trees/{name[:2]}/{name}", digest=name).entries()


def test_empty_directory_is_an_artifact(trial: TrialLogger, tmp_path: Path) -> None:
    """A folder without files is one too."""
    (tmp_path / "empty").mkdir()

    kept = logged(trial.log_directory(tmp_path / "empty"))

    assert kept.entries() == []
    kept.download(tmp_path / "back")
    assert stat.S_ISDIR((tmp_path / "back").stat().st_mode)
    assert [found.size for found in artifacts(trial)] == [0]
