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
    if _numbers_of(artifact, artifact["name"]) is not None:
        _thin(trial, artifact)


def _numbers_of(line: Any, name: Any) -> tuple[int, int] | None:
    """Return the place of a line among the media of a name, and of how many one was kept when it came; else None."""
    media = line.get("media") if isinstance(line, dict) and line.get("name") == name else None
    if not isinstance(media, dict):
        return None
    index, every = media.get("index"), media.get("every", 1)
    return (index, every) if type(index) is int and type(every) is int and every > 0 else None


def _thin(trial: Trial, artifact: dict[str, Any]) -> None:
    """Leave out media of the name that are no longer kept: but for every so manieth, and the last."""
    name, is_last, before = artifact["name"], False, None
    for line in reversed(trial.artifacts):
        if line is artifact:
            is_last = True
        elif (before := _numbers_of(line, name)) is not None:
            break
    own = _numbers_of(artifact, name)
    if own is None or before is None:
        return
    # Nearly always: what came before is kept, and so is this.
    if before[1] == own[1] and before[0] % own[1] == 0 and (is_last or own[0] % own[1] == 0):
        return
    numbers = [_numbers_of(line, name) for line in trial.artifacts]
    known = [pair for pair in numbers if pair is not None]
    every, last = max(pair[1] for pair in known), known[-1][0]
    lines = zip(trial.artifacts, numbers, strict=True)
    trial.artifacts = [line for line, pair in lines if pair is None or pair[0] % every == 0 or pair[0] == last]
