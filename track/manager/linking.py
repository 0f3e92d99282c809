"""Which folders a set manages: they are let go, and taken again, with the trials that belong to them."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from track.errors import TrackError
from track.experiment.parts import NAME, RUNNING, TRIAL, as_metadata, as_now, is_uid, load_file, name_of, status_of
from track.front import store_trial
from track.manager.folders import change_params, parameters_in
from track.manager.members import folders_in, matching, path_of, trials_of, uid_in
from track.manager.moving import point_run, settle
from track.manager.registering import name_of_folder
from track.manager.sets import ExperimentSet
from track.manager.showing import show_status
from track.parameters import as_data
from track.persistence.protocol import Protocol
from track.structure import Project, Trial, TrialGroup, split_uid
from track.versioning import compute_hash, default_version_hash
from track.yaml12 import Commented

logger = logging.getLogger(__name__)


def unlink(experiments: ExperimentSet, pattern: str) -> list[str]:
    """Let experiments go, and return their names: their folders stay, and their trials are hidden, so none is run."""
    with experiments.changing() as state:
        experiments.require_store()
        trials = {name: trial for name, trial in trials_of(experiments).items() if not trial.deleted}
        # One that has no folder yet would be run, too.
        names = matching(pattern, dict.fromkeys([*state.experiments, *trials]))
        for name in names:
            if name in trials:
                experiments.protocol.delete_trial(trials[name])
            state.experiments.pop(name, None)
        experiments.protocol.flush()
    return names


def relink(experiments: ExperimentSet, pattern: str | None) -> list[str]:
    """Manage folders of the root again, and return the names of those that were not managed.

    Without a pattern these are the ones that are managed.

    Each has a trial then: its own, wherever the folder was before; a new one, where it is a copy of another folder, or
    comes from a program that knows no trials. Its file says how it ended, as the trial does. To do it again changes
    nothing.
    """
    with experiments.changing() as state:
        experiments.require_store()
        settle(experiments, state)
        known, defaults, added = known_of(experiments), experiments.defaults(), []
        folders = folders_in(experiments)
        chosen = (
            matching(pattern, folders) if pattern is not None else [one for one in folders if one in state.experiments]
        )
        for name in chosen:
            try:
                content = load_file(os.path.join(experiments.path(name), NAME))
            except (OSError, ValueError) as error:
                logger.warning("%s is left alone: %s", experiments.path(name), error)
                continue
            unknown = [key for key in parameters_in(content) if key not in defaults]
            if unknown and name not in state.experiments:
                logger.warning("%s is left alone: there is no %s in the defaults", name, ", ".join(map(str, unknown)))
                continue
            trial = own_trial(experiments, known, name, content)
            point_run(experiments, name)
            if name_of(trial.status) not in (RUNNING, "broken", content.get("_status")):
                # Whoever has ended it was killed before that was shown.
                show_status(experiments.protocol, trial, experiments.path(name))
            if name not in state.experiments:
                added.append(name)
                state.experiments[name] = overrides_in(content, defaults)
        experiments.protocol.flush()
    return added


def overrides_in(content: Mapping[Any, Any], defaults: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the parameters of a file that are other than their defaults."""
    return {
        str(name): value
        for name, value in parameters_in(content).items()
        if repr(value) != repr(defaults.get(name, ...))
    }


class Known(NamedTuple):
    """The store of a set, and the trials of the set that are in it, by their uids."""

    protocol: Protocol
    project: Project
    group: TrialGroup
    trials: dict[str, Trial]

    def find(self, uid: str) -> Trial | None:
        """Return a trial, of another set, too."""
        if uid in self.trials or not is_uid(uid):
            return self.trials.get(uid)
        found = self.protocol.get_trial(Trial(*split_uid(uid)))
        return next((trial for trial in found if trial.uid == uid), None)


def known_of(experiments: ExperimentSet) -> Known:
    """Return what the store knows of a set."""
    experiments.require_store()
    store = experiments.store()
    return Known(*store, {trial.uid: trial for trial in trials_of(experiments).values()})


def own_trial(experiments: ExperimentSet, known: Known, name: str, content: Commented) -> Trial:
    """Return the trial of a folder, which is made where it has none of its own."""
    folder, uid = experiments.path(name), str(content.get(TRIAL))
    protocol, project, group, _ = known
    found = known.find(uid)
    if found is None or _is_copy(folder, found, uid):
        trial = trial_in(experiments, name, content, None if found is not None or not is_uid(uid) else uid)
        trial.project_id, trial.group_id = project.uid, group.uid
        found = store_trial(protocol, trial, True, project, group) or trial
    else:
        if found.deleted:
            protocol.restore_trial(found)
        if found.metadata.get("path") != folder:
            protocol.log_trial_metadata(found, path=folder)
        if found.group_id != group.uid:
            protocol.add_project_trial(project, found)
            protocol.add_group_trial(group, found)
    stored: Trial = found
    if content.get(TRIAL) != stored.uid or content.get("_root") != folder:
        change_params(folder, lambda content: _point(content, stored.uid, folder))
    return stored


def _is_copy(folder: str, trial: Trial, uid: str) -> bool:
    """Return whether the folder of a trial is another one, which is still there."""
    path = path_of(trial) or folder
    return not _same(path, folder) and uid_in(path) == uid


def _same(first: str, second: str) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _point(content: Commented, uid: str, folder: str) -> None:
    content["_root"] = folder
    content.pop("_name", None)
    parameters = parameters_in(content)
    for name in parameters:
        del content[name]
    content[TRIAL] = uid
    content.update(parameters)


def trial_in(experiments: ExperimentSet, name: str, content: Mapping[Any, Any], uid: str | None = None) -> Trial:
    """Return a trial of what a folder says, by another uid than it says; nothing is stored."""
    folder, defaults = experiments.path(name), experiments.defaults()
    special = as_now({key: value for key, value in content.items() if str(key).startswith("_")})
    status = str(special.get("_status") or "registered")
    parameters = {**parameters_in(defaults), **parameters_in(content)}
    metadata = {
        "version": special["_version"], "meta": special["_meta"], "purpose": special["_purpose"], "path": folder,
        "overrides": overrides_in(content, defaults), "notes": special["_notes"],
        **as_metadata(special["_messages"]),
    }  # fmt: skip
    return Trial(
        split_uid(uid)[0] if uid else compute_hash("experiment", uuid.uuid4().hex),
        name=name,
        description=str(special["_purpose"]),
        version=default_version_hash(),
        # Nobody knows the process that was to say how it ended.
        status=status_of("stopped" if status == RUNNING else status),
        parameters={str(key): as_data(value) for key, value in parameters.items()},
        metadata={key: as_data(value) for key, value in metadata.items() if value not in ("", {}, [], None)},
    )


def adopted(experiments: ExperimentSet, names: list[str]) -> dict[str, Trial]:
    """Return the trials of experiments that are managed, by name; one that has none yet gets one."""
    known = known_of(experiments)
    trials = {name_of_folder(trial): trial for trial in known.trials.values() if not trial.deleted}
    for name in names:
        if name in trials:
            continue
        try:
            content = load_file(os.path.join(experiments.path(name), NAME))
        except (OSError, TrackError) as error:
            logger.warning("%s is left alone: %s", experiments.path(name), error)
            continue
        trials[name] = own_trial(experiments, known, name, content)
    return {name: trials[name] for name in names if name in trials}
