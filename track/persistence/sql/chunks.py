"""Points in rows: a row is a chunk of the points of one name; versions before had a row a point, which are still read.

Each point has a number, which counts all points of its trial. So a trial that was read when it had some number of
points shows these, whatever came since, and in whatever rows they are now.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from track.containers.columns import Column
from track.containers.packing import Chunk, joined, unpack
from track.persistence.sql.database import Database, Row
from track.persistence.state import chunk_of_cells

_CELLS = 5_000
_CHUNKS = 100
_FEW = 200_000
_NAMES = 300
_TRIALS = 500
_CHUNK = "SELECT name, seq, body, times FROM chunks"


class Stored(NamedTuple):
    """Which points of a trial are meant.

    `position`: of the trial. `end`: the number after that of the last one. `is_whole`: whether all are in chunks.
    `has_chunks`: whether any may be, which is not so in tables of a version before.
    """

    position: int
    end: int
    is_whole: bool
    has_chunks: bool = True


def read_points(
    database: Database, kind: str, stored: Stored, names: Sequence[str], after: int = -1
) -> dict[str, Chunk]:
    """Return the points of some names of a trial, with numbers after one; a name without any is left out."""
    rows: Iterable[Row]
    if not stored.has_chunks:
        rows = ()
    elif stored.end <= _FEW and len(names) > 1 and after < 0:
        rows = database.rows(f"{_CHUNK} WHERE trial = ? AND kind = ? AND seq < ?", stored.position, kind, stored.end)
    else:
        rows = (row for name in names for row in _pages(database, kind, stored, name, after))
    found: dict[str, list[Chunk]] = {name: [] for name in names}
    for name, _, body, times in rows:
        chunk = unpack(body, times).between(after + 1, stored.end)
        if name in found and len(chunk):
            found[name].append(chunk)
    for name, chunks in found.items():
        chunks.sort(key=lambda chunk: chunk.first)
        if not stored.is_whole and (cells := _cells(database, kind, stored, name, after)) is not None:
            found[name] = list(_in_order(cells, chunks, stored.end))
    return {name: joined(chunks) for name, chunks in found.items() if chunks}


def _pages(database: Database, kind: str, stored: Stored, name: str, after: int) -> Iterator[Row]:
    """Yield the rows of a name, in order."""
    where, identity = "trial = ? AND kind = ? AND name = ?", (stored.position, kind, name)
    # The row that holds the point itself may hold others after it.
    begin = f"seq >= COALESCE((SELECT MAX(seq) FROM chunks WHERE {where} AND seq <= ?), 0) AND until > ?"  # noqa: S608
    since, bounds = (begin, (*identity, after, after + 1)) if after >= 0 else ("seq >= ?", (0,))
    while rows := database.rows(
        f"{_CHUNK} WHERE {where} AND {since} AND seq < ? ORDER BY seq LIMIT {_CHUNKS}", *identity, *bounds, stored.end
    ):
        yield from rows
        if len(rows) < _CHUNKS:
            return
        since, bounds = "seq > ?", (rows[-1][1],)


def _cells(database: Database, kind: str, stored: Stored, name: str, after: int) -> Chunk | None:
    """Return the points of a name that have rows of their own, None where none has."""
    step = "step" if kind == "metrics" else "NULL"
    page = (
        f"SELECT {step}, value, at, odd, seq FROM {kind} "  # noqa: S608
        f"WHERE trial = ? AND name = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT {_CELLS}"
    )
    columns: tuple[list[Any], ...] = ([], [], [], [], [])
    while rows := database.rows(page, stored.position, name, after, stored.end):
        for place, column in enumerate(columns):
            column.extend([row[place] for row in rows])
        after = rows[-1][-1]
        if len(rows) < _CELLS:
            break
    *cells, numbers = columns
    return chunk_of_cells(numbers, tuple(cells)) if numbers else None


def _in_order(cells: Chunk, chunks: Iterable[Chunk], end: int) -> Iterator[Chunk]:
    """Yield points from rows of their own and chunks: an older version may have written beside this one."""
    first = 0
    for chunk in chunks:
        if len(before := cells.between(first, chunk.first)):
            yield before
        yield chunk
        first = chunk.end
    if len(rest := cells.between(first, end)):
        yield rest


def latest_time(database: Database, stored: Stored, name: str) -> float | None:
    """Return when the last point of a metric was logged, None where there is none."""
    newest = "SELECT MAX(at) FROM metrics WHERE trial = ? AND name = ? AND seq < ?"
    (latest,) = database.rows(newest, stored.position, name, stored.end)[0]
    times = [] if latest is None else [float(latest)]
    for _, _, body, logged in _pages(database, "metrics", stored, name, -1):
        chunk = unpack(body, logged)
        times += [] if chunk.times is None else [max(chunk.times.tolist())]
    return max(times, default=None)


def take_out(database: Database, position: int, kind: str, firsts: Mapping[str, int]) -> dict[str, list[Chunk]]:
    """Remove the rows of some names from a number on, and return what they held, by name."""
    found: dict[str, list[Chunk]] = {}
    names = list(firsts)
    for begin in range(0, len(names), _NAMES):
        some = names[begin : begin + _NAMES]
        of_these = " OR ".join(["name = ? AND seq >= ?"] * len(some))
        where = f"WHERE trial = ? AND kind = ? AND ({of_these})"
        values = [position, kind, *(value for name in some for value in (name, firsts[name]))]
        for name, _, body, times in sorted(database.rows(f"{_CHUNK} {where}", *values), key=lambda row: row[1]):
            found.setdefault(name, []).append(unpack(body, times))
        database.rows(f"DELETE FROM chunks {where}", *values)  # noqa: S608
    return found


def read_columns(database: Database, stored: Sequence[Stored], name: str, has_times: bool) -> dict[int, Chunk]:
    """Return the points of one metric of many trials, all of which are in chunks, by the position of the trial.

    Without times, which are half of what there is to read, these are 0.
    """
    ends = {one.position: one.end for one in stored}
    found: dict[int, list[Chunk]] = {}
    times = "times" if has_times else "NULL"
    for begin in range(0, len(stored), _TRIALS):
        some = [one.position for one in stored[begin : begin + _TRIALS]]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT trial, seq, body, {times} FROM chunks WHERE trial IN ({marks}) AND kind = 'metrics' AND name = ?"  # noqa: S608
        for position, first, body, logged in database.rows(sql, *some, name):
            if first < ends[position]:
                found.setdefault(position, []).append(unpack(body, logged).between(0, ends[position]))
    for chunks in found.values():
        chunks.sort(key=lambda chunk: chunk.first)
    whole = {position: joined(chunks) for position, chunks in found.items()}
    for chunk in () if has_times else whole.values():
        chunk.times = Column.of(array("d", bytes(8 * len(chunk))))
    return whole


def is_timeless(spec: list[Any] | None, chunk: Chunk | None) -> bool:
    """Return whether a metric is the same whenever its points were logged: none came late, or replaces another."""
    if chunk is None:
        return True
    return spec in (None, ["series"]) and chunk.is_ordered and (chunk.steps is None or chunk.is_rising)
