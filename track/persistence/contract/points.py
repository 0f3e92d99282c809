"""The points of a metric from a position on, in columns, and whether those before are as they were."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.columns import Column
from track.containers.packing import Chunk
from track.containers.series import Series
from track.errors import TrialDoesNotExist
from track.shown import shown
from track.structure import Trial

Since: TypeAlias = int | Mapping[str, int]
"""The first position that is wanted, of every metric or by its name."""
_MOST = 10_000


class FetchedPoints(NamedTuple):
    """The points of a metric from some position on.

    Attributes
    ----------
    steps: list
        Each once, in the order in which they first appeared; 0, 1, 2, ... of a metric without steps.
    values: list
        The value that was logged last at each.
    times: list of float
        When that was, unix seconds, 0 where it is not known.
    generation: str
        Another one than before where what stands before these points is not what it was.
    """

    steps: list[Any]
    values: list[Any]
    times: list[float]
    generation: str


def unknown_trial(uid: str) -> TrialDoesNotExist:
    """Return the error that says that there is no such trial."""
    return TrialDoesNotExist(f"no trial {shown(uid)} is stored")


GROWN = "0.0.0"
"""The generation of points of which none was replaced, hidden, or moved by one that came late."""


def start_of(since: Since, name: str) -> int:
    """Return the first position that is wanted of a metric."""
    return max(0, since if isinstance(since, int) else since.get(name, 0))


def chosen(measured: Mapping[str, Any], names: Iterable[str] | None) -> dict[str, Any]:
    """Return the containers of these names, of all by default; what is not there is left out."""
    return dict(measured) if names is None else {name: measured[name] for name in names if name in measured}


def points_of(container: Any, first: int, resumes: int = 0) -> FetchedPoints | None:
    """Return the points of a container from a position on; None where it keeps none, but a number of its own.

    `resumes`: how often the trial began again from an earlier step.
    """
    if isinstance(container, Series):
        steps, values, times, replaced = container.since(first)
        return FetchedPoints(steps, values, times, f"{container.points.late}.{replaced}.{resumes}")
    if isinstance(container, TimeSeriesAggregator):
        values, times = container.points.part(first)
        steps = list(range(first, first + len(times)))
        return FetchedPoints(steps, values, times, f"{container.points.late}.0.0")
    return None


# where nothing is known but what is there now

Known: TypeAlias = dict[tuple[str, str], tuple[str, int, bytes]]
"""By trial and metric: its generation, how many points there were, and a sum of them."""


def compared(known: Known, trial: Trial, names: Iterable[str] | None, since: Since) -> dict[str, FetchedPoints]:
    """Return the points of a trial, which are compared with what was there the last time, as `known` says.

    So a generation is good for as long as this process remembers it.
    """
    found = {}
    for name, container in chosen(trial.metrics, names).items():
        points = points_of(container, 0)
        if points is None:
            continue
        generation, size, total = known.get((trial.uid, name), ("", 0, b""))
        if not generation or len(points.steps) < size or _sum(points, size) != total:
            generation = secrets.token_hex(8)
        size = len(points.steps)
        known[trial.uid, name] = generation, size, _sum(points, size)
        first = start_of(since, name)
        found[name] = FetchedPoints(points.steps[first:], points.values[first:], points.times[first:], generation)
    return found


def _sum(points: FetchedPoints, size: int) -> bytes:
    columns = repr([column[:size] for column in points[:3]])
    return hashlib.blake2b(columns.encode("utf-8", "surrogatepass"), digest_size=16).digest()


# where what is stored has places


class _Read(NamedTuple):
    """How far a metric was read: up to which place, how many points that is, and the last one's step and time."""

    end: int
    size: int
    step: Any
    at: float


class Growing:
    """How far the metrics were read that only grow, so that what came since can be read alone."""

    def __init__(self) -> None:
        self._known: dict[Any, _Read] = {}

    def end(self, key: Any, first: int, stored: int) -> int | None:
        """Return after which place there is what is wanted from a position on; None where that is not known.

        `stored`: the place after the last one.
        """
        known = self._known.get(key)
        return known.end if known is not None and known.size <= first and known.end < stored else None

    def tail(self, key: Any, first: int, new: Chunk | None) -> FetchedPoints | None:
        """Return what is wanted of what came since, and remember it; None where all must be read."""
        known = self._known.pop(key)
        if not self._remember(key, known, new):
            return None
        start = first - known.size
        if new is None:
            return FetchedPoints([], [], [], GROWN)
        return FetchedPoints(*_columns(new, start, known.size), GROWN)

    def note(self, key: Any, whole: Chunk) -> None:
        """Remember how far a metric was read, of which these are all points."""
        self._known.pop(key, None)
        self._remember(key, _Read(-1, 0, None, 0.0), whole)

    def _remember(self, key: Any, known: _Read, new: Chunk | None) -> bool:
        if new is not None:
            if not _goes_on(known, new):
                return False
            known = _Read(new.end - 1, known.size + len(new), *_last(new))
        self._known[key] = known
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return True

    def clear(self) -> None:
        """Forget everything: it may be another store now."""
        self._known.clear()


def _goes_on(known: _Read, new: Chunk) -> bool:
    """Return whether points follow those before: later ones, without steps, or at steps that rise."""
    if new.containers or new.times is None or not new.is_ordered or new.times[0] < known.at:
        return False
    if new.steps is None:
        return known.step is None
    return new.is_rising and (not known.size or (type(known.step) is int and known.step < new.steps[0]))


def _last(chunk: Chunk) -> tuple[Any, float]:
    """Return step and time of the last point."""
    place = len(chunk) - 1
    assert chunk.times is not None
    return None if chunk.steps is None else chunk.steps[place], chunk.times[place]


def _columns(chunk: Chunk, first: int, before: int) -> tuple[list[Any], list[Any], list[float]]:
    """Return steps, values and times from a place on; `before` is how many points come before the chunk."""
    size = len(chunk)
    steps = list(range(before + first, before + size)) if chunk.steps is None else chunk.steps.part(first, size)
    assert chunk.times is not None
    return steps, chunk.values.part(first, size), chunk.times.part(first, size)


# on their way


def to_line(name: str, points: FetchedPoints) -> list[Any]:
    """Return the points of a metric as JSON-safe data."""
    return [name, points.generation, *(Column.from_list(column).to_plain() for column in points[:3])]


def from_line(line: list[Any]) -> tuple[str, FetchedPoints]:
    """Return what `to_line` was given."""
    name, generation, *plain = line
    steps, values, times = map(Column.from_plain, plain)
    steps.make_tuples()
    return name, FetchedPoints(steps.tolist(), values.tolist(), times.tolist(), generation)
