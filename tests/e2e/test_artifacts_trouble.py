"""A full disk, a folder without permission, a server that is away: training goes on, and the record is true."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.children import run
from tests.e2e.disks import full
from tests.e2e.processes import start
from tests.e2e.test_full_disk import _as_nobody
from track import TrackClient
from track.artifacts import artifacts, find, gc
from track.errors import BackendUnavailable
from track.logger import TrialLogger


def _files(folder: Path) -> list[Path]:
    return [path for kind in ("objects", "trees", "partial") for path in (folder / kind).rglob("*") if path.is_file()]


def _assert_told(trial: TrialLogger, name: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    assert f"the artifact '{name}' is not stored: " in caplog.text
    assert reason in trial.trial.metadata["artifacts_not_stored"][name]


@pytest.mark.root
@pytest.mark.parametrize("size", [1000, 600_000])
def test_full_disk_does_not_stop_the_training(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """A file that does not fit is not stored, nothing of it is left, and it is said; later it fits."""
    source = tmp_path_factory.mktemp("source") / "model.bin"
    source.write_bytes(os.urandom(size))
    path = tmp_path_factory.mktemp("store") / "runs.json"
    client = TrackClient(f"file:{path}?artifacts={small_disk}/files")
    trial = client.new_trial(parameters={})
    trial.log_artifact(b"first", "first")
    before = _files(small_disk / "files")

    with full(small_disk):
        missing = trial.log_file(source)
        trial.log_metrics(loss=0.5)

    assert missing is None
    assert _files(small_disk / "files") == before
    _assert_told(trial, "model.bin", "No space left", caplog)
    kept = trial.log_file(source)
    assert kept is not None
    assert kept.read_bytes() == source.read_bytes()


@pytest.mark.root
def test_content_of_a_record_that_waits_is_kept(small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A record that has no room yet is not lost, and its content is not garbage meanwhile."""
    files = tmp_path_factory.mktemp("files")
    uri = f"file:{small_disk}/runs.json?artifacts={files}"
    name = "/".join(["x" * 250] * 20)
    trial = TrackClient(uri).new_trial(parameters={})
    trial.log_artifact(b"first", "first")

    with full(small_disk):
        trial.log_artifact(b"waits", name)
        assert trial.protocol.unsaved()
        run(gc, uri)
    trial.log_metrics(loss=0.5)

    assert find(uri, name).read_bytes() == b"waits"
    assert trial.protocol.unsaved() == 0


def _expect_a_warning(path: Path) -> None:
    trial = TrackClient(f"file:{path}?artifacts={path.parent}/readonly/files").new_trial(parameters={})
    assert trial.log_artifact(b"x", "x") is None
    assert "Permission denied" in trial.trial.metadata["artifacts_not_stored"]["x"]


def test_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """A place without permission does not stop the training."""
    (tmp_path / "readonly").mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o777)

    assert run(_as_nobody, _expect_a_warning, tmp_path / "runs.json") == 0


def _expect_it_left_out(path: Path) -> None:
    trial = start(path)
    kept = trial.log_directory(path.parent / "data")
    assert kept is not None
    assert [entry.path for entry in kept.entries()] == ["open.txt"]
    with pytest.raises(PermissionError):
        trial.log_file(path.parent / "data" / "closed.txt")


def test_file_that_may_not_be_read(tmp_path: Path) -> None:
    """A file without permission is an error by itself, and left out of a directory."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "open.txt").write_text("open")
    (tmp_path / "data" / "closed.txt").write_text("closed")
    (tmp_path / "data" / "closed.txt").chmod(0)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o777)

    assert run(_as_nobody, _expect_it_left_out, tmp_path / "runs.json") == 0


def test_server_that_is_away_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files for a bucket nobody answers for are not stored; that is said, and the record has no such artifact."""
    pytest.importorskip("s3fs", reason="needs s3fs: run pip install .[s3]")
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://bucket/files"
    trial = TrackClient(uri).new_trial(parameters={})

    missing = trial.log_artifact(b"x", "x")
    trial.log_metrics(loss=0.5)

    assert missing is None
    _assert_told(trial, "x", "s3://bucket/files cannot be used", caplog)
    assert artifacts(uri) == []


def test_strict_store_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``strict=1`` of a store that delivers, what cannot be stored is an error."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    (tmp_path / "file").touch()
    uri = f"sqlite://{tmp_path}/runs.db?strict=1&artifacts={tmp_path}/file/below"
    trial = TrackClient(uri).new_trial(parameters={})

    with pytest.raises((BackendUnavailable, NotADirectoryError)):
        trial.log_artifact(b"x", "x")
    trial.protocol.close()
