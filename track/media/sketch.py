"""A drawing of what a figure of plotly holds, for who has no plotly: lines, points, bars, counts and heat, no more."""

from __future__ import annotations

import base64
import math
from array import array
from html import escape
from typing import Any

import msgspec

from track.media.histograms import histogram_content

_WIDTH, _HEIGHT, _LEFT, _TOP = 480, 300, 50, 24
_LARGEST, _TRACES, _POINTS, _CELLS = 4_000_000, 20, 2_000, 64
_COLOURS = ("#636efa", "#ef553b", "#00cc96", "#ab63fa", "#ffa15a", "#19d3f3", "#ff6692", "#b6e880")
_CODES = {"f8": "d", "f4": "f", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
_SAID = "a sketch: the whole figure is its JSON"

Points = list[tuple[float, float]]


def sketch_of(data: bytes) -> bytes | None:
    """Return an SVG of a figure, given its JSON; None of one that is large, or has a trace of another kind."""
    if len(data) > _LARGEST:
        return None
    try:
        found = msgspec.json.decode(data)
        traces = [trace for trace in found["data"] if trace.get("visible", True) is True]
        kinds = {trace.get("type", "scatter") for trace in traces}
        if not 0 < len(traces) <= _TRACES or not kinds <= {*_KINDS, "heatmap"} or ("heatmap" in kinds and traces[1:]):
            return None
        shapes = _heat(traces[0]) if "heatmap" in kinds else _drawn(traces)
        return _framed(shapes, found.get("layout", {})).encode()
    except Exception:  # noqa: BLE001 - a figure is stored also where there is no sketch of it
        return None


def _drawn(traces: list[dict[str, Any]]) -> str:
    series = [_KINDS[trace.get("type", "scatter")](trace) for trace in traces]
    found = [point for points in series for point in points]
    is_tall = {trace.get("type") for trace in traces} & {"bar", "histogram"}
    xs, ys = zip(*found, strict=True)
    half = 0.5 if is_tall else 0.0
    low_x, high_x = _bounds(min(xs) - half, max(xs) + half)
    low_y, high_y = _bounds(*(min(*ys, 0.0), max(*ys, 0.0)) if is_tall else (min(ys), max(ys)))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)
        return round(_LEFT + across * (_WIDTH - _LEFT - 10), 1), round(_HEIGHT - 30 - up * (_HEIGHT - 30 - _TOP), 1)

    shapes = [_marks(low_x, high_x, low_y, high_y)]
    for place, (trace, points) in enumerate(zip(traces, series, strict=True)):
        colour, spots = _COLOURS[place % len(_COLOURS)], [at(*point) for point in points]
        if trace.get("type") in ("bar", "histogram"):
            width, zero = max(1.0, (_WIDTH - _LEFT) * 0.7 / len(points)), at(low_x, 0.0)[1]
            bars = (
                f'<rect x="{x - width / 2:.1f}" y="{min(y, zero)}" width="{width:.1f}" height="{abs(zero - y):.1f}"/>'
                for x, y in spots
            )
            shapes.append(f'<g fill="{colour}" fill-opacity="0.7">{"".join(bars)}</g>')
        elif "lines" in trace.get("mode", "lines") and len(spots) > 1:
            line = " ".join(f"{x},{y}" for x, y in spots)
            shapes.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{line}"/>')
        else:
            dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in spots)
            shapes.append(f'<g fill="{colour}" fill-opacity="0.7">{dots}</g>')
    return "".join(shapes)


def _xy(trace: dict[str, Any]) -> Points:
    xs, ys = _numbers(trace.get("x")), _numbers(trace.get("y"))
    if trace.get("orientation") == "h":
        raise ValueError("bars that lie are not drawn")
    both = zip(xs or map(float, range(len(ys))), ys, strict=False)
    found = [(x, y) for x, y in both if math.isfinite(x) and math.isfinite(y)]
    return found[:: max(1, -(-len(found) // _POINTS))]


def _counted(trace: dict[str, Any]) -> Points:
    said = msgspec.json.decode(histogram_content("", _numbers(trace["x"]), None, None).data)
    low, high = said["edges"]
    counts = said["counts"]
    parts = [sum(counts[place : place + 2]) for place in range(0, len(counts), 2)]
    return [(low + (high - low) * (place + 0.5) / len(parts), float(count)) for place, count in enumerate(parts)]


_KINDS: dict[str, Any] = {"scatter": _xy, "scattergl": _xy, "bar": _xy, "histogram": _counted}


def _heat(trace: dict[str, Any]) -> str:
    given = trace["z"]
    if isinstance(given, dict):
        flat, wide = _numbers(given), int(str(given["shape"]).rpartition(",")[2])
        given = [flat[start : start + wide] for start in range(0, len(flat), wide)]
    rows = [_numbers(row) for row in given]
    rows = [row[:: -(-len(row) // _CELLS)] for row in rows[:: -(-len(rows) // _CELLS)]]
    known = [value for row in rows for value in row if math.isfinite(value)]
    low, high = _bounds(min(known), max(known))
    width, height = (_WIDTH - _LEFT - 10) / len(rows[0]), (_HEIGHT - 30 - _TOP) / len(rows)
    cells = (
        f'<rect x="{_LEFT + x * width:.1f}" y="{_HEIGHT - 30 - (y + 1) * height:.1f}" width="{width:.2f}" '
        f'height="{height:.2f}" fill-opacity="{(value - low) / (high - low):.2f}"/>'
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
        if math.isfinite(value)
    )
    return f'<g fill="{_COLOURS[0]}">{"".join(cells)}</g><text x="4" y="40">{low:.4g}…{high:.4g}</text>'


def _numbers(given: Any) -> list[float]:
    """Return numbers; of what are none, as names and days, their places."""
    if isinstance(given, dict):
        packed = array(_CODES[given["dtype"]])
        packed.frombytes(base64.b64decode(given["bdata"]))
        return list(map(float, packed))
    values = list(given or ())
    if any(isinstance(value, str) for value in values):
        places: dict[Any, float] = {}
        return [places.setdefault(value, float(len(places))) for value in values]
    return [math.nan if value is None else float(value) for value in values]


def _bounds(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _marks(low_x: float, high_x: float, low_y: float, high_y: float) -> str:
    bottom, right = _HEIGHT - 30, _WIDTH - 10
    return (
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#888"/>'
        f'<text x="4" y="{_TOP + 8}">{high_y:.4g}</text><text x="4" y="{bottom}">{low_y:.4g}</text>'
        f'<text x="{_LEFT}" y="{bottom + 13}">{low_x:.4g}</text>'
        f'<text x="{right}" y="{bottom + 13}" text-anchor="end">{high_x:.4g}</text>'
    )


def _framed(shapes: str, layout: dict[str, Any]) -> str:
    title = layout.get("title") or ""
    text = title.get("text") or "" if isinstance(title, dict) else str(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>{shapes}'
        f'<text x="{_LEFT}" y="15" font-size="13">{escape(text[:80])}</text>'
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 4}" text-anchor="end" fill="#666">{_SAID}</text></svg>'
    )
