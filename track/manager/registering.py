"""New experiments of a set: their names, folders and trials."""

from __future__ import annotations

import os
import shlex
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from track.errors import AlreadyExists, BackendUnavailable, ItemNotFound, TrackError
from track.events import Event, TrialAttached
from track.experiment.parts import (
    NAME,
    REGISTERED,
    TRIAL,
    folder_name,
    messages_in,
    name_of,
    notes_in,
    stamp,
    status_of,
)
from track.experiment_utils import get_git
from track.manager.folders import content_of, locked, parameters_in, write_params, write_run
from track.manager.sets import SCRIPT, ExperimentSet
from track.parameters import as_data
from track.persistence.contract import trial_created
from track.shown import sentence_of
from track.structure import Project, Trial, TrialGroup
from track.utils.machine import identity
from track.versioning import compute_hash, default_version_hash
from track.yaml12 import Commented

_SAME_NAMES = 100


@dataclass(frozen=True)
class Asked:
    """What is the same for all experiments that are registered in one call."""

    purpose: str = ""
    header: str = ""
    shell: str = "/bin/bash"


class Template(NamedTuple):
    """What new trials are made of."""

    defaults: Commented
    shared: dict[str, Any]
    asked: Asked


def template_of(experiments: ExperimentSet, asked: Asked) -> Template:
    """Return what the trials of a set are made of now: its defaults, this machine, the commit that the code is of."""
    defaults = experiments.defaults()
    version = defaults.get("_version")
    version = dict(version) if isinstance(version, Mapping) else {}
    path = version.get("path") or version.get("module")
    git = get_git(str(path)) if path and os.path.exists(str(path)) else {}
    return Template(defaults, {"version": {**version, "git": git} if git else version, "meta": identity()}, asked)


def name_of_overrides(overrides: Mapping[str, Any]) -> str:
    """Return the name of an experiment: ``lr=0.1__opt=adam``."""
    return folder_name("__".join(f"{name}={value}" for name, value in overrides.items()) or "defaults")


def register_all(experiments: ExperimentSet, named: Sequence[tuple[str, dict[str, Any]]], asked: Asked) -> list[str]:
    """Register experiments, each a name and its overrides, and return the names of their folders.

    First there is the folder, whose name nobody else gets then, then the trial, then what is in the folder, and at the
    end all of them stand in ``experiment.yml``.

    Raises
    ------
    AlreadyExists
        There are a hundred experiments of one name. Nothing is registered.
    BackendUnavailable
        Something has failed, such as a disk that is full, and what was stored by then could not be taken back; the
        message says how it is let go. Otherwise nothing of it is left, but what a worker has begun.
    """
    template = template_of(experiments, asked)
    _require_names(experiments, [name for name, _ in named])
    names = _make_folders(experiments, [name for name, _ in named])
    registered: dict[str, dict[str, Any]] = {}
    trials: list[Trial] = []
    try:
        trials = [
            new_trial(template, experiments.path(name), overrides)
            for name, (_, overrides) in zip(names, named, strict=True)
        ]
        store_all(experiments, trials)
        for name, (_, overrides), trial in zip(names, named, trials, strict=True):
            write_folder(experiments, name, trial, template.defaults.comments)
            registered[name] = overrides
        _list(experiments, registered)
    except Exception as error:
        _take_back(experiments, dict(zip(names, trials, strict=False)), error)
        _remove_empty(experiments, names)
        raise
    except BaseException:
        # Those that are done when somebody loses patience are experiments of the set.
        _list(experiments, registered)
        _remove_empty(experiments, names)
        raise
    # So that each worker that starts need not read all of it line by line.
    experiments.protocol.tidy()
    return names


def _list(experiments: ExperimentSet, registered: Mapping[str, dict[str, Any]]) -> None:
    if registered:
        with experiments.changing() as state:
            state.experiments |= registered


def _remove_empty(experiments: ExperimentSet, names: Sequence[str]) -> None:
    for name in names:
        with suppress(OSError):
            os.rmdir(experiments.path(name))


def _take_back(experiments: ExperimentSet, trials: Mapping[str, Trial], error: Exception) -> None:
    """Remove the folders and hide the trials of what nobody has begun; the rest are experiments of the set.

    Raises BackendUnavailable: the store does not say so, and some may be run.
    """
    begun, left = {}, []
    for name, trial in trials.items():
        try:
            mine = {"uid": trial.uid, "status": REGISTERED}
            experiments.protocol.fetch_and_update_trial(mine, "set_trial_status", status_of("default"))
            experiments.protocol.delete_trial(trial)
        except ItemNotFound:
            if experiments.protocol.first_trial({"uid": trial.uid}) is not None:
                begun[name] = dict(trial.metadata.get("overrides") or {})
                continue
        except (TrackError, OSError):
            left.append(name)
        shutil.rmtree(experiments.path(name), ignore_errors=True)
    _list(experiments, begun)
    with suppress(TrackError, OSError):
        experiments.protocol.flush()
    if experiments.protocol.unsaved():
        left = [name for name in trials if name not in begun]
    if left:
        ways = "; ".join(f"exp unlink {shlex.quote(name)}" for name in left)
        raise BackendUnavailable(
            f"{sentence_of(error)}; what was registered may be stored nevertheless, and is run then. Once the store "
            f"can be written, let it go: {ways}"
        ) from error


def _require_names(experiments: ExperimentSet, wanted: Sequence[str]) -> None:
    taken = set(os.listdir(experiments.root))
    for name, count in Counter(wanted).items():
        free = sum(one not in taken for one in _candidates(name))
        if count > free:
            raise AlreadyExists(
                f"there are {_SAME_NAMES - free} experiments {name!r} in {experiments.root} already, and "
                f"{_SAME_NAMES} are the most: give them a name of their own"
            )


def _candidates(name: str) -> list[str]:
    return [name, *(f"{name}_{number}" for number in range(1, _SAME_NAMES))]


def _make_folders(experiments: ExperimentSet, wanted: Sequence[str]) -> list[str]:
    """Return the name of the folder that was made for each, the first that was free."""
    tried: dict[str, int] = {}
    made: list[str] = []
    try:
        for name in wanted:
            candidates = _candidates(name)
            while (number := tried.get(name, 0)) < _SAME_NAMES:
                tried[name] = number + 1
                try:
                    os.mkdir(experiments.path(candidates[number]))
                except FileExistsError:
                    continue
                made.append(candidates[number])
                break
            else:
                raise AlreadyExists(f"others have taken all names {name!r} in {experiments.root}")
    except BaseException:
        for name in made:
            with suppress(OSError):
                os.rmdir(experiments.path(name))
        raise
    return made


def new_trial(template: Template, folder: str, overrides: Mapping[str, Any], digest: str | None = None) -> Trial:
    """Return the trial of an experiment that waits to be run; nothing is stored."""
    asked, parameters = template.asked, {**parameters_in(template.defaults), **overrides}
    metadata = {
        **template.shared, "purpose": asked.purpose, "path": folder, "overrides": dict(overrides),
        "header": asked.header, "shell": asked.shell if asked.shell != Asked.shell else "",
    }  # fmt: skip
    return Trial(
        digest or compute_hash("experiment", uuid.uuid4().hex),
        name=os.path.basename(folder),
        description=asked.purpose,
        version=default_version_hash(),
        status=status_of(REGISTERED),
        parameters={key: as_data(value) for key, value in parameters.items()},
        metadata={key: value for key, value in metadata.items() if value not in ("", {}, None)},
    )


def store_all(experiments: ExperimentSet, trials: Sequence[Trial]) -> None:
    """Store new trials in the group of the set."""
    protocol, project, group = experiments.store()
    for trial in trials:
        trial.project_id, trial.group_id = project.uid, group.uid
    # Facts, not decisions: no other trial has its hash, and a server takes as long for many as for one.
    protocol.apply(*(event for trial in trials for event in _made(trial, project, group)))
    protocol.flush()


def _made(trial: Trial, project: Project, group: TrialGroup) -> Iterator[Event]:
    created = trial_created(trial, time.time())
    yield created
    yield TrialAttached(trial.uid, "project", project.uid, created.at)
    yield TrialAttached(trial.uid, "group", group.uid, created.at)


def write_folder(experiments: ExperimentSet, name: str, trial: Trial, comments: Mapping[Any, str]) -> None:
    """Write what is in the folder of an experiment, as its trial says; nothing where somebody has done so.

    Once its trial is stored a worker may take it, at once, and what that has written must stay.
    """
    metadata, folder = trial.metadata, experiments.path(name)
    meta, now = dict(metadata.get("meta") or {}), stamp()
    special = {
        "_root": folder, "_status": name_of(trial.status), "_purpose": metadata.get("purpose"),
        "_notes": notes_in(metadata), "_user": meta.get("user"), "_host": meta.get("host"),
        "_timestamps": {"created": now, "registered": now}, "_messages": messages_in(metadata),
        "_version": metadata.get("version") or {}, "_meta": meta, TRIAL: trial.uid,
    }  # fmt: skip
    shell, header = str(metadata.get("shell") or Asked.shell), str(metadata.get("header") or "")
    with locked(folder):
        if not os.path.exists(os.path.join(folder, NAME)):
            write_run(experiments.root, folder, SCRIPT, shell, header)
            write_params(folder, content_of(special, trial.parameters, comments))


def folder_of(experiments: ExperimentSet, trial: Trial) -> str:
    """Return the folder of an experiment's trial, which is made from what is stored where it is not there.

    So it is when a process was killed while it registered, and on a machine that shares the store, but no disk.

    Raises
    ------
    AlreadyExists
        Something else is there.
    """
    name = name_of_folder(trial)
    folder = experiments.path(name)
    if os.path.exists(os.path.join(folder, NAME)):
        return folder
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise AlreadyExists(f"{folder} is there, and no folder: the experiment cannot run in it")
    with experiments.changing() as state:
        os.makedirs(folder, exist_ok=True)
        write_folder(experiments, name, trial, experiments.comments())
        state.experiments.setdefault(name, dict(trial.metadata.get("overrides") or {}))
    return folder


def name_of_folder(trial: Trial) -> str:
    """Return the name of the folder of an experiment's trial: one in the root of its set, wherever that is now."""
    path = str(trial.metadata.get("path") or trial.name or trial.uid)
    name = os.path.basename(os.path.normpath(path))
    # Not cut, nor changed, where a folder may be called so: it is there.
    is_name = name not in ("", "/") and not name.startswith(".") and "\0" not in name and len(os.fsencode(name)) <= 255
    return name if is_name else folder_name(name)
