"""What only Accelerate has: programs that log by whatever name."""

from __future__ import annotations

import pytest

pytest.importorskip("accelerate")


def test_number_may_be_called_step(uri: str) -> None:
    """The examples of Accelerate log ``epoch`` and ``step`` beside the loss, in the same call."""
    from accelerate import Accelerator

    import track.integrations.accelerate  # "track" is a name from here on

    accelerator = Accelerator(cpu=True, log_with="track")
    accelerator.init_trackers("glue", config={"rate": 0.1})
    accelerator.log({"train_loss": 0.5, "epoch": 1, "step": 20, "aggregator": 2.0}, step=20)
    accelerator.end_training()

    (trial,) = track.fetch(uri)
    assert {name: dict(values) for name, values in trial.metrics.items()} == {
        "train_loss": {20: 0.5}, "epoch": {20: 1}, "step": {20: 20}, "aggregator": {20: 2.0}
    }  # fmt: skip
