"""Artifacts on real S3 servers: stored once, in parts, gone on with after a cut, and never visible by halves."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, kill, start_python
from tests.servers.proxy import FaultProxy
from tests.servers.s3 import S3
from track import TrackClient
from track.artifacts import artifacts, find, gc
from track.artifacts.keys import content_key
from track.artifacts.leases import hold_lease
from track.artifacts.location import open_folder
from track.artifacts.multipart import PART
from track.artifacts.recording import Recorder
from track.errors import BackendUnavailable, CorruptArtifact, UnsafePath
from track.logger import TrialLogger

pytest.importorskip("s3fs", reason="needs s3fs: run pip install .[s3]")


@pytest.fixture(params=["moto", pytest.param("weed", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest) -> str:
    """Give an empty bucket."""
    return str(request.getfixturevalue(f"{request.param}_bucket"))


@pytest.fixture
def server(request: pytest.FixtureRequest, bucket: str) -> S3:
    """Give the server that has the bucket."""
    name = request.node.callspec.params["bucket"]
    found: S3 = request.getfixturevalue(f"{name}_server")
    return found


def _start(folder: Path, bucket: str) -> TrialLogger:
    client = TrackClient(f"file:{folder}/runs.json?artifacts=s3://{bucket}/files")
    client.set_project(name="digits")
    return client.new_trial(parameters={"lr": 0.1})


def _keys(server: S3, bucket: str) -> list[str]:
    with contextlib.closing(server.client()) as client:
        return [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def _objects(server: S3, bucket: str) -> list[str]:
    return [key for key in _keys(server, bucket) if "/objects/" in key]


def _large(folder: Path, parts: int) -> Path:
    path = folder / "large.bin"
    piece = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(parts * (PART >> 20)):
            file.write(number.to_bytes(8, "big") + piece[8:])
        file.write(b"the end")
    return path


def test_file_goes_to_s3_and_back(tmp_path: Path, bucket: str, server: S3) -> None:
    """What is stored in a bucket is there once, under its digest, and comes back verified."""
    trial = _start(tmp_path, bucket)
    (tmp_path / "model.bin").write_bytes(b"weights")

    logged = trial.log_file(tmp_path / "model.bin")
    trial.log_file(tmp_path / "model.bin", name="copy.bin")

    assert logged is not None
    digest = hashlib.sha256(b"weights").hexdigest()
    assert _objects(server, bucket) == [f"files/objects/{digest[:2]}/{digest}"]
    assert logged.uri == f"s3://{bucket}/files/objects/{digest[:2]}/{digest}"
    find(trial, "copy.bin").download(tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == b"weights"
    assert not [key for key in _keys(server, bucket) if "/leases/" in key]


def test_directory_goes_to_s3_and_back(tmp_path: Path, bucket: str) -> None:
    """The files of a directory come back where they were."""
    trial = _start(tmp_path, bucket)
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a b.txt").write_text("a")
    (tmp_path / "data" / "sub" / "ü.txt").write_text("b")
    (tmp_path / "data" / "empty").write_text("")

    trial.log_directory(tmp_path / "data", recursive=True)
    find(trial, "data").download(tmp_path / "back")

    back = {path.relative_to(tmp_path / "back").as_posix(): path.read_text() for path in _files(tmp_path / "back")}
    assert back == {"a b.txt": "a", "sub/ü.txt": "b", "empty": ""}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_large_file_is_one_object(tmp_path: Path, bucket: str, server: S3) -> None:
    """A file that is sent in parts is one plain object."""
    trial = _start(tmp_path, bucket)
    path = _large(tmp_path, 3)

    logged = trial.log_file(path)

    assert logged is not None
    (key,) = _objects(server, bucket)
    with contextlib.closing(server.client()) as client:
        found = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert found == path.read_bytes()
    assert logged.digest == hashlib.sha256(found).hexdigest()


class _Counting(FaultProxy):
    """A proxy that counts what it passes on to the server."""

    sent = 0
    refuses_after_a_cut = False
    kills: tuple[int, int] | None = None
    """A process, and after how many bytes it is killed."""

    def _pass_on(self, link: Any, direction: Any, data: bytes, target: Any) -> bool:
        if direction == "to server":
            self.sent += len(data)
            if self.kills is not None and self.sent > self.kills[1]:
                kill(self.kills[0])
                self.kills = None
                # What the process has handed to the system, and the system has not sent, is gone with it.
                return False
        goes_on = super()._pass_on(link, direction, data, target)
        if not goes_on and self.refuses_after_a_cut:
            self.refuse()
        return goes_on


@pytest.fixture
def proxy(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Counting]:
    """Give a proxy in front of the server, which ``s3://`` URLs find instead."""
    proxy = _Counting(server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield proxy
    proxy.close()


def _uploads(server: S3, bucket: str) -> list[dict[str, Any]]:
    with contextlib.closing(server.client()) as client:
        return list(client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def _parts(server: S3, bucket: str) -> int:
    with contextlib.closing(server.client()) as client:
        (upload,) = _uploads(server, bucket)
        answer = client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return len(answer.get("Parts", []))


_KILLED = """
import sys
from track import TrackClient

TrackClient(sys.argv[1]).new_trial(parameters={}).log_file(sys.argv[2])
"""


def test_killed_upload_goes_on_where_it_was(tmp_path: Path, bucket: str, server: S3, proxy: _Counting) -> None:
    """After SIGKILL nothing is visible, and the next upload sends only the parts that are not there."""
    path = _large(tmp_path, 4)
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{bucket}/files"
    child = start_python("-c", _KILLED, uri, path)
    # In the middle of the fourth.
    proxy.kills = (child.pid, 3 * PART + PART // 2)
    done = ended(child)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not _objects(server, bucket)
    assert artifacts(uri) == []
    assert _parts(server, bucket) == 3
    before = proxy.sent

    logged = _start(tmp_path, bucket).log_file(path)

    assert logged is not None
    assert logged.read_bytes() == path.read_bytes()
    assert proxy.sent - before < 2 * PART
    assert not _uploads(server, bucket)


def test_cut_connection_costs_one_part(tmp_path: Path, bucket: str, proxy: _Counting) -> None:
    """A connection that breaks once is made again; only the open part is sent twice."""
    trial = _start(tmp_path, bucket)
    path = _large(tmp_path, 4)
    proxy.cut_after("to server", 2 * PART + PART // 2)
    before = proxy.sent

    logged = trial.log_file(path)

    assert logged is not None
    assert proxy.cuts == 1
    assert logged.read_bytes() == path.read_bytes()
    assert proxy.sent - before < path.stat().st_size + PART + (1 << 20)


def test_server_that_goes_away_is_said_and_the_rest_sent_later(
    tmp_path: Path, bucket: str, server: S3, proxy: _Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is gone in the middle does not stop the training; what was sent is not sent again."""
    trial = _start(tmp_path, bucket)
    path = _large(tmp_path, 4)
    proxy.refuses_after_a_cut = True
    proxy.cut_after("to server", 2 * PART + PART // 2)

    missing = trial.log_file(path)

    assert missing is None
    assert "the artifact 'large.bin' is not stored" in caplog.text
    assert artifacts(trial) == []
    assert not _objects(server, bucket)
    proxy.heal()
    before = proxy.sent
    logged = trial.log_file(path)
    assert logged is not None
    assert logged.read_bytes() == path.read_bytes()
    assert proxy.sent - before < path.stat().st_size - 2 * PART + (1 << 20)


def test_garbage_in_a_bucket_is_removed(tmp_path: Path, bucket: str, server: S3) -> None:
    """Clean-up works on a bucket as on a folder, and leaves nothing of its own."""
    trial = _start(tmp_path, bucket)
    trial.log_artifact(b"weights", "model")
    recorder = Recorder(trial.protocol, trial.trial)
    with recorder.store.storing() as lease:
        key = recorder.store.put_bytes(b"garbage", lease).key

    swept = gc(trial)

    assert swept.removed == [key]
    assert find(trial, "model").read_bytes() == b"weights"
    assert [name.split("/")[1] for name in _keys(server, bucket)] == ["objects", "stores"]


def _begun(server: S3, bucket: str, key: str) -> None:
    """Leave what an upload in parts leaves that is killed."""
    with contextlib.closing(server.client()) as client:
        upload = client.create_multipart_upload(Bucket=bucket, Key=f"files/{key}")["UploadId"]
        client.upload_part(Bucket=bucket, Key=f"files/{key}", UploadId=upload, PartNumber=1, Body=b"x" * PART)


def test_leftover_of_a_killed_upload_is_removed(
    tmp_path: Path, bucket: str, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that nobody goes on with are removed after a week, also while others upload; before, they are kept."""
    trial = _start(tmp_path, bucket)
    trial.log_artifact(b"weights", "model")
    _begun(server, bucket, content_key("objects", "ab" * 32))
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{bucket}/files"

    assert gc(uri).size == 0
    assert len(_uploads(server, bucket)) == 1
    monkeypatch.setitem(gc.__globals__, "_ABANDONED", -1.0)
    with hold_lease(open_folder(f"s3://{bucket}/files")):
        assert gc(uri).size == PART

    assert _uploads(server, bucket) == []


def test_leftover_of_what_came_another_way_is_removed_at_once(tmp_path: Path, bucket: str, server: S3) -> None:
    """Content that is there whole needs no parts, once nobody uploads."""
    trial = _start(tmp_path, bucket)
    kept = trial.log_artifact(b"weights", "model")
    assert kept is not None
    _begun(server, bucket, content_key("objects", str(kept.digest)))
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{bucket}/files"

    with hold_lease(open_folder(f"s3://{bucket}/files")):
        assert gc(uri).size == 0
    assert gc(uri).size == PART

    assert _uploads(server, bucket) == []
    assert find(uri, "model").read_bytes() == b"weights"


def test_reference_to_an_object_knows_its_etag(tmp_path: Path, bucket: str, server: S3) -> None:
    """Data in a bucket is named with size and etag; that it has changed since is found out."""
    with contextlib.closing(server.client()) as client:
        client.put_object(Bucket=bucket, Key="data/train.csv", Body=b"1,2,3")
        trial = start_local(tmp_path)
        kept = trial.log_artifact(f"s3://{bucket}/data/train.csv")
        assert kept is not None
        read = kept.read_bytes()
        client.put_object(Bucket=bucket, Key="data/train.csv", Body=b"4,5,6")

    assert (kept.name, kept.size, read) == ("train.csv", 5, b"1,2,3")
    assert kept.digest == f"etag:{hashlib.md5(b'1,2,3', usedforsecurity=False).hexdigest()}"
    with pytest.raises(CorruptArtifact, match="has changed since"):
        kept.read_bytes()


def test_bucket_that_is_not_there_is_not_made(
    tmp_path: Path, moto_bucket: str, moto_server: S3, caplog: pytest.LogCaptureFixture
) -> None:
    """A bucket that is misspelt does not come into being."""
    trial = _start(tmp_path, f"{moto_bucket}-misspelt")

    assert trial.log_artifact(b"weights", "model") is None

    assert "the artifact 'model' is not stored" in caplog.text
    with contextlib.closing(moto_server.client()) as client:
        assert f"{moto_bucket}-misspelt" not in [found["Name"] for found in client.list_buckets()["Buckets"]]


def start_local(folder: Path) -> TrialLogger:
    """Return a trial that keeps its artifacts beside its store."""
    return TrackClient(f"file:{folder}/runs.json").new_trial(parameters={})


def test_bucket_that_is_not_there_is_named(moto_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Training goes on, and what is said names the place."""
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{moto_bucket}-other/files"
    trial = TrackClient(uri).new_trial(parameters={})

    assert trial.log_artifact(b"x", "x") is None

    assert f"s3://{moto_bucket}-other/files cannot be used" in caplog.text
    with pytest.raises(BackendUnavailable, match=f"s3://{moto_bucket}-other/files cannot be used"):
        gc(uri)


def test_folder_in_a_bucket_is_no_file(moto_bucket: str, tmp_path: Path) -> None:
    """It may be named; nobody says that it is an empty file."""
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{moto_bucket}/files"
    trial = TrackClient(uri).new_trial(parameters={})
    trial.log_artifact(b"x", "x")

    named = trial.log_artifact(f"s3://{moto_bucket}/files", "files")

    assert named is not None
    assert named.size is None
    with pytest.raises(UnsafePath, match=f"s3://{moto_bucket}/files is a folder"):
        named.download(tmp_path / "back")
    assert not (tmp_path / "back").exists()
