"""The last values of a stream, in a fixed amount of memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from track.shown import listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RingBuffer"]

_FIRST = 64


class RingBuffer:
    """The last `size` values appended.

    Parameters
    ----------
    size: int
        How many values to keep, >= 1.
    dtype: str
        A one-letter code of `track.containers.types` stores plain numbers; anything longer stores any object.
    default_val: object
        What the slots hold before they are used.

    Raises
    ------
    ValueError
        `size` is below 1, or `dtype` is a letter that is no code.

    Examples
    --------
    >>> ring = RingBuffer(2, "d")
    >>> for value in (1, 2, 3):
    ...     ring.append(value)
    >>> ring.to_list()
    [2.0, 3.0]
    """

    __slots__ = ("array", "capacity", "count", "default")

    def __init__(self, size: int, dtype: str, default_val: Any = 0) -> None:
        if size < 1:
            raise ValueError(f"a ring buffer holds at least one value, not {shown(size)}")
        # It grows with what is in it: who only announces a large one has taken no memory.
        slots = [default_val] * min(size, _FIRST)
        self.array: Any = array(dtype, slots) if len(dtype) == 1 else slots
        self.capacity = size
        self.count = 0
        self.default = default_val

    def append(self, item: Any) -> None:
        """Add a value; when the buffer is full, the oldest one goes.

        Raises
        ------
        TypeError, OverflowError
            The value is not of the buffer's type.
        """
        if self.count == len(self.array) < self.capacity:
            self.array.extend([self.default] * min(self.count, self.capacity - self.count))
        self.array[self.count % self.capacity] = item
        self.count += 1

    def last(self) -> Any:
        """Return the newest value, or None when there is none."""
        return self.array[(self.count - 1) % self.capacity] if self.count else None

    def to_list(self) -> list[Any]:
        """Return the values, oldest first."""
        if self.count <= self.capacity:
            return list(self.array[: self.count])
        oldest = self.count % self.capacity
        return list(self.array[oldest:]) + list(self.array[:oldest])

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def __getitem__(self, index: int) -> Any:
        """Return the slot `index` modulo the capacity: where value number `index`, from 0, was put."""
        place = index % self.capacity
        return self.array[place] if place < len(self.array) else self.default

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_list())

    def __repr__(self) -> str:
        return f"RingBuffer([{self.shown()}], size={self.capacity})"

    def shown(self) -> str:
        """Return the values, oldest first, as a short text."""
        oldest = max(0, self.count - self.capacity)
        return listed(lambda place: shown(self[oldest + place], 30), len(self), "values")
