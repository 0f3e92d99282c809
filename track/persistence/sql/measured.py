"""What a trial's row says of what it measured: what each metric comes to, and which rows of points are small.

Points are rows of a chunk each. Those of a slow logger are few, so the small rows at the end of a name are counted, in
runs of about one size: where there are many of one size they become one row, which is of the next size. So each point
is written a few times, however long the trial is, and no name has many small rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from track.briefs import NOTHING, Brief, brief_from_plain, brief_of, brief_to_plain
from track.metrics import container_from_plain
from track.persistence.cells import Column, text
from track.plain import restore, to_plain

_FULL = 2_048
"""Points from which on a row stays as it is."""
_RUN = 16
_SIZES = (_RUN, _RUN**2, _FULL)
_decode = msgspec.json.decode
_Raw = tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw]
_decode_raw = msgspec.json.Decoder(tuple[int, bool, dict[str, dict[str, _Raw]]]).decode
_NULL = msgspec.Raw(b"null")


@dataclass
class Known:
    """What is known of a name.

    Attributes
    ----------
    latest: float
        When its last point was logged, unix seconds.
    is_stepped: bool
        Whether the first point has a step.
    brief: Brief or None
        What it comes to; None where only the points say that.
    state: dict or None
        Of an aggregator that keeps no points, what it is; empty before its first value, None where only the points
        say that.
    runs: list
        Small rows at the end, from large to small: the number of the first point, how many rows, how many points.
    """

    latest: float = 0.0
    is_stepped: bool = False
    brief: Brief | None = None
    state: dict[str, Any] | None = None
    runs: list[list[int]] = field(default_factory=list)

    def to_plain(self) -> list[Any]:
        """Return this as JSON-safe data."""
        brief = None if self.brief is None else brief_to_plain(self.brief)
        return [to_plain(self.latest), self.is_stepped, self.runs, brief, self.state]

    @classmethod
    def from_plain(
        cls, latest: Any, is_stepped: bool, runs: list[list[int]], brief: list[Any] | None, state: Any
    ) -> Known:
        """Return what `to_plain` said."""
        return cls(restore(latest), is_stepped, None if brief is None else brief_from_plain(brief), state, runs)

    def place(self, first: int, size: int) -> int:
        """Count a row of new points, and return the number of the first point that is to be in it."""
        while size < _FULL:
            level = _level(size)
            runs = self.runs
            if runs and _level_of(runs[-1]) < level:
                first, _, points = runs.pop()
                size += points
                continue
            if not runs or _level_of(runs[-1]) > level:
                runs.append([first, 1, size])
                return first
            began, rows, points = runs.pop()
            if rows + 1 < _RUN and points + size < _FULL:
                runs.append([began, rows + 1, points + size])
                return first
            first, size = began, points + size
        # What is smaller before it stays as it is.
        self.runs = []
        return first

    def grow(self, kind: str, name: str, column: Column) -> None:
        """Take note of new points."""
        if self.state is not None:
            self.state = column.state(kind, name, self.state)
        if self.state is not None:
            self.brief = brief_of(container_from_plain(self.state))
        else:
            self.brief = column.brief(self.brief, self.latest, self.is_stepped)
        self.latest = max(self.latest, column.latest)


def _level(size: int) -> int:
    return sum(size >= least for least in _SIZES)


def _level_of(run: list[int]) -> int:
    _, rows, points = run
    return _level(points // rows)


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

    def latest(self, name: str, changed: float) -> float:
        """Return when the last point of a metric was logged; when the trial was changed, where nobody knows it."""
        known = self.names["metrics"].get(name)
        return known.latest if known is not None else 0.0 if self.is_whole else changed

    def grow(self, kind: str, name: str, column: Column) -> Known:
        """Take note of new points, and return what is known of their name."""
        known = self.names[kind].get(name)
        if known is None:
            known = self.names[kind][name] = Known(0.0, column.is_stepped)
            if self.is_whole:
                known.brief = NOTHING if kind == "metrics" else None
                known.state = {} if column.is_aggregated else None
        known.grow(kind, name, column)
        return known

    def to_text(self, points: int) -> str:
        """Return this as JSON; `points` is how many the trial has."""
        names = {
            kind: {name: known.to_plain() for name, known in of_kind.items()} for kind, of_kind in self.names.items()
        }
        return text([points, self.is_whole, names])

    @classmethod
    def from_text(cls, stored: str | None, points: int) -> Measured:
        """Return what is known; nothing where a version before has stored points since it was written."""
        if stored is None:
            return cls(is_whole=points == 0)
        count, is_whole, names = _decode(stored)
        if count != points:
            return cls(is_whole=False)
        known = {
            kind: {name: Known.from_plain(*plain) for name, plain in of_kind.items()} for kind, of_kind in names.items()
        }
        return cls(is_whole, known)


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
