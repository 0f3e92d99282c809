"""RingBuffer: the last values of a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from track.containers.ring import RingBuffer


@given(size=st.integers(1, 20), values=st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_holds_the_last_values_in_order(size: int, values: list[int]) -> None:
    """Whatever was appended, the buffer is the tail of it."""
    ring = RingBuffer(size, "i")

    for value in values:
        ring.append(value)

    assert ring.to_list() == list(ring) == values[-size:]
    assert len(ring) == min(size, len(values))
    assert ring.last() == (values[-1] if values else None)


def test_empty_buffer_has_no_last_value() -> None:
    """The default fills slots, it is not a value."""
    ring = RingBuffer(3, "d", default_val=7)

    assert ring.last() is None
    assert ring.to_list() == []


def test_index_is_taken_modulo_the_capacity() -> None:
    """The slot of value number i is i modulo the capacity."""
    ring = RingBuffer(2, "i")

    for value in (10, 11, 12):
        ring.append(value)

    assert (ring[2], ring[1], ring[0]) == (12, 11, 12)


def test_longer_dtype_keeps_objects() -> None:
    """Anything but a one-letter code stores objects as they are."""
    ring = RingBuffer(2, "str", "")
    value = object()

    ring.append(value)

    assert ring.last() is value


def test_refused_value_leaves_the_buffer_unchanged() -> None:
    """A value of the wrong type is not half appended."""
    ring = RingBuffer(2, "b")
    ring.append(1)

    with pytest.raises(OverflowError, match="maximum"):
        ring.append(1000)

    assert ring.to_list() == [1]


@pytest.mark.parametrize("size", [0, -1])
def test_size_below_one_is_refused(size: int) -> None:
    """A buffer of nothing is a mistake."""
    with pytest.raises(ValueError, match="at least one value"):
        RingBuffer(size, "d")


def test_unknown_code_is_refused() -> None:
    """A letter that is no element type is a mistake."""
    with pytest.raises(ValueError, match="typecode"):
        RingBuffer(1, "?")
