"""Which module reads which source; each is imported when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from track.importing.report import Report
from track.importing.runs import Run

SOURCES = {
    "wandb": "a folder of wandb, or one offline-run-* in it",
    "tensorboard": "a folder with event files (tfevents)",
    "mlflow": "mlflow.db, or a folder that has one",
    "mlruns": "a folder of mlflow's file store",
    "trackio": "a folder of trackio's databases, or one of them",
    "sacred": "a folder of sacred's FileStorageObserver",
    "aim": "a folder with .aim (needs the package aim)",
    "dvclive": "a folder of dvclive, or one that has some",
    "csv": "a file of comma-separated values: run, step, time, and a column a metric",
}
"""The sources, each with what its path is."""
_MODULES = {"csv": "table", "tensorboard": "tfevents"}


def runs_of(source: str, path: str, report: Report) -> Iterator[Run]:
    """Yield the runs at a path that exists."""
    module = importlib.import_module(f"track.importing.{_MODULES.get(source, source)}")
    found: Iterator[Run] = module.runs(path, report)
    return found
