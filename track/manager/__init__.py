"""Sets of experiments: declared as a sweep, registered in one root, run by any number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from track.manager.manager import ExperimentManager
    from track.manager.worker import work

__all__ = ["ExperimentManager", "work"]

_homes = {"ExperimentManager": "track.manager.manager", "work": "track.manager.worker"}


def __getattr__(name: str) -> Any:
    # Who lists sets needs neither.
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_homes[name]), name)
    globals()[name] = value
    return value
