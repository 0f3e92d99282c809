"""``track export --parquet s3://...`` on an S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.s3 import S3
from track import TrackClient
from track.cli import main

pytest.importorskip("s3fs")
pytest.importorskip("pyarrow")


def test_lake_on_s3(moto_server: S3, moto_bucket: str, tmp_path: Path) -> None:
    """Each export adds objects to those that are there, and replaces the cursor."""
    uri = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(uri, environment="none")
    for lr in (0.1, 0.2):
        with client.new_trial(parameters={"lr": lr}, force=True) as trial:
            trial.log_metrics(step=0, loss=lr)

        assert main(["export", uri, "--parquet", f"s3://{moto_bucket}/lake"]) == 0

    asked = moto_server.client()
    names = [found["Key"] for found in asked.list_objects_v2(Bucket=moto_bucket)["Contents"]]
    asked.close()
    assert [name.split("/")[1] for name in sorted(names)] == ["_track", "points", "points", "trials", "trials"]
