"""The collector of garbage waits while many objects are made, and goes on as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from track.utils.collecting import nothing_collected


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_collector_goes_on_after_an_error() -> None:
    """It waits inside, and never longer."""
    found = []

    def make() -> None:
        with nothing_collected():
            found.append(gc.isenabled())
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        make()

    assert [*found, gc.isenabled()] == [False, True]


def test_program_that_collects_by_itself_is_left_alone() -> None:
    """Where the collector is switched off it stays so."""
    gc.disable()

    with nothing_collected():
        pass

    assert not gc.isenabled()
