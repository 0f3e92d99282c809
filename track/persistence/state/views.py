"""How stored objects are shown, by every store: what a reader sees and the document does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from track.containers.lazy import LazySet
from track.persistence.state.liveness import Liveness
from track.plain import named_tags
from track.structure import Project, Status, Trial, TrialGroup

Owner = TypeVar("Owner", Project, TrialGroup)
Fetch = Callable[[Any], Iterable[Any]]


def shown_fields(
    trial: Trial, tags_of: Callable[[str], dict[str, Any] | None], liveness: Liveness, alive: dict[Any, bool | None]
) -> dict[str, Any]:
    """Return what is shown of a trial otherwise than it is stored: its project's tags, and what became of processes."""
    fields: dict[str, Any] = {}
    inherited = tags_of(trial.project_id) if isinstance(trial.project_id, str) else None
    if inherited:
        fields["tags"] = {**named_tags(trial.tags), **inherited}
    if trial.status is Status.Running:
        fields["status"] = liveness.shown_status(trial, alive)
    return fields


def with_members(owner: Owner, members: Fetch, trials: Fetch, groups: Fetch) -> Owner:
    """Return a group or project, whose members are asked for when somebody looks.

    `members` returns the uids of a group's trials, in the order they were added; `trials` and `groups` take a query.
    """
    if isinstance(owner, TrialGroup):
        owner.trials = LazySet(partial(members, owner.uid))  # type: ignore[assignment]
        return owner
    query = [("project_id", owner.uid)]
    owner.trials = LazySet(partial(trials, query))  # type: ignore[assignment]
    owner.groups = LazySet(partial(groups, query))  # type: ignore[assignment]
    return owner
