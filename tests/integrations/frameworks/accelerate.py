"""A linear layer in a loop of the program's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from track.integrations.accelerate import TrackTracker

METRIC = "loss"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = ""


def callback(**options: Any) -> TrackTracker:
    """Return the tracker."""
    made = TrackTracker(**options)
    made.saves = "checkpoints" in options
    return made


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False,
) -> None:  # fmt: skip
    """Train."""
    accelerator = Accelerator(cpu=True, log_with=callback)
    accelerator.init_trackers("lines", config={"rate": 0.1, "steps": steps})
    if callback.saves:
        callback.attach_checkpoints(accelerator)
    layer = torch.nn.Linear(4, 1)
    model, optimizer = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    for step in range(int((folder / "step").read_text()) if resume else 0, steps):
        loss = model(torch.ones(2, 4)).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"loss": loss}, step=step)
        if callback.saves:
            accelerator.save_state(folder / str(step))
        if at is not None:
            at(step)
        folder.mkdir(exist_ok=True)
        (folder / "step").write_text(str(step + 1))
        if early and step:
            break
    accelerator.end_training()


def expected(steps: int) -> list[int]:
    """Return the steps: counted from 0."""
    return list(range(steps))
