"""Images in real S3 servers: archives that go there whole, are thinned, removed, and outlive a killed run."""

from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path

import pytest

import track
from tests.children import kill, python, start_python
from tests.servers.s3 import S3
from track import TrackClient
from track.artifacts import gc
from track.errors import NotFound

pytest.importorskip("s3fs", reason="needs s3fs: run pip install .[s3]")


@pytest.fixture(params=["moto", pytest.param("weed", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[S3, str]:
    """Give a server and an empty bucket in it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    name = str(request.getfixturevalue(f"{request.param}_bucket"))
    return request.getfixturevalue(f"{request.param}_server"), name


def _packs(server: S3, bucket: str) -> list[bytes]:
    """Return the archives in a bucket."""
    with contextlib.closing(server.client()) as client:
        keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if key.endswith(".tar")]


def test_images_are_one_archive_of_a_bucket(bucket: tuple[S3, str], tmp_path: Path) -> None:
    """It is there once the run has ended, `tar` opens it, each image comes back, and goes with its run."""
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{bucket[1]}/files"
    client = TrackClient(uri)
    with client.new_trial(name="seen", parameters={}) as trial:
        for step in range(50):
            trial.log_image("sample", [[step, 255]], step=step)
    client.save()

    (pack,) = _packs(*bucket)
    with tarfile.open(fileobj=io.BytesIO(pack)) as archive:
        assert len(archive.getnames()) == 50
    media = track.fetch(uri)[0].media("sample")
    assert [medium.step for medium in media] == list(range(50))
    assert len({medium.read_bytes() for medium in media}) == 50
    client.protocol.close()
    for verb in (["delete", uri, "seen"], ["gc", uri]):
        done = python("-m", "track", *verb)
        assert done.returncode == 0, done.stderr
    assert len(gc(uri).removed) == 1
    assert _packs(*bucket) == []


def test_what_a_killed_run_has_logged_comes_with_the_next(bucket: tuple[S3, str], tmp_path: Path) -> None:
    """Images of a process that was killed are on its machine, and go to the bucket when the next run logs one."""
    uri = f"file:{tmp_path}/runs.json?artifacts=s3://{bucket[1]}/files"
    script = (
        "import time; from track import TrackClient\n"
        f"trial = TrackClient({uri!r}).new_trial(name='killed', parameters={{}}); trial.start()\n"
        "for step in range(20):\n"
        "    trial.log_image('sample', [[step, 2]], step=step)\n"
        "print('logged', flush=True); time.sleep(100)\n"
    )
    with start_python("-c", script) as process:
        assert process.stdout is not None
        next(process.stdout)
        kill(process.pid)
    killed = track.fetch(uri, {"name": "killed"})[0]
    with pytest.raises(NotFound):
        killed.media("sample")[0].read_bytes()

    with TrackClient(uri).new_trial(name="next", parameters={"next": 1}) as trial:
        trial.log_image("sample", [[200]])

    assert [len(medium.read_bytes()) > 0 for medium in killed.media("sample")] == [True] * 20
    assert len(_packs(*bucket)) == 2
