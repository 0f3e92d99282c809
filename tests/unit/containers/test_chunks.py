"""Chunks give points back exactly, and their heads say what the points come to."""

from __future__ import annotations

import logging
import math
import os
import pickle
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from track.briefs import brief_of
from track.containers import chunks
from track.containers.chunks import ChunkFile, DamagedChunk, Head, Named, StoredChunk, make_chunk, sum_of_head
from track.containers.columns import Column
from track.containers.points import Points
from track.containers.series import Series
from track.persistence.state import placing
from track.utils.files import OpenFile

_NUMBERS = some.one_of(
    some.floats(), some.integers(), some.booleans(), some.sampled_from([-0.0, math.inf, -math.inf, math.nan, 2**53 + 1])
)
_STEPS = some.one_of(some.integers(-5, 40), some.floats(), some.text(max_size=2), some.tuples(some.integers()))


def _file(tmp_path: Path) -> ChunkFile:
    path = str(tmp_path / "points")
    return ChunkFile(path, 1, OpenFile.at(path, os.O_RDWR | os.O_CREAT))


def _written(file: ChunkFile, steps: list[Any] | None, values: list[Any], times: list[float]) -> StoredChunk:
    step = None if steps is None else Column.from_list(steps)
    data, head = make_chunk("ab_0", "loss", 0, (step, Column.from_list(values), Column.from_list(times)))
    return StoredChunk(file, Named(1, file.append(data), len(data), head.count, sum_of_head(data)))


def _moved(file: ChunkFile, series: Series) -> Series:
    """Move points of a series to the file, as a fold does."""
    placing.move(series, placing.place("ab_0", "loss", series.points, file, [file]))
    return series


@given(points=some.lists(some.tuples(_STEPS, _NUMBERS, some.floats(0, 2e9)), min_size=1), stepped=some.booleans())
def test_a_chunk_gives_back_what_was_put_into_it(
    tmp_path_factory: pytest.TempPathFactory, points: list[Any], stepped: bool
) -> None:
    """Whatever the points are: NaN, infinities, -0.0, integers of any size, steps of any kind."""
    steps, values, times = map(list, zip(*points, strict=True))

    chunk = _written(_file(tmp_path_factory.mktemp("chunk")), steps if stepped else None, values, times)
    step, value, at = chunk.columns()

    assert repr(value.tolist()) == repr(values)
    assert repr(at.tolist()) == repr(times)
    assert (step is None) is not stepped
    assert step is None or repr(step.tolist()) == repr(steps)


def test_steps_that_count_up_take_no_room(tmp_path: Path) -> None:
    """Evenly rising steps are in the head: a full chunk has 16 bytes a point, and a head of less than 600."""
    values = [float(number) for number in range(4096)]

    chunk = _written(_file(tmp_path), list(range(7, 7 + 3 * 4096, 3)), values, values)

    assert chunk.named.size < 16 * 4096 + 600
    assert chunk.head().columns == [["run", 7, 3], ["d"], ["d"]]
    assert chunk.columns()[0].tolist() == list(range(7, 7 + 3 * 4096, 3))  # type: ignore[union-attr]


def test_a_head_says_what_its_points_come_to(tmp_path: Path) -> None:
    """Counts, sum, least, greatest, last and the bounds of steps and times are there without the points."""
    values = [0.5, math.nan, -math.inf, 4.0, math.inf, -2.0, 4.0]

    head = _written(_file(tmp_path), [1, 2, 3, 5, 8, 13, 21], values, [9.0, 9.0, 0.0, 10.0, 11.0, 11.0, 12.0]).head()

    assert (head.trial, head.metric, head.position, head.count) == ("ab_0", "loss", 0, 7)
    assert (head.finite, head.nan, head.above, head.below, head.total) == (4, 1, 1, 1, 6.5)
    assert (head.least, head.least_step, head.greatest, head.greatest_step) == (-2.0, 13, 4.0, 5)
    assert (head.last, head.last_step, head.low, head.high, head.rises) == (4.0, 21, 1, 21, True)
    assert (head.since, head.until) == (9.0, 12.0)


@pytest.mark.parametrize("steps", [[1, 1, 2], [2, 1, 3], ["a", "b", "c"], [1, 2.0, 3], [0.5, math.nan, 1.0]])
def test_steps_that_do_not_rise_are_told(tmp_path: Path, steps: list[Any]) -> None:
    """Only where each step is there once, a head can stand for its points."""
    assert not _written(_file(tmp_path), steps, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).head().rises


@given(values=some.lists(_NUMBERS, min_size=1, max_size=40), stepped=some.booleans())
def test_what_chunks_come_to_is_what_points_come_to(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], stepped: bool
) -> None:
    """The brief made of heads is the one made of the points, infinities included."""
    series = Series()
    for step, value in enumerate(values):
        series.append(3 * step, value, 1.0 + step)
    expected = brief_of(Series(Points.from_lists(series.points.steps(), values, series.points.times())))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placing, "SMALLEST", 1)
        patched.setattr(chunks, "LARGEST", 7)
        _moved(_file(tmp_path_factory.mktemp("brief")), series)

    found = brief_of(series)

    assert [repr(one) if one != one else one for one in msgspec.structs.astuple(found)] == [
        repr(one) if one != one else one for one in msgspec.structs.astuple(expected)
    ]


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Every byte of a chunk is under a sum that whoever names it knows."""
    file = _file(tmp_path)
    chunk = _written(file, [0, 1], [0.5, 2**70], [1.0, 2.0])
    data = Path(file.path).read_bytes()

    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x20
        Path(file.path).write_bytes(changed)
        with pytest.raises(DamagedChunk):
            StoredChunk(file, chunk.named).columns()


def test_a_part_reads_its_chunks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for from a position on, or at a step, decodes the chunks that have it."""
    series = Series()
    for step in range(40_000):
        series.append(step, step / 2, float(step))
    _moved(_file(tmp_path), series)
    read = []
    columns = StoredChunk.columns
    monkeypatch.setattr(StoredChunk, "columns", lambda chunk: read.append(chunk) or columns(chunk))

    assert len(series) == 40_000
    assert series.last() == 19_999.5
    assert series.since(36_000)[0] == list(range(36_000, 40_000))
    assert brief_of(series).greatest_step == 39_999
    assert len(read) < 3
    assert series[9_000] == 4_500.0
    assert len(read) < 4


@given(strides=some.lists(some.sampled_from([1, 1, 1, 5]), min_size=1, max_size=40), kept=some.integers(0, 3))
def test_arrays_of_chunks_are_those_of_the_points(
    tmp_path_factory: pytest.TempPathFactory, strides: list[int], kept: int
) -> None:
    """Steps are the same whether they count up evenly through all chunks, in some, or go on in memory."""
    series, steps = Series(), list(accumulate(strides))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placing, "SMALLEST", 1)
        patched.setattr(chunks, "LARGEST", 7)
        for step in steps[: len(steps) - kept]:
            series.append(step, step / 2, 1.0 + step)
        _moved(_file(tmp_path_factory.mktemp("arrays")), series)
    for step in steps[len(steps) - kept :] if len(steps) > kept else steps:
        series.append(step, step / 2, 1.0 + step)

    found = series.to_numpy(times=True)

    assert [one.tolist() for one in found] == [steps, [one / 2 for one in steps], [1.0 + one for one in steps]]


@pytest.mark.parametrize("last", [100.5, "end", 2**70])
def test_a_last_step_of_another_kind_is_what_it_is(tmp_path: Path, last: Any) -> None:
    """Even steps on the disk change none that comes after them."""
    series = Series()
    for step in range(100):
        series.append(step, float(step), 1.0)
    _moved(_file(tmp_path), series)
    series.append(last, 1.0, 2.0)

    assert series.points.stored is not None
    assert series.to_numpy()[0].tolist() == [*range(100), last]


def test_metrics_with_the_same_even_steps_share_them(tmp_path: Path) -> None:
    """A thousand metrics of as many steps take the memory of one array of steps, which nobody can write to."""
    arrays = []
    for place in range(2):
        series = Series()
        for step in range(5_000):
            series.append(step, float(step), 1.0)
        folder = tmp_path / str(place)
        folder.mkdir()
        _moved(_file(folder), series)
        arrays.append(series.to_numpy()[0])

    assert arrays[0] is arrays[1]
    assert not arrays[0].flags.writeable


def test_points_on_disk_can_be_pickled(tmp_path: Path) -> None:
    """Where they are unpickled there is no file: they go along."""
    series = Series()
    for step in range(200):
        series.append(step, float(step), 1.0)
    _moved(_file(tmp_path), series)
    assert series.points.stored is not None

    assert dict(pickle.loads(pickle.dumps(series))) == {step: float(step) for step in range(200)}


def test_a_point_that_comes_late_is_put_in_its_place(tmp_path: Path) -> None:
    """Points with times before those on the disk stand before them, as if nothing were there."""
    series, whole = Series(), Series()
    for step in range(300):
        series.append(step, float(step), 1000.0 + step)
        whole.append(step, float(step), 1000.0 + step)
    _moved(_file(tmp_path), series)
    for one in (series, whole):
        one.append(7, -1.0, 1100.5)
        one.append("late", -2.0, 1000.5)

    assert series.points.steps() == whole.points.steps()
    assert dict(series) == dict(whole)
    assert series.rows() == whole.rows()


def test_a_damaged_chunk_is_left_out_everywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Length, columns, iteration and positions agree once one is known to be lost."""
    series = Series()
    for step in range(9_000):
        series.append(step, float(step), 1.0)
    file = _file(tmp_path)
    _moved(file, series)
    with open(file.path, "r+b") as opened:
        opened.seek(4096 * 16 + 2_000)
        opened.write(b"\1\2\3")

    with caplog.at_level(logging.WARNING):
        kept = list(series)

    assert kept == [*range(4096), *range(8192, 9000)]
    assert len(series) == len(kept) == len(series.to_numpy()[0])
    assert series[8_500] == 8_500.0
    assert "points 4096 to 8191 of metric 'loss' of trial ab_0 are left out" in caplog.text


def test_a_head_of_the_future_can_be_read() -> None:
    """Fields that this version does not know are passed over."""
    line = b'{"trial":"ab_0","metric":"x","position":0,"count":1,"columns":[null,["d"],["d"]],"sum":1,"finite":1,'
    line += b'"total":2.0,"median":2.0}'

    assert chunks._decode_head(line) == Head("ab_0", "x", 0, 1, [None, ["d"], ["d"]], 1, 1, 2.0)
