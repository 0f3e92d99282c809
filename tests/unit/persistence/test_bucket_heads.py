"""A chart of very many points in chunks: the same as of all of them, while few are read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.chunks import ChunkFile, Named, StoredChunk, make_chunk, sum_of_head
from track.containers.columns import Column
from track.containers.points import Points
from track.containers.series import Series
from track.containers.stored import Stored
from track.persistence.buckets import Buckets, Curve, Question, arrays, asking, bucketed, heads, line_from, lines, plain
from track.persistence.buckets.cache import Cache
from track.persistence.state import parts
from track.persistence.state.looking import Seen
from track.persistence.state.views import shown_points
from track.testing.bucketing import assert_alike
from track.utils.files import OpenFile

numbers = st.one_of(
    st.floats(-100, 100),
    st.floats(),
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, -(2**60), 10**400, True, 0.0, -0.0, 1.7e308, -1.7e308, 5e-324]),
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few points be very many."""
    monkeypatch.setattr(parts, "_WHOLE", 0)
    monkeypatch.setattr(parts, "_TOO_MANY", 0)


class Written(ChunkFile):
    """A file of chunks that knows what was read of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "points"), 1, OpenFile.at(str(folder / "points"), os.O_RDWR | os.O_CREAT))
        self.read_bytes = 0

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        self.read_bytes += len(data)
        return data


def container_of(file: ChunkFile, columns: Any, sizes: Sequence[int]) -> Any:
    """Return points as a metric: as many as the sizes say in chunks, the others in memory."""
    value, at = map(Column.from_list, columns[1:])
    step = None if columns[0] is None else Column.from_list(columns[0])
    found = []
    edges = [0, *accumulate(sizes)]
    for first, end in pairwise(edges):
        cut = None if step is None else step.cut(first, end), value.cut(first, end), at.cut(first, end)
        data, head = make_chunk("ab_0", "loss", first, cut)
        found.append(StoredChunk(file, Named(1, file.append(data), len(data), head.count, sum_of_head(data))))
    points = Points.from_columns(step, value, at, is_ordered=False)
    points.settle()
    points.placed(Stored("ab_0", "loss", found) if found else None, edges[-1])
    if step is not None:
        return Series(points)
    series = TimeSeriesAggregator()
    series.points = points
    return series


def asked(
    question: Question, container: Any, started: float = 0.0, resumes: Any = None, key: tuple[str, ...] = ()
) -> Buckets:
    """Return the buckets of one trial."""
    seen = Seen(question, {"loss": container}, started, resumes)
    return bucketed(question, ["it"], lambda _: [("it", seen)], lambda _, source: line_from(source, question, key))


def in_full(question: Question, container: Any, started: float = 0.0) -> Buckets:
    """Return what is made of all points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Seen, "chunked", lambda *_: None)
        return asked(question, container, started)


@st.composite
def metrics(draw: st.DrawFn) -> tuple[Any, list[int]]:
    """Return columns of a metric whose steps rise, or are none, and how many of its points are in each chunk."""
    values = draw(st.lists(numbers, min_size=1, max_size=60))
    count = len(values)
    kinds = [st.integers(-50, 99), st.integers(2**53 - 60, 2**53 + 60), st.floats(-1e3, 1e3)]
    rising = [st.lists(kind, min_size=count, max_size=count, unique=True).map(sorted) for kind in kinds]
    steps = draw(st.one_of(st.none(), st.just(list(range(count))), *rising))
    times = draw(st.lists(st.floats(1.0e9, 1.1e9), min_size=count, max_size=count).map(sorted))
    if draw(st.booleans()):
        times[draw(st.integers(0, count - 1))] = 0.0
    sizes = draw(st.lists(st.integers(1, 9), max_size=60))
    kept = [size for size, end in zip(sizes, accumulate(sizes), strict=True) if end <= count]
    return (steps, values, times), kept


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return the file of all examples."""
    return Written(tmp_path_factory.mktemp("points"))


@contextlib.contextmanager
def made_by(engine: ModuleType) -> Iterator[None]:
    """Let one of the two make the buckets, of what it is given."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (asking, heads, lines, parts):
            patch.setattr(module, "engine", lambda: engine)
        if engine is plain:
            patch.setattr(parts, "_curve", lambda *columns: Curve(*(column.tolist() for column in columns)))
            patch.setattr(Seen, "_columns", _listed)
        yield


def _listed(seen: Seen, name: str | None) -> Curve | None:
    """Return points as they are read where numpy is not installed."""
    points = shown_points(seen._kept.get(name), None, 0) if name else None
    return None if points is None else Curve(*points[:3])


@pytest.mark.parametrize("engine", [arrays, plain])
@pytest.mark.parametrize("x", ["step", "offset", "relative", "time", "wall"])
@given(
    metric=metrics(),
    buckets=st.integers(1, 9),
    ends=st.tuples(*[st.one_of(st.none(), st.floats(-60, 110), st.floats(1.0e9, 1.1e9))] * 2),
    started=st.sampled_from([0.0, 0.9e9]),
)
def test_chunks_give_the_buckets_of_their_points(
    file: Written, engine: ModuleType, x: str, metric: Any, buckets: int, ends: Any, started: float
) -> None:
    """Wherever they end, along each x, on any grid; only means are rounded otherwise, in their last digits."""
    start, end = ends
    if start is not None and end is not None and start >= end:
        start = None
    container, question = container_of(file, *metric), Question("loss", buckets, x, start, end)

    with made_by(engine):
        found, wanted = asked(question, container, started), in_full(question, container, started)

    assert list(found.edges) == list(wanted.edges)
    assert (found.low, found.high) == (wanted.low, wanted.high)
    assert_alike(found["it"], wanted["it"])


def _metric(file: ChunkFile, chunks: int, size: int = 1000) -> Any:
    count = chunks * size
    steps, times = list(range(count)), [1e9 + number for number in range(count)]
    return container_of(file, (steps, [float(one % 97) for one in steps], times), [size] * chunks)


@pytest.mark.parametrize("x", ["step", "offset", "relative", "time", "wall"])
def test_chart_reads_heads_and_the_chunks_at_edges(tmp_path: Path, x: str) -> None:
    """Of a hundred chunks in four buckets five are read."""
    file = Written(tmp_path)
    container = _metric(file, 100)
    sizes = {chunk.named.size for chunk in container.points.stored.chunks}
    container.is_rising()
    file.read_bytes = 0

    found = asked(Question("loss", 4, x), container)

    assert sum(map(int, found["it"].count)) == 100_000
    assert file.read_bytes <= 100 * 1024 + 5 * max(sizes)


def test_chart_that_is_asked_for_again_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made again once something is logged, and for other buckets."""
    monkeypatch.setattr(lines, "LINES", Cache())
    file = Written(tmp_path)
    container, question, key = _metric(file, 100), Question("loss", 4), ("store", "it")
    first = asked(question, container, key=key)
    file.read_bytes = 0

    again = asked(question, container, key=key)
    assert file.read_bytes == 0
    assert_alike(again["it"], first["it"])

    container.append(100_000, -7.0, 2e9)
    for buckets in (4, 3):
        found = asked(Question("loss", buckets), container, key=key)
        assert_alike(found["it"], in_full(Question("loss", buckets), container)["it"])
        assert min(map(float, found["it"].least)) == -7.0


def test_damaged_chunk_is_left_out_of_a_chart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the rest is there: those points alone are missing, from the bucket that they were in."""
    container = _metric(Written(tmp_path), 9)
    chunk = container.points.stored.chunks[4].named
    with (tmp_path / "points").open("r+b") as opened:
        opened.seek(chunk.offset + chunk.size - 5)
        opened.write(b"?????")

    found = asked(Question("loss", 2), container)

    assert list(map(int, found["it"].count)) == [4000, 4000]
    assert "points 4000 to 4999 of metric 'loss'" in caplog.text
    assert_alike(found["it"], in_full(Question("loss", 2), container)["it"])


@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_what_heads_do_not_say_is_read(tmp_path: Path, smoothing: float | None) -> None:
    """Smoothed points, those of a step that was logged again, and those after a resume, are looked at one by one."""
    container, question = _metric(Written(tmp_path), 9), Question("loss", 2, smoothing=smoothing)
    if smoothing is None:
        container.append(17, -500.0, 2e9)
    rule = TimeSeriesAggregator()
    rule.append([100.0, 3e9])

    found, hidden = asked(question, container), asked(question, container, resumes=rule)

    assert sum(map(int, found["it"].count)) == 9000
    assert (min(map(float, found["it"].least)) == -500.0) is (smoothing is None)
    assert sum(map(int, hidden["it"].count)) == 100
