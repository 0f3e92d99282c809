"""How stored objects are shown, by every store: what a reader sees and the document does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from track.containers.lazy import LazySet
from track.persistence.state.apply import named_tags
from track.persistence.state.liveness import Liveness
from track.structure import Project, Trial, TrialGroup

Owner = TypeVar("Owner", Project, TrialGroup)
Fetch = Callable[[Any], Iterable[Any]]


def as_shown(
    trial: Trial, tags_of: Callable[[str], dict[str, Any] | None], liveness: Liveness, alive: dict[Any, bool | None]
) -> Trial:
    """Return `trial` with the tags of its project, Broken where its process is gone; itself where nothing differs.

    Parameters
    ----------
    trial: Trial
        Stays as it is.
    tags_of: callable
        Returns the tags of a project, None or no tags where it has none.
    liveness: Liveness
    alive: dict
        What was found out about processes already; filled.
    """
    changes: dict[str, Any] = {}
    inherited = tags_of(trial.project_id) if isinstance(trial.project_id, str) else None
    if inherited:
        changes["tags"] = {**named_tags(trial.tags), **inherited}
    status = liveness.shown_status(trial, alive)
    if status is not trial.status:
        changes["status"] = status
    if not changes:
        return trial
    shown = Trial.__new__(Trial)
    vars(shown).update(vars(trial), **changes)
    return shown


def with_members(owner: Owner, members: Fetch, trials: Fetch, groups: Fetch) -> Owner:
    """Return a group or project, whose members are asked for when somebody looks.

    Parameters
    ----------
    owner: TrialGroup or Project
    members: callable
        Returns the uids of a group's trials, in the order they were added.
    trials, groups: callable
        Return the trials, or groups, that match a query.
    """
    if isinstance(owner, TrialGroup):
        owner.trials = LazySet(partial(members, owner.uid))  # type: ignore[assignment]
        return owner
    query = [("project_id", owner.uid)]
    owner.trials = LazySet(partial(trials, query))  # type: ignore[assignment]
    owner.groups = LazySet(partial(groups, query))  # type: ignore[assignment]
    return owner
