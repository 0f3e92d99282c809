"""What only fastai has: numbers of batches."""

from __future__ import annotations

from pathlib import Path

import pytest

import track

pytest.importorskip("fastai")


def test_batches_are_counted_from_0(uri: str, tmp_path: Path) -> None:
    """There are two in an epoch here, of which the first of each is recorded."""
    from tests.integrations.frameworks import fastai as framework

    framework.fit(framework.callback(freq=2), tmp_path / "out", 3)

    (trial,) = track.fetch(uri)
    assert list(trial.metrics["batch_loss"]) == [0, 2, 4]
