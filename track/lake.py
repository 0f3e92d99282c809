"""Runs in a folder of Parquet files, in partitions that only grow: what has changed since the last time is added.

``trials/project=NAME/day=YYYY-MM-DD/*.parquet`` has a row a trial, and another one whenever it has changed; in
``points/...`` each point of a metric is a row, and is written once. The day is that on which the trial was created, or
the point was logged, in UTC. ``_track/`` has what is known of the exports: a cursor, which says what they have written.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypedDict
from urllib.parse import quote

import msgspec

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers.arrays import import_numpy
from track.errors import CorruptArtifact, InvalidCall
from track.naming import owners_of
from track.objectstore import ObjectStore
from track.persistence.protocol import Protocol
from track.persistence.query import ALSO_DELETED
from track.pointtable import Columns, as_text, batch_of_points, dumps, has_points, import_parquet, schema_of_points
from track.rows import Row
from track.serialization import to_json
from track.structure import Trial
from track.utils.files import chunks_of

_STATE, _BEGUN, _CURSORS = "_track/", "_track/begun-", "_track/cursor-"
_FORMAT = 2
_NONE = "__HIVE_DEFAULT_PARTITION__"
_PIECE, _GROUP, _KEPT, _OPEN = 50_000, 100_000, 500_000, 64
_LONGEST = 180
_TEXTS = ("name", "description", "version", "group", "project_name")
_DOCUMENTS = ("parameters", "tags", "metadata", "errors", "artifacts", "chronos", "timestamps", "processes")


class Exported(NamedTuple):
    """What an export has added.

    Attributes
    ----------
    cursor: str
        Its name, for the next one.
    trials, points, files: int
        How many rows of trials, how many points, and how many files.
    """

    cursor: str
    trials: int
    points: int
    files: int


def add_to_lake(protocol: Protocol, rows: Sequence[Row], store: ObjectStore, since: str | None = None) -> Exported:
    """Add what has changed since an export to a folder of Parquet files; it is there once all of it is written.

    One at a time: two exports to one place at once would not know of each other.

    Parameters
    ----------
    protocol: Protocol
        The store.
    rows: sequence of Row
        The trials that are wanted. One that was exported before and is deleted now gets a row that says so.
    store: ObjectStore
        Where the files are.
    since: str, optional
        The cursor of the last export there, which is checked; by default it is that one, if any.

    Raises
    ------
    InvalidCall
        It is not the cursor of the last export, or what is there is of another store.
    MissingExtra
        pyarrow is not installed.
    """
    _take_away_unfinished(store)
    number, known = _known(store, since)
    identity = protocol.identity()
    if known["store"] not in ("", identity, *protocol.former_identities()):
        raise InvalidCall(f"{store.where('')} has what another store exported: give another folder")
    cursor, changed = protocol.changes(known["changes"])
    seen: dict[str, Any] = known["trials"]
    wanted = {row.uid: row.trial.status.name for row in rows}
    chosen = [
        uid
        for uid, status in wanted.items()
        if uid not in seen or seen[uid]["status"] != status or seen[uid]["deleted"]
    ]
    known_ones = set(chosen)
    uids = [*chosen, *(uid for uid in changed if uid in seen and uid not in known_ones)]
    if not uids and known["cursor"]:
        return Exported(known["cursor"], 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="track-export-") as folder:
        parts = _Parts(folder, f"{number:06d}-{secrets.token_hex(4)}")
        owners = owners_of(protocol)
        projects, groups = owners("project_id"), owners("group_id")
        for uid in uids:
            trial = protocol.first_trial({"uid": uid, **ALSO_DELETED})
            before = seen.get(uid, {"metrics": {}, "project": None, "created": 0.0})
            if trial is None:
                seen[uid] = {**before, "status": "", "deleted": True}
                parts.add_trial(_forgotten(uid, number), before["project"], before["created"])
            else:
                owner = trial.project_id if isinstance(trial.project_id, str) else None
                project = None if owner is None else projects.get(owner) or owner
                seen[uid] = _add_trial(parts, trial, project, _row(trial, number, project, groups), before)
        files = parts.close()
        name = f"{number:06d}-{secrets.token_hex(4)}"
        state = {"format": _FORMAT, "cursor": name, "store": identity, "changes": cursor, "trials": seen}
        _publish(store, files, state)
    if known["cursor"]:
        store.remove(f"{_CURSORS}{known['cursor']}.json")
    return Exported(name, len(uids), parts.points, len(files))


def _add_trial(
    parts: _Parts, trial: Trial, project: str | None, row: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Add a trial and its new points, and return what is known of it now."""
    created = float(trial.timestamps.get("created") or 0.0)
    known = {"status": trial.status.name, "deleted": bool(trial.deleted), "project": project, "created": created}
    parts.add_trial(row, project, created)
    if trial.deleted:
        return {**known, "project": before["project"], "metrics": before["metrics"]}
    metrics = before["metrics"]
    if project != before["project"]:
        # Its points are those of another project now: no sum is that of what is written.
        metrics = {name: (count, "", take) for name, (count, _, take) in metrics.items()}
    return {**known, "metrics": _points(parts, trial, project, created, metrics)}


# what is known of the exports before


def _take_away_unfinished(store: ObjectStore) -> None:
    """Take away the files of an export that was killed while it put them there."""
    for name in _state_names(store, _BEGUN):
        begun = _note(store, name, _Begun)
        if store.read(begun["cursor"]) is None:
            for part in begun["files"]:
                store.remove(part)
        store.remove(name)


def _state_names(store: ObjectStore, start: str) -> list[str]:
    return sorted(f"{_STATE}{child}" for child in store.children("_track") if f"{_STATE}{child}".startswith(start))


def _known(store: ObjectStore, since: str | None) -> tuple[int, dict[str, Any]]:
    """Return the number of the export that begins, and what the one that is meant has written."""
    names = _state_names(store, _CURSORS)
    last = names[-1].removeprefix(_CURSORS).removesuffix(".json") if names else ""
    if since is not None and since != last:
        raise InvalidCall(f"{store.where('')} does not end with the cursor {since!r}, but with {last or 'none'}")
    if not last:
        return 1, {"cursor": "", "store": "", "changes": None, "trials": {}}
    if _note(store, names[-1], _Format)["format"] != _FORMAT:
        raise InvalidCall(f"{store.where(names[-1])} is of another version: export to another folder")
    return 1 + int(last.partition("-")[0]), _note(store, names[-1], _Cursor)


class _Begun(TypedDict):
    """What an export notes before it puts its files there."""

    cursor: str
    files: list[str]


class _Format(TypedDict):
    """What every version notes."""

    format: int


class _Seen(TypedDict):
    """What is known of a trial: of each metric how many points, their sum, and which take."""

    status: str
    deleted: bool
    project: str | None
    created: float
    metrics: dict[str, tuple[int, str, int]]


class _Cursor(_Format):
    """What an export notes once its files are there."""

    cursor: str
    store: str
    changes: str | None
    trials: dict[str, _Seen]


def _note(store: ObjectStore, name: str, kind: Any) -> dict[str, Any]:
    """Return what an export has noted; CorruptArtifact where that is damaged."""
    try:
        found: dict[str, Any] = msgspec.json.decode(store.read(name) or b"", type=kind)
        return found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        last = _state_names(store, _CURSORS)[-1:] if name.startswith(_BEGUN) else []
        number = 1 + sum(int(one.removeprefix(_CURSORS).partition("-")[0]) for one in last)
        way_out = "put it back from a backup, or export to a new folder"
        if name.startswith(_BEGUN):
            way_out = f"remove it, and the files part-{number:06d}-*.parquet that a killed export has left, if any"
        raise CorruptArtifact(f"{store.where(name)}, the note of an earlier export, is damaged: {way_out}") from error


def _publish(store: ObjectStore, files: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Put the files there, and last of all the cursor; before, note what is to be taken away if that is killed."""
    name = f"{_CURSORS}{state['cursor']}.json"
    begun = f"{_BEGUN}{secrets.token_hex(4)}.json"
    if files:
        store.write(begun, json.dumps({"cursor": name, "files": list(files)}).encode())
    try:
        for part, path in files.items():
            with open(path, "rb", buffering=0) as file:
                store.put(part, chunks_of(file))
        store.write(name, json.dumps(state).encode())
    except BaseException:
        for part in files:
            store.remove(part)
        raise
    finally:
        if files:
            store.remove(begun)


# rows


def _row(trial: Trial, number: int, project: str | None, groups: Mapping[str, Any]) -> dict[str, Any]:
    plain = to_json(trial)
    group = groups.get(trial.group_id, trial.group_id) if isinstance(trial.group_id, str) else None
    stamps = trial.timestamps
    row: dict[str, Any] = {"uid": trial.uid, "revision": trial.revision, "hash": trial.hash}
    row |= dict(zip(_TEXTS, (trial.name, trial.description, trial.version, group, project), strict=True))
    row |= {"status": trial.status.name, "code": trial.status.value}
    row |= {name: stamps.get(name) for name in ("created", "started", "finished")}
    row |= {name: dumps(plain.get(name)) for name in _DOCUMENTS}
    kept = {name: plain["metrics"][name] for name, found in trial.metrics.items() if not has_points(found)}
    return {**row, "kept": dumps(kept), "deleted": bool(trial.deleted), "export": number}


def _forgotten(uid: str, number: int) -> dict[str, Any]:
    return {"uid": uid, "deleted": True, "export": number}


def _points(
    parts: _Parts, trial: Trial, project: str | None, created: float, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Add the points that are new, and return what is written now: how many of each metric, their sum, which take."""
    written: dict[str, Any] = {}
    for name in dict.fromkeys([*before, *trial.metrics]):
        container = trial.metrics.get(name)
        if not has_points(container):
            if name not in before:
                continue
            container = TimeSeriesAggregator()
        columns = Columns(container)
        count, total, take = before.get(name, (0, "", 0))
        if count and columns.digest(count) != total:
            # What was written is not what is shown: all of it again, as another take.
            if not columns.size:
                parts.add_none(project, created, trial.uid, name, take + 1)
            count, take = 0, take + 1
        parts.add_points(project, created, trial.uid, name, take, columns, count)
        written[name] = (columns.size, columns.digest(columns.size), take)
    return written


# files


class _Parts:
    """The files of one export, a few of which are open; none has more than some rows in memory."""

    def __init__(self, folder: str, export: str) -> None:
        self._arrow, self._parquet = import_parquet()
        pyarrow = self._arrow
        self._folder, self._export = folder, export
        self._open: dict[str, Any] = {}
        self._kept: dict[str, list[Any]] = {}
        self._counts: Counter[str] = Counter()
        self._rows = 0
        self._files: dict[str, str] = {}
        self.points = 0
        text, number, whole, flag = pyarrow.string(), pyarrow.float64(), pyarrow.int64(), pyarrow.bool_()
        kinds = {"uid": text, "revision": whole, "hash": text, **dict.fromkeys(_TEXTS, text)}
        kinds |= {"status": text, "code": whole, "created": number, "started": number, "finished": number}
        kinds |= {**dict.fromkeys(_DOCUMENTS, text), "kept": text, "deleted": flag, "export": whole}
        self._schemas = {"trials": pyarrow.schema(kinds.items()), "points": schema_of_points(pyarrow)}

    def add_trial(self, row: Mapping[str, Any], project: str | None, created: float) -> None:
        """Add a row a trial."""
        self._add_row("trials", project, created, row)

    def add_points(  # noqa: PLR0917 - a point has as many parts
        self, project: str | None, created: float, uid: str, name: str, take: int, columns: Columns, first: int
    ) -> None:
        """Add points of a metric from a position on."""
        for begin, end, day in _by_day(columns.times, first, created):
            for start in range(begin, end, _PIECE):
                batch = batch_of_points(self._arrow, uid, name, columns, start, min(end, start + _PIECE), take)
                self._add("points", project, day, batch)
        self.points += columns.size - first

    def add_none(self, project: str | None, created: float, uid: str, name: str, take: int) -> None:
        """Add a row that says that a metric has no points any more."""
        self._add_row("points", project, created, {"trial": uid, "metric": name, "take": take})

    def _add_row(self, table: str, project: str | None, created: float, row: Mapping[str, Any]) -> None:
        schema = self._schemas[table]
        columns = [self._arrow.array([as_text(row.get(field.name))], field.type) for field in schema]
        self._add(table, project, _day(created), self._arrow.record_batch(columns, schema))

    def _add(self, table: str, project: str | None, day: str, batch: Any) -> None:
        place = f"{table}/project={_NONE if project is None else _partition(project)}/day={day}"
        self._kept.setdefault(place, []).append(batch)
        self._counts[place] += len(batch)
        self._rows += len(batch)
        if self._counts[place] >= _GROUP:
            self._write(place)
        elif self._rows >= _KEPT:
            for other in list(self._kept):
                self._write(other)

    def _write(self, place: str) -> None:
        """Write what is kept of a partition, as one group of rows."""
        batches = self._kept.pop(place, [])
        if not batches:
            return
        self._rows -= self._counts.pop(place)
        writer = self._open.pop(place, None)
        if writer is None:
            while len(self._open) >= _OPEN:
                self._open.pop(next(iter(self._open))).close()
            path = os.path.join(self._folder, f"{len(self._files)}.parquet")
            self._files[f"{place}/part-{self._export}-{len(self._files)}.parquet"] = path
            writer = self._parquet.ParquetWriter(path, batches[0].schema, compression="zstd")
        # The one that was written to last is closed last.
        self._open[place] = writer
        table = self._arrow.Table.from_batches(batches).unify_dictionaries()
        writer.write_table(table, row_group_size=max(1, len(table)))

    def close(self) -> dict[str, str]:
        """Return the paths of the files, which are whole now, by the names that they get."""
        for place in list(self._kept):
            self._write(place)
        for writer in self._open.values():
            writer.close()
        self._open.clear()
        return self._files


def _partition(project: str) -> str:
    """Return a project as a folder is named by it: of a long name the beginning, and a sum of all of it."""
    name = as_text(project)
    quoted = quote(name, safe=" ")
    if len(quoted) <= _LONGEST:
        return quoted
    kept = itertools.takewhile(lambda part: len(quote(part)) <= _LONGEST, itertools.accumulate(name))
    return f"{quote(list(kept)[-1], safe=' ')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _by_day(times: Any, first: int, created: float) -> Iterator[tuple[int, int, str]]:
    """Yield from where to where points were logged on one day, and the day; those of no time are of the trial's."""
    numpy = import_numpy()
    days = numpy.floor_divide(numpy.where(times[first:] == 0, created, times[first:]), 86_400)
    bounds = [0, *(numpy.flatnonzero(numpy.diff(days)) + 1).tolist(), len(days)]
    for begin, end in itertools.pairwise(bounds):
        if begin < end:
            yield first + begin, first + end, _day(float(days[begin]) * 86_400)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d") if at else _NONE


def is_lake(out: str) -> bool:
    """Return whether a place of Parquet is a folder, and no file: what is no file yet, and is not called as one."""
    return not os.path.isfile(out) and not out.lower().endswith((".parquet", ".pq"))
