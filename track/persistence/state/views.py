"""How stored objects are shown, by every store: what a reader sees and the document does not say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from track.containers.lazy import LazySet
from track.persistence.state.apply import named_tags
from track.structure import Project, Status, Trial, TrialGroup
from track.utils.system import is_process_alive

Owner = TypeVar("Owner", Project, TrialGroup)
Fetch = Callable[[Any], Iterable[Any]]
HEARTBEAT_TIMEOUT = 300.0
"""Seconds of silence after which a trial that runs on another host is shown Broken."""


class Liveness:
    """Tells trials that run from those whose process is gone.

    Parameters
    ----------
    timeout: float
        Seconds without an event after which a trial of another host counts as gone.
    clock: callable
        Returns unix seconds.
    """

    def __init__(self, timeout: float = HEARTBEAT_TIMEOUT, clock: Callable[[], float] = time.time) -> None:
        self.timeout = timeout
        self.clock = clock

    def is_broken(self, trial: Trial, alive: dict[Any, bool | None]) -> bool:
        """Return whether the process that runs the trial is gone, or its heartbeat, on another host, is too old.

        `alive` holds what was found out about processes already, and is filled.
        """
        process = trial.process
        if process is None or trial.status is not Status.Running:
            return False
        key = (process.get("host"), process.get("pid"), process.get("started"))
        if key not in alive:
            alive[key] = is_process_alive(process)
        if alive[key] is not None:
            return not alive[key]
        last = trial.metadata.get("_last_change", 0.0)
        return bool(self.clock() - last > self.timeout)


def shown_fields(
    trial: Trial, tags_of: Callable[[str], dict[str, Any] | None], liveness: Liveness, alive: dict[Any, bool | None]
) -> dict[str, Any]:
    """Return what is shown of a trial otherwise than it is stored: the tags of its project, and that it is Broken."""
    fields: dict[str, Any] = {}
    inherited = tags_of(trial.project_id) if isinstance(trial.project_id, str) else None
    if inherited:
        fields["tags"] = {**named_tags(trial.tags), **inherited}
    if liveness.is_broken(trial, alive):
        fields["status"] = Status.Broken
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
