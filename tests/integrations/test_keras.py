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


def test_batches_of_another_training_are_counted_from_0(uri: str, tmp_path: Path) -> None:
    """The same callback may be given to several trainings."""
    callback = framework.callback(freq=1)
    for number in range(2):
        framework.fit(callback, tmp_path / str(number), 3)

    assert [list(trial.metrics["batch_loss"]) for trial in track.fetch(uri)] == [[0, 1, 2]] * 2


def test_batches_of_a_training_that_goes_on_are_all_there(uri: str, tmp_path: Path) -> None:
    """Those before the checkpoint stay, and those after it are counted on."""

    def crash(epoch: int) -> None:
        if epoch == 2:
            raise ArithmeticError("no loss today")

    with pytest.raises(ArithmeticError):
        framework.fit(framework.callback(freq=1, key="job 7"), tmp_path / "out", 4, crash)
    before = dict(track.fetch(uri)[0].metrics["batch_loss"])
    framework.fit(framework.callback(freq=1, key="job 7"), tmp_path / "out", 4)

    (trial,) = track.fetch(uri)
    found = dict(trial.metrics["batch_loss"])
    assert list(found) == [0, 1, 2, 3]
    assert [found[step] for step in (0, 1)] == [before[step] for step in (0, 1)]


def test_keras_reads_no_numbers_of_batches_that_nobody_asked_for() -> None:
    """A callback that hears of each batch makes Keras wait for its numbers."""
    method = framework.callback().on_train_batch_end

    assert getattr(method, "_is_default", False)
