"""The tests of the upload store, on servers of S3."""

from __future__ import annotations

import pytest

from tests.unit.em.test_store import *  # noqa: F403 - they ask for the `url` of the file that they are in


@pytest.fixture(params=["moto", pytest.param("weed", marks=[pytest.mark.slow, pytest.mark.network])])
def url(request: pytest.FixtureRequest) -> str:
    """Give an empty place."""
    pytest.importorskip("s3fs")
    return f"s3://{request.getfixturevalue(f'{request.param}_bucket')}/prefix"
