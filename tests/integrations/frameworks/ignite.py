"""A linear layer in an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping, ModelCheckpoint

from track.integrations.ignite import TrackLogger

METRIC = "training/loss"
RESUMED_BY: dict[str, Any] | None = {"key": "job 7"}
HOOKED_BY = "s"


def callback(**options: Any) -> TrackLogger:
    """Return the logger."""
    made = TrackLogger(**{"parameters": {"rate": 0.1}, **options})
    made.saves = "checkpoints" in options
    return made


def fit(
    callback: Any, folder: Path, steps: int, at: Callable[[int], Any] | None = None, resume: bool = False,
    early: bool = False,
) -> None:  # fmt: skip
    """Train."""
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def update(engine: Engine, batch: torch.Tensor) -> float:
        loss = layer(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    trainer = Engine(update)
    callback.attach_engine(trainer)
    callback.attach_output_handler(
        trainer, Events.ITERATION_COMPLETED, tag="training", output_transform=lambda loss: {"loss": loss}
    )
    callback.attach_opt_params_handler(trainer, Events.ITERATION_COMPLETED, optimizer)
    if callback.saves:
        saver = ModelCheckpoint(folder, n_saved=2, score_function=lambda engine: -engine.state.output)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, saver, {"model": layer})
        callback.attach_checkpoint(saver)
    if at is not None:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: at(engine.state.iteration))
    if not early:
        folder.mkdir(exist_ok=True)
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: torch.save(engine.state_dict(), folder / "trainer.pt")
        )
    if resume:
        trainer.load_state_dict(torch.load(folder / "trainer.pt"))
    if early:
        stops = EarlyStopping(1, lambda engine: -engine.state.iteration, trainer)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, stops)
    trainer.run([torch.ones(2, 4)] * steps, max_epochs=1)


def expected(steps: int) -> list[int]:
    """Return the iterations: counted from 1."""
    return list(range(1, steps + 1))
