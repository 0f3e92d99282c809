"""How a set begins: with the files of a program, or with a class of experiments that writes them."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from track.errors import InvalidCall, SetExists, suggestion
from track.experiment import Experiment
from track.experiment.parts import DEFAULTS, load_file, make_runnable, stamp
from track.manager.folders import parameters_in
from track.manager.grid import combinations, parse
from track.manager.sets import SCRIPT, STATE_FILE, ExperimentSet, State
from track.utils.files import replace_file
from track.yaml12 import Commented, dump


def initialise(  # noqa: PLR0917 - what `ExperimentManager.initialise` is given
    experiments: ExperimentSet,
    defaults: str,
    script: str,
    purpose: str,
    name: Any,
    updates: str | None,
    programs: Mapping[str, str],
) -> State:
    """Make a set in a root, and return its state; `programs`: those of experiments in Python by their names.

    Raises
    ------
    SetExists
        There is one already (a FileExistsError too).
    InvalidCall
        The files are not there, or no experiment goes by the name (a ValueError too).
    """
    # Before anything is written.
    if name is None:
        found = _files(defaults, script)
    elif isinstance(name, str) and name not in programs:
        name = _class_named(name, programs)
    with experiments.locked():
        if experiments.exists():
            raise SetExists(f"{experiments.path(STATE_FILE)} is there: {experiments.root} is a set already")
        if name is not None:
            kind: str | None = _write_files(experiments.root, name, programs)
        else:
            kind = _take_files(experiments, found)
        if updates:
            _change_defaults(experiments, updates)
        experiments.begin(kind)
        state = State(created=stamp(), purpose=purpose, type=kind)
        experiments.store()
        experiments.write(state)
    return state


def _files(defaults: str, script: str) -> list[tuple[str, str]]:
    """Return the paths of the files of a program, and what they are called in a set."""
    found = [(os.path.abspath(given or name), name) for given, name in ((defaults, DEFAULTS), (script, SCRIPT))]
    for path, name in found:
        if not os.path.isfile(path):
            raise InvalidCall(f"there is no {path}: give the path of a {name}, or the name of an experiment")
    return found


def _take_files(experiments: ExperimentSet, found: list[tuple[str, str]]) -> str | None:
    content = load_file(found[0][0])
    for path, name in found:
        if os.path.realpath(path) != os.path.realpath(experiments.path(name)):
            shutil.copyfile(path, experiments.path(name))
    make_runnable(experiments.path(SCRIPT))
    version = content.get("_version")
    version = version if isinstance(version, Mapping) else {}
    kind = version.get("class") or version.get("function")
    return None if kind is None else str(kind)


def _change_defaults(experiments: ExperimentSet, updates: str) -> None:
    content = experiments.defaults()
    chosen = list(combinations(parse(updates, parameters_in(content))))
    if len(chosen) != 1:
        raise InvalidCall(f"a default is one value: {updates!r} has alternatives, which register takes")
    changed = Commented({**content, **chosen[0]}, content.comments)
    replace_file(experiments.path(DEFAULTS), [dump(changed).encode()], sync=False)


def _run_program(root: str, name: str, path: str) -> None:
    """Let the program of an experiment write the files of a set: its module is imported in a process of its own."""
    done = subprocess.run([sys.executable, path, "--to_root", root], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it has ended with {done.returncode}"]
        raise InvalidCall(f"the experiment {name!r} cannot be started: {said[-1]}")


def _write_files(root: str, name: Any, programs: Mapping[str, str]) -> str:
    if isinstance(name, str) and name in programs:
        _run_program(root, name, programs[name])
        return name
    if not (isinstance(name, type) and issubclass(name, Experiment)):
        raise InvalidCall(f"{name!r} is no class of experiments")
    Experiment.to_root(name(), root)
    return name.__name__


def _class_named(name: str, programs: Mapping[str, str]) -> Any:
    """Return a class of experiments by ``package.module.Class``."""
    module, _, attribute = name.replace(":", ".").rpartition(".")
    if not module:
        known = suggestion(name, programs) or (f" (there are: {', '.join(programs)})" if programs else "")
        raise InvalidCall(
            f"there is no experiment {name!r}{known}: `track exp python --add MODULE {name}` makes it known; or write "
            f"module.{name}, or give its class, or defaults and a script"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidCall(f"there is no experiment {name!r}: {error}") from error
