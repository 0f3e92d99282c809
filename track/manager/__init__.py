"""Sets of experiments: declared as a sweep, registered in one root, run by any number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from track.manager.launch import work_in_processes
    from track.manager.manager import ExperimentManager
    from track.manager.worker import work

__all__ = ["ExperimentManager", "work", "work_in_processes"]

_homes = {
    "ExperimentManager": "track.manager.manager",
    "work": "track.manager.worker",
    "work_in_processes": "track.manager.launch",
}


def __getattr__(name: str) -> Any:
    # Who lists sets needs neither.
    if name not in _homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_homes[name]), name)
    globals()[name] = value
    return value
