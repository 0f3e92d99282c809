"""A copy of a store as one JSON file, which takes the place of nothing that somebody still needs."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from track.errors import BackendUnavailable, InvalidCall, UnsafePath
from track.persistence.query import ALSO_DELETED
from track.persistence.state.outside import points_files
from track.persistence.state.placing import placing_in_copy
from track.persistence.state.snapshot import names_beside, read_head, snapshot_bytes
from track.persistence.state.state import State
from track.persistence.utils import artifacts_home, uri_path
from track.utils.files import absolute_path, open_regular, replace_file

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol

logger = logging.getLogger(__name__)
_DATABASES = {".db", ".db3", ".sqlite", ".sqlite2", ".sqlite3"}
_PARTS = {".journal", ".lock"}
_OF_SQLITE = ("-wal", "-shm", "-journal")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SQLITE = b"SQLite format 3\0"


def copy_path(name: str | os.PathLike[str]) -> str:
    """Return the absolute path of a copy that is called so: a path, which may begin with ``~/``, or a ``file:`` URI.

    Raises InvalidCall: it is another URI, or there is a NUL in it.
    """
    text = os.fspath(name)
    if text.startswith("file:"):
        text = uri_path(text)
    if "\0" in text:
        raise InvalidCall(f"{text!r} has a NUL in it: no file is called so")
    if _URI.match(text):
        raise InvalidCall(f"save writes a file, and {text!r} is none: copy the runs there with: track copy FROM {text}")
    return absolute_path(text)


def write_copy(name: str | os.PathLike[str], storage: State, file: str | None) -> None:
    """Write all of a state to a JSON file, whole or not at all; missing folders are created.

    Where there are many points, they are in a points file beside it.

    `file`: the store's own; artifacts beside it stay there, which is said, and the copy names them where they are.

    Raises BackendUnavailable: the file cannot be written. InvalidCall: it is called like a
    database or a part of a store, or a store is there.
    """
    path = copy_path(name)
    _require_free(path)
    home = artifacts_home(file)
    try:
        Path(path).resolve().parent.mkdir(parents=True, exist_ok=True)
        # Of a copy that this one takes the place of.
        old = points_files(os.path.realpath(path)) if os.path.exists(path) else []
        placing = placing_in_copy(os.path.realpath(path), storage)
        replace_file(path, snapshot_bytes(storage, {}, is_copy=True, home=home, placing=placing))
        for former in old:
            os.unlink(former)
    except OSError as error:
        reason = error.strerror or error
        raise BackendUnavailable(f"{path} cannot be written ({reason}): name a file in a folder that can") from error
    _tell_files(path, storage, home)


def _require_free(path: str) -> None:
    """Raise InvalidCall where a copy would take the place of a store, or of a part of one, or is called like it."""
    kind = os.path.splitext(path)[1].lower()
    if kind in _DATABASES or _beginning(path) == _SQLITE:
        what = "called like" if kind in _DATABASES else "there, and is"
        raise InvalidCall(
            f"{path} is {what} a database, and a copy is JSON: name it copy.json, or copy the runs into a "
            f"database with: track copy FROM sqlite://{path}"
        )
    if kind in _PARTS or any(path.endswith(end) and os.path.exists(path.removesuffix(end)) for end in _OF_SQLITE):
        raise InvalidCall(f"{path} is called like a part of a store: name the copy copy.json")
    # What `save` has written, and no run has logged to since, has neither.
    if read_head(path).keys() & {"id", "home"} or os.path.exists(f"{path}.journal"):
        raise InvalidCall(
            f"{path} is a store that runs have logged to: give the copy another name, or add these runs to it with: "
            f"track copy FROM file://{path}"
        )


def _beginning(path: str) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(len(_SQLITE))
    except (OSError, UnsafePath):
        return b""


def _tell_files(path: str, storage: State, home: str | None) -> None:
    having = [trial for trial in storage._trials.values() if trial.artifacts]
    if not having:
        return
    trials = "1 trial" if len(having) == 1 else f"{len(having):,} trials"
    where = home if home and all(any(map(names_beside, trial.artifacts)) for trial in having) else "where they are"
    logger.warning(
        "the files of %s are not in %s: they stay %s, and the copy names them there: keep that place",
        trials, path, f"in {where}" if where == home else where,
    )  # fmt: skip


def stored_in(protocol: Protocol) -> State:
    """Return a state made of everything that a backend answers."""
    storage = State()
    storage.identity, storage.former = protocol.identity(), protocol.former_identities()
    for project in protocol.fetch_projects():
        storage.add_project(project)
    for group in protocol.fetch_groups():
        storage.add_group(group, group.trials)
    # Its group is asked for its members, and does not name those that are hidden.
    for trial in protocol.fetch_trials(ALSO_DELETED):
        storage.add_trial(trial)
        if trial.deleted and trial.group_id in storage.groups:
            storage._members[trial.group_id][trial.uid] = None
    return storage
