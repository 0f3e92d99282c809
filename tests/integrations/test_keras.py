"""What only Keras has: numbers of batches."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import track

pytest.importorskip("keras")
pytest.importorskip("torch")

from tests.integrations.frameworks import keras as framework


def test_batches_are_recorded_where_that_was_asked_for(uri: str, tmp_path: Path) -> None:
    """Every so many batches, beside the epochs; a copy of the callback does the same."""
    framework.fit(copy.deepcopy(framework.callback(freq=2)), tmp_path / "out", 4)

    (trial,) = track.fetch(uri)
    assert list(trial.metrics["loss"]) == [0, 1, 2, 3]
    assert list(trial.metrics["batch_loss"]) == [0, 2]


def test_keras_reads_no_numbers_of_batches_that_nobody_asked_for() -> None:
    """A callback that hears of each batch makes Keras wait for its numbers."""
    method = framework.callback().on_train_batch_end

    assert getattr(method, "_is_default", False)
