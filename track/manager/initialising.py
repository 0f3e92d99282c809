"""How a set begins: with the files of a program, or with a class of experiments that writes them."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping
from typing import Any

from track.errors import InvalidCall, SetExists
from track.experiment import Experiment
from track.experiment.parts import DEFAULTS, load_file, make_runnable, stamp
from track.manager.sets import SCRIPT, STATE_FILE, ExperimentSet, State


def initialise(experiments: ExperimentSet, defaults: str, script: str, purpose: str, name: Any) -> State:
    """Make a set in a root, and return its state.

    Raises
    ------
    SetExists
        There is one already (a FileExistsError too).
    InvalidCall
        The files are not there, or no experiment goes by the name (a ValueError too).
    """
    with experiments.locked():
        if experiments.exists():
            raise SetExists(f"{experiments.path(STATE_FILE)} is there: {experiments.root} is a set already")
        if name is not None:
            kind: str | None = _write_files(experiments.root, name)
        else:
            kind = _take_files(experiments, defaults, script)
        experiments.begin(kind)
        state = State(created=stamp(), purpose=purpose, type=kind)
        experiments.store()
        experiments.write(state)
    return state


def _take_files(experiments: ExperimentSet, defaults: str, script: str) -> str | None:
    found = [(os.path.abspath(given or name), name) for given, name in ((defaults, DEFAULTS), (script, SCRIPT))]
    for path, name in found:
        if not os.path.isfile(path):
            raise InvalidCall(f"there is no {path}: give the path of a {name}, or the name of an experiment")
    content = load_file(found[0][0])
    for path, name in found:
        if os.path.realpath(path) != os.path.realpath(experiments.path(name)):
            shutil.copyfile(path, experiments.path(name))
    make_runnable(experiments.path(SCRIPT))
    version = content.get("_version")
    version = version if isinstance(version, Mapping) else {}
    kind = version.get("class") or version.get("function")
    return None if kind is None else str(kind)


def _write_files(root: str, name: Any) -> str:
    kind = _class_named(name) if isinstance(name, str) else name
    if not (isinstance(kind, type) and issubclass(kind, Experiment)):
        raise InvalidCall(f"{name!r} is no class of experiments")
    Experiment.to_root(kind(), root)
    return kind.__name__


def _class_named(name: str) -> Any:
    """Return a class of experiments by ``package.module.Class``."""
    module, _, attribute = name.replace(":", ".").rpartition(".")
    if not module:
        raise InvalidCall(
            f"there is no experiment {name!r}: write module.{name}, or give its class, or defaults= and script="
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidCall(f"there is no experiment {name!r}: {error}") from error
