"""Sets of experiments: declared as a sweep, registered in one root, run by any number of workers."""

from __future__ import annotations

from track.manager.manager import ExperimentManager
from track.manager.worker import work

__all__ = ["ExperimentManager", "work"]
