"""A metric in buckets is the same from every backend: what looking at each point would say."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from track.aggregators.aggregator import MinAggregator, TimeSeriesAggregator
from track.errors import InvalidQuery
from track.persistence.buckets import Buckets, TrialBuckets
from track.persistence.protocol import Protocol
from track.plain import nearest_double
from track.structure import Trial
from track.testing.backend import BackendTests


class Logged(NamedTuple):
    """What is known of a trial: rows of step, value, unix seconds, those of another metric, and when it was started."""

    rows: Sequence[tuple[Any, Any, float]]
    others: Sequence[tuple[Any, Any, float]] = ()
    started: float = 0.0


def expected(logged: Logged, edges: Sequence[float], x: str, smoothing: float | None = None) -> TrialBuckets:
    """Return the buckets that looking at each point gives, without a thought for time."""
    points = [(place, nearest_double(row[1])) for row, place in zip(logged.rows, _places(logged, x), strict=True)]
    placed = sorted((point for point in points if math.isfinite(point[0])), key=lambda point: point[0])
    if smoothing:
        placed = _smoothed(placed, smoothing)
    size = len(edges) - 1
    held: list[list[float]] = [[] for _ in range(size)]
    outside = 0
    for place, value in placed:
        if not edges[0] <= place <= edges[-1]:
            outside += 1
            continue
        held[min(bisect_right(edges, place), size) - 1].append(value)
    finite = [[value for value in values if math.isfinite(value)] for values in held]
    numbers = [
        (min(some), max(some), math.fsum(value / len(some) for value in some), some[-1]) if some else (math.nan,) * 4
        for some in finite
    ]
    counts = [
        (
            len(some),
            sum(value != value for value in values),
            values.count(math.inf),
            values.count(-math.inf),
        )
        for some, values in zip(finite, held, strict=True)
    ]
    planes = (*zip(*numbers, strict=True), *zip(*counts, strict=True))
    return TrialBuckets._make((*planes, len(points) - len(placed), outside))


def _places(logged: Logged, x: str) -> list[float]:
    if x.startswith("metric:"):
        known = {step: _number(value) for step, value, _ in logged.others}
        return [known.get(step, math.nan) for step, _, _ in logged.rows]
    if x in ("time", "wall"):
        times = [at or math.nan for _, _, at in logged.rows]
        started = logged.started or min((at for at in times if at == at), default=0.0)
        return [at - (started if x == "time" else 0.0) for at in times]
    steps = [_number(step) for step, _, _ in logged.rows]
    if x == "step":
        return steps
    known_steps = [step for step in steps if math.isfinite(step)]
    least, greatest = min(known_steps, default=0.0), max(known_steps, default=0.0)
    if x == "offset":
        return [step - least for step in steps]
    # Of halves: the difference of two doubles may be larger than any.
    width = greatest / 2 - least / 2
    return [(step / 2 - least / 2) / width if width else step * 0.0 for step in steps]


def _number(value: Any) -> float:
    return nearest_double(value) if isinstance(value, (int, float)) else math.nan


def _smoothed(points: list[tuple[float, float]], weight: float) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    before: list[float] = []
    for place, value in points:
        if not math.isfinite(value):
            found.append((place, value))
            continue
        before.append(value)
        weights = [weight**age for age in range(len(before) - 1, -1, -1)]
        total = math.fsum(weights)
        terms = zip(weights, before, strict=True)
        found.append((place, math.fsum(one / total * known for one, known in terms)))
    return found


def assert_alike(found: TrialBuckets, wanted: TrialBuckets, rounded: float = 0.0) -> None:
    """Fail where buckets are others.

    Means may be so to 12 digits, and all numbers where they are rounded: to 12 digits of this size, or of their own.
    """
    for name in ("count", "nan", "plus_inf", "minus_inf"):
        assert list(getattr(found, name)) == list(getattr(wanted, name)), name
    assert (found.unplaced, found.outside) == (wanted.unplaced, wanted.outside)
    sizes = [abs(value) for one in (wanted.least, wanted.greatest) for value in one if value == value]
    size = max(sizes, default=0.0)
    for name in ("least", "greatest", "last", "mean"):
        numbers, known = (list(map(float, getattr(one, name))) for one in (found, wanted))
        if name == "mean" or rounded:
            allowed = max(1e-12 * max(size, rounded), 1e-320)
            assert numbers == pytest.approx(known, rel=1e-12, abs=allowed, nan_ok=True), name
        else:
            assert list(map(repr, _unsigned(numbers))) == list(map(repr, _unsigned(known))), name


def size_of(logged: Logged) -> float:
    """Return how large the values of a trial are."""
    values = [abs(nearest_double(value)) for _, value, _ in logged.rows]
    return max(filter(math.isfinite, values), default=0.0)


def _unsigned(values: list[float]) -> list[float]:
    # Which zero is the least is not said.
    return [value + 0.0 for value in values]


AXES = ("step", "offset", "relative", "time", "wall", "metric:tokens")
"""Each x."""


class BucketTests(BackendTests):
    """A metric in buckets is the same from every backend: what looking at each point would say."""

    def logged(self, protocol: Protocol, trial: Trial, name: str = "loss", other: str = "tokens") -> Logged:
        """Return what a new reader sees of a trial, with all its points."""
        points = self.reopen(protocol).fetch_points(trial.uid, [name, other])
        rows, others = (list(zip(*points[one][:3], strict=True)) if one in points else [] for one in (name, other))
        started = self.stored(protocol, trial).timestamps.get("started", 0.0)
        return Logged(rows, others, started)

    def check(self, protocol: Protocol, trials: list[Trial], smoothing: float | None = None, **asked: Any) -> Buckets:
        """Compare the buckets of trials with what their points say; return them."""
        found = protocol.fetch_buckets([trial.uid for trial in trials], "loss", 7, smoothing=smoothing, **asked)
        edges = list(map(float, found.edges))
        assert len(edges) == 8
        assert edges == sorted(edges)
        for trial in trials:
            logged = self.logged(protocol, trial)
            wanted = expected(logged, edges, asked.get("x", "step"), smoothing)
            assert_alike(found[trial.uid], wanted, size_of(logged) if smoothing else 0.0)
        return found

    @pytest.mark.parametrize("smoothing", [None, 0.6])
    @pytest.mark.parametrize("x", AXES)
    def test_buckets_are_what_the_points_say(
        self, protocol: Protocol, trial: Trial, x: str, smoothing: float | None
    ) -> None:
        """Of trials with rising steps, with unordered and odd ones, and without any, whoever asks, on one grid."""
        strange: list[Any] = [(3, 0.9), (1, 0.5), (3, 0.8), ("end", 0.1), (2.5, math.inf), (9, math.nan)]
        others: list[Trial] = []
        for number in range(2):
            made = protocol.new_trial(Trial(parameters={"lr": number}))
            assert made is not None
            others.append(made)
        protocol.log_trial_start(trial)
        for step in range(20):
            protocol.log_trial_metrics(trial, step=3 * step, loss=1 / (step + 1), tokens=100 * step)
            protocol.log_trial_metrics(others[0], loss=step / 7, tokens=float(2**step))
        for step, value in [*strange, (-4, -math.inf), (2**53 + 1, 2**53 + 1), (4, True), ((1, 2), 0.25)]:
            protocol.log_trial_metrics(others[1], step=step, loss=value, tokens=value)
            protocol.log_trial_metrics(others[1], step=step, nothing=value)

        for reader in (protocol, self.reopen(protocol)):
            found = self.check(reader, [trial, *others], smoothing, x=x)
            assert found.uids == [trial.uid, others[0].uid, others[1].uid]
            self.check(reader, [*others, trial], smoothing, x=x, start=0.5)
            self.check(reader, [others[1]], smoothing, x=x, start=-2, end=2)

    def test_buckets_of_points_that_are_hidden(self, protocol: Protocol, trial: Trial) -> None:
        """What a resume hides is in no bucket, and what was logged since is, also where buckets were asked before."""
        for step in range(30):
            protocol.log_trial_metrics(trial, step=step, loss=float(step), tokens=step)
        before = self.check(protocol, [trial])

        rule: Any = [10.0, protocol.clock() + 1.0]
        protocol.log_trial_metadata(trial, aggregator=TimeSeriesAggregator.lazy(), _resumes=rule)
        for reader in (protocol, self.reopen(protocol)):
            after = self.check(reader, [trial])
            self.check(reader, [trial], x="metric:tokens")

        assert (int(before.count[0].sum() if hasattr(before.count[0], "sum") else sum(before.count[0]))) == 30
        assert after.high == (9.0 if protocol.answers else after.high)

    def test_buckets_follow_what_is_logged(self, protocol: Protocol, trial: Trial) -> None:
        """Asked again, they are those of all points: later ones, steps logged again, a value that is none."""
        for step in range(300):
            protocol.log_trial_metrics(trial, step=step, loss=float(step))
        changes: list[Any] = [{"step": 300, "loss": -5.0}, {"step": 17, "loss": 99.0}, {"step": 301, "loss": math.nan}]
        for change in changes:
            self.check(protocol, [trial])
            self.check(protocol, [trial], smoothing=0.9)
            protocol.log_trial_metrics(trial, **change)

        for reader in (protocol, self.reopen(protocol)):
            self.check(reader, [trial])
            self.check(reader, [trial], smoothing=0.9)

    def test_buckets_of_one_point(self, protocol: Protocol, trial: Trial) -> None:
        """One point, or several at one x, are in the first bucket of a grid that goes up by 1."""
        protocol.log_trial_metrics(trial, step=5, loss=0.5)

        found = self.check(protocol, [trial])

        assert [*map(float, found.edges)][:: len(found.edges) - 1] == [5.0, 6.0]
        assert list(found[trial.uid].count) == [1, 0, 0, 0, 0, 0, 0]
        assert (found.low, found.high) == (5.0, 5.0)

    def test_buckets_of_what_is_not_there(self, protocol: Protocol, trial: Trial) -> None:
        """Trials that are not stored, or have no points of the metric, are left out; an aggregated one has none."""
        protocol.log_trial_metrics(trial, aggregator=MinAggregator.lazy(), best=1.0)
        protocol.log_trial_metrics(trial, step=0, loss=1.0)
        none = protocol.new_trial(Trial(parameters={"lr": 0.2}))
        assert none is not None
        uids = [none.uid, "0" * 64 + "_7", trial.uid, "nobody's", trial.uid]

        found = protocol.fetch_buckets(uids, "loss", 3)

        assert found.uids == [trial.uid]
        assert dict(protocol.fetch_buckets(uids, "best", 3)) == dict(protocol.fetch_buckets([], "loss", 3)) == {}
        assert protocol.fetch_buckets(uids, "nobody's", 3, smoothing=0.5).uids == []
        elsewhere = protocol.fetch_buckets(uids, "loss", 3, "metric:nobody's")
        assert (elsewhere.uids, elsewhere.unplaced, elsewhere.low) == ([trial.uid], [1], None)

    def test_buckets_of_a_hidden_trial(self, protocol: Protocol, trial: Trial) -> None:
        """A trial that is hidden has the buckets it had: who names it wants it."""
        for step in range(5):
            protocol.log_trial_metrics(trial, step=step, loss=float(step))
        protocol.delete_trial(trial)

        for reader in (protocol, self.reopen(protocol)):
            assert list(reader.fetch_buckets([trial.uid], "loss", 2)[trial.uid].count) == [2, 3]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"buckets": 0},
            {"buckets": 100_001},
            {"buckets": 2.5},
            {"x": "epoch"},
            {"x": "metric:"},
            {"start": 2.0, "end": 2.0},
            {"start": math.nan},
            {"smoothing": 1.0},
            {"smoothing": -0.1},
            {"uids": ["0" * 64 + f"_{revision}" for revision in range(21)], "buckets": 100_000},
        ],
        ids=",".join,
    )
    def test_buckets_that_cannot_be(self, protocol: Protocol, trial: Trial, wrong: dict[str, Any]) -> None:
        """A question that has no answer, or too large a one, is refused in one way."""
        with pytest.raises(InvalidQuery):
            protocol.fetch_buckets(**{"uids": [trial.uid], "name": "loss", "buckets": 10, **wrong})
