"""What of trials is read for their buckets: taken while nobody changes it, looked at later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.series import Points, Series
from track.persistence.buckets import (
    BY_STEP,
    Buckets,
    ChunkedLine,
    Curve,
    Found,
    Kept,
    Question,
    Source,
    bucketed,
    kept_line,
    line_from,
)
from track.persistence.state.parts import chunked_line
from track.persistence.state.views import resumes_of, shown_points
from track.structure import Trial

_AT_ONCE = 100


class Seen(Source):
    """The metrics of a trial that are asked about, as they were at one moment: nothing was copied.

    `measured`: containers by name. `started`: when the trial was, unix seconds, 0 for unknown. `resumes`: from
    which steps it began again, where that is not in the containers.
    """

    def __init__(
        self,
        question: Question,
        measured: Mapping[str, Any],
        started: float = 0.0,
        resumes: TimeSeriesAggregator | None = None,
    ) -> None:
        self._question = question
        self._started = started
        self._resumes = None if resumes is None else resumes.view()
        named = ((name, measured.get(name)) for name in question.names)
        containers = {name: one for name, one in named if isinstance(one, (Series, TimeSeriesAggregator))}
        for container in containers.values():
            container.points.settle()
        self._kept = {name: one.view() for name, one in containers.items()}
        rules = () if resumes is None else tuple(map(tuple, resumes.val))
        self.stamp = self._started, rules, {name: _stamp(one.points) for name, one in self._kept.items()}

    def found(self) -> Found | None:
        columns = self._columns(self._question.name)
        return None if columns is None else Found(columns, self._columns(self._question.other), self._started)

    def chunked(self, kept: Kept) -> ChunkedLine | None:
        container = self._kept.get(self._question.name)
        if container is None or (self._resumes is not None and self._resumes.val and isinstance(container, Series)):
            return None
        return chunked_line(container, self._question, self._started, kept)

    def as_stored(self) -> Found:
        from track.containers.arrays import logged_arrays

        return Found(Curve(*logged_arrays(self._kept[self._question.name].points)), None, self._started)

    def is_as_stored(self, found: Found) -> bool:
        points = self._kept[self._question.name].points
        # From a file they would have to be read again.
        return points.stored is None and len(found.columns.values) == len(points)

    def _columns(self, name: str | None) -> Curve | None:
        """Return the points of a metric that are shown; None where there are none."""
        container = self._kept.get(name or "")
        if container is None:
            return None
        try:
            from track.containers.arrays import by_step, logged_arrays, once

            hidden = self._resumes.val if self._resumes is not None and isinstance(container, Series) else ()
            is_sorted_later = self._question.x in BY_STEP
            # Along steps nobody looks at the times.
            columns: Any = logged_arrays(container.points, hidden, with_times=not is_sorted_later)
            shown: Any = (is_sorted_later and by_step(*columns)) or once(*columns)
        except ImportError:
            shown = shown_points(container, self._resumes, 0)
        return None if shown is None or not len(shown[1]) else Curve(*shown[:3])


def _stamp(points: Points) -> tuple[Any, ...]:
    """Return what tells points from those of before, and from those of a file that was put back: a NaN is no reason."""
    stored, tail = points.stored, points.tail
    named = () if stored is None else (len(stored.chunks), stored.chunks[-1].named)
    ends = (points.at[0], points.at[tail - 1], repr(points.value[tail - 1])) if tail else ()
    return (len(points), points.late, points.is_late, points.step is None, named, ends)


def seen_trial(trial: Trial, question: Question) -> Seen:
    """Return the metrics of a trial in memory."""
    started = float(trial.timestamps.get("started", 0.0))
    return Seen(question, trial.metrics, started, resumes_of(trial))


def buckets_of(trials: Iterable[Trial], question: Question) -> Buckets:
    """Return the buckets of trials, as they are in memory."""
    known = {trial.uid: trial for trial in trials}

    def read(uids: Sequence[str]) -> Iterable[tuple[str, Seen]]:
        return ((uid, seen_trial(known[uid], question)) for uid in uids)

    return bucketed(question, list(known), read, lambda _, seen: line_from(seen, question, ()))


# in a database


class Fetched(Seen):
    """The metrics of a trial that were fetched from a database: what is made of them is kept as a whole."""

    def is_as_stored(self, found: Found) -> bool:
        return False


class Measured(NamedTuple):
    """What was fetched of a trial.

    `containers`: by name. `started`: when the trial was, unix seconds, 0 where it is not known. `is_whole`: whether no
    point is missing, which may be written without a change of the trial. `resumes`: from which steps it began again,
    where that is not in the containers.
    """

    containers: Mapping[str, Any] = {}
    started: float = 0.0
    is_whole: bool = True
    resumes: TimeSeriesAggregator | None = None


Fetch = Callable[[Sequence[str]], Mapping[str, Measured]]
"""Returns what trials have measured, by uid."""


def buckets_from(question: Question, uids: Sequence[str], store: str, stamps: Any, fetch: Fetch) -> Buckets:
    """Return the buckets of trials that a database has; those are fetched that have changed since.

    `store`: the id of the store; where it is empty nothing is kept. `stamps`: returns by uid what is another one after
    each change of a trial; those that are not stored are left out.
    """

    def key(uid: str) -> tuple[str, ...]:
        return (store, uid) if store else ()

    def read(chosen: Sequence[str]) -> Iterator[tuple[str, Source]]:
        known = stamps(chosen)
        lines = {uid: kept_line(known[uid], question, key(uid)) for uid in chosen if uid in known}
        missing = [uid for uid, line in lines.items() if line is None]
        fetched: dict[str, Measured] = {}
        place = 0
        for uid in list(lines):
            source = Source()
            source.line = lines.pop(uid)
            if source.line is None:
                if place % _AT_ONCE == 0:
                    fetched = dict(fetch(missing[place : place + _AT_ONCE]))
                place += 1
                measured = fetched.pop(uid, Measured())
                source = Fetched(question, measured.containers, measured.started, measured.resumes)
                source.stamp = known[uid] if measured.is_whole else object()
            yield uid, source

    return bucketed(question, uids, read, lambda uid, source: line_from(source, question, key(uid)))
