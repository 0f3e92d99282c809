"""`FsspecResultTracker` on an S3 server."""

from __future__ import annotations

import json

import pytest

from tests.servers.s3 import S3
from track.tracking import FsspecResultTracker

pytest.importorskip("s3fs")


def test_results_on_s3(moto_server: S3, moto_bucket: str) -> None:
    """What is put is one object a key, and another tracker finds it."""
    tracker = FsspecResultTracker(f"s3://{moto_bucket}/trainer/123")

    tracker["attempt_1/out"] = {"accuracy": 0.233}
    tracker["attempt_1/out"] = {"accuracy": 0.5}

    with_client = moto_server.client()
    stored = with_client.get_object(Bucket=moto_bucket, Key="trainer/123/attempt_1/out")["Body"].read()
    with_client.close()
    assert json.loads(stored) == {"accuracy": 0.5}
    other = FsspecResultTracker(f"s3://{moto_bucket}/trainer/123")
    assert list(other.items()) == [("attempt_1/out", {"accuracy": 0.5})]
    assert other["attempt_1"] == other["nothing"] == {}
