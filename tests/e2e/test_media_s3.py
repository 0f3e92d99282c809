"""Images in real S3 servers: archives that go there whole, are thinned, removed, and outlive a killed run."""

from __future__ import annotations

import io
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

import track
from tests.children import kill, python, start_python
from tests.servers.s3 import S3
from tests.servers.track import serving
from track import TrackClient, Trial
from track.artifacts import gc
from track.errors import NotFound
from track.logger import TrialLogger
from track.media import writing
from track.persistence import get_protocol
from track.persistence.protocol import Protocol

pytest.importorskip("s3fs", reason="needs s3fs: run pip install .[s3]")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(params=["moto", pytest.param("weed", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[S3, str]:
    """Give a server and an empty bucket in it."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    name = str(request.getfixturevalue(f"{request.param}_bucket"))
    return request.getfixturevalue(f"{request.param}_server"), name


def _packs(server: S3, bucket: str) -> list[bytes]:
    """Return the archives in a bucket."""
    with closing(server.client()) as client:
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


def test_every_kind_is_in_the_bucket(bucket: tuple[S3, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large and small, of each kind, thinned and with a small picture: another client of a server has it from there."""
    monkeypatch.setattr(writing, "MOST", 4)
    large, data = PNG + bytes(300_000), b"\0\0\0\x18ftypmp42" + bytes(5)
    with serving(f"file:{tmp_path}/runs.json") as port, closing(_client(port, bucket[1])) as protocol:
        trial = protocol.new_trial(Trial(parameters={}))
        assert trial is not None
        with TrialLogger(trial, protocol, environment="none") as logger:
            for step in range(7):
                logger.log_image("sample", [[step]], step=step)
            logger.log_image("large", large)
            logger.log_table("table", {"n": range(20_000)})
            logger.log_text("long", "ü" * 40_000)
            logger.log_text("short", "ü")
            logger.log_histogram("weights", [1.0, 2.0])
            logger.log_audio("voice", [0.0, 1.0], 8000)
            logger.log_video("video", data)
            logger.log_html("page", "<p>" * 30_000)
        protocol.flush()

        with closing(_client(port, bucket[1])) as other:
            found = TrialLogger(other.fetch_trials()[0], other).media()
            by_name = {medium.name: medium for medium in found}
            assert [medium.step for medium in found if medium.name == "sample"] == [0, 2, 4, 6]
            assert by_name["large"].read_bytes() == large
            assert by_name["table"].rows[-1] == [19_999]
            assert (by_name["long"].text, by_name["short"].text) == ("ü" * 40_000, "ü")
            assert by_name["weights"].histogram.size == 2
            assert (by_name["video"].read_bytes(), by_name["page"].text) == (data, "<p>" * 30_000)
            assert {medium.artifact.uri[:5] for medium in found} == {"s3://", "data:"}
    assert len(_packs(*bucket)) == 1
    assert not (tmp_path / "runs.json.artifacts").exists()


def _client(port: int, bucket: str) -> Protocol:
    return get_protocol(f"socket://127.0.0.1:{port}?artifacts=s3://{bucket}/files")


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
