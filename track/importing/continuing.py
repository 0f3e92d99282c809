"""What was taken of each metric, as a count and a checksum: whether a run that went on begins as it was imported."""

from __future__ import annotations

import zlib
from array import array
from typing import Any

_MOST = 1000
"""Metrics of a run, beyond which nothing is noted."""
_NONE = float("nan")


class Taken:
    """The points of a run that were told, and those of an earlier import, which are not stored again.

    Parameters
    ----------
    noted: dict, optional
        What `to_plain` has said after an earlier import.
    """

    def __init__(self, noted: Any = None) -> None:
        self._counts: dict[str, int] = {}
        self._sums: dict[str, list[int]] = {}
        self._noted: dict[str, tuple[int, list[int]]] = {}
        self.differs = False
        for name, said in noted.items() if isinstance(noted, dict) else ():
            try:
                count, *sums = str(said).split("-")
                self._noted[str(name)] = int(count), [int(one, 16) for one in sums]
            except ValueError:
                self.differs = True

    def count(self, name: str, values: Any, steps: Any, times: Any) -> int:
        """Count points of a metric, and return how many of them, the first, are stored already."""
        begun, count = self._counts.get(name, 0), len(values)
        noted, expected = self._noted.get(name, (0, []))
        known = min(count, max(0, noted - begun))
        columns = (values, steps, times)
        if known:
            self._add(name, [None if column is None else column[:known] for column in columns], known)
            self.differs = self.differs or (begun + known == noted and self._sums[name] != expected)
        if known < count:
            self._add(name, [None if column is None else column[known:] for column in columns], count - known)
        return known

    def _add(self, name: str, columns: list[Any], count: int) -> None:
        # Of each column its own, for they are told in other pieces each time.
        sums = self._sums.get(name, [0] * len(columns))
        pairs = zip(columns, sums, strict=True)
        self._sums[name] = [zlib.crc32(_bytes_of(column, count), known) for column, known in pairs]
        self._counts[name] = self._counts.get(name, 0) + count

    @property
    def is_continued(self) -> bool:
        """Whether all that was noted was told again, the same."""
        return not self.differs and all(self._counts.get(name, 0) >= count for name, (count, _) in self._noted.items())

    def to_plain(self) -> dict[str, str] | None:
        """Return what to note for the next import; None of too many metrics."""
        if len(self._counts) > _MOST:
            return None
        return {
            name: "-".join([str(count), *(f"{one:x}" for one in self._sums[name])])
            for name, count in self._counts.items()
        }


def _bytes_of(column: Any, count: int) -> bytes:
    """Return numbers as eight bytes each."""
    try:
        return array("d", [_NONE] * count if column is None else column).tobytes()
    except (TypeError, OverflowError):
        return array("d", map(_number_of, column)).tobytes()


def _number_of(value: Any) -> float:
    if value is None:
        return _NONE
    try:
        return float(value) if isinstance(value, (int, float)) else zlib.crc32(repr(value).encode())
    except OverflowError:
        return zlib.crc32(repr(value).encode())
