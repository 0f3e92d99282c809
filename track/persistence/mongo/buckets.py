"""Points in buckets: each document holds some thousand points of one name, as parallel arrays.

Point `n` of a name stands at place ``n % SLOTS`` of bucket ``n // SLOTS``, and the trial's document says how many
there are. So a place is known before it is written: writing it twice changes nothing, and a place that is not
written yet is empty and is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from track.errors import BackendUnavailable
from track.persistence.cells import Column, PointColumns, named_container, text
from track.persistence.mongo.client import Document, Mongo, Operation
from track.plain import nearest_double

SLOTS = 2_000
"""Places in one bucket: about 80 kB of plain points, and below 1 MiB whatever they are."""
_ODD = 256
_PLAIN = {"series", "value"}
_ATTEMPTS = 100


class _Placed:
    """The new points of one name, at their places; what is empty is None."""

    def __init__(self, series: Document, column: Column) -> None:
        self.series = series
        self.start: int = series["count"]
        self.cells: dict[str, list[Any]] = {"step": column.steps, "value": column.values, "at": column.times}
        self.odd = column.odd
        if column.odd:
            self._spread(column)

    def __len__(self) -> int:
        return len(self.cells["at"])

    def _spread(self, column: Column) -> None:
        """Give what plain cells cannot say places of its own, so that no bucket grows too large."""
        self.cells, self.odd = {"step": [], "value": [], "at": []}, {}
        for *point, odd in zip(column.steps, column.values, column.times, column.odd_cells(), strict=True):
            places = 1 if odd is None else min(SLOTS, 1 + len(odd) // _ODD)
            room = SLOTS - (self.start + len(self)) % SLOTS
            before, after = [None] * (room if places > room else 0), [None] * (places - 1)
            if odd is not None:
                self.odd[len(self) + len(before)] = odd
            for cells, cell in zip(self.cells.values(), point, strict=True):
                cells += [*before, cell, *after]

    def parts(self) -> Iterator[tuple[int, int, Document]]:
        """Yield the number of a bucket, the first place in it, and the cells from there on."""
        begin = 0
        while begin < len(self):
            number, place = divmod(self.start + begin, SLOTS)
            end = min(len(self), begin + SLOTS - place)
            odd = [[place + at - begin, exact] for at, exact in self.odd.items() if begin <= at < end]
            yield number, place, {name: cells[begin:end] for name, cells in self.cells.items()} | {"odd": odd}
            begin = end


class Addition:
    """What is logged to a trial's metrics or times, and the places it gets behind what is known to be there."""

    def __init__(self, kind: str, series: Iterable[Document]) -> None:
        self.kind = kind
        self.points = PointColumns()
        self._known = {known["name"]: known for known in series if known["kind"] == kind}

    @cached_property
    def placed(self) -> list[_Placed]:
        """The new points of each name, once all of them are logged."""
        columns = self.points.columns.values()
        return [_Placed(self._known.get(column.key) or _new_series(self.kind, column), column) for column in columns]

    def counts(self) -> list[Document]:
        """Return how many points there were of each name that was logged now."""
        return [placed.series | {"last": None} for placed in self.placed]

    def series(self) -> list[Document]:
        """Return what is known of the trial's names now."""
        changed = {
            placed.series["name"]: _advanced(placed, column)
            for placed, column in zip(self.placed, self.points.columns.values(), strict=True)
        }
        return list((self._known | changed).values())


def _new_series(kind: str, column: Column) -> Document:
    spec = column.spec
    known = {"kind": kind, "name": column.key, "count": 0, "last": None, "at": 0.0}
    known |= {"spec": None if spec is None else text(spec), "stepped": column.is_stepped}
    return known | {"plain": kind == "metrics" and (spec is None or spec[0] in _PLAIN)}


def _advanced(placed: _Placed, column: Column) -> Document:
    """Return what is known of a name with its new points: `last` is what comparisons see, None where it is not said."""
    series = placed.series | {"count": placed.start + len(placed)}
    # Versions before did not note the time: anything is newer.
    if column.latest < series.get("at", 0.0):
        return series
    series |= {"last": None, "at": column.latest}
    if series["plain"]:
        _, value = column.last()
        is_compared = type(value) is not bool and math.isfinite(nearest_double(value))
        series["last"] = nearest_double(value) if is_compared else None
    return series


def push(position: int, additions: Iterable[Addition]) -> list[Operation]:
    """Return the writes that add new points, each to the end of a bucket: one that is longer already is passed over."""
    operations: list[Operation] = []
    for identity, place, cells in _parts(position, additions):
        size = place + len(cells["at"])
        if place == 0:
            operations.append(("insert", {}, {**identity, **cells, "size": size, "version": 0}))
            continue
        change = {"$push": {name: {"$each": added} for name, added in cells.items()}, "$inc": {"version": 1}}
        operations.append(("update", {"_id": identity["_id"], "size": place}, change | {"$set": {"size": size}}))
    return operations


def fill(mongo: Mongo, position: int, additions: Iterable[Addition]) -> None:
    """Write points to their places, whatever is there already: it is idempotent."""
    for identity, place, cells in _parts(position, additions):
        _fill_bucket(mongo, identity, place, cells)


def _parts(position: int, additions: Iterable[Addition]) -> Iterator[tuple[Document, int, Document]]:
    """Yield by what each bucket is found that new points go to, the first place in it, and the cells from there on."""
    for addition in additions:
        for placed in addition.placed:
            name = placed.series["name"]
            for number, place, cells in placed.parts():
                uid = f"{position}/{addition.kind}/{number}/{name}"
                identity = {"_id": uid, "trial": position, "kind": addition.kind, "name": name, "number": number}
                yield identity, place, cells


def _fill_bucket(mongo: Mongo, identity: Document, place: int, cells: Document) -> None:
    for _ in range(_ATTEMPTS):
        found = next(mongo.find("buckets", {"_id": identity["_id"]}), None)
        bucket = found or {**identity, "step": [], "value": [], "at": [], "odd": [], "size": 0, "version": -1}
        size = max(bucket["size"], place + len(cells["at"]))
        for name in ("step", "value", "at"):
            column = bucket[name]
            column.extend([None] * (size - len(column)))
            column[place : place + len(cells[name])] = cells[name]
        odd = dict(bucket["odd"]) | dict(cells["odd"])
        bucket |= {"odd": [list(item) for item in odd.items()], "size": size, "version": bucket["version"] + 1}
        if found is None:
            operation: Operation = ("insert", {}, bucket)
        else:
            guard = {"_id": identity["_id"], "version": bucket["version"] - 1}
            operation = ("update", guard, {"$set": {name: bucket[name] for name in bucket if name != "_id"}})
        if mongo.write("buckets", [operation]):
            return
    raise BackendUnavailable(f"others keep changing bucket {identity['_id']} of {mongo.place}")


def read_containers(mongo: Mongo, position: int, kind: str, series: list[Document]) -> dict[str, Any]:
    """Return a trial's containers, with as many points of each name as `series` says."""
    columns: dict[str, tuple[list[Any], ...]] = {known["name"]: ([], [], [], []) for known in series}
    counts = {known["name"]: known["count"] for known in series}
    for bucket in mongo.find("buckets", {"trial": position, "kind": kind}, ("trial", "kind", "name", "number")):
        name = bucket["name"]
        if name in columns:
            _extend(columns[name], bucket, counts[name] - bucket["number"] * SLOTS)
    return dict(
        named_container(kind, known["name"], known["spec"], columns[known["name"]])
        for known in series
        if columns[known["name"]][0]
    )


def read_cells(mongo: Mongo, position: int, known: Document, after: int = -1) -> tuple[bool, tuple[list[Any], ...]]:
    """Return the columns of a metric after a place, with as many points as `known` says, and whether none is missing.

    A place that is not written yet may be written later.
    """
    columns: tuple[list[Any], ...] = ([], [], [], [])
    where = {"trial": position, "kind": known["kind"], "name": known["name"]}
    where["number"] = {"$gte": (after + 1) // SLOTS}
    for bucket in mongo.find("buckets", where, ("trial", "kind", "name", "number")):
        skipped = max(0, after + 1 - bucket["number"] * SLOTS)
        part = {name: bucket[name][skipped:] for name in ("step", "value", "at")}
        part["odd"] = [(place - skipped, exact) for place, exact in bucket["odd"] if place >= skipped]
        _extend(columns, part, known["count"] - bucket["number"] * SLOTS - skipped)
    return len(columns[0]) == known["count"] - after - 1, columns


def _extend(columns: tuple[list[Any], ...], bucket: Document, size: int) -> None:
    steps, values, times = (bucket[name][: max(0, size)] for name in ("step", "value", "at"))
    odd: list[Any] = [None] * len(times)
    for place, exact in bucket["odd"]:
        if place < len(odd):
            odd[place] = exact
    if None in times:
        written = [place for place, at in enumerate(times) if at is not None]
        steps, values, times, odd = ([cells[place] for place in written] for cells in (steps, values, times, odd))
    # Numbers of more than 32 bits come as a class of the driver.
    steps = [step if step is None or type(step) is int else int(step) for step in steps]
    for column, cells in zip(columns, (steps, values, times, odd), strict=True):
        column.extend(cells)
