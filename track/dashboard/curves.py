"""Curves for a file: short ones point by point, of long ones the least, mean and greatest of each piece."""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from track.dashboard.source import Source
from track.metrics import briefs_of
from track.persistence.buckets import MOST_CELLS, TrialBuckets
from track.plain import nearest_double
from track.structure import Trial

MOST_PIECES = 20_000
"""In so many pieces a curve is at most."""
# Bytes that a point and a piece take, packed.
_POINT, _PIECE = 6, 11
_TICKS = 256
_UNKNOWN = 65_535
Curve = dict[str, Any]


class Planes:
    """Columns of numbers, each once: `parts` are their bytes, `about` says of each its type and how many it has.

    The first bytes of all numbers stand first, then their second ones: these are more alike, and pack better.
    """

    def __init__(self) -> None:
        self.about: list[tuple[str, int]] = []
        self.parts: list[bytes] = []
        self._known: dict[bytes, int] = {}

    def add(self, code: str, values: Iterable[Any]) -> int:
        """Take numbers of a type of `array`, and return their place."""
        column = array(code, values)
        if sys.byteorder == "big":
            column.byteswap()
        data = column.tobytes()
        name = hashlib.sha256(code.encode() + data).digest()
        if name not in self._known:
            self._known[name] = len(self.parts)
            self.about.append((code, len(column)))
            self.parts.append(b"".join(data[part :: column.itemsize] for part in range(column.itemsize)))
        return self._known[name]

    def add_numbers(self, values: Sequence[float], towards: int | None = None) -> int:
        """Take doubles; as such only where a half of them would not show how they differ.

        `towards`: of pieces, whether what is stored may be a little less (-1), a little more (1), or either (0).
        """
        sizes = [abs(value) for value in values if math.isfinite(value)]
        most, least = max(sizes, default=0.0), min((size for size in sizes if size), default=1.0)
        finite = [value for value in values if math.isfinite(value)]
        spread = max(finite, default=0.0) - min(finite, default=0.0)
        is_narrow = 0 < spread < 1e-3 * most
        if most > 1e38 or least < 1e-37 or is_narrow:
            return self.add("d", values)
        return self.add("f", values if towards is None else _shorter(values, towards))


def _shorter(values: Sequence[float], towards: int) -> Iterable[float]:
    """Return floats whose last byte is zero, which pack better: a part in 30,000 less or more at most."""
    bits = array("I", array("f", values).tobytes())
    for place, bit in enumerate(bits):
        is_larger = bit & 0x80 if towards == 0 else (towards > 0) is (bit < 1 << 31)
        # Of NaN a last byte that is zero stays so.
        bits[place] = (bit + 0xFF if is_larger and towards else bit + 0x80 if is_larger else bit) & 0xFFFFFF00
    return array("f", bits.tobytes())


def pieces_for(counts: Sequence[int], room: int) -> int:
    """Return in how many pieces the longest curves must be, so that all of them have room; 1 where they have not."""

    def size(pieces: int) -> int:
        return sum(_POINT * count if count <= 2 * pieces else _PIECE * pieces for count in counts)

    low, high = 1, MOST_PIECES
    while low < high:
        middle = (low + high + 1) // 2
        if size(middle) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def curves_of(source: Source, trials: Sequence[Trial], pieces: int, planes: Planes) -> list[tuple[str, list[Curve]]]:
    """Return the curves of trials by metric; those of more than twice as many points are in so many pieces."""
    found: dict[str, list[Curve]] = {}
    places = {trial.uid: place for place, trial in enumerate(trials)}
    long: dict[str, list[tuple[Trial, float]]] = {}
    for trial in trials:
        short = []
        for name, brief in briefs_of(trial.metrics).items():
            if brief.count > 2 * pieces:
                last = _number(brief.last_step)
                long.setdefault(name, []).append((trial, last if math.isfinite(last) else brief.count))
            else:
                short.append(name)
        points = source.points(trial.uid, short) if short else {}
        for name, these in points.items():
            found.setdefault(name, []).append(_point_by_point(places[trial.uid], these, planes))
    for name, some in long.items():
        found.setdefault(name, []).extend(_in_pieces(source, name, some, places, pieces, planes))
    return list(found.items())


def _point_by_point(run: int, points: Any, planes: Planes) -> Curve:
    steps, values = [_number(step) for step in points.steps], [_number(value) for value in points.values]
    curve: Curve = {"run": run, "size": len(values), "mean": planes.add_numbers(values), "odd": []}
    finite = [step for step in steps if math.isfinite(step)]
    curve["ends"] = [min(finite, default=0.0), max(finite, default=0.0)]
    by = steps[1] - steps[0] if len(steps) > 1 else 1.0
    if len(finite) == len(steps) and all(steps[i] == steps[0] + i * by for i in range(len(steps))):
        curve |= {"first": steps[0] if steps else 0.0, "by": by}
    else:
        curve["steps"] = planes.add("d", steps)
    return curve | _timed([float(at) or math.nan for at in points.times], planes)


def _number(value: Any) -> float:
    return nearest_double(value) if isinstance(value, (int, float)) else math.nan


def _timed(times: Sequence[float], planes: Planes) -> Curve:
    """Return when points were: differences of parts of the time from the first to the last, enough to draw."""
    known = [at for at in times if at == at]
    if not known:
        return {}
    since, span = min(known), max(known) - min(known)
    ticks = [_UNKNOWN if at != at else round((at - since) / (span or 1.0) * (_UNKNOWN - 1)) for at in times]
    changes = [(tick - before) % 65_536 for before, tick in zip([0, *ticks], ticks, strict=False)]
    return {"time": planes.add("H", changes), "since": since, "span": span}


def _in_pieces(  # noqa: PLR0917 - what it is of
    source: Source,
    name: str,
    trials: Sequence[tuple[Trial, float]],
    places: dict[str, int],
    pieces: int,
    planes: Planes,
) -> Iterator[Curve]:
    times: dict[str, tuple[Any, list[int]]] = {}
    spent = [(trial, _seconds(trial)) for trial, _ in trials if trial.timestamps.get("started")]
    ticks = min(pieces, _TICKS)
    for some in _alike(spent, ticks):
        found = source.buckets([trial.uid for trial in some], name, ticks, "time")
        times |= {uid: (found.edges, _all_counted(found[uid])) for uid in found}
    for some in _alike(trials, pieces):
        found = source.buckets([trial.uid for trial in some], name, pieces, "step")
        started = {trial.uid: float(trial.timestamps.get("started") or 0) for trial in some}
        for uid in found:
            yield _piece_by_piece(places[uid], found.edges, found[uid], planes) | _timed(
                _times(found[uid], times.get(uid), started[uid]), planes
            )


def _seconds(trial: Trial) -> float:
    started, finished = (trial.timestamps.get(name) for name in ("started", "finished"))
    return float(finished - started) if started and finished else math.nan


def _alike(sized: Sequence[tuple[Trial, float]], buckets: int) -> Iterator[list[Trial]]:
    """Yield trials together that are about as long: they share a grid. Those of no known length are alone."""
    part: list[Trial] = []
    least = 0.0
    for trial, size in sorted(sized, key=lambda one: (one[1] != one[1], one[1] if one[1] == one[1] else 0.0)):
        if part and not (size <= 1.3 * least and (len(part) + 1) * buckets <= MOST_CELLS):
            yield part
            part = []
        if not part:
            least = size
        part.append(trial)
    if part:
        yield part


def _piece_by_piece(run: int, edges: Any, these: TrialBuckets, planes: Planes) -> Curve:
    size = len(edges) - 1
    by = (float(edges[size]) - float(edges[0])) / size
    counts = [int(count) for count in these.count]
    everything = _all_counted(these)
    some = [i for i, count in enumerate(everything) if count] or [0]
    odd = [
        (kind, i, int(count))
        for kind in ("nan", "plus_inf", "minus_inf")
        for i, count in enumerate(getattr(these, kind))
        if count
    ]
    rows = ((these.mean, 0), (these.least, -1), (these.greatest, 1))
    mean, low, high = (planes.add_numbers([float(one) for one in row], towards) for row, towards in rows)
    return {
        "run": run,
        "size": size,
        "first": float(edges[0]) + by / 2,
        "by": by,
        "mean": mean,
        "low": low,
        "high": high,
        "count": planes.add("I", [min(count, 2**32 - 1) for count in counts]),
        "odd": odd,
        "ends": [float(edges[some[0]]), float(edges[some[-1] + 1])],
    }


def _all_counted(these: TrialBuckets) -> list[int]:
    rows = zip(these.count, these.nan, these.plus_inf, these.minus_inf, strict=True)
    return [sum(map(int, row)) for row in rows]


def _times(these: TrialBuckets, known: tuple[Any, list[int]] | None, started: float) -> list[float]:
    """Return when the middle point of each piece was: that of as many points as there are before it along the steps."""
    counts = _all_counted(these)
    if known is None or not sum(known[1]):
        return [math.nan] * len(counts)
    edges, ticks = known
    before = list(accumulate(ticks))
    share = before[-1] / max(1, sum(counts))
    times = []
    for count, end in zip(counts, accumulate(counts), strict=True):
        place = (end - count / 2) * share
        tick = min(bisect_left(before, place), len(ticks) - 1)
        part = (place - before[tick] + ticks[tick]) / ticks[tick] if ticks[tick] else 0.0
        times.append(started + float(edges[tick]) + part * (float(edges[tick + 1]) - float(edges[tick])))
    return times
