"""Sets of experiments: declared as a sweep, registered in one root, run by any number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from track.utils.lazy import names_from

if TYPE_CHECKING:
    from track.manager.launch import work_in_processes
    from track.manager.manager import ExperimentManager
    from track.manager.worker import work

__all__ = ["ExperimentManager", "work", "work_in_processes"]

__getattr__ = names_from(
    __name__,
    {
        "ExperimentManager": "manager",
        "work": "worker",
        "work_in_processes": "launch",
    },
)
