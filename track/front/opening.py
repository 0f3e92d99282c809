"""Which trial is meant: the one that is named, or the one of a key, which the first who asks creates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from track.errors import BackendUnavailable, InvalidCall
from track.front.arguments import differing_arguments
from track.naming import named
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial, TrialGroup, split_uid
from track.utils.system import process_identity
from track.versioning import compute_hash

_ATTEMPTS = 100


def named_trial(fields: dict[str, Any], version: str, protocol: Protocol) -> Trial:
    """Return the trial that is named by its uid, its hash and revision, or the fields it is made of.

    What cannot be a uid may be the beginning of one, or another name of a stored trial. Raises TrialDoesNotExist: it is
    none; AmbiguousName: of several.
    """
    uid = fields.pop("uid", None)
    if uid is not None:
        try:
            digest, revision = split_uid(uid)
        except (AttributeError, ValueError):
            return named(protocol, uid)
        return Trial(digest, revision)
    if "hash" in fields:
        return Trial(fields["hash"], fields.get("revision", 0))
    return Trial(**{"version": version, **fields})


def key_hash(key: str, project: Project, group: TrialGroup | None) -> str:
    """Return the hash of the trials with a key, in a project and group."""
    return compute_hash("key", str(key), project=project.uid, group=None if group is None else group.uid)


def store_trial(
    protocol: Protocol, trial: Trial, auto_increment: bool, project: Project, group: TrialGroup | None
) -> Trial | None:
    """Store a trial in its project and group, and return it; None when it is there and must not be another revision."""
    stored = protocol.new_trial(trial, auto_increment=auto_increment)
    if stored is None and not auto_increment:
        return None
    # A backend that only listens answers nothing.
    stored = stored or trial
    protocol.confirm_project(project, stored)
    if group is not None:
        protocol.add_group_trial(group, stored)
    return stored


def open_keyed(
    protocol: Protocol, trial: Trial, asked: Mapping[str, Any] | None, project: Project, group: TrialGroup | None
) -> Trial:
    """Return the unfinished trial with the hash of `trial`; where there is none, `trial`, stored as the next revision.

    `asked`: the parameters that were asked for. `project`, `group`: where one that is created is stored. Raises
    InvalidCall: the unfinished trial has other parameters.
    """
    for _ in range(_ATTEMPTS):
        number, latest = _latest(protocol, trial.hash)
        if latest is not None and not latest.deleted and not _has_ended_well(latest):
            _check_parameters(latest, asked)
            return latest
        trial.revision = number + 1
        stored = store_trial(protocol, trial, False, project, group)
        if stored is None and not protocol.has(Trial, trial.uid):
            stored = store_trial(protocol, trial, True, project, group)
        if stored is not None:
            return stored
    raise BackendUnavailable(f"others keep creating revisions of trial {trial.hash}")


def _latest(protocol: Protocol, digest: str) -> tuple[int, Trial | None]:
    """Return the last revision that is taken, -1 for none, and its trial, which may be forgotten."""
    revisions = protocol.revisions(digest)
    found = protocol.get_trial(Trial(digest, max(revisions))) if revisions else None
    return max(revisions, default=-1), found[0] if found else None


def _has_ended_well(trial: Trial) -> bool:
    """Return whether a trial is done; one that failed, or is suspended, goes on."""
    if isinstance(trial.status, Status):
        return trial.status is Status.Completed
    return trial.status.value is None or trial.status.value >= Status.FinishedGroup.value


def _check_parameters(trial: Trial, asked: Mapping[str, Any] | None) -> None:
    differing = differing_arguments(trial.parameters, asked or {})
    if differing:
        raise InvalidCall(
            f"the trial of this key, {trial.uid!r}, is not finished and has other parameters: {', '.join(differing)} "
            "(choose another key, or finish it)"
        )


def resume_rule(trial: Trial, step: Any, now: float) -> list[Any]:
    """Return the step that a trial goes on from, and before when it and later ones were logged that are not shown.

    That is when the first of the processes began that run it together; now, where no other one does, or where they say
    that they will begin later: their clock is ahead, and what is logged here from now on is to be shown.

    Raises InvalidCall: the step is no number.
    """
    if isinstance(step, bool) or not isinstance(step, (int, float)):
        raise InvalidCall(f"resume_from takes the number of a step, not {step!r}")
    own = process_identity()
    others = [one for one in trial.processes if any(one.get(name) != own[name] for name in own)]
    if trial.status is not Status.Running or not others:
        return [step, now]
    return [step, min(now, *(float(one["began"]) for one in trial.processes))]
