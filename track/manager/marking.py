"""What people say about experiments that are there: notes, another status, another machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from track.errors import AlreadyRuns, InvalidCall, ItemNotFound, TrackError, suggestion
from track.experiment.parts import (
    DEFAULTS,
    NAMES,
    REGISTERED,
    Record,
    changed_notes,
    load_file,
    name_of,
    notes_in,
    stamp,
    status_of,
)
from track.experiment.parts import NAME as PARAMS
from track.experiment_utils import save_param
from track.logger import TrialLogger
from track.manager.folders import change_params
from track.manager.linking import adopted, trial_in
from track.manager.members import matching, running, trials_of
from track.manager.sets import ExperimentSet
from track.structure import CustomStatus, Trial
from track.utils.machine import identity
from track.yaml12 import Commented

logger = logging.getLogger(__name__)


def _chosen(experiments: ExperimentSet, pattern: str) -> dict[str, Trial]:
    return adopted(experiments, matching(pattern, experiments.read().experiments))


def note(experiments: ExperimentSet, pattern: str, text: str, remove: bool) -> list[str]:
    """Add a note to experiments, or remove it, and return the names of those that have changed."""
    text = text.strip()
    changed = []
    for name, trial in _chosen(experiments, pattern).items():
        record = Record(TrialLogger(trial, experiments.protocol), True)
        notes, is_done = record.note(text, remove, notes_in(trial.metadata))
        if is_done:
            changed.append(name)
            _show(experiments, name, partial(_set, "_notes", notes or None))
    experiments.protocol.flush()
    return changed


def note_set(experiments: ExperimentSet, text: str, remove: bool) -> None:
    """Add a note to the set itself, or remove it."""
    with experiments.changing() as state:
        state.notes = changed_notes(state.notes, text.strip(), remove)[0]


def reset(experiments: ExperimentSet, pattern: str, status: str, force: bool) -> list[str]:
    """Give experiments another status, and return their names.

    Raises
    ------
    InvalidCall
        There is no such status (a ValueError too).
    AlreadyRuns
        One of them runs (a ValueError too). Nothing is changed, unless it has begun at this very moment.
    """
    if status not in NAMES:
        raise InvalidCall(f"there is no status {status!r}{suggestion(status, NAMES)}; there are: {', '.join(NAMES)}")
    chosen = _chosen(experiments, pattern)
    busy = [] if force else running(chosen, chosen)
    if busy:
        raise AlreadyRuns(f"these experiments run: {', '.join(busy)} (force=True says otherwise)")
    for name, trial in chosen.items():
        _set_status(experiments, name, trial, status, force)
        _show(experiments, name, lambda content: _as_status(content, status))
    experiments.protocol.flush()
    return list(chosen)


def _set_status(experiments: ExperimentSet, name: str, trial: Trial, status: str, force: bool) -> None:
    protocol, query = experiments.protocol, {"uid": trial.uid}
    if not force:
        query["status"] = {"$ne": "running"}  # type: ignore[assignment]
    try:
        protocol.fetch_and_update_trial(query, "set_trial_status", status_of(status))
    except ItemNotFound:
        raise AlreadyRuns(f"{name} has just begun to run") from None
    if trial.metadata.get("deaths"):
        # Who puts it back means it: that its workers have died does not count any more.
        protocol.log_trial_metadata(trial, deaths=0)


def _set(key: str, value: Any, content: Commented) -> None:
    content[key] = value


def _as_status(content: Commented, status: str) -> None:
    content["_status"] = status
    if status == REGISTERED:
        content["_timestamps"] = {**(content.get("_timestamps") or {}), "registered": stamp()}


def update_meta(experiments: ExperimentSet) -> None:
    """Say in the defaults, and of each experiment, that this is the machine."""
    meta = identity()
    with experiments.locked():
        defaults = experiments.defaults()
        defaults["_meta"] = meta
        save_param(defaults, experiments.root, DEFAULTS)
    for name, trial in _chosen(experiments, "*").items():
        experiments.protocol.log_trial_metadata(trial, meta=meta)
        _show(experiments, name, partial(_set, "_meta", meta))
    experiments.protocol.flush()


def _show(experiments: ExperimentSet, name: str, change: Callable[[Commented], None]) -> None:
    folder = experiments.path(name)
    if os.path.isdir(folder):
        change_params(folder, change)


def rows(experiments: ExperimentSet, pattern: str) -> Iterator[dict[str, Any]]:
    """Yield what there is to say of each experiment; nothing is changed, so whoever may read may ask."""
    state, trials = experiments.read(), trials_of(experiments)
    for name in matching(pattern, state.experiments):
        trial = trials.get(name) or _trial_in(experiments, name)
        yield {
            "name": name, "status": name_of(trial.status), "purpose": str(trial.metadata.get("purpose") or ""),
            "notes": notes_in(trial.metadata), "overrides": dict(state.experiments[name]),
        }  # fmt: skip


def _trial_in(experiments: ExperimentSet, name: str) -> Trial:
    """Return what a folder says that no store knows; what cannot be read has no status."""
    try:
        content = load_file(os.path.join(experiments.path(name), PARAMS))
    except (OSError, TrackError) as error:
        logger.warning("%s cannot be read: %s", experiments.path(name), error)
        return Trial(status=CustomStatus("missing", None))
    return trial_in(experiments, name, content)
