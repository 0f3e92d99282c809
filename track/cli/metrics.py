"""``track metrics``: what the metrics of a trial come to, and the points of one of them."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

from track.cli.grid import cell, column_of, table, terminal_width
from track.cli.shell import as_json, on_store, say, say_csv, say_json, take_forms, take_words, tell
from track.cli.show import metric_columns, row_of
from track.errors import NotFound, suggestion
from track.naming import WAYS
from track.persistence.protocol import Protocol
from track.rows import Row
from track.shown import cut

_DESCRIPTION = """
Lists the metrics of a trial; with NAME its last points, each with step, value and time, or a drawing of all of them.
"""
_TAIL, _WIDTH, _HEIGHT = 20, 60, 12
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a letter of braille, by row and column."""


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, f"the trial: {WAYS}; NAME: the metric", "TRIAL NAME", least=1, most=2)
    parser.add_argument(
        "--tail", type=int, metavar="N", help=f"so many points, the last ones; 0: all (default: {_TAIL} in a table)"
    )
    parser.add_argument("--plot", action="store_true", help="draw all points: no spike is lost")
    take_forms(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, or draw, and return the exit code."""
    return on_store(arguments, partial(_metrics, arguments))


def _metrics(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    row = row_of(protocol, words[0])
    if len(words) == 1:
        return _list(given, protocol, row)
    name = words[1]
    if name not in row.metrics:
        way_out = suggestion(name, row.metrics) or f"; there are: {cut(', '.join(row.metrics), 300) or 'none'}"
        raise NotFound(f"trial {row.label or row.uid[:12]!r} has no metric {name!r}{way_out}")
    if given.plot:
        return _plot(protocol, row, name)
    is_table = not (given.json or given.jsonl or given.csv)
    tail = (_TAIL if is_table else 0) if given.tail is None else max(0, given.tail)
    count = row.metrics[name].count
    found = protocol.fetch_points(row.uid, [name], max(0, count - tail) if tail else 0).get(name)
    if found is None:
        # An aggregated one keeps no points.
        found_points = [(None, row.metrics[name].last, 0.0)]
    else:
        found_points = list(zip(found.steps, found.values, found.times, strict=True))[-tail if tail else None :]
    if given.json:
        points = [{"step": step, "value": value, "time": at or None} for step, value, at in found_points]
        say_json(uid=row.uid, metric=name, count=count, points=points)
    elif given.jsonl:
        for step, value, at in found_points:
            say(as_json({"step": step, "value": value, "time": at or None}))
    elif given.csv:
        say_csv(("step", name, "time"), ((step, value, at or "") for step, value, at in found_points))
    else:
        began = row.trial.timestamps.get("started") or (found_points[0][2] if found_points else 0)
        columns = [
            column_of("STEP", [step for step, _, _ in found_points]),
            column_of(name, [value for _, value, _ in found_points]),
            column_of("SECONDS", [at - began if at else None for _, _, at in found_points]),
        ]
        say("\n".join(table(columns, terminal_width())[0]))
        tell(f"{len(found_points):,} of {count:,} points")
    return 0


def _list(given: argparse.Namespace, protocol: Protocol, row: Row) -> int:
    metrics = row.to_json()["metrics"]
    if given.json:
        say_json(uid=row.uid, metrics=metrics)
    elif given.jsonl:
        for name, one in metrics.items():
            say(as_json({"metric": name, **one}))
    elif given.csv:
        say_csv(("metric", "last", "min", "max", "count"), ([name, *one.values()] for name, one in metrics.items()))
    elif metrics:
        say("\n".join(table(metric_columns(protocol, row, list(row.metrics)), terminal_width())[0]))
    else:
        tell("nothing was measured")
    return 0 if metrics else 1


# drawing


def _plot(protocol: Protocol, row: Row, name: str) -> int:
    width = min(_WIDTH, max(10, (terminal_width() or _WIDTH + 14) - 14))
    found = protocol.fetch_buckets([row.uid], name, 2 * width)
    if row.uid not in found:
        raise NotFound(f"the metric {name!r} has no points to draw")
    one = found[row.uid]
    spans = [(float(low), float(high)) for low, high in zip(one.least, one.greatest, strict=True)]
    lines = drawing(spans, _HEIGHT)
    if not lines:
        raise NotFound(f"the metric {name!r} has no finite point to draw")
    known = [value for span in spans for value in span if math.isfinite(value)]
    labels = [cell(max(known)), *[""] * (len(lines) - 2), cell(min(known))]
    wide = max(map(len, labels))
    for label, line in zip(labels, lines, strict=True):
        say(f"{label.rjust(wide)} ┤{line}".rstrip())
    first, last = cell(found.low), cell(found.high)
    say(f"{' ' * wide} └{first}{last.rjust(max(1, width - len(first)))}")
    strange = sum(int(sum(plane)) for plane in (one.nan, one.plus_inf, one.minus_inf))
    tell(f"{row.metrics[name].count:,} points of {cell(name)}{f', {strange:,} of them not finite' if strange else ''}")
    return 0


def drawing(spans: list[tuple[float, float]], height: int) -> list[str]:
    """Return lines of braille in which each span, from a least to a greatest value, is a column of dots.

    Examples
    --------
    >>> drawing([(0.0, 0.0), (0.0, 3.0)], 1)
    ['⣸']
    """
    known = [value for span in spans for value in span if math.isfinite(value)]
    if not known:
        return []
    low, high = min(known), max(known)
    size = 4 * height - 1
    scale = size / (high - low) if high > low and math.isfinite(high - low) else 0.0
    cells = [[0] * ((len(spans) + 1) // 2) for _ in range(height)]
    for place, (least, greatest) in enumerate(spans):
        if not (math.isfinite(least) and math.isfinite(greatest)):
            continue
        for level in range(round((least - low) * scale), round((greatest - low) * scale) + 1):
            from_top = size - level
            cells[from_top // 4][place // 2] |= _DOTS[from_top % 4][place % 2]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in line) for line in cells]
