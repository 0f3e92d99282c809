"""The experiments of a set and their trials: which is which, and which ones a pattern means."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable
from typing import Any

from track.experiment.parts import NAME, TRIAL, is_uid, load_file
from track.manager.registering import name_of_folder
from track.manager.sets import ExperimentSet
from track.persistence.query import ALSO_DELETED
from track.structure import Status, Trial

ALL = ("all", "*")


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern of a shell means; one that is a name means that, whatever is in it.

    Examples
    --------
    >>> matching("a=*", ["a=1", "b=2"]), matching("a=[1, 2]", ["a=[1, 2]", "a=1"])
    (['a=1'], ['a=[1, 2]'])
    """
    names = list(names)
    if pattern in ALL:
        return names
    if pattern in names:
        return [pattern]
    # A list in a name is no set of characters, unless nothing else is meant.
    literal = pattern.replace("[", "[[]")
    found = [name for name in names if fnmatch.fnmatchcase(name, literal)]
    return found or [name for name in names if fnmatch.fnmatchcase(name, pattern)]


def trials_of(experiments: ExperimentSet, **query: Any) -> dict[str, Trial]:
    """Return the trials of a set by the names of their folders, without their points; hidden ones too."""
    place = experiments.place
    assert place.group is not None
    found = experiments.protocol.brief_trials({"group_id": place.group.uid, **ALSO_DELETED, **query})
    # Of two, the one that is shown.
    ordered = sorted(found, key=lambda trial: not trial.deleted)
    by_name: dict[str, Trial] = {}
    for trial in ordered:
        by_name.setdefault(name_of_folder(trial), trial)
    return by_name


def path_of(trial: Trial) -> str | None:
    """Return the path that a trial says its folder has; None where it says none that could be one."""
    path = trial.metadata.get("path")
    return path if isinstance(path, str) and "\0" not in path else None


def running(trials: dict[str, Trial], names: Iterable[str]) -> list[str]:
    """Return those of the names whose experiments a live process runs."""
    return [name for name in names if name in trials and trials[name].status is Status.Running]


def folders_in(experiments: ExperimentSet) -> list[str]:
    """Return the names of the folders in the root that hold an experiment; no link is one."""
    found = []
    with os.scandir(experiments.root) as entries:
        for entry in entries:
            file = os.path.join(entry.path, NAME)
            if entry.is_dir(follow_symlinks=False) and os.path.isfile(file) and not os.path.islink(file):
                found.append(entry.name)
    return sorted(found)


def uid_in(folder: str) -> str | None:
    """Return the uid of the trial that a folder says it is of; None where it says none."""
    try:
        uid = load_file(os.path.join(folder, NAME)).get(TRIAL)
    except (OSError, ValueError):
        return None
    return uid if is_uid(uid) else None
