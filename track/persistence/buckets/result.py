"""Buckets of many trials on one grid: planes of numbers, and how they travel."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from track.shown import shown

NUMBERS = ("least", "greatest", "mean", "last")
"""The planes of doubles."""
COUNTS = ("count", "nan", "plus_inf", "minus_inf")
"""The planes of whole numbers."""
_SIZE = 8


class TrialBuckets(NamedTuple):
    """The buckets of one trial: arrays of numpy where it is installed, else of the standard library.

    What `least` to `count` say is of the finite values alone; the others are counted apart.

    Attributes
    ----------
    least, greatest, mean: array of float
        NaN in a bucket without a finite value.
    last: array of float
        The value that is furthest along x; of several at one x the one whose step first appeared last.
    count, nan, plus_inf, minus_inf: array of int
        How many points of each bucket are finite, not a number, infinite, and infinite below 0.
    unplaced: int
        How many points have no place on this x: a step that is no finite number, a time that is not known, no finite
        value of the other metric at their step.
    outside: int
        How many are before the first edge or after the last one.
    """

    least: Any
    greatest: Any
    mean: Any
    last: Any
    count: Any
    nan: Any
    plus_inf: Any
    minus_inf: Any
    unplaced: int
    outside: int


class Buckets(Mapping[str, TrialBuckets]):
    """The buckets of a metric of many trials, by uid, on one grid of x.

    Bucket ``i`` holds the points from ``edges[i]`` to before ``edges[i + 1]``; the last one also those at its end.
    A trial that has no points of the metric is not in it.

    Attributes
    ----------
    edges: array of float
        One more than there are buckets, which never fall.
    uids: list of str
        The trials, in the order in which they were asked for: a row each of the planes.
    least, greatest, mean, last, count, nan, plus_inf, minus_inf: array
        A row a trial, a column a bucket, as in `TrialBuckets`: two-dimensional arrays of numpy where it is installed,
        else lists of arrays.
    unplaced, outside: list of int
        As in `TrialBuckets`, by trial.
    low, high: float or None
        The least and the greatest x of all points of these trials; None where no point has one.

    Examples
    --------
    >>> from track.persistence import get_protocol
    >>> from track.structure import Trial
    >>> store = get_protocol("ephemeral:")
    >>> trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    >>> for step in range(100):
    ...     store.log_trial_metrics(trial, step=step, loss=1 / (step + 1))
    >>> found = store.fetch_buckets([trial.uid], "loss", 4)
    >>> [float(edge) for edge in found.edges]
    [0.0, 24.75, 49.5, 74.25, 99.0]
    >>> [float(value) for value in found[trial.uid].greatest]
    [1.0, 0.038461538461538464, 0.0196078431372549, 0.013157894736842105]
    """

    def __init__(  # noqa: PLR0917 - its parts
        self,
        edges: Any,
        uids: list[str],
        planes: dict[str, Any],
        unplaced: list[int],
        outside: list[int],
        low: float | None,
        high: float | None,
    ) -> None:
        self.edges = edges
        self.uids = uids
        self.least, self.greatest, self.mean, self.last = (planes[name] for name in NUMBERS)
        self.count, self.nan, self.plus_inf, self.minus_inf = (planes[name] for name in COUNTS)
        self.unplaced, self.outside = unplaced, outside
        self.low, self.high = low, high
        self._rows = {uid: row for row, uid in enumerate(uids)}

    def __getitem__(self, uid: str) -> TrialBuckets:
        row = self._rows[uid]
        planes = (getattr(self, name)[row] for name in (*NUMBERS, *COUNTS))
        return TrialBuckets._make((*planes, self.unplaced[row], self.outside[row]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.uids)

    def __len__(self) -> int:
        return len(self.uids)

    def __repr__(self) -> str:
        size = len(self.edges) - 1
        return f"<{size:,} buckets of {len(self):,} trials, x from {self.edges[0]:g} to {self.edges[-1]:g}>"

    # on their way

    def to_bytes(self) -> bytes:
        """Return a line of JSON, and after it the edges and the planes as they are in memory, little-endian.

        The planes are named in the line, in their order; of those that count, one that is all zero is left out.
        """
        names = [*NUMBERS, "count", *(name for name in COUNTS[1:] if _has_any(getattr(self, name)))]
        about = {
            "buckets": len(self.edges) - 1,
            "uids": self.uids,
            "unplaced": list(map(int, self.unplaced)),
            "outside": list(map(int, self.outside)),
            "low": self.low,
            "high": self.high,
            "planes": names,
        }
        parts = [msgspec.json.encode(about), b"\n", _packed([self.edges])]
        return b"".join([*parts, *(_packed(getattr(self, name)) for name in names)])

    @classmethod
    def from_bytes(cls, data: bytes) -> Buckets:
        """Return what `to_bytes` was given.

        Raises
        ------
        ValueError
            The bytes are none of it.
        """
        head, _, body = data.partition(b"\n")
        try:
            about = msgspec.json.decode(head, type=_About)
        except msgspec.MsgspecError as error:
            raise ValueError(f"these are no buckets: {error}") from error
        trials, size = len(about.uids), about.buckets
        expected = size + 1 + trials * size * len(about.planes)
        known = set(NUMBERS) | {"count"} <= set(about.planes) <= {*NUMBERS, *COUNTS}
        is_whole = known and len(set(about.planes)) == len(about.planes) and len(body) == _SIZE * expected
        if size < 1 or not is_whole or not len(about.unplaced) == len(about.outside) == trials:
            raise ValueError(f"these are no buckets: {shown(head)}, and {len(body)} bytes")
        (edges,) = _unpacked(body[: (size + 1) * _SIZE], "d", 1, size + 1)
        planes = {}
        start = (size + 1) * _SIZE
        for name in about.planes:
            end = start + trials * size * _SIZE
            planes[name] = _unpacked(body[start:end], "d" if name in NUMBERS else "q", trials, size)
            start = end
        for name in COUNTS:
            if name not in planes:
                planes[name] = _unpacked(bytes(trials * size * _SIZE), "q", trials, size)
        return cls(edges, about.uids, planes, about.unplaced, about.outside, about.low, about.high)


class _About(msgspec.Struct):
    buckets: int
    uids: list[str]
    unplaced: list[int]
    outside: list[int]
    low: float | None
    high: float | None
    planes: list[str]


def _has_any(plane: Any) -> bool:
    if hasattr(plane, "any"):
        return bool(plane.any())
    return any(map(any, plane))


def _packed(rows: Any) -> bytes:
    """Return rows of numbers as bytes."""
    if hasattr(rows, "tobytes"):
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        return bytes(little.tobytes())
    return b"".join(_swapped(row).tobytes() for row in rows)


def _unpacked(data: bytes, code: str, rows: int, size: int) -> Any:
    """Return rows of so many numbers of a type of `array`, as numpy has them where it is installed."""
    try:
        import numpy
    except ImportError:
        return [_swapped(array(code, data[row * size * _SIZE : (row + 1) * size * _SIZE])) for row in range(rows)]
    kind = "<f8" if code == "d" else "<i8"
    return numpy.frombuffer(data, kind).astype(kind[1:], copy=False).reshape(rows, size)


def _swapped(row: Any) -> Any:
    if sys.byteorder == "little" or hasattr(row, "dtype"):
        return row
    row = row[:]
    row.byteswap()
    return row


def rows_of(parts: Sequence[Any]) -> Any:
    """Return the rows of several planes as those of one."""
    if any(hasattr(part, "dtype") for part in parts):
        import numpy

        return numpy.concatenate(parts)
    return [row for part in parts for row in part]
