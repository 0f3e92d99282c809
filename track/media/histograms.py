"""Histograms: how many values lie between which edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from track.errors import InvalidEvent
from track.media.arrays import as_array, flattened, numpy_or_none, shape_of
from track.media.content import Content, refuse

BINS = 64
_SAMPLE = 100_000
_MOST = 512
_WAY_OUT = "give its values, a list, array or tensor of numbers; or counts=[...] and edges=[...], one more of them"


def histogram_content(name: str, values: Any, counts: Any, edges: Any) -> Content:
    """Return what is stored of values, or of counts between edges; InvalidEvent where they are none."""
    what = f"histogram {name!r}"
    if values is not None and counts is None and edges is None and _is_counted(values):
        values, (counts, edges) = None, values
    if (values is None) == (counts is None) or (counts is None) != (edges is None):
        raise InvalidEvent(f"{what}: {_WAY_OUT}")
    if counts is not None:
        return _content(*_given(what, counts, edges))
    array = as_array(values)
    if array is None:
        raise refuse(what, values, _WAY_OUT)
    return _content(*(_of_array if numpy_or_none() else _of_lists)(what, array))


def _is_counted(values: Any) -> bool:
    """Return whether these are the two arrays that numpy.histogram returns."""
    if not isinstance(values, tuple) or len(values) != 2:
        return False
    shapes = [shape_of(one) for one in values]
    return all(len(shape) == 1 for shape in shapes) and shapes[1][0] == shapes[0][0] + 1


def _content(counts: list[Any], edges: list[float], facts: dict[str, Any]) -> Content:
    data = msgspec.json.encode({"counts": counts, "edges": edges, **facts})
    return Content("histogram", data, "application/json")


def _given(what: str, counts: Any, edges: Any) -> tuple[list[Any], list[float], dict[str, Any]]:
    lists = [_numbers(what, one) for one in (counts, edges)]
    if len(lists[1]) != len(lists[0]) + 1 or not lists[0]:
        lengths = f"{len(lists[0])} counts and {len(lists[1])} edges"
        raise InvalidEvent(f"{what}: {lengths} make none: there is one edge more than there are counts")
    if len(lists[0]) > _MOST:
        raise InvalidEvent(f"{what}: {len(lists[0])} counts are too many to show: give at most {_MOST}")
    if any(not after > before for before, after in zip(lists[1], lists[1][1:], strict=False)):
        raise InvalidEvent(f"{what}: its edges do not rise")
    return lists[0], lists[1], {"size": sum(lists[0])}


def _numbers(what: str, values: Any) -> list[Any]:
    array = as_array(values)
    found = [] if array is None else array.tolist() if hasattr(array, "tolist") else list(array)
    if any(not isinstance(value, (int, float)) or not math.isfinite(value) for value in found) or not found:
        raise InvalidEvent(f"{what}: {_WAY_OUT}")
    return found


def _of_array(what: str, array: Any) -> tuple[list[Any], list[float], dict[str, Any]]:
    numpy = numpy_or_none()
    flat = array.reshape(-1)
    every = max(1, math.ceil(flat.size / _SAMPLE))
    facts: dict[str, Any] = {"size": int(flat.size)}
    if flat.dtype.kind == "b":
        flat = flat.astype(numpy.uint8)
    bounds = (float(flat.min()), float(flat.max())) if flat.size else (math.nan, math.nan)
    if not all(map(math.isfinite, bounds)):
        finite = flat[numpy.isfinite(flat)]
        facts["not_finite"] = int(flat.size - finite.size)
        flat = finite
        bounds = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
    if every > 1:
        # A histogram of so many shows the same.
        facts["every"] = every
        flat = flat[::every]
    low, high = _wider(*bounds)
    counts, _ = numpy.histogram(flat.astype(numpy.float64, copy=False), BINS, (low, high))
    return counts.tolist(), [low, high], facts


def _of_lists(what: str, rows: Sequence[Any]) -> tuple[list[Any], list[float], dict[str, Any]]:
    flat = list(flattened(rows))
    if any(not isinstance(value, (int, float)) for value in flat):
        raise InvalidEvent(f"{what}: not all of it are numbers; {_WAY_OUT}")
    finite = [float(value) for value in flat if math.isfinite(value)]
    facts: dict[str, Any] = {"size": len(flat)}
    if len(finite) < len(flat):
        facts["not_finite"] = len(flat) - len(finite)
    low, high = _wider(min(finite, default=0.0), max(finite, default=1.0))
    every = max(1, math.ceil(len(flat) / _SAMPLE))
    if every > 1:
        facts["every"] = every
    counts = [0] * BINS
    for value in finite[::every]:
        counts[min(int((value - low) / (high - low) * BINS), BINS - 1)] += 1
    return counts, [low, high], facts


def _wider(low: float, high: float) -> tuple[float, float]:
    """Return bounds with something between them, as numpy has them of values that are all one."""
    if high - low > 0 and math.isfinite(high - low):
        # So near that no edge is between them.
        middle = low + (high - low) / BINS
        if low < middle < high:
            return low, high
    if not math.isfinite(high - low):
        return max(low, -8e307), min(high, 8e307)
    half = max(0.5, abs(low) * 1e-6)
    return low - half, high + half
