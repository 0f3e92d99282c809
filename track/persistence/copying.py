"""A copy of a store, whatever the backend, as one JSON file that ``file:`` opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from track.errors import BackendUnavailable
from track.persistence.snapshot import replace_file, snapshot_bytes
from track.persistence.storage import LocalStorage

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol

__all__ = ["stored_in", "write_copy"]


def write_copy(path: str, storage: LocalStorage) -> None:
    """Write all of a state to a JSON file, whole or not at all; missing folders are created.

    Raises
    ------
    BackendUnavailable
        The file cannot be written.
    """
    try:
        Path(path).resolve().parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, snapshot_bytes(storage, {}))
    except OSError as error:
        reason = error.strerror or error
        raise BackendUnavailable(f"{path} cannot be written ({reason}): name a file in a folder that can") from error


def stored_in(protocol: Protocol) -> LocalStorage:
    """Return a state made of everything that a backend answers."""
    storage = LocalStorage()
    for project in protocol.fetch_projects():
        storage.add_project(project)
    for group in protocol.fetch_groups():
        storage.add_group(group, group.trials)
    for trial in protocol.fetch_trials():
        storage.add_trial(trial)
    return storage
