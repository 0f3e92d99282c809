"""Track experiments: a few lines in a training script, and every number is kept.

The names below are imported when they are first used, so that ``import track`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from track.client import TrackClient
    from track.dashboard import show
    from track.experiment import Experiment
    from track.functional import Root, functional_experiment
    from track.logger import TrialLogger
    from track.manager import ExperimentManager
    from track.monitor import Monitor, TorchMonitor
    from track.reading import Trials, best, fetch, to_arrow, to_pandas
    from track.serialization import to_json
    from track.structure import CustomStatus, Project, Status, Trial, TrialGroup

__version__ = "0.1.0"
__descr__ = "Experiment tracking that loses nothing."
__license__ = "MIT"
__author__ = "The track developers"
__author_email__ = ""
__copyright__ = "2026, the track developers"
__url__ = ""

__all__ = [
    "CustomStatus",
    "Experiment",
    "ExperimentManager",
    "Monitor",
    "Project",
    "Root",
    "Status",
    "TorchMonitor",
    "TrackClient",
    "Trial",
    "TrialGroup",
    "TrialLogger",
    "Trials",
    "best",
    "environment",
    "fetch",
    "functional_experiment",
    "get_git_version",
    "show",
    "to_arrow",
    "to_json",
    "to_pandas",
]

_homes = {
    "CustomStatus": "track.structure",
    "Experiment": "track.experiment",
    "ExperimentManager": "track.manager",
    "Monitor": "track.monitor",
    "Project": "track.structure",
    "Root": "track.functional",
    "Status": "track.structure",
    "TorchMonitor": "track.monitor",
    "TrackClient": "track.client",
    "Trial": "track.structure",
    "TrialGroup": "track.structure",
    "TrialLogger": "track.logger",
    "Trials": "track.reading",
    "best": "track.reading",
    "environment": "track.reading",
    "fetch": "track.reading",
    "functional_experiment": "track.functional",
    "show": "track.dashboard",
    "to_arrow": "track.reading",
    "to_json": "track.serialization",
    "to_pandas": "track.reading",
}

_modules = {"artifacts", "em", "errors", "media", "reading", "tracking"}
"""What the documentation calls ``track.artifacts`` and so on: there without an import of its own."""


def get_git_version(file: Any) -> Any:
    """Return the commit and its date of the repository that holds `file`; None when there is none."""
    from track.versioning import get_git_version

    version = get_git_version(file)
    return None if version == (None, None) else version


def __getattr__(name: str) -> Any:
    home = _homes.get(name)
    if name in _modules:
        import importlib

        return importlib.import_module(f"track.{name}")
    if home is None:
        from track.verbs import way_out

        remedy = "" if name.startswith("_") else way_out(name, __all__)
        raise AttributeError(f"module 'track' has no attribute {name!r}{remedy}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
