"""Where artifacts are, with fsspec and without it."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.children import printed_by, python
from tests.unit.artifacts.test_artifacts import logged, start
from track.artifacts import find, gc
from track.artifacts.content import Source
from track.artifacts.local import LocalFolder
from track.artifacts.location import open_folder
from track.artifacts.multipart import part_length
from track.artifacts.transfer import each, progress
from track.errors import BackendUnavailable, FileChanged, MissingExtra, NotFound
from track.utils.filesystem import age_of, translated

_WITHOUT = """
import sys
sys.modules["fsspec"] = None
from track import TrackClient
from track.artifacts import find, gc
trial = TrackClient("file://runs.json").new_trial(parameters={})
trial.log_artifact(b"weights", "model")
print(find("file://runs.json", "model").read_bytes(), gc("file://runs.json").removed)
"""


def test_local_folders_need_no_fsspec(tmp_path: Path) -> None:
    """Files are stored, found and cleaned up where fsspec is not installed."""
    done = python("-c", _WITHOUT, cwd=tmp_path)

    assert (done.stdout, done.stderr) == ("b'weights' []\n", "")


def test_import_of_track_brings_no_artifacts() -> None:
    """The verbs are there, and what they need is imported when they are called."""
    said = printed_by("import track, sys; print([name for name in sys.modules if 'artifacts' in name])")

    assert said == "[]"


def test_url_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme that needs a package names it."""
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(MissingExtra, match=r'gs://bucket/files needs fsspec: run pip install "\.\[fsspec\]"'):
        open_folder("gs://bucket/files")


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    """Give a URL of a place in memory."""
    pytest.importorskip("fsspec", reason="needs fsspec: run pip install .[fsspec]")
    return f"memory://{tmp_path.name}/files"


def _large(folder: Path) -> Path:
    path = folder / "large.bin"
    path.write_bytes(bytes(range(256)) * 40_000)
    return path


def test_large_file_goes_where_there_are_no_parts(tmp_path: Path, bucket: str) -> None:
    """A place without uploads in parts gets the file under another name first."""
    trial = start(f"file:{tmp_path}/runs.json?artifacts={bucket}")
    path = _large(tmp_path)

    kept = logged(trial.log_file(path))

    assert kept.read_bytes() == path.read_bytes()
    folder = open_folder(bucket)
    assert (len(folder.files("objects")), folder.files("partial")) == (1, [])


def test_file_that_changes_while_it_is_sent_is_not_stored(
    tmp_path: Path, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read for the digest and what was sent must be the same."""
    path = _large(tmp_path)
    folder: Any = open_folder(bucket)

    with Source(str(path)) as source, pytest.raises(FileChanged, match="changed while it was read"):
        folder.put(source, "lease", frozenset(), "0" * 64, lambda count: None)

    assert folder.files("objects") == []
    assert folder.files("partial") == []


def test_directory_is_moved_several_files_at_a_time(tmp_path: Path, bucket: str) -> None:
    """Many files come back whole from a place that is far away."""
    trial = start(f"file:{tmp_path}/runs.json?artifacts={bucket}")
    (tmp_path / "data").mkdir()
    for number in range(50):
        (tmp_path / "data" / str(number)).write_text(str(number % 7))

    logged(trial.log_directory(tmp_path / "data")).download(tmp_path / "back")

    assert {path.name: path.read_text() for path in (tmp_path / "back").iterdir()} == {
        str(number): str(number % 7) for number in range(50)
    }
    assert len(open_folder(bucket).files("objects")) == 7


def test_broken_upload_to_a_far_place_is_cleared_away(tmp_path: Path, bucket: str) -> None:
    """What a killed upload left under another name goes with the next clean-up."""
    uri = f"file:{tmp_path}/runs.json?artifacts={bucket}"
    start(uri).log_artifact(b"weights", "model")
    folder = open_folder(bucket)
    folder.write("partial/dead-123", b"12345")

    swept = gc(uri)

    assert swept.size == 5
    assert folder.files("partial") == []
    assert find(uri, "model").read_bytes() == b"weights"


def test_reference_behind_fsspec(tmp_path: Path, bucket: str) -> None:
    """Data in any place is named, and read from there."""
    folder = open_folder(bucket)
    folder.write("train.csv", b"1,2,3")
    trial = start(f"file:{tmp_path}/runs.json")

    kept = logged(trial.log_artifact(f"{bucket}/train.csv"))

    assert (kept.size, kept.read_bytes()) == (5, b"1,2,3")
    with pytest.raises(NotFound, match="nothing is at memory://"):
        trial.log_artifact(f"{bucket}/none.csv")


@pytest.mark.parametrize(
    "known",
    [
        {"LastModified": datetime.fromtimestamp(1000.0, timezone.utc)},
        {"updated": "1970-01-01T00:16:40Z"},
        {"mtime": 1000.0},
    ],
)
def test_age_is_read_however_a_place_tells_it(known: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects, texts and numbers are times."""
    monkeypatch.setattr(time, "time", lambda: 1060.0)

    assert age_of(known) == pytest.approx(60.0)
    assert age_of({}) == 0.0


def test_errors_of_a_place_are_ours() -> None:
    """Whatever a place raises is one error that names it, without its secrets."""
    message = r"s3://b/x\?token=\*\*\* cannot be used: KeyError"

    with pytest.raises(BackendUnavailable, match=message), translated("s3://b/x?token=secret"):
        raise KeyError("x")


def test_parts_grow_with_the_file() -> None:
    """A file of any size has at most ten thousand parts."""
    assert part_length(1) == 8 << 20
    assert 5 * 2**40 / part_length(5 * 2**40) <= 10_000


@pytest.mark.parametrize("workers", [1, 4])
def test_first_error_ends_the_work(workers: int) -> None:
    """Order is kept, and an error is raised where it belongs."""
    done = each(lambda number: 1 // number, [1, 1, 0, 1], workers)

    assert [next(done), next(done)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(done)


def test_folder_shows_no_partial_files(tmp_path: Path) -> None:
    """What is being written has no key."""
    folder = LocalFolder(str(tmp_path))
    (tmp_path / "objects" / "ab").mkdir(parents=True)
    (tmp_path / "objects" / "ab" / ".lease-1.1").write_bytes(b"123")

    assert folder.files("objects") == []
    assert [(left.owner, left.size) for left in folder.unfinished()] == [("lease", 3)]


def test_bar_is_shown_at_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long transfers have a bar of tqdm at a terminal; nothing is printed elsewhere, or for small ones."""
    tqdm = pytest.importorskip("tqdm", reason="needs tqdm: run pip install .[progress]")
    made: list[dict[str, Any]] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            made.append(options)

        def update(self, count: int) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    for is_terminal, size in ((False, 1 << 30), (True, 1000), (True, 1 << 30)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer, raising=False)
        with progress("model.bin", size) as advance:
            advance(10)

    assert [(options["desc"], options["total"], options["unit"]) for options in made] == [("model.bin", 1 << 30, "B")]


def test_server_that_is_away_is_not_waited_for_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which store a file is for is asked of a server once, not at each file while it is away."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    trial = start(f"sqlite:{tmp_path}/runs.db?artifacts={tmp_path}/files")
    protocol: Any = trial.protocol
    protocol.flush()
    asked: list[int] = []

    def away() -> str:
        asked.append(1)
        raise BackendUnavailable("away")

    def takes_nothing(*_: Any) -> None:
        raise BackendUnavailable("away")

    monkeypatch.setattr(protocol, "_identity", "")
    monkeypatch.setattr(protocol.remote, "identity", away)
    # What is logged meanwhile does not find it there.
    monkeypatch.setattr(type(protocol.remote), "receive", takes_nothing)
    monkeypatch.setattr(type(protocol.remote), "receive_after", takes_nothing)
    # However busy the machine is.
    monkeypatch.setattr("track.persistence.delivery.protocol._TRUSTED", 3600.0)
    for number in range(5):
        logged(trial.log_artifact(bytes([number]), "model"))

    assert len(asked) == 1
