"""Points as bytes: they come back exactly, in pieces that are small enough."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.containers.packing import FEW, MOST, Chunk, joined, pack, pack_few, unpack

NUMBERS = st.floats() | st.integers() | st.integers(2**62, 2**70) | st.booleans()
VALUES = NUMBERS | st.text(max_size=5) | st.none()
STEPS = st.none() | st.integers(0, 50) | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
TIMES = st.floats(0, 1e10)
POINTS = st.lists(st.tuples(STEPS, VALUES, TIMES), min_size=1, max_size=30)


def _chunk(points: list[tuple[Any, Any, float]], first: int = 0, stride: int = 1) -> Chunk:
    steps, values, times = map(list, zip(*points, strict=True))
    return Chunk.of(range(first, first + stride * len(points), stride), steps, values, times)


def _through(chunk: Chunk) -> list[Chunk]:
    return [unpack(body, times) for _, body, times in pack(chunk)]


@given(POINTS, st.integers(0, 2**40))
def test_few_points_come_back_exactly(points: list[tuple[Any, Any, float]], first: int) -> None:
    """Points that are stored as lists are what they are as columns; what lists cannot say is not stored so."""
    steps, values, times = map(list, zip(*points, strict=True))
    packed = pack_few(range(first, first + len(points)), steps, values, times)
    if packed is None:
        kinds = set(map(type, [*steps, *values]))
        large = [number for number in [*steps, *values] if type(number) is int and not -(2**63) <= number < 2**64]
        assert len(points) > FEW or kinds - {int, float, bool, type(None)} or large
        return

    chunk, whole = unpack(*packed), _chunk(points, first)

    assert _shown(chunk.points()) == _shown(points)
    assert (chunk.first, chunk.end, chunk.flags, chunk.span) == (whole.first, whole.end, whole.flags, whole.span)
    assert _shown(joined([chunk, whole]).points()) == _shown(points * 2)


def _shown(points: Any) -> list[str]:
    # As text: NaN equals no NaN, and True equals 1.
    return [repr(point) for point in points]


@given(POINTS, st.integers(0, 2**40), st.integers(1, 5))
def test_points_come_back_exactly(points: list[tuple[Any, Any, float]], first: int, stride: int) -> None:
    """Steps, values and times of any kind are what they were, and so are the numbers."""
    (chunk,) = _through(_chunk(points, first, stride))

    assert _shown(chunk.points()) == _shown(points)
    assert (chunk.first, chunk.end, len(chunk)) == (first, first + stride * (len(points) - 1) + 1, len(points))


@given(st.lists(POINTS, min_size=1, max_size=4), st.integers(0, 100), st.integers(0, 100))
def test_joined_and_cut_chunks_are_the_points_between(
    parts: list[list[tuple[Any, Any, float]]], first: int, end: int
) -> None:
    """Chunks one after the other are one; of it any range of numbers can be taken, before and after it was packed."""
    chunks, begin = [], 0
    for part in parts:
        chunks += _through(_chunk(part, begin, 2))
        begin += 2 * len(part) + 1
    points = [point for part in parts for point in part]
    numbers = [number for chunk in chunks for numbers in chunk.numbers for number in numbers]
    wanted = [point for number, point in zip(numbers, points, strict=True) if first <= number < end]

    whole = joined(chunks)
    (again,) = _through(whole)

    assert _shown(whole.points()) == _shown(again.points()) == _shown(points)
    assert _shown(again.between(first, end).points()) == _shown(wanted)


@given(st.lists(POINTS, min_size=1, max_size=3))
def test_flags_are_true(parts: list[list[tuple[Any, Any, float]]]) -> None:
    """What is said to be in order is: times that never fall, steps that rise."""
    whole = joined([_chunk(part) for part in parts])
    steps, _, times = zip(*(point for part in parts for point in part), strict=True)

    assert not whole.is_ordered or list(times) == sorted(times)
    if whole.is_rising:
        assert all(type(step) is int for step in steps)
        assert list(steps) == sorted(set(steps))


def test_plain_points_are_said_to_be_in_order() -> None:
    """The common metric is known to have risen, whatever it is made of."""
    chunks = [_chunk([(step, 0.5, float(step)) for step in range(first, first + 10)]) for first in (0, 10, 20)]

    assert (joined(chunks).is_ordered, joined(chunks).is_rising) == (True, True)
    assert (joined(chunks[::-1]).is_ordered, joined(chunks[::-1]).is_rising) == (False, False)


def test_steps_that_count_up_take_no_room() -> None:
    """A chunk of plain points is eight bytes a value and a time, and little else."""
    points = [(10 * step, step / 3, 1e9 + step) for step in range(MOST)]

    ((_, body, times),) = pack(_chunk(points))

    assert len(body) + len(times) < MOST * 16 + 200


def test_times_that_are_the_same_take_no_room() -> None:
    """Points that were logged in one call have one time, which is stored once; zeros keep their sign."""
    points = [(step, -0.0, 1e9) for step in range(MOST)]

    ((_, body, times),) = pack(_chunk(points))

    assert len(body) + len(times) < 100
    assert repr(list(unpack(body, times).points())) == repr(points)


def test_many_points_are_cut_evenly() -> None:
    """No chunk has more points than there may be, and none is a small rest."""
    chunks = _through(_chunk([(None, 1.0, 0.0)] * 10_000))

    assert [len(chunk) for chunk in chunks] == [3_333, 3_333, 3_334]
    assert [chunk.first for chunk in chunks] == [0, 3_333, 6_666]


def test_large_values_are_cut_by_their_size() -> None:
    """Texts and steps of many letters make chunks of fewer points."""
    points = [(f"{place}" * 1_000, "x" * 100_000, 0.0) for place in range(20)]

    parts = list(pack(_chunk(points)))

    assert max(len(body) for _, body, _ in parts) < 2**20
    assert [point for _, body, times in parts for point in unpack(body, times).points()] == points


def test_values_are_read_without_their_times() -> None:
    """Who wants no times decodes none, and knows the order all the same."""
    ((_, body, _),) = pack(_chunk([(0, 0.5, 1.0), (1, math.inf, 2.0)]))

    chunk = unpack(body)

    assert (chunk.times, chunk.values.tolist(), chunk.is_ordered, chunk.span) == (
        None,
        [0.5, math.inf],
        True,
        (1.0, 2.0),
    )


def test_unknown_format_is_no_chunk() -> None:
    """What a later version stores is not taken for something else."""
    with pytest.raises(ValueError, match="does not know"):
        unpack(b"\x91\x09")
