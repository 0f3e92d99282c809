"""Metrics that are looked at again and again: what is kept of them, how much, and when it is void."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from track import TrackClient, fetch
from track.aggregators.aggregator import TimeSeriesAggregator
from track.errors import NotFound
from track.persistence import get_protocol
from track.persistence.buckets import Buckets, Curve, Found, Question, arrays, lines
from track.persistence.buckets.cache import Cache
from track.persistence.buckets.pyramid import Pyramid
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.protocol import Protocol
from track.persistence.sqlite import SqliteProtocol
from track.structure import Trial
from track.testing.bucketing import assert_alike

numpy = pytest.importorskip("numpy")
LONG = 5_000


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Give an empty cache, which takes short series for long ones."""
    monkeypatch.setattr(lines, "LINES", Cache())
    monkeypatch.setattr(lines, "_LONG", 100)
    return lines.LINES


def _filled(store: Protocol, size: int = LONG) -> Trial:
    trial = store.new_trial(Trial(parameters={"size": size}))
    assert trial is not None
    for step in range(size):
        store.log_trial_metrics(trial, step=step, loss=math.sin(step))
    return trial


def _same(found: Buckets, other: Buckets) -> bool:
    """Return whether buckets are alike, the means but for rounding."""
    exact = all(
        numpy.array_equal(getattr(found, name), getattr(other, name), equal_nan=True)
        for name in ("least", "greatest", "last", "count", "nan", "edges")
    )
    return bool(exact and numpy.allclose(found.mean, other.mean, rtol=1e-12, atol=1e-12, equal_nan=True))


@pytest.mark.parametrize("edges", [[0, 5000], [0, 1, 63, 64, 65, 128, 1000, 4999.5, 5000], [-9, -5, 700.5, 701, 9000]])
def test_pyramid_says_what_the_values_say(edges: list[float]) -> None:
    """Buckets of blocks and of few values at their edges are those of all values, wherever the edges are."""
    values = numpy.random.default_rng(0).normal(size=LONG)
    question = Question("loss", 1)
    line = arrays.line_of(Found(Curve(None, values, None)), question)
    fast = arrays.line_of(Found(Curve(None, values, None)), question)
    assert line is not None
    assert fast is not None
    fast.pyramid = Pyramid(values)
    planes, quick = (arrays.planes_of(1, len(edges) - 1) for _ in range(2))

    outside = line.fill(numpy.array(edges, float), planes, 0), fast.fill(numpy.array(edges, float), quick, 0)

    assert outside[0] == outside[1]
    for name in planes:
        assert numpy.allclose(planes[name], quick[name], rtol=1e-12, atol=1e-12, equal_nan=True), name
    for name in ("least", "greatest", "last", "count"):
        assert numpy.array_equal(planes[name], quick[name], equal_nan=True), name


def test_sums_that_are_no_numbers_make_no_pyramid() -> None:
    """Where sums of blocks are larger than any double, means are made of the values."""
    store = EphemeralProtocol()
    trial = store.new_trial(Trial(parameters={}))
    assert trial is not None
    for step in range(300):
        store.log_trial_metrics(trial, step=step, loss=1.5e308)

    found = store.fetch_buckets([trial.uid], "loss", 1)

    assert found.mean[0].tolist() == [1.5e308]


@pytest.mark.parametrize("asked", [{}, {"smoothing": 0.9}, {"x": "time"}, {"x": "relative"}, {"x": "metric:loss"}])
def test_looking_again_looks_at_no_point(kept: Cache, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    """Asked again, or for a part, nothing is sorted, smoothed or searched for NaN again; and it is the same."""
    store = EphemeralProtocol()
    uid = _filled(store).uid
    first = store.fetch_buckets([uid], "loss", 5, **asked)
    monkeypatch.setattr(arrays, "line_of", lambda *_: pytest.fail("all points were looked at again"))

    assert _same(store.fetch_buckets([uid], "loss", 5, **asked), first)
    part = store.fetch_buckets([uid], "loss", 5, **{**asked, "start": 0.1, "end": 0.5})
    monkeypatch.undo()
    kept.clear()

    assert _same(store.fetch_buckets([uid], "loss", 5, **{**asked, "start": 0.1, "end": 0.5}), part)


@pytest.mark.parametrize(
    "change", [{"step": LONG, "loss": 9.0}, {"step": 3, "loss": 9.0}, {"step": 3, "loss": math.nan}]
)
@pytest.mark.parametrize("smoothing", [None, 0.9])
def test_what_is_kept_is_void_once_something_is_logged(change: dict[str, Any], smoothing: float | None) -> None:
    """A later step, a step logged again, and a value that is none change what is asked for again."""
    store = EphemeralProtocol()
    trial = _filled(store)
    before = store.fetch_buckets([trial.uid], "loss", 5, smoothing=smoothing)

    store.log_trial_metrics(trial, **change)
    after = store.fetch_buckets([trial.uid], "loss", 5, smoothing=smoothing)

    assert not _same(before, after)
    assert _same(after, Protocol.fetch_buckets(store, [trial.uid], "loss", 5, smoothing=smoothing))


@settings(max_examples=50)
@given(
    points=st.lists(
        st.tuples(
            st.one_of(st.integers(-9, 9), st.sampled_from([2**53 + 1, 2**53 + 3, 0.5, -0.0, math.inf])), st.floats()
        ),
        max_size=30,
    ),
    x=st.sampled_from(["step", "offset", "relative", "time"]),
    hidden_from=st.one_of(st.none(), st.integers(-5, 9)),
)
def test_steps_in_any_order_are_each_there_once(points: list[Any], x: str, hidden_from: int | None) -> None:
    """Whole numbers and others, logged again and hidden by a resume, are what point by point they are."""
    store = EphemeralProtocol()
    trial = store.new_trial(Trial(parameters={}))
    assert trial is not None
    for number, (step, value) in enumerate(points):
        if hidden_from is not None and number == len(points) // 2:
            rule: Any = [float(hidden_from), store.clock()]
            store.log_trial_metadata(trial, aggregator=TimeSeriesAggregator.lazy(), _resumes=rule)
        store.log_trial_metrics(trial, step=step, loss=value)

    found = store.fetch_buckets([trial.uid], "loss", 5, x)

    wanted = Protocol.fetch_buckets(store, [trial.uid], "loss", 5, x)
    assert (found.uids, found.low, found.high) == (wanted.uids, wanted.low, wanted.high)
    assert list(found.edges) == list(wanted.edges)
    for uid in found:
        assert_alike(found[uid], wanted[uid])


def test_file_that_was_put_back_is_looked_at_again(tmp_path: Path) -> None:
    """A file of the same store with as many points, but others, has other buckets."""
    path = tmp_path / "runs.json"

    def logged(value: float) -> Buckets:
        client = TrackClient(f"file:{path}")
        trial = client.new_trial(parameters={"lr": 0.1})
        for step in range(300):
            trial.log_metrics(step=step, loss=value * step)
        trial.finish()
        client.save()
        found = fetch(f"file:{path}").buckets("loss", 4)
        client.protocol.close()
        return found

    TrackClient(f"file:{path}").save()
    whole = path.read_bytes()
    first = logged(1.0)
    for left in tmp_path.iterdir():
        left.unlink()
    path.write_bytes(whole)

    assert logged(2.0).greatest[0].tolist() == [2 * value for value in first.greatest[0].tolist()]


def test_nobody_who_logs_is_held_up_by_what_is_kept() -> None:
    """What is kept shows no array of the store: who logs on appends to it, and copies nothing."""
    store = EphemeralProtocol()
    trial = _filled(store)
    for asked in ({}, {"smoothing": 0.9}, {"x": "metric:loss"}, {"x": "time"}):
        store.fetch_buckets([trial.uid], "loss", 5, **asked)
    with store.reading() as state:
        series = next(iter(state.find_trials({"uid": trial.uid}))).metrics["loss"]
    columns = (series.points.step, series.points.value, series.points.at)
    held = [column._data for column in columns]

    store.log_trial_metrics(trial, step=LONG, loss=0.5)
    assert len(store.storage) == 1

    assert [len(data) for data in held] == [LONG + 1] * 3


def test_buckets_while_another_thread_logs() -> None:
    """Each answer is of one moment, whatever is logged meanwhile."""
    store = EphemeralProtocol()
    trial = _filled(store, 200)
    ended = threading.Event()

    def log() -> None:
        for step in range(200, 3000):
            store.log_trial_metrics(trial, step=step, loss=float(step))
        ended.set()

    thread = threading.Thread(target=log)
    thread.start()
    counts = []
    while not ended.is_set():
        found = store.fetch_buckets([trial.uid], "loss", 3)
        counts.append(int(found.count.sum()))
        assert found.high == counts[-1] - 1
    thread.join()

    assert counts == sorted(counts)
    assert int(store.fetch_buckets([trial.uid], "loss", 3).count.sum()) == 3000


def test_database_is_asked_for_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that are as they were are not read again; one that goes on is."""
    store = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    trials = [_filled(store, 1500 + number) for number in range(3)]
    uids = [trial.uid for trial in trials]
    first = store.fetch_buckets(uids, "loss", 5)
    read: list[str] = []
    columns_of = store.columns_of
    monkeypatch.setattr(
        store, "columns_of", lambda name, some, times: read.extend(some) or columns_of(name, some, times)
    )

    again = store.fetch_buckets(uids, "loss", 5)
    assert read == []
    store.log_trial_metrics(trials[1], step=9999, loss=3.0)
    after = store.fetch_buckets(uids, "loss", 5)

    assert _same(first, again)
    assert read == [uids[1]]
    assert _same(after, get_protocol(f"sqlite:{tmp_path}/runs.db").fetch_buckets(uids, "loss", 5))


def test_cache_has_so_many_bytes_at_most() -> None:
    """The oldest is forgotten, what is too large is not taken, and what is of something else is dropped."""
    cache = Cache(100)
    cache.put("a", 1, "one", 40)
    cache.put("b", 1, "two", 40)
    assert cache.get("a", 1) == "one"

    cache.put("c", 1, "three", 40)
    cache.put("d", 1, "large", 101)

    assert [cache.get(key, 1) for key in "abcd"] == ["one", None, "three", None]
    assert cache.nbytes == 80
    assert cache.get("a", 2) is None
    assert cache.nbytes == 40


def test_trials_that_were_fetched_have_buckets(tmp_path: Path) -> None:
    """Whatever part of them, and of several stores; those of one store are what that store has by now."""
    uris = [f"file:{tmp_path}/runs.json", f"sqlite:{tmp_path}/runs.db"]
    loggers = []
    for number, uri in enumerate(uris):
        client = TrackClient(uri)
        loggers.append(client.new_trial(parameters={"seed": number}))
        for step in range(10):
            loggers[-1].log_metrics(step=step, loss=step / (number + 1))
        client.protocol.flush()
    some, others = map(fetch, uris)
    both = some + others

    assert both.buckets("loss", 1).greatest.tolist() == [[9.0], [4.5]]
    loggers[0].log_metrics(step=10, loss=99.0)
    for part in (some, some[:1], some.filter({"parameters.seed": 0}), some.sorted("uid"), some.copy(), some + some[:0]):
        assert part.buckets("loss", 1).greatest.tolist() == [[99.0]]
    assert both.buckets("loss", 1).greatest.tolist() == [[9.0], [4.5]]
    for logger in loggers:
        logger.finish()


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "sqlite:{}/runs.db"])
def test_buckets_of_a_misspelt_metric_name_the_one_that_is_there(tmp_path: Path, scheme: str) -> None:
    """A chart of nothing is an error where other metrics were logged; before the first numbers it is empty."""
    uri = scheme.format(tmp_path)
    with TrackClient(uri).new_trial(parameters={}) as logger:
        empty = fetch(uri).buckets("los", 4)
        logger.log_metrics(step=0, loss=0.5)
    found = fetch(uri)

    assert len(empty) == 0
    for name, x in (("los", "step"), ("loss", "metric:los")):
        for some in (found, found + found[:0], found[:1]):
            with pytest.raises(NotFound, match="no trial has the metric 'los'; did you mean 'loss'"):
                some.buckets(name, 4, x)
    assert len(found[:0].buckets("los", 4)) == 0
