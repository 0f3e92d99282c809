"""From what a backend reads, trial after trial, to the buckets of all of them on one grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from track.errors import InvalidQuery, TrialDoesNotExist
from track.persistence.buckets.columns import Bounds, Curve, Found
from track.persistence.buckets.question import Question
from track.persistence.buckets.result import COUNTS, NUMBERS, Buckets, rows_of
from track.utils.pacing import paced

Read = Callable[[Sequence[str]], Iterable[tuple[str, Any]]]
"""Reads trials, in their order: a `Found` of each, or what `Make` takes. One that is not stored is left out."""
Make = Callable[[str, Any], Any]
"""Makes the line of a trial of what was read; None where it has no points of the metric."""
# Seconds of work that others wait for.
_TURN = 0.1
# Bytes of points that are kept, at most, until it is known where the grid begins and ends.
_KEPT = 1 << 28
NOWHERE = (-1.7e308, -1.6e308)
"""A part of x without points: who asks about it is told where these begin and end, and nothing is made of them."""


def bucketed(question: Question, uids: Sequence[str], read: Read, make: Make | None = None) -> Buckets:
    """Return the buckets of trials.

    `read` is asked for all of them, and once more for those whose points would have been too many to be kept. `make`:
    makes a line of what was read; by default it is made anew.
    """
    question.check_size(len(uids))
    module = engine()
    make = make or (lambda uid, found: module.line_of(found, question))
    planes = module.planes_of(len(uids), question.buckets)
    bounds, room = Bounds(), _KEPT
    kept: dict[str, Any] = {}
    given = _ends(question)
    known: dict[str, tuple[int, int]] = {}
    edges = None if given is None else module.grid(*given, question.buckets)
    for uid, found in paced(read(uids)):
        line = make(uid, found)
        if line is None:
            continue
        bounds.take(line.low, line.high)
        if edges is not None:
            known[uid] = line.unplaced, line.fill(edges, planes, len(known))
            continue
        room -= line.nbytes
        kept[uid] = line if room >= 0 else None
    if edges is None:
        edges = module.grid(*bounds.ends(question.start, question.end), question.buckets)
        for uid, line in _again(kept, read, make):
            known[uid] = line.unplaced, line.fill(edges, planes, len(known))
    low, high = (None, None) if bounds.is_empty else (bounds.low, bounds.high)
    unplaced, outside = ([counts[place] for counts in known.values()] for place in (0, 1))
    return Buckets(edges, list(known), module.first_rows(planes, len(known)), unplaced, outside, low, high)


def _ends(question: Question) -> tuple[float, float] | None:
    """Return where the grid begins and ends; None where that depends on the points."""
    if question.x == "relative":
        start = 0.0 if question.start is None else question.start
        end = 1.0 if question.end is None else question.end
        return (start, end) if start < end else None
    return None if question.start is None or question.end is None else (question.start, question.end)


def _again(kept: dict[str, Any], read: Read, make: Make) -> Iterator[tuple[str, Any]]:
    """Yield what was kept, and what is read again, in their order."""
    missing = [uid for uid, line in kept.items() if line is None]
    rest = iter(read(missing) if missing else ())
    following = next(rest, None)
    for uid in list(kept):
        line = kept.pop(uid)
        if line is None and following is not None and following[0] == uid:
            line = make(*following)
            following = next(rest, None)
        # One may have been forgotten meanwhile.
        if line is not None:
            yield uid, line


def engine() -> Any:
    """Return the module that does it: `arrays` where numpy is installed."""
    try:
        from track.persistence.buckets import arrays
    except ImportError:
        from track.persistence.buckets import plain

        return plain
    return arrays


def found_by_points(question: Question, fetch: Callable[..., Any], started: Callable[[str], float]) -> Read:
    """Return what reads trials one by one, with a backend's `fetch_points`.

    `started` returns when a trial was started, unix seconds; it is called where that matters.
    """

    def read(uids: Sequence[str]) -> Iterator[tuple[str, Found]]:
        for uid in uids:
            try:
                points = fetch(uid, question.names)
                begun = started(uid) if question.x == "time" else 0.0
            except TrialDoesNotExist:
                continue
            columns = {name: Curve(*found[:3]) for name, found in points.items()}
            if question.name in columns:
                yield uid, Found(columns[question.name], columns.get(question.other or ""), begun)

    return read


# some trials after others


Ask = Callable[[Sequence[str], Question], Buckets]
"""Asks a backend."""


def in_turns(question: Question, uids: Sequence[str], ask: Ask, seconds: float) -> Iterator[Buckets | None]:
    """Yield the buckets of trials, and a None before each part of the work, which is a fraction of a second's.

    The backend is asked for some trials after others, on the grid that all share. Where that depends on the points, it
    is taken to be that of the first trial, as it mostly is; where others reach further, all are asked for again, of
    which the backend may have kept what it has read.

    Raises
    ------
    InvalidQuery
        It takes longer than so many seconds.
    """
    question.check_size(len(uids))
    end = time.monotonic() + seconds
    ends, parts = _ends(question), None
    if ends is None and len(uids) > 1:
        ends, parts = yield from _guessed(question, uids, ask, end)
    if parts is None:
        asked = question if ends is None else replace(question, start=ends[0], end=ends[1])
        parts = []
        for part in _parts(uids, lambda some: ask(some, asked), end):
            yield None
            parts.append(part)
    yield joined(parts)


_Ends = tuple[float, float]


def _guessed(
    question: Question, uids: Sequence[str], ask: Ask, end: float
) -> Generator[None, None, tuple[_Ends, list[Buckets] | None]]:
    """Ask for trials on the grid of the first one that has points; return the grid, and the parts where it is that."""
    bounds, parts = Bounds(), []
    guess: _Ends | None = None
    asked = question

    def ask_for(some: Sequence[str]) -> Buckets:
        return ask(some, asked)

    for part in _parts(uids, ask_for, end):
        yield None
        parts.append(part)
        bounds.take(part.low, part.high)
        ends = bounds.ends(question.start, question.end)
        if guess is None and not bounds.is_empty:
            guess = ends
            asked = replace(question, start=ends[0], end=ends[1])
        elif guess not in (None, ends):
            # The others are only asked where they begin and end.
            asked = replace(question, buckets=1, start=NOWHERE[0], end=NOWHERE[1], smoothing=None)
    return ends, parts if guess in (None, ends) else None


def _parts(uids: Sequence[str], ask: Callable[[Sequence[str]], Buckets], end: float) -> Iterator[Buckets]:
    """Yield the buckets of some trials after others: as many as take about a tenth of a second."""
    place, count = 0, 1
    while place < len(uids) or not place:
        began = time.monotonic()
        yield ask(uids[place : place + count])
        place += count
        took = time.monotonic() - began
        if time.monotonic() > end and place < len(uids):
            raise InvalidQuery(
                f"the buckets of {len(uids):,} trials take too long: time is up after {place:,}; ask for some "
                "of them after others, with the same start and end"
            )
        count = 2 * count if took < _TURN else max(1, count // 2)


def joined(parts: Sequence[Buckets]) -> Buckets:
    """Return the buckets of several calls, which have one grid, as of one; the first ones may have none of a trial."""
    bounds = Bounds()
    for part in parts:
        bounds.take(part.low, part.high)
    planes = {name: rows_of([getattr(part, name) for part in parts]) for name in (*NUMBERS, *COUNTS)}
    uids, unplaced, outside = ([one for part in parts for one in getattr(part, name)] for name in _BY_TRIAL)
    low, high = (None, None) if bounds.is_empty else (bounds.low, bounds.high)
    return Buckets(parts[-1].edges, uids, planes, unplaced, outside, low, high)


_BY_TRIAL = ("uids", "unplaced", "outside")
