"""What a trial's row says of what it measured: what each metric comes to, and which rows of points are small.

Points are rows of a chunk each. Those of a slow logger are few, so the small rows at the end of a name are counted, in
runs of about one size: where there are many of one size they become one row, which is of the next size. So each point
is written a few times, however long the trial is, and no name has many small rows.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import Any

import msgspec

from track.briefs import NOTHING, Brief, brief_from_plain, brief_of, brief_to_plain
from track.metrics import container_from_plain
from track.persistence.state import Column, text

_FULL = 2_048
"""Points from which on a row stays as it is."""
_RUN = 16
_SIZES = (_RUN, _RUN**2, _FULL)
_decode = msgspec.json.decode
_Raw = tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw]
_decode_raw = msgspec.json.Decoder(tuple[int, bool, dict[str, dict[str, _Raw]]]).decode
_LAST = sys.float_info.max
_NULL = msgspec.Raw(b"null")


class Known(msgspec.Struct, array_like=True):
    """What is known of a name, as it is stored.

    Attributes
    ----------
    latest: float
        When its last point was logged, unix seconds.
    is_stepped: bool
        Whether the first point has a step.
    runs: list
        Small rows at the end, from large to small: the number of the first point, how many rows, how many points.
    brief: list or None
        What a metric comes to, as JSON-safe data; None where only the points say that.
    state: dict or None
        Of an aggregator that keeps no points, what it is; empty before its first value, None where only the points
        say that.
    """

    latest: float = 0.0
    is_stepped: bool = False
    runs: list[list[int]] = []
    brief: list[Any] | None = None
    state: dict[str, Any] | None = None

    def place(self, first: int, size: int) -> int:
        """Count a row of new points, and return the number of the first point that is to be in it."""
        while size < _FULL:
            level, runs = bisect_right(_SIZES, size), self.runs
            began, rows, points = runs[-1] if runs else (0, 1, _FULL)
            before = bisect_right(_SIZES, points // rows)
            if before > level:
                runs.append([first, 1, size])
                return first
            runs.pop()
            if before == level and rows + 1 < _RUN and points + size < _FULL:
                runs.append([began, rows + 1, points + size])
                return first
            first, size = began, points + size
        # What is smaller before it stays as it is.
        self.runs = []
        return first

    def grow(self, kind: str, column: Column) -> None:
        """Take note of new points."""
        if self.state is not None:
            self.state = column.state(kind, self.state)
        if kind != "metrics":
            # Nobody asks what times come to.
            self.brief = None
        elif self.state is not None:
            self.brief = brief_to_plain(brief_of(container_from_plain(self.state)))
        elif self.brief is not None:
            brief = column.brief(brief_from_plain(self.brief), self.latest, self.is_stepped)
            self.brief = None if brief is None else brief_to_plain(brief)
        self.latest = min(max(self.latest, *column.times), _LAST)


_decode_known = msgspec.json.Decoder(tuple[int, bool, dict[str, dict[str, Known]]]).decode


class Measured:
    """What is known of all names of a trial.

    Attributes
    ----------
    is_whole: bool
        Whether all points are in chunks; a version before has stored some in rows of their own where it is false.
    names: dict
        By kind, `metrics` or `times`, and name.
    """

    def __init__(self, is_whole: bool, names: dict[str, dict[str, Known]] | None = None) -> None:
        self.is_whole = is_whole
        self.names: dict[str, dict[str, Known]] = names or {"metrics": {}, "times": {}}

    def of(self, kind: str, column: Column) -> Known:
        """Return what is known of the name of new points."""
        known = self.names[kind].get(column.name)
        if known is None:
            known = self.names[kind][column.name] = Known(0.0, column.is_stepped)
            if self.is_whole:
                known.brief = brief_to_plain(NOTHING) if kind == "metrics" else None
                known.state = {} if column.is_aggregated else None
        return known

    def to_text(self, points: int) -> str:
        """Return this as JSON; `points` is how many the trial has."""
        return text([points, self.is_whole, self.names])

    @classmethod
    def from_text(cls, stored: str | None, points: int) -> Measured:
        """Return what is known; nothing where a version before has stored points since it was written."""
        if stored is None:
            return cls(is_whole=points == 0)
        count, is_whole, names = _decode_known(stored)
        return cls(is_whole, names) if count == points else cls(is_whole=False)


def is_whole(stored: str | None, points: int) -> bool:
    """Return whether all points of a trial are in chunks, as its row says that has so many."""
    return points == 0 if stored is None else stored.startswith(f"[{points},true,")


def stored_briefs(stored: str | None, points: int) -> dict[str, Brief | None] | None:
    """Return what each metric of a trial comes to, None where only the points say it, as its row says."""
    if not is_whole(stored, points):
        return None
    names = {} if stored is None else _decode(stored)[2]["metrics"]
    return {name: None if plain[3] is None else brief_from_plain(plain[3]) for name, plain in names.items()}


def stored_containers(stored: str | None, points: int, kind: str) -> dict[str, Any] | None:
    """Return the aggregators of a trial that keep no points, None for other names, as its row says."""
    if not is_whole(stored, points):
        return None
    names = {} if stored is None else _decode(stored)[2][kind]
    return {name: None if plain[4] is None else container_from_plain(plain[4]) for name, plain in names.items()}


def stored_line(stored: str | None, points: int) -> bytes | None:
    """Return the times of a trial, and what its metrics come to, as JSON; None where the row does not say it."""
    if stored is None or not is_whole(stored, points):
        return None if points else b"[{},{}]"
    _, _, names = _decode_raw(stored)
    times = {name: plain[4] for name, plain in names["times"].items()}
    briefs = {name: plain[3] for name, plain in names["metrics"].items()}
    if _NULL in times.values() or _NULL in briefs.values():
        return None
    return msgspec.json.encode([times, briefs])
