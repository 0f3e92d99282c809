"""What every Trainer of Lightning loads, by an entry point: checkpoints name the trial they belong to.

Nothing is imported or done for a training without a `TrackLogger`.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

_NOTED = "track_trial"


def of_lightning() -> list[Any]:
    """Return the callbacks for the package ``lightning``."""
    return _callbacks("lightning.pytorch")


def of_pytorch_lightning() -> list[Any]:
    """Return the callbacks for the package ``pytorch_lightning``."""
    return _callbacks("pytorch_lightning")


def _track_loggers(trainer: Any) -> list[Any]:
    module = sys.modules.get("track.integrations.lightning")
    return [] if module is None else [logger for logger in trainer.loggers if isinstance(logger, module.TrackLogger)]


def _callbacks(package: str) -> list[Any]:
    return [_made(package)] if "track.integrations.lightning" in sys.modules else []


def _made(package: str) -> Any:
    return _class_for(package)()


@functools.cache
def _class_for(package: str) -> Any:
    base: Any = importlib.import_module(package).Callback

    class TrialOfCheckpoint(base):  # type: ignore[misc, unused-ignore]
        """Notes in each checkpoint which trial it belongs to, and lets a training that goes on go on with that."""

        def __reduce__(self) -> Any:
            return _made, (package,)

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if stage == "fit":
                for logger in _track_loggers(trainer):
                    logger.begin_fit(goes_on=trainer.global_step > 0)

        def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
            for logger in _track_loggers(trainer):
                if logger.trial is not None:
                    checkpoint[_NOTED] = logger.trial._created().uid

        def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
            uid = checkpoint.get(_NOTED)
            if isinstance(uid, str):
                for logger in _track_loggers(trainer):
                    logger.go_on_with(uid, int(checkpoint.get("global_step", 0)))

    return TrialOfCheckpoint
