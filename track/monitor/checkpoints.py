"""Checkpoints: the state of models and optimisers, a file a step, saved and loaded."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from track.errors import CheckpointNotFound, InvalidCall
from track.experiment_utils import get_version
from track.monitor.hooks import Hook, Watching
from track.monitor.spec import TRIGGERS, Spec
from track.monitor.statefiles import is_of_torch, read_state, steps_in, write_state
from track.shown import text_of

logger = logging.getLogger(__name__)
FOLDER = "checkpoints"


class Checkpointer(Hook):
    """Saves the state of variables that have ``state_dict()``, to ``<directory>/checkpoints/<name>/<step>.pt``.

    A file is there whole or not at all, and holds the counts, the version of the code, the date and ``state_dict``.
    What is torch's is written by torch; anything else as numbers, texts and arrays, never as a pickle.

    Parameters
    ----------
    spec: str
        Which variables, and when.
    to_keep: int, optional
        How many of the newest are kept of each, >= 1; by default all.
    expand: bool
        Whether a dictionary is saved as ``<name>_<key>``.
    """

    writes = True

    def __init__(self, spec: str | Spec, to_keep: int | None = None, expand: bool = True) -> None:
        super().__init__(spec)
        if to_keep is not None and to_keep < 1:
            raise InvalidCall(f"to_keep is 1 or more, or None for all, not {to_keep!r}")
        self._to_keep, self._expand = to_keep, expand
        self._versions: dict[type, Any] = {}
        self._said: set[str] = set()

    def __call__(self, var_dict: dict[str, Any], monitor: Watching) -> None:
        if monitor.directory is None:
            self._say_once("", "no checkpoint is saved: give the monitor a directory, as in TorchMonitor('runs/first')")
            return
        values = separate(var_dict) if self._expand else var_dict
        for name, value in values.items():
            if not callable(getattr(type(value), "state_dict", None)):
                self._say_once(name, "no checkpoint of %s is saved: it has no state_dict()", name)
                continue
            folder = os.path.join(monitor.directory, FOLDER, file_name(name))
            try:
                self._save(folder, value, monitor)
            except OSError as error:
                logger.warning("no checkpoint of %s is saved at step %d: %s", name, monitor.step, error)

    def _save(self, folder: str, value: Any, monitor: Watching) -> None:
        state = value.state_dict()
        content = {
            **{trigger: count for trigger, count in monitor.triggers.items() if count},
            "version": self._version(type(value)),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "state_dict": state,
        }
        os.makedirs(folder, exist_ok=True)
        write_state(os.path.join(folder, f"{monitor.step}.pt"), content, is_of_torch(value, state))
        if self._to_keep is not None:
            for path in [*steps_in(folder).values()][: -self._to_keep]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _version(self, kind: type) -> Any:
        if kind not in self._versions:
            try:
                self._versions[kind] = get_version(cls=kind)
            except (OSError, TypeError, ValueError):
                self._versions[kind] = {}
        return self._versions[kind]

    def _say_once(self, name: str, text: str, *values: Any) -> None:
        if name not in self._said:
            self._said.add(name)
            logger.warning(text, *values)


def separate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with each dictionary among them as one a key, ``<name>_<key>``; an object with a state is none."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and not hasattr(type(value), "state_dict"):
            found |= {f"{name}_{text_of(key)}": one for key, one in value.items()}
        else:
            found[name] = value
    return found


def file_name(name: str) -> str:
    """Return a name as a folder may be called, which is in the folder it is joined to.

    Examples
    --------
    >>> file_name("model"), file_name("nets_../../b")
    ('model', 'nets_.._.._b')
    """
    return re.sub(r"[^\w.-]|^\.", "_", name)[:200]


def load(
    load_dir: str | os.PathLike[str],
    step: int | None = None,
    attempt: bool = True,
    *,
    map_location: Any = None,
    **modules: Any,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Load the state of objects from their checkpoints.

    Parameters
    ----------
    load_dir: path
        The folder ``checkpoints``.
    step: int, optional
        At which step exactly; by default each object's newest.
    attempt: bool
        Whether what is not there is a warning, and the object stays as it is.
    map_location: optional
        Where torch puts the tensors.
    **modules
        Objects with ``load_state_dict``, or dictionaries of them, by the name that they were saved under.

    Returns
    -------
    dict, dict
        The objects, and the counts as they were when the first of them was saved.

    Raises
    ------
    CheckpointNotFound
        Without `attempt`, there is no checkpoint of one of them (a ValueError, LookupError and RuntimeWarning too).
    UnsafeCheckpoint
        A file is damaged, or holds more than data (a ValueError).
    """
    folder = os.fspath(load_dir)
    counts: dict[str, int] | None = None
    # All are read before the first is changed.
    read: list[tuple[Any, Any]] = []
    for name, module in separate(modules).items():
        content = _content(folder, name, step, attempt, map_location)
        if content is None:
            continue
        read.append((module, content["state_dict"]))
        if counts is None:
            counts = {trigger: int(content[trigger]) for trigger in TRIGGERS if trigger in content}
    for module, state in read:
        module.load_state_dict(state)
    return modules, counts or {}


def _content(folder: str, name: str, step: int | None, attempt: bool, map_location: Any) -> dict[str, Any] | None:
    steps = steps_in(os.path.join(folder, file_name(name)))
    wanted = max(steps, default=None) if step is None else int(step)
    if wanted in steps:
        return read_state(steps[wanted], map_location)
    there = f"there are {', '.join(map(str, steps))}" if steps else "there is none"
    at_step = "" if step is None else f" at step {step}"
    message = f"no checkpoint of {name!r}{at_step} in {folder}: {there}"
    if not attempt:
        raise CheckpointNotFound(message)
    logger.warning("%s", message)
    return None
