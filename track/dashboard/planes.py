"""Buckets as a chart draws them: planes no wider than a screen has pixels for."""

from __future__ import annotations

import math
from array import array
from typing import Any

import msgspec

from track.dashboard.answers import little_endian
from track.persistence.buckets import Buckets

_NUMBERS = ("least", "greatest", "mean")
_COUNTS = ("count", "nan", "plus_inf", "minus_inf")
# Single precision is exact to 1 in 16 million: of values that are spread this much, to 1 in 16,000 of what is seen.
_SPREAD = 1e-3
_LEAST, _GREATEST = 1e-36, 1e38


def chart_bytes(found: Buckets) -> bytes:
    """Return a line of JSON, and after it the edges as doubles and the planes that it names, little-endian.

    Each plane is named with how wide its numbers are: ``f4`` and ``f8``, or ``u4`` for counts; it begins at
    a multiple of 8 bytes. A plane of counts that are all zero is left out.
    """
    width = _width(found)
    planes = [(name, width, getattr(found, name)) for name in _NUMBERS]
    for name in _COUNTS:
        plane = getattr(found, name)
        most = _most(plane)
        if most or name == "count":
            planes.append((name, "u4" if hasattr(plane, "astype") and most < 2**32 else "f8", plane))
    about = {
        "buckets": len(found.edges) - 1,
        "uids": found.uids,
        "unplaced": sum(map(int, found.unplaced)),
        "low": found.low,
        "high": found.high,
        "planes": [[name, kind] for name, kind, _ in planes],
    }
    head = msgspec.json.encode(about)
    parts = [head, b" " * (-(len(head) + 1) % 8), b"\n", little_endian(found.edges)]
    for _, kind, plane in planes:
        if hasattr(plane, "astype"):
            body = little_endian(plane.astype(kind, copy=False))
        else:
            body = b"".join(little_endian(array("d", row)) for row in plane)
        parts += [body, bytes(-len(body) % 8)]
    return b"".join(parts)


def _most(plane: Any) -> int:
    if hasattr(plane, "max"):
        return int(plane.max(initial=0))
    return max((max(row, default=0) for row in plane), default=0)


def _width(found: Buckets) -> str:
    """Return how wide numbers must be, so that nobody sees that they are rounded."""
    if not hasattr(found.least, "astype"):
        return "f8"
    import numpy

    with numpy.errstate(invalid="ignore"):
        low, high = (
            float(reduce(plane, initial=end, where=plane == plane))
            for reduce, plane, end in ((numpy.min, found.least, math.inf), (numpy.max, found.greatest, -math.inf))
        )
        tiny = any(bool(((plane != 0) & (abs(plane) < _LEAST)).any()) for plane in (found.least, found.greatest))
    size = max(abs(low), abs(high))
    return "f4" if not tiny and size < _GREATEST and high - low > _SPREAD * size else "f8"
