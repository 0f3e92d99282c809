"""A set that is somewhere else: the files that name paths, and the trials that do."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import shutil
import uuid
from collections.abc import Callable
from typing import Any

from track.errors import AlreadyRuns, InvalidCall, SetExists
from track.experiment.parts import NAME, SET_FILE, SET_FOLDER
from track.manager.folders import RUN_FILE, change_params
from track.manager.members import folders_in, running, trials_of
from track.manager.sets import FILES, SCRIPT, ExperimentSet, State
from track.utils.files import is_below, name_aside, replace_file
from track.versioning import compute_hash
from track.yaml12 import Commented

logger = logging.getLogger(__name__)
_EXECUTE = ' --execute "${1}"'


def move(experiments: ExperimentSet, dest: str) -> ExperimentSet:
    """Move a set, and return it where it is then; its trials stay the same.

    Raises
    ------
    AlreadyRuns
        One of its experiments runs (a ValueError too).
    SetExists
        There is something at the new place (a FileExistsError too).
    InvalidCall
        The new place is in the old one, or the old one is a link (a ValueError too).
    """
    root = experiments.root
    if os.path.islink(root):
        raise InvalidCall(f"{root} is a link: move {os.path.realpath(root)}")
    if os.path.realpath(dest) == os.path.realpath(root) or is_below(root, dest):
        raise InvalidCall(f"{root} cannot be moved into itself, to {dest}")
    if os.path.lexists(dest) and not (os.path.isdir(dest) and not os.path.islink(dest) and not os.listdir(dest)):
        kind = "a set already" if os.path.exists(os.path.join(dest, FILES[0])) else "there already"
        raise SetExists(f"{dest} is {kind}: give a path where nothing is")
    with experiments.locked():
        experiments.require()
        state = experiments.read()
        busy = running(trials_of(experiments), state.experiments)
        if busy:
            raise AlreadyRuns(f"{root} cannot be moved while experiments run: {', '.join(busy)}")
        experiments.protocol.flush()
        experiments.close()
        os.makedirs(os.path.dirname(dest), exist_ok=True)
        _rename(root, dest)
    moved = ExperimentSet(dest)
    with moved.changing() as state:
        settle(moved, state)
    return moved


def _rename(root: str, dest: str) -> None:
    try:
        os.rename(root, dest)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Whole or not at all: what is half copied never has the name.
        copy = name_aside(dest)
        try:
            shutil.copytree(root, copy, symlinks=True)
            os.rename(copy, dest)
        except BaseException:
            shutil.rmtree(copy, ignore_errors=True)
            raise
        shutil.rmtree(root)


def settle(experiments: ExperimentSet, state: State) -> None:
    """Let everything of a set name the root where it is now; the caller has the lock, and writes the state.

    Where the set is a copy of one that is still there, it becomes a group of its own.
    """
    root, path = experiments.root, experiments.path(os.path.join(SET_FOLDER, SET_FILE))
    known = _read(path)
    if known is None:
        experiments.begin(state.type, known_as=state.root or root)
        known = {**(_read(path) or {}), "root": state.root}
    old = str(known.get("root") or root)
    if old == root and state.root in (None, root):
        return
    if os.path.realpath(old) != os.path.realpath(root):
        twin = _read(os.path.join(old, SET_FOLDER, SET_FILE))
        if twin is not None and twin.get("uid") == known.get("uid"):
            known["uid"] = compute_hash("set", uuid.uuid4().hex)
    known |= {"root": root, "name": os.path.basename(root) or root}
    replace_file(path, [json.dumps(known, indent=1).encode()], sync=False)
    for previous in {old, state.root or old} - {root}:
        _move_files(experiments, previous)
    state.root = root


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _move_files(experiments: ExperimentSet, old: str) -> None:
    root = experiments.root

    def of_script(line: str) -> str:
        program = _program(line, old)
        return f"exec {shlex.quote(os.path.join(root, program))}{_EXECUTE}" if program else line

    _change_lines(experiments.path(SCRIPT), of_script)
    for name in folders_in(experiments):
        _move_folder(experiments, name, old)
    for name, trial in trials_of(experiments).items():
        if trial.metadata.get("path") == os.path.join(old, name):
            experiments.protocol.log_trial_metadata(trial, path=experiments.path(name))
    experiments.protocol.flush()


def _move_folder(experiments: ExperimentSet, name: str, old: str) -> None:
    folder = experiments.path(name)
    before, after = (
        f" {shlex.quote(os.path.join(root, SCRIPT))} {shlex.quote(os.path.join(root, name, NAME))}"
        for root in (old, experiments.root)
    )

    def of_run(line: str) -> str:
        return line.removesuffix(before) + after if line.endswith(before) else line

    def of_params(content: Commented) -> None:
        content["_root"] = folder

    _change_lines(os.path.join(folder, RUN_FILE), of_run)
    try:
        change_params(folder, of_params)
    except (OSError, ValueError) as error:
        logger.warning("%s still names %s: %s", folder, old, error)


def program_of(experiments: ExperimentSet) -> str | None:
    """Return the name of the program in the root that the script runs; None of a script that somebody else wrote."""
    try:
        with open(experiments.path(SCRIPT), encoding="utf-8", errors="surrogateescape") as file:
            found = (_program(line.rstrip("\n"), experiments.root) for line in file)
            return next((name for name in found if name), None)
    except OSError:
        return None


def _program(line: str, root: str) -> str | None:
    """Return the name of the program in a root that a line of a script runs, as we write such a line."""
    try:
        words = shlex.split(line) if line.startswith("exec ") and line.endswith(_EXECUTE) else []
    except ValueError:
        return None
    return os.path.basename(words[1]) if len(words) == 4 and os.path.dirname(words[1]) == root else None


def _change_lines(path: str, change: Callable[[str], str]) -> None:
    """Change lines of a program, where there is one that is text."""
    if not os.path.isfile(path) or os.path.islink(path):
        return
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    changed = "\n".join(map(change, text.split("\n")))
    if changed != text:
        replace_file(path, [changed.encode(errors="surrogateescape")], sync=False)
