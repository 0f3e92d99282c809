"""Many points of one metric in columns, as an event carries them: eight bytes a number, base64 in JSON."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from track.containers.columns import Column, counting, from_bytes, hashable
from track.plain import restore

MOST = 4096
"""Points in one event, at most."""
_WIDTH = 8
_LARGEST = 2**63


class Packed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Numbers of eight bytes each, little-endian: doubles (``d``) or integers (``q``).

    `odd` has, by position, what they cannot say exactly, as JSON-safe data.
    """

    typecode: Literal["d", "q"]
    data: bytes
    odd: dict[int, Any] = {}


class Columns(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Points of the metric `name`, `size` of them: a column of values, of steps, and of times.

    A column is packed, or a list of JSON-safe data. Steps that count up evenly are `first` and `stride`; without
    `step` and `first` no point has one, and a step that is None in a list is none. Without `at` each point has the
    time of the event; else there are doubles, little-endian, in unix seconds.
    """

    name: str
    size: int
    value: Packed | list[Any]
    step: Packed | list[Any] | None = None
    first: int | None = None
    stride: int = 1
    at: bytes | None = None

    def __post_init__(self) -> None:
        size = self.size
        if not 1 <= size <= MOST:
            raise ValueError(f"an event has 1 to {MOST} points, not {size}")
        lengths = [_length(self.value), size if self.step is None else _length(self.step)]
        if lengths != [size, size] or (self.at is not None and len(self.at) != _WIDTH * size):
            raise ValueError(f"the columns of a metric are not of one length, {size}")
        if self.first is not None:
            last = self.first + self.stride * (size - 1)
            if self.step is not None or not max(abs(self.first), abs(last), abs(self.stride)) < _LARGEST:
                raise ValueError("the steps of a metric are no steps")

    def steps(self) -> Column | list[Any] | None:
        """Return the steps: a column; a list where some points have none; or None where no point has one."""
        if self.first is not None:
            return Column.of(counting(self.first, self.stride, self.size))
        if not isinstance(self.step, list):
            return None if self.step is None else _unpacked(self.step)
        steps = [hashable(restore(step)) for step in self.step]
        return steps if None in steps else Column.from_list(steps)

    def values(self) -> Column:
        """Return the values."""
        if isinstance(self.value, list):
            return Column.from_list(list(map(restore, self.value)))
        return _unpacked(self.value)

    def times(self, at: float) -> array[float]:
        """Return when each point was logged, unix seconds, in an event of the time `at`."""
        return array("d", [at]) * self.size if self.at is None else from_bytes("d", self.at)

    def points(self, at: float) -> Iterator[tuple[Any, Any, float]]:
        """Yield step, or None, value and time of one point after another, in an event of the time `at`."""
        known = self.steps()
        steps = known.tolist() if isinstance(known, Column) else [None] * self.size if known is None else known
        yield from zip(steps, self.values().tolist(), self.times(at), strict=True)


def _length(column: Packed | list[Any]) -> int:
    if isinstance(column, list):
        return len(column)
    size, rest = divmod(len(column.data), _WIDTH)
    is_inside = all(0 <= position < size for position in column.odd)
    return size if not rest and is_inside else -1


def _unpacked(packed: Packed) -> Column:
    odd = {position: hashable(restore(value)) for position, value in packed.odd.items()}
    return Column.of(from_bytes(packed.typecode, packed.data), odd)
