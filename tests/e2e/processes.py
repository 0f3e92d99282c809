"""Helpers of the end-to-end tests: writers of a store in a file, and readers that share nothing with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from track import TrackClient
from track.logger import TrialLogger
from track.persistence.file import FileStore
from track.structure import Trial


def start(path: Path, **parameters: Any) -> TrialLogger:
    """Return a trial that runs, in the store at `path`."""
    client = TrackClient(f"file:{path}")
    client.set_project(name="survival")
    trial = client.new_trial(parameters=parameters or {"lr": 0.1})
    trial.start()
    return trial


def attach(path: Path, uid: str) -> TrialLogger:
    """Return a trial that exists, for a process of its own."""
    return TrackClient(f"file:{path}").set_trial(uid=uid)


def stored(path: Path) -> list[Trial]:
    """Return all trials as a reader finds them who has never seen the store."""
    with FileStore(str(path), 30.0).reading() as storage:
        return list(storage.find_trials())
