"""Deleting: the folders that a set does not manage any more, and whole sets; nothing outside of the root."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress

from track.errors import AlreadyRuns
from track.experiment.parts import SET_FOLDER
from track.manager.members import folders_in, matching, path_of, running, trials_of, uid_in
from track.manager.moving import program_in
from track.manager.sets import FILES, SCRIPT, ExperimentSet
from track.structure import Status, Trial, split_uid
from track.utils.files import is_below

logger = logging.getLogger(__name__)


def unmanaged(experiments: ExperimentSet, pattern: str = "*") -> list[str]:
    """Return the names of the folders in the root that hold an experiment which the set does not manage.

    One that was registered, and does not stand in ``experiment.yml`` yet, is none.
    """
    state = experiments.read()
    names = [name for name in matching(pattern, folders_in(experiments)) if name not in state.experiments]
    experiments.require_store()
    trials = trials_of(experiments) if names else {}
    return [name for name in names if not _is_kept(experiments, name, trials.get(name))]


def _is_kept(experiments: ExperimentSet, name: str, trial: Trial | None) -> bool:
    uid = uid_in(experiments.path(name))
    if uid is None:
        return False
    if trial is not None and trial.uid == uid and not trial.deleted:
        return True
    found = next((one for one in experiments.protocol.get_trial(Trial(*split_uid(uid))) if one.uid == uid), None)
    if found is None or found.status is not Status.Running:
        return False
    is_copy = os.path.realpath(path_of(found) or "") != os.path.realpath(experiments.path(name))
    if not is_copy:
        logger.warning("%s is kept: it runs", experiments.path(name))
    return not is_copy


def clean(experiments: ExperimentSet, pattern: str = "*") -> list[str]:
    """Delete the folders that `unmanaged` names, and return their names."""
    with experiments.locked():
        return [name for name in unmanaged(experiments, pattern) if _delete(experiments, name)]


def _delete(experiments: ExperimentSet, name: str) -> bool:
    path = experiments.path(name)
    if os.path.islink(path) or not is_below(experiments.root, path):
        return False
    # It follows no links, not even those that are put there meanwhile.
    shutil.rmtree(path)
    return True


def remove(experiments: ExperimentSet) -> None:
    """Delete a set: its experiments, its files, and the root where nothing else is in it; its trials are hidden.

    Raises
    ------
    AlreadyRuns
        One of its experiments runs (a ValueError too). Nothing is deleted.
    """
    experiments.require()
    with experiments.locked():
        experiments.require_store()
        state = experiments.read()
        trials = trials_of(experiments)
        busy = running(trials, trials)
        if busy:
            raise AlreadyRuns(f"{experiments.root} cannot be deleted while experiments run: {', '.join(busy)}")
        program = program_in(experiments.path(SCRIPT), experiments.root)
        for trial in trials.values():
            if not trial.deleted:
                experiments.protocol.delete_trial(trial)
        experiments.protocol.flush()
        experiments.close()
        for name in folders_in(experiments):
            if name in state.experiments or name in trials:
                _delete(experiments, name)
        for name in (*FILES, *([program] if program else [])):
            with suppress(FileNotFoundError):
                os.unlink(experiments.path(name))
        own = experiments.path(SET_FOLDER)
        if not os.path.islink(own):
            shutil.rmtree(own)
    try:
        os.rmdir(experiments.root)
    except OSError:
        logger.info("%s is kept: there is more in it", experiments.root)
