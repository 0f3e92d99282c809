"""Points in buckets: each document holds some thousand points of one name, as parallel arrays.

Point `n` of a name stands at place ``n % SLOTS`` of bucket ``n // SLOTS``, and the trial's document says how many
there are. So a place is known before it is written: writing it twice changes nothing, and a place that is not
written yet is empty and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from track.errors import BackendUnavailable
from track.metrics import Metrics
from track.persistence.cells import LARGEST, container_of, encode_cell, imported_points, imported_specification, text
from track.persistence.mongo.client import Document, Mongo, Operation
from track.plain import restore

SLOTS = 2_000
"""Places in one bucket: about 80 kB of plain points, and below 1 MiB whatever they are."""
_decode = msgspec.json.decode
_ODD = 256
_PLAIN = {"series", "value"}
_ATTEMPTS = 100


class _Column:
    """The new points of one name."""

    __slots__ = ("is_stepped", "odd", "series", "start", "steps", "times", "values")

    def __init__(self, series: Document) -> None:
        self.series = series
        self.start: int = series["count"]
        self.is_stepped: bool = series["stepped"]
        self.steps: list[int | None] = []
        self.values: list[float | None] = []
        self.times: list[float | None] = []
        self.odd: dict[int, str] = {}

    def add(self, step: Any, value: Any, at: float) -> None:
        """Take a point; what its cells cannot say takes places of its own, so that no bucket grows too large."""
        number, cell, odd = encode_cell(step, value)
        places = 1 if odd is None else min(SLOTS, 1 + len(odd) // _ODD)
        room = SLOTS - (self.start + len(self.steps)) % SLOTS
        if places > room:
            self._leave_empty(room)
        if odd is not None:
            self.odd[len(self.steps)] = odd
        self.steps.append(number)
        self.values.append(cell)
        self.times.append(at)
        self._leave_empty(places - 1)

    def _leave_empty(self, places: int) -> None:
        for cells in (self.steps, self.values, self.times):
            cells.extend([None] * places)

    def parts(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the number of a bucket, the first place in it, and where its part of the column begins and ends."""
        begin = 0
        while begin < len(self.steps):
            number, place = divmod(self.start + begin, SLOTS)
            end = min(len(self.steps), begin + SLOTS - place)
            yield number, place, begin, end
            begin = end


class Recorder:
    """Stands in for a trial's metrics or times while events are applied: values become columns.

    Parameters
    ----------
    kind: str
        ``"metrics"`` or ``"times"``.
    series: list of dict
        What is known of the trial's names; they are not changed.
    """

    def __init__(self, kind: str, series: Iterable[Document]) -> None:
        self.kind = kind
        self.series = {known["name"]: dict(known) for known in series if known["kind"] == kind}
        self.columns: dict[str, _Column] = {}

    def log_values(self, values: dict[str, Any], step: Any, spec: list[Any] | None, at: float) -> None:
        """Take one value a name."""
        columns = self.columns
        is_plain_step = type(step) is int and -LARGEST < step < LARGEST
        for name, value in values.items():
            column = columns.get(name)
            # The common point: a name seen before, an integer step or none, a finite float.
            if (
                column is not None
                and (step is None or (is_plain_step and column.is_stepped))
                and type(value) is float
                and value
                and value - value == 0
            ):
                column.steps.append(step)
                column.values.append(value)
                column.times.append(at)
                continue
            self._add(name, restore(value), step, None if step is not None else spec, at)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Take one time."""
        self._add(name, seconds, None, spec, at)

    def take(self, containers: Metrics) -> None:
        """Take the measurements of a trial that comes from another store."""
        for name, container in containers.items():
            spec = imported_specification(container)
            for step, value, at in imported_points(container):
                if self.kind == "metrics":
                    self.log_values({name: value}, step, spec, at)
                else:
                    self.log_time(name, value, spec or ["value"], at)

    def _add(self, name: str, value: Any, step: Any, spec: list[Any] | None, at: float) -> None:
        column = self.columns.get(name)
        if column is None:
            key = text(name)
            known = self.series.get(key)
            if known is None:
                known = {"kind": self.kind, "name": key, "count": 0, "last": None}
                known |= {"spec": None if spec is None else text(spec), "stepped": step is not None}
                known["plain"] = self.kind == "metrics" and (spec is None or spec[0] in _PLAIN)
                self.series[key] = known
            column = self.columns[name] = _Column(known)
        if step is not None and not column.is_stepped:
            # Its last value is a pair, or whatever the aggregator makes of one.
            column.series["plain"] = False
        column.add(step, value, at)

    def counts(self) -> list[Document]:
        """Return how many points there were of each name that was logged now."""
        columns = self.columns.values()
        return [column.series | {"count": column.start, "last": None} for column in columns]

    def close(self) -> list[Document]:
        """Return what is known of the trial's names now."""
        for column in self.columns.values():
            series = column.series
            series["count"] = column.start + len(column.steps)
            series["last"] = _last(column) if series["plain"] else None
        return list(self.series.values())


def _last(column: _Column) -> float | None:
    """Return the value that comparisons see, None where it must be looked up."""
    place = len(column.times) - 1
    while column.times[place] is None:
        place -= 1
    exact = _decode(column.odd[place]).get("value", 0) if place in column.odd else 0
    return None if type(exact) is bool or type(exact) is dict else column.values[place]


def push(mongo: Mongo, position: int, recorders: Iterable[Recorder]) -> list[Operation]:
    """Return the writes that add new points, each to the end of a bucket: one that is longer already is passed over."""
    operations: list[Operation] = []
    for recorder in recorders:
        for column in recorder.columns.values():
            for number, place, begin, end in column.parts():
                cells = _cells(column, place, begin, end)
                identity = _identity(position, recorder.kind, column, number)
                if place == 0:
                    operations.append(("insert", {}, {**identity, **cells, "size": end - begin, "version": 0}))
                    continue
                change = {"$push": {name: {"$each": added} for name, added in cells.items()}, "$inc": {"version": 1}}
                change["$set"] = {"size": place + end - begin}
                operations.append(("update", {"_id": identity["_id"], "size": place}, change))
    return operations


def fill(mongo: Mongo, position: int, recorders: Iterable[Recorder]) -> None:
    """Write points to their places, whatever is there already."""
    for recorder in recorders:
        for column in recorder.columns.values():
            for number, place, begin, end in column.parts():
                identity = _identity(position, recorder.kind, column, number)
                _fill_bucket(mongo, identity, place, _cells(column, place, begin, end))


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


def _identity(position: int, kind: str, column: _Column, number: int) -> Document:
    name = column.series["name"]
    uid = f"{position}/{kind}/{number}/{name}"
    return {"_id": uid, "trial": position, "kind": kind, "name": name, "number": number}


def _cells(column: _Column, place: int, begin: int, end: int) -> Document:
    odd = [[place + at - begin, exact] for at, exact in column.odd.items() if begin <= at < end] if column.odd else []
    return {
        "step": column.steps[begin:end],
        "value": column.values[begin:end],
        "at": column.times[begin:end],
        "odd": odd,
    }


def read_containers(mongo: Mongo, position: int, kind: str, series: list[Document]) -> dict[str, Any]:
    """Return a trial's containers, with as many points of each name as `series` says."""
    columns: dict[str, tuple[list[Any], ...]] = {known["name"]: ([], [], [], []) for known in series}
    counts = {known["name"]: known["count"] for known in series}
    for bucket in mongo.find("buckets", {"trial": position, "kind": kind}, ("trial", "kind", "name", "number")):
        name = bucket["name"]
        if name in columns:
            _extend(columns[name], bucket, counts[name] - bucket["number"] * SLOTS)
    containers = {}
    for known in series:
        cells = columns[known["name"]]
        if cells[0]:
            name, spec = _decode(known["name"]), known["spec"]
            containers[name] = container_of(kind, name, None if spec is None else _decode(spec), cells)
    return containers


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
