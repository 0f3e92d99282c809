"""What of a trial in memory is read for its buckets: taken while nobody changes it, looked at later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.series import Points, Series
from track.persistence.buckets import Buckets, Columns, Found, Question, Source, bucketed, line_from
from track.persistence.state.views import resumes_of, shown_points
from track.structure import Trial


class Seen(Source):
    """The metrics of a trial that are asked about, as they were at one moment: nothing was copied."""

    def __init__(self, trial: Trial, question: Question) -> None:
        self._question = question
        self._started = float(trial.timestamps.get("started", 0.0))
        resumes = resumes_of(trial)
        self._resumes = None if resumes is None else resumes.view()
        measured = ((name, trial.metrics.get(name)) for name in question.names)
        containers = {name: one for name, one in measured if isinstance(one, (Series, TimeSeriesAggregator))}
        for container in containers.values():
            container.points.settle()
        self._kept = {name: one.view() for name, one in containers.items()}
        rules = () if resumes is None else tuple(map(tuple, resumes.val))
        self.stamp = self._started, rules, {name: _stamp(one.points) for name, one in self._kept.items()}

    def found(self) -> Found | None:
        columns = self._columns(self._question.name)
        return None if columns is None else Found(columns, self._columns(self._question.other), self._started)

    def as_stored(self) -> Found:
        from track.containers.arrays import stored_arrays

        return Found(Columns(*stored_arrays(self._kept[self._question.name].points)), None, self._started)

    def is_as_stored(self, found: Found) -> bool:
        return len(found.columns.values) == len(self._kept[self._question.name].points)

    def _columns(self, name: str | None) -> Columns | None:
        """Return the points of a metric that are shown; None where there are none."""
        container = self._kept.get(name or "")
        if container is None:
            return None
        try:
            from track.containers.arrays import to_arrays

            hidden = self._resumes.val if self._resumes is not None and isinstance(container, Series) else ()
            columns: Any = to_arrays(container.points, True, hidden)
        except ImportError:
            columns = shown_points(container, self._resumes, 0)
        return None if columns is None or not len(columns[1]) else Columns(*columns[:3])


def _stamp(points: Points) -> tuple[Any, ...]:
    """Return what tells points from those of before, and from those of a file that was put back: a NaN is no reason."""
    size = len(points)
    ends = (points.at[0], points.at[size - 1], repr(points.value[size - 1])) if size else ()
    return (size, points.late, points.is_late, points.step is None, *ends)


def buckets_of(trials: Iterable[Trial], question: Question) -> Buckets:
    """Return the buckets of trials, as they are in memory."""
    known = {trial.uid: trial for trial in trials}

    def read(uids: Sequence[str]) -> Iterable[tuple[str, Seen]]:
        return ((uid, Seen(known[uid], question)) for uid in uids)

    return bucketed(question, list(known), read, lambda _, seen: line_from(seen, question, ()))
