"""What each 64 values of a long series come to: buckets of it are made of these, and of few values at their edges."""

from __future__ import annotations

from typing import Any

import numpy

BASE = 64
"""Values in one block."""


class Pyramid:
    """The least, the greatest and the sum of each block of finite values.

    Attributes
    ----------
    size: int
        How many values there are.
    nbytes: int
        How much memory it takes.
    """

    def __init__(self, values: Any) -> None:
        self.size = len(values)
        blocks = values[: self.size // BASE * BASE].reshape(-1, BASE)
        # What is after the last one changes nothing.
        self._least = numpy.append(blocks.min(axis=1), numpy.inf)
        self._greatest = numpy.append(blocks.max(axis=1), -numpy.inf)
        with numpy.errstate(over="ignore"):
            self._sum = numpy.append(blocks.sum(axis=1), 0.0)
        self.nbytes = 3 * self._least.nbytes

    @property
    def is_good(self) -> bool:
        """Whether every sum is a number."""
        return bool(numpy.isfinite(self._sum).all())

    def numbers(self, values: Any, firsts: Any, ends: Any) -> tuple[Any, Any, Any]:
        """Return the least, the greatest and the sum of the values of each bucket: of those from `firsts` to `ends`.

        No bucket is empty, and none begins before another one ends.
        """
        whole_first, whole_end = -(-firsts // BASE), ends // BASE
        has_whole = whole_end > whole_first
        found = [numpy.full(len(firsts), nothing) for nothing in (numpy.inf, -numpy.inf, 0.0)]
        reduces = (numpy.minimum, numpy.maximum, numpy.add)
        if has_whole.any():
            pairs = numpy.stack([whole_first[has_whole], whole_end[has_whole]], 1).ravel()
            levels = (self._least, self._greatest, self._sum)
            for numbers, level, reduce in zip(found, levels, reduces, strict=True):
                numbers[has_whole] = reduce.reduceat(level[: pairs[-1] + 1], pairs)[::2]
        heads = firsts, numpy.where(has_whole, whole_first * BASE, ends)
        tails = numpy.where(has_whole, whole_end * BASE, ends), ends
        for begin, end in (heads, tails):
            some = end > begin
            if some.any():
                starts, lengths = begin[some], end[some] - begin[some]
                offsets = numpy.cumsum(lengths) - lengths
                places = numpy.repeat(starts - offsets, lengths) + numpy.arange(int(lengths.sum()))
                part = values[places]
                for numbers, reduce in zip(found, reduces, strict=True):
                    numbers[some] = reduce(numbers[some], reduce.reduceat(part, offsets))
        least, greatest, total = found
        return least, greatest, total
