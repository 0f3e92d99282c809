"""Points in buckets: each document holds some thousand points of one name, in parts that are columns.

Point `n` of a name stands at place ``n % SLOTS`` of bucket ``n // SLOTS``, and the trial's document says how many
there are. So a place is known before it is written: writing it twice changes nothing, and a place that is not
written yet is empty and is passed over. Versions before kept parallel arrays, which new parts stand beside.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from track.briefs import NOTHING, Brief, brief_from_plain, brief_of, brief_to_plain
from track.containers.packing import Chunk, joined, pack, unpack
from track.errors import BackendUnavailable
from track.metrics import container_from_plain, container_to_plain
from track.persistence.mongo.client import Document, Mongo, Operation
from track.persistence.state import Column, PointColumns, chunk_of_cells, container_of, text
from track.plain import nearest_double
from track.utils.once import cached_property

SLOTS = 2_000
"""Places in one bucket: about 80 kB of plain points, and below 1 MiB whatever they are."""
_ODD = 256
_PLAIN = {"series", "value"}
_PARTS = 32
_ATTEMPTS = 100
_ARRAYS = ("step", "value", "at", "odd")
_SMALL = frozenset({float, int, bool, type(None)})
_decode = msgspec.json.decode


class _Placed:
    """The new points of one name, at their places."""

    def __init__(self, series: Document, column: Column) -> None:
        self.series = series
        self.start: int = series["count"]
        places, self.end = _spread(column, self.start)
        self._chunk = column.chunk(places)
        parts = series.get("parts", 0) + 1
        self.is_joining = parts > _PARTS and self.start % SLOTS != 0
        """Whether the bucket has many parts, of a slow logger, which are to be one with these points."""
        is_another = self.start // SLOTS != self.end // SLOTS
        self.count = 1 if self.is_joining or is_another else parts
        """How many parts the last bucket has then."""

    def parts(self) -> Iterator[tuple[int, int, int, Chunk]]:
        """Yield the number of a bucket, the first place in it that is used now, the one after the last, and points."""
        begin = self.start
        while begin < self.end:
            number = begin // SLOTS
            end = min(self.end, (number + 1) * SLOTS)
            chunk = self._chunk.between(begin, end)
            if len(chunk):
                yield number, begin - number * SLOTS, end - number * SLOTS, chunk
            begin = end


def _spread(column: Column, start: int) -> tuple[Sequence[int], int]:
    """Return the place of each point, and the place after all: what plain numbers cannot say has several.

    So no bucket grows too large.
    """
    end = start + len(column.times)
    if _SMALL.issuperset(map(type, column.values)) and _SMALL.issuperset(map(type, column.steps)):
        return range(start, end), end
    found, place = array("q"), start
    for step, value in zip(column.steps, column.values, strict=True):
        places = min(SLOTS, 1 + (_extent(step) + _extent(value)) // _ODD)
        room = SLOTS - place % SLOTS
        place += room if places > room else 0
        found.append(place)
        place += places
    return found, place


def _extent(value: Any) -> int:
    """Return how many bytes a value needs that has no column of its own."""
    if type(value) in _SMALL:
        return 0
    return len(text(container_to_plain(value)))


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
        return [placed.series | {"last": None, "brief": None, "state": None} for placed in self.placed]

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
    series = placed.series | {"count": placed.end, "parts": placed.count}
    # Versions before did not note the time: anything is newer.
    latest = series.get("at", 0.0)
    state = _state_known(placed.series, column)
    state = None if state is None else column.state(series["kind"], state)
    if state is not None:
        brief: Brief | None = brief_of(container_from_plain(state))
    else:
        brief = column.brief(brief_known(placed.series), latest, series["stepped"])
    series |= {"brief": None if brief is None else text(brief_to_plain(brief)), "briefed": placed.end}
    series["state"] = None if state is None else text(state)
    if column.latest < latest:
        return series
    series |= {"last": None, "at": column.latest}
    if series["plain"]:
        _, value = column.last()
        is_compared = type(value) is not bool and math.isfinite(nearest_double(value))
        series["last"] = nearest_double(value) if is_compared else None
    return series


def brief_known(series: Document) -> Brief | None:
    """Return what a name comes to; None where a version before has stored points, or only the points say it."""
    if not series["count"]:
        return NOTHING
    brief = series.get("brief") if series.get("briefed") == series["count"] else None
    return None if brief is None else brief_from_plain(_decode(brief))


def _state_known(series: Document, column: Column) -> dict[str, Any] | None:
    """Return the state of an aggregator without points; empty before the first value, None where points say it."""
    if not series["count"]:
        return {} if column.is_aggregated else None
    state = series.get("state") if series.get("briefed") == series["count"] else None
    return None if state is None else _decode(state)


def push(position: int, additions: Iterable[Addition]) -> list[Operation]:
    """Return the writes that add new points, each to the end of a bucket: one that is longer already is passed over."""
    operations: list[Operation] = []
    for identity, place, size, chunk in _parts(position, additions, {False}):
        parts = _packed(chunk)
        if place == 0:
            operations.append(("insert", {}, {**identity, "parts": parts, "size": size, "version": 0}))
            continue
        change = {"$push": {"parts": {"$each": parts}}, "$inc": {"version": 1}, "$set": {"size": size}}
        operations.append(("update", {"_id": identity["_id"], "size": place}, change))
    return operations


def fill(mongo: Mongo, position: int, additions: Iterable[Addition]) -> None:
    """Write points to their places, whatever is there already: it is idempotent."""
    for identity, _, size, chunk in _parts(position, additions, {False, True}):
        _fill_bucket(mongo, identity, size, chunk)


def join(mongo: Mongo, position: int, additions: Iterable[Addition]) -> bool:
    """Write those points that `push` leaves out as one part with those in their bucket; return whether any are."""
    parts = list(_parts(position, additions, {True}))
    for identity, _, size, chunk in parts:
        _fill_bucket(mongo, identity, size, chunk)
    return bool(parts)


def _parts(
    position: int, additions: Iterable[Addition], joining: set[bool]
) -> Iterator[tuple[Document, int, int, Chunk]]:
    """Yield by what each bucket is found that new points go to, the first place in it, its new size, and the points.

    `joining`: whether they are to be one part with those before, or not.
    """
    for addition in additions:
        for placed in addition.placed:
            if placed.is_joining not in joining:
                continue
            name = placed.series["name"]
            for number, place, size, chunk in placed.parts():
                uid = f"{position}/{addition.kind}/{number}/{name}"
                identity = {"_id": uid, "trial": position, "kind": addition.kind, "name": name, "number": number}
                yield identity, place, size, chunk


def _packed(chunk: Chunk) -> list[list[bytes]]:
    return [[body, times] for _, body, times in pack(chunk)]


def _fill_bucket(mongo: Mongo, identity: Document, size: int, chunk: Chunk) -> None:
    for _ in range(_ATTEMPTS):
        found = next(mongo.find("buckets", {"_id": identity["_id"]}), None)
        bucket = found or {**identity, "size": 0, "version": -1}
        chunks = _chunks_of(bucket)
        whole = joined(sorted([*_others(chunks, chunk), chunk], key=lambda one: one.first))
        change = {"parts": _packed(whole), "size": max(bucket["size"], size), "version": bucket["version"] + 1}
        if found is None:
            operation: Operation = ("insert", {}, {**identity, **change})
        else:
            guard = {"_id": identity["_id"], "version": bucket["version"]}
            operation = ("update", guard, {"$set": change, "$unset": dict.fromkeys(_ARRAYS, "")})
        if mongo.write("buckets", [operation]):
            return
    raise BackendUnavailable(f"others keep changing bucket {identity['_id']} of {mongo.place}")


def _others(chunks: Iterable[Chunk], new: Chunk) -> Iterator[Chunk]:
    """Yield the points of chunks that stand before and behind those of another one."""
    for chunk in chunks:
        for part in (chunk.between(0, new.first), chunk.between(new.end, chunk.end)):
            if len(part):
                yield part


def _chunks_of(bucket: Document) -> list[Chunk]:
    """Return the points of a bucket, in order of their places."""
    first = bucket["number"] * SLOTS
    chunks = [unpack(body, times) for body, times in bucket.get("parts", ())]
    times = bucket.get("at") or ()
    places = [place for place, at in enumerate(times) if at is not None]
    if places:
        odd: list[Any] = [None] * len(times)
        for place, exact in bucket["odd"]:
            odd[place] = exact
        # Numbers of more than 32 bits come as a class of the driver.
        steps = [step if step is None or type(step) is int else int(step) for step in bucket["step"]]
        cells = tuple([column[place] for place in places] for column in (steps, bucket["value"], times, odd))
        chunks.append(chunk_of_cells([first + place for place in places], cells))
    return sorted(chunks, key=lambda chunk: chunk.first)


def read_containers(mongo: Mongo, position: int, kind: str, series: list[Document]) -> dict[str, Any]:
    """Return a trial's containers, with as many points of each name as `series` says."""
    found: dict[str, list[Chunk]] = {known["name"]: [] for known in series if _kept(known) is None}
    where: Document = {"trial": position, "kind": kind}
    if len(found) == 1:
        where["name"] = next(iter(found))
    counts = {known["name"]: known["count"] for known in series}
    for bucket in mongo.find("buckets", where, ("trial", "kind", "name", "number")) if found else ():
        name = bucket["name"]
        if name in found:
            found[name] += _until(_chunks_of(bucket), 0, counts[name])
    containers = {}
    for known in series:
        chunks, name = found.get(known["name"]), str(_decode(known["name"]))
        if chunks is None:
            containers[name] = _kept(known)
        elif chunks:
            containers[name] = made_of(known, name, joined(chunks))
    return containers


def _kept(known: Document) -> Any:
    """Return the aggregator of a name that keeps no points, None for another one."""
    state = known.get("state") if known.get("briefed") == known["count"] else None
    return None if state is None else container_from_plain(_decode(state))


def made_of(known: Document, name: str, chunk: Chunk) -> Any:
    """Return the container that the points of a name make."""
    return container_of(known["kind"], name, None if known["spec"] is None else _decode(known["spec"]), chunk)


def read_points(mongo: Mongo, position: int, known: Document, after: int = -1) -> tuple[bool, Chunk | None]:
    """Return the points of a metric after a place, with as many points as `known` says, and whether none is missing.

    A place that is not written yet may be written later.
    """
    where = {"trial": position, "kind": known["kind"], "name": known["name"]}
    where["number"] = {"$gte": (after + 1) // SLOTS}
    chunks: list[Chunk] = []
    for bucket in mongo.find("buckets", where, ("trial", "kind", "name", "number")):
        chunks += _until(_chunks_of(bucket), after + 1, known["count"])
    whole = joined(chunks) if chunks else None
    return (0 if whole is None else len(whole)) == known["count"] - after - 1, whole


def read_series(mongo: Mongo, name: str, series: dict[int, Document]) -> dict[int, tuple[bool, Any]]:
    """Return the containers of one metric of many trials, and whether no point is missing, by position of the trial.

    `name`: as JSON. `series`: what the trials say of it.
    """
    found: dict[int, list[Chunk]] = {position: [] for position in series}
    where = {"trial": {"$in": list(series)}, "kind": "metrics", "name": name}
    for bucket in mongo.find("buckets", where, ("trial", "kind", "name", "number")):
        position = bucket["trial"]
        found[position] += _until(_chunks_of(bucket), 0, series[position]["count"])
    wholes = {position: joined(chunks) for position, chunks in found.items() if chunks}
    return {
        position: (len(whole) == series[position]["count"], made_of(series[position], str(_decode(name)), whole))
        for position, whole in wholes.items()
    }


def _until(chunks: Iterable[Chunk], first: int, end: int) -> Iterator[Chunk]:
    for chunk in chunks:
        if len(part := chunk.between(first, end)):
            yield part
