"""A set that is somewhere else: the files that name paths, and the trials that do."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shlex
import shutil
import uuid
from typing import Any, NamedTuple

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
        experiments.require_store()
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
    replace_file(path, [json.dumps(known, indent=1).encode()])
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

    program = program_in(experiments.path(SCRIPT), old)
    if program:
        before, after = (f"exec {shlex.quote(os.path.join(one, program))}{_EXECUTE}" for one in (old, root))
        _change_text(experiments.path(SCRIPT), before, after)
    for name in folders_in(experiments):
        _move_folder(experiments, name, old)
    for name, trial in trials_of(experiments).items():
        if trial.metadata.get("path") == os.path.join(old, name):
            experiments.protocol.log_trial_metadata(trial, path=experiments.path(name))
    experiments.protocol.flush()


def _move_folder(experiments: ExperimentSet, name: str, old: str) -> None:
    folder = experiments.path(name)

    def of_params(content: Commented) -> None:
        content["_root"] = folder

    point_run(experiments, name)
    try:
        change_params(folder, of_params)
    except (OSError, ValueError) as error:
        logger.warning("%s still names %s: %s", folder, old, error)


def point_run(experiments: ExperimentSet, name: str) -> None:
    """Let an experiment's ``run.sh`` give the script of the set its own parameters, where it names others."""
    folder = experiments.path(name)
    called = _called(folder)
    if called is None or _is_own(called, folder):
        return
    # A script that is elsewhere than beside the folder was written there by somebody.
    is_sets = called.script == os.path.join(os.path.dirname(os.path.dirname(called.params)), SCRIPT)
    words = experiments.path(SCRIPT) if is_sets else called.script, os.path.join(folder, NAME)
    _change_text(os.path.join(folder, RUN_FILE), f"{called.text}\n", f" {shlex.join(words)}\n")


class _Called(NamedTuple):
    """What a ``run.sh`` calls, and the text that says so."""

    script: str
    params: str
    text: str


# As `shlex.quote` writes a word, or as `xmen` did, in which a path is as it is.
_WORD = r"""(?:'(?:[^']|'"'"')*'|[^\s'"]+)"""
_CALL = re.compile(rf" {_WORD} {_WORD}(?=\n(?:status=|echo ))")


def _called(folder: str) -> _Called | None:
    path = os.path.join(folder, RUN_FILE)
    try:
        found = None if os.path.islink(path) else _CALL.search(_text_of(path))
    except OSError:
        return None
    if found is None:
        return None
    script, params = shlex.split(found[0])
    is_call = (os.path.basename(script), os.path.basename(params)) == (SCRIPT, NAME)
    return _Called(script, params, found[0]) if is_call else None


def _is_own(called: _Called, folder: str) -> bool:
    return os.path.realpath(called.params) == os.path.realpath(os.path.join(folder, NAME))


def program_in(script: str, root: str) -> str | None:
    """Return the name of the program in a root that a script runs; None of a script that somebody else wrote."""
    program = _program_of(script)
    return os.path.basename(program) if program and os.path.dirname(program) == root else None


def _program_of(script: str) -> str | None:
    # A path may have ends of lines in it.
    line = rf"^exec (.+){re.escape(_EXECUTE)}$"
    try:
        found = re.search(line, _text_of(script), re.MULTILINE | re.DOTALL)
        words = shlex.split(found[1]) if found else []
    except (OSError, ValueError):
        return None
    return words[0] if len(words) == 1 else None


def require_program(experiments: ExperimentSet) -> None:
    """Return if the program that the script of a set runs is there, as far as a script says that.

    Raises
    ------
    InvalidCall
        It is not: the set was moved, by `mv` (a ValueError too). Each experiment would be an error for that.
    """
    program = _program_of(experiments.path(SCRIPT))
    if program is not None and not os.path.exists(program):
        raise _moved(experiments, program)


def require_script(experiments: ExperimentSet, name: str) -> None:
    """Return if an experiment's ``run.sh`` calls a script that is there, for its own folder; see `require_program`."""
    folder = experiments.path(name)
    called = _called(folder)
    if called is None:
        return
    if not os.path.exists(called.script):
        raise _moved(experiments, called.script)
    if not _is_own(called, folder):
        raise InvalidCall(
            f"{os.path.join(folder, RUN_FILE)} names {called.params}, which is another experiment's; if it was copied, "
            f"`exp relink -r {shlex.quote(experiments.root)}` makes it name its own"
        )


def _moved(experiments: ExperimentSet, missing: str) -> InvalidCall:
    root = experiments.root
    return InvalidCall(
        f"{root} calls {missing}, which is not there; if the set was moved, `exp relink -r {shlex.quote(root)}` makes "
        "all of it name the new place"
    )


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _change_text(path: str, before: str, after: str) -> None:
    """Change what stands in a program, where there is one that is text."""
    if not os.path.isfile(path) or os.path.islink(path):
        return
    text = _text_of(path)
    if before in text:
        replace_file(path, [text.replace(before, after).encode(errors="surrogateescape")], sync=False)
