"""The tests of the upload store, on servers of S3."""

from __future__ import annotations

import itertools

import pytest

from tests.servers.s3 import S3, moto_bucket, moto_server, weed_server  # noqa: F401 - fixtures
from tests.unit.em.test_store import *  # noqa: F403 - they ask for the `url` of the file that they are in

_numbers = itertools.count()


@pytest.fixture(params=["moto", pytest.param("weed", marks=[pytest.mark.slow, pytest.mark.network])])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an empty place."""
    pytest.importorskip("s3fs")
    if request.param == "moto":
        return f"s3://{request.getfixturevalue('moto_bucket')}/prefix"
    for name, value in request.getfixturevalue("weed_server").environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{request.getfixturevalue('one_weed_bucket')}/prefix-{next(_numbers)}"


@pytest.fixture(scope="module")
def one_weed_bucket(weed_server: S3) -> str:  # noqa: F811
    """Give a bucket for all tests: this server has room for a few only."""
    return weed_server.new_bucket()
