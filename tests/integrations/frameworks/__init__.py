"""How each framework trains here: a small model for some steps, with what is done at a step."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

NAMES = ["accelerate", "catboost", "fastai", "ignite", "keras", "lightgbm", "lightning", "transformers", "xgboost"]
"""One module of this folder for each."""

At = Callable[[int], Any]
"""What is done after a step, which is counted as the framework counts."""


class Framework(Protocol):
    """What a module of this folder has."""

    METRIC: str
    """A number that is logged at each step."""
    RESUMED_BY: dict[str, Any] | None
    """What a callback is given, beside, by which a training that goes on finds its trial; None where none can go on."""

    HOOKED_BY: str
    """What its steps are for a hook: ``s`` for steps, ``e`` for epochs; nothing where the program has a loop."""

    def callback(self, **options: Any) -> Any:
        """Return the callback, logger or tracker of this framework."""

    def pruned_by(self, trial: Any) -> Any:
        """Return what Optuna has for this framework, by which a trial of it is pruned; not every one has this."""

    def fit(
        self, callback: Any, folder: Path, steps: int, at: At | None = None, resume: bool = False, early: bool = False,
        more: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        """Train for so many steps, and keep checkpoints in the folder.

        With `resume` it goes on from the last one; with `early` the framework's own early stopping ends it at once;
        `more` are callbacks beside, which those have that have `pruned_by`.
        """

    def expected(self, steps: int) -> list[int]:
        """Return the steps at which the number is logged."""


def load(name: str) -> Framework:
    """Return the module of a framework; ModuleNotFoundError where that is not installed."""
    return importlib.import_module(f"{__name__}.{name}")  # type: ignore[return-value]
