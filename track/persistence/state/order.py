"""Facts by their time: of two about one thing the one decided later counts, in whatever order they arrive."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, TypeAlias

from track.structure import Trial

Moments: TypeAlias = dict[str, dict[str, float]]
"""When what an object has was given, unix seconds, by field and name.

What is not in it was there from the beginning, or is of a version that did not note it: anything is newer.
"""


def newer(moments: Moments, field: str, values: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Return those of the values that none given later has replaced, and note when they were given.

    Examples
    --------
    >>> moments = {"tags": {"a": 5.0}}
    >>> newer(moments, "tags", {"a": 1, "b": 2}, at=3.0)
    {'b': 2}
    """
    chosen: dict[str, Any] = {}
    # A heartbeat has none.
    if not values:
        return chosen
    known = moments.get(field)
    if known is None:
        known = moments[field] = {}
    for name, value in values.items():
        if at >= known.get(name, at):
            chosen[name], known[name] = value, at
    return chosen


def add_error(trial: Trial, error: str, at: float) -> None:
    """Add an error to those of a trial, before those that happened later."""
    known = trial.moments.setdefault("errors", {})
    times = list(known.values())
    place = bisect_right(times, at)
    first = max(0, len(trial.errors) - len(times))
    trial.errors.insert(first + place, error)
    if place == len(times):
        known[str(first + place)] = at
        return
    times.insert(place, at)
    trial.moments["errors"] = {str(number): time for number, time in enumerate(times, first)}


def add_artifact(trial: Trial, artifact: dict[str, Any]) -> None:
    """Add a file to those of a trial, before those that were stored later."""
    place = len(trial.artifacts)
    # A file of somebody else's may not say when.
    while place and (trial.artifacts[place - 1].get("at") or 0.0) > artifact["at"]:
        place -= 1
    trial.artifacts.insert(place, artifact)
