"""Which module reads which source; each is imported when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from track.importing.report import Report
from track.importing.runs import Run

SOURCES = {
    "wandb": "a folder of wandb, or one offline-run-* in it",
    "tensorboard": "a folder with event files (tfevents)",
    "mlflow": "mlflow.db, or a folder that has one (a folder mlruns: track import mlruns)",
    "mlruns": "a folder of mlflow's file store (a file mlflow.db: track import mlflow)",
    "trackio": "a folder of trackio's databases, or one of them",
    "sacred": "a folder of sacred's FileStorageObserver, or the mongodb://host/database of its MongoObserver",
    "aim": "a folder with .aim (needs the package aim)",
    "dvclive": "a folder of dvclive, or one that has some",
    "csv": "a file of comma-separated values: run, step, time, and a column a metric",
}
"""The sources, each with what its path is."""
_COPIED = (
    "from a server, export-all and import-all of the package mlflow-export-import copy the runs to one of yours "
    "with --backend-store-uri sqlite:///mlflow.db"
)
_ELSEWHERE = {
    "wandb": "the folder wandb of where a run was has all of it, whether or not it was sent; of others "
    "wandb.Api().run(...).scan_history() gives the rows, for a table that track import csv takes",
    "mlflow": f"give the path of its database, mlflow.db; {_COPIED}",
    "mlruns": f"give the path of its folder, mlruns; {_COPIED}",
    "aim": "give the folder that has .aim, on the machine of its server",
    "sacred": "give the folder of a FileStorageObserver, or the mongodb://host/database of a MongoObserver",
}
_MODULES = {"csv": "table", "tensorboard": "tfevents"}
_SERVERS = {"sacred": (("mongodb://", "mongodb+srv://"), "observer")}
"""The sources that are read from a server, too: how its URI begins, and the module that does."""


def way_from(source: str) -> str:
    """Return what to do about runs of a source that are on a server."""
    return _ELSEWHERE.get(source, f"give {SOURCES[source]}")


def is_server(source: str, given: str) -> bool:
    """Return whether what was given is the URI of a server from which a source is read."""
    return source in _SERVERS and given.startswith(_SERVERS[source][0])


def runs_of(source: str, path: str, report: Report) -> Iterator[Run]:
    """Yield the runs at a path that exists, or at the URI of a server."""
    name = _SERVERS[source][1] if is_server(source, path) else _MODULES.get(source, source)
    module = importlib.import_module(f"track.importing.{name}")
    found: Iterator[Run] = module.runs(path, report)
    return found
