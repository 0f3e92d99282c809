"""How stored objects are shown, by every store: what a reader sees and the document does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.lazy import LazySet
from track.containers.series import Points, Series
from track.metrics import Metrics
from track.persistence.contract import FetchedPoints, points_of
from track.persistence.state.apply import RESUMES
from track.persistence.state.liveness import Liveness
from track.plain import named_tags
from track.structure import Project, Status, Trial, TrialGroup

Owner = TypeVar("Owner", Project, TrialGroup)
Fetch = Callable[[Any], Iterable[Any]]


def shown_fields(
    trial: Trial, tags_of: Callable[[str], dict[str, Any] | None], liveness: Liveness, alive: dict[Any, bool | None]
) -> dict[str, Any]:
    """Return what is shown of a trial otherwise than it is stored.

    These are the tags of its project, no points that a later life computes again, and what became of processes.
    """
    fields: dict[str, Any] = {}
    inherited = tags_of(trial.project_id) if isinstance(trial.project_id, str) else None
    if inherited:
        fields["tags"] = {**named_tags(trial.tags), **inherited}
    resumes = resumes_of(trial)
    if resumes is not None:
        fields["metrics"] = Metrics(partial(_since_resumes, trial.metrics.view(), resumes.view()))
    if trial.status is Status.Running:
        fields["status"] = liveness.shown_status(trial, alive)
    return fields


def resumes_of(trial: Trial) -> TimeSeriesAggregator | None:
    """Return from which steps a trial began again, each with when that was; None where it never did."""
    resumes = trial.metadata.get(RESUMES)
    return resumes if isinstance(resumes, TimeSeriesAggregator) else None


def shown_points(container: Any, resumes: TimeSeriesAggregator | None, first: int) -> FetchedPoints | None:
    """Return the points that are shown of a container, from a position on; None where it has none."""
    if resumes is None or not isinstance(container, Series):
        return points_of(container, first)
    without = _without(container, resumes.val)
    return None if without is None else points_of(without, first, len(resumes.val))


def _since_resumes(metrics: Metrics, resumes: TimeSeriesAggregator) -> dict[str, Any]:
    """Return the containers without points that were logged before a resume, at its step or a later one."""
    shown = {name: _without(container, resumes.val) for name, container in metrics.items()}
    return {name: container for name, container in shown.items() if container is not None}


def _without(container: Any, rules: list[list[float]]) -> Any:
    """Return a container without the points that a rule hides; None where none is left."""
    if not isinstance(container, Series):
        return container
    points = container.points
    # One that came late may belong among those on disk.
    points.settle()
    # What is on disk before the first step of a rule is shown as it is.
    before = None if points.stored is None else points.stored.below(min(first for first, _ in rules))
    start = 0 if before is None else before.count
    columns = (points.steps_from(start), *points.part(start))
    kept = [(step, value, at) for step, value, at in zip(*columns, strict=True) if not is_hidden(rules, step, at)]
    if not kept and before is None:
        return None
    steps, values, times = map(list, zip(*kept, strict=True)) if kept else ([], [], [])
    shown = Series(Points.from_lists(steps, values, times))
    shown.points.late, shown.points.stored = points.late, before
    return shown


def is_hidden(rules: list[list[float]], step: Any, at: float) -> bool:
    """Return whether one of the rules of a trial that began again hides a point."""
    return isinstance(step, (int, float)) and any(step >= first and at < since for first, since in rules)


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
