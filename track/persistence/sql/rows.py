"""Events to rows: what a batch of events changes, collected in memory and written table by table."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached, TrialCreated
from track.metrics import Metrics
from track.persistence.cells import LARGEST, encode_cell, imported_points, imported_specification, text, trial_document
from track.persistence.sql.database import Database, Row
from track.persistence.state import make_trial, update
from track.plain import restore
from track.serialization import flatten, to_json, trial_from_document
from track.structure import Project, Trial, TrialGroup

logger = logging.getLogger(__name__)
_decode = msgspec.json.decode


class _Recorder:
    """Stands in for a trial's metrics or times while events are applied: values become rows."""

    def __init__(self, entry: _Entry, table: str) -> None:
        self._entry = entry
        self._table = table
        self.rows: list[Row] = []
        self.series: dict[str, list[Any]] = {}
        self._keys: dict[str, str] = {}

    def log_values(self, values: dict[str, Any], step: Any, spec: list[Any] | None, at: float) -> None:
        """Take one value a name."""
        entry, keys = self._entry, self._keys
        is_plain_step = step is None or (type(step) is int and -LARGEST < step < LARGEST)
        for name, value in values.items():
            key = keys.get(name)
            # The common point: a name seen before, an integer step, a finite float.
            if key is not None and is_plain_step and type(value) is float and value and value - value == 0:
                self.rows.append((entry.position, key, entry.points, step, value, at, None))
                self.series[key][1:] = (value, step is not None)
                entry.points += 1
            else:
                self._add(name, restore(value), step, None if step is not None else spec, at)

    def log_time(self, name: str, seconds: float, spec: list[Any] | None, at: float) -> None:
        """Take one time."""
        self._add(name, seconds, None, spec, at)

    def _add(self, name: str, value: Any, step: Any, spec: list[Any] | None, at: float) -> None:
        entry, key = self._entry, self._keys.setdefault(name, text(name))
        number, cell, odd = encode_cell(step, value)
        if self._table == "metrics":
            self.rows.append((entry.position, key, entry.points, number, cell, at, odd))
        else:
            self.rows.append((entry.position, key, entry.points, cell, at, odd))
        entry.points += 1
        # A container without a step and without an aggregator keeps everything: said, to tell it from a stepped one.
        first = text(spec or ["series"]) if step is None else None
        last = _number(value) if isinstance(value, (int, float)) else cell
        self.series.setdefault(key, [first, None, False])[1:] = (last, step is not None)


class _Entry:
    """One trial that a batch touches."""

    def __init__(self, trial: Trial, position: int, points: int, is_new: bool) -> None:
        self.trial = trial
        self.position = position
        self.points = points
        self.is_new = is_new
        self.metrics = _Recorder(self, "metrics")
        self.chronos = _Recorder(self, "times")
        trial.metrics, trial.chronos = self.metrics, self.chronos


class Batch:
    """Collects what events change, in a transaction, and writes it.

    Parameters
    ----------
    database: Database
        Inside a transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[str, _Entry] = {}

    def apply(self, events: Iterable[Event]) -> None:
        """Take events, in order; one that names a trial that is not stored is reported and skipped."""
        entries = self._entries
        for event in events:
            if type(event) is MetricsLogged and event.trial in entries:
                update(entries[event.trial].trial, event)
                continue
            match event:
                case ProjectCreated():
                    project = Project(event.uid, event.name, event.description, restore(event.metadata))
                    project.tags = restore(event.tags)
                    self._create_owner("projects", event.uid, (), to_json(project))
                case GroupCreated():
                    group = TrialGroup(event.uid, event.name, event.description, restore(event.metadata))
                    group.project_id = restore(event.project_id)
                    self._create_owner("trial_groups", event.uid, (group.project_id,), to_json(group))
                case TrialCreated():
                    self._create_trial(event)
                case FieldsMerged(kind="group" | "project"):
                    self._merge_into_owner(event)
                case _:
                    self._change(event)

    def _change(self, event: Any) -> None:
        uid = event.uid if isinstance(event, FieldsMerged) else event.trial
        if isinstance(event, TrialAttached) and event.kind == "group":
            self._add_member(event.owner, event.trial)
        entry = self._entry(uid)
        if entry is None:
            logger.warning("an event of trial %s, which is not stored, is skipped", uid)
            return
        update(entry.trial, event)

    def _entry(self, uid: str) -> _Entry | None:
        entry = self._entries.get(uid)
        if entry is None:
            found = self._database.rows("SELECT position, points, document FROM trials WHERE uid = ?", uid)
            if not found:
                return None
            position, points, document = found[0]
            trial = trial_from_document(_decode(document), Metrics(), Metrics())
            entry = self._entries[uid] = _Entry(trial, position, points, is_new=False)
        return entry

    def _create_trial(self, event: TrialCreated) -> None:
        if self._entry(event.trial) is not None:
            return
        trial = make_trial(event)
        given = (trial.metrics, trial.chronos)
        entry = self._entries[event.trial] = _Entry(trial, self._next_position("trials"), 0, is_new=True)
        _import_containers(entry, *given)

    def _next_position(self, table: str) -> int:
        stored = self._database.rows(f"SELECT COALESCE(MAX(position), 0) FROM {table}")[0][0]  # noqa: S608
        new = [entry.position for entry in self._entries.values() if entry.is_new] if table == "trials" else []
        return int(max([stored, *new])) + 1

    def _create_owner(self, table: str, uid: str, columns: tuple[Any, ...], document: dict[str, Any]) -> None:
        if self._database.rows(f"SELECT 1 FROM {table} WHERE uid = ?", uid):  # noqa: S608
            return
        document = {key: value for key, value in document.items() if key not in ("trials", "groups")}
        names = "uid, position, project_id, document" if columns else "uid, position, document"
        row = (uid, self._next_position(table), *columns, text(document))
        self._database.insert(table, names, [row])

    def _merge_into_owner(self, event: FieldsMerged) -> None:
        table = "trial_groups" if event.kind == "group" else "projects"
        found = self._database.rows(f"SELECT document FROM {table} WHERE uid = ?", event.uid)  # noqa: S608
        if found:
            document = _decode(found[0][0])
            document[event.field] = {**(document.get(event.field) or {}), **event.values}
            self._database.run(f"UPDATE {table} SET document = ? WHERE uid = ?", text(document), event.uid)  # noqa: S608

    def _add_member(self, group: str, trial: str) -> None:
        count = self._database.rows("SELECT COUNT(*) FROM members WHERE trial_group = ?", group)[0][0]
        suffix = "ON CONFLICT (trial_group, trial) DO NOTHING"
        self._database.insert("members", "trial_group, trial, position", [(group, trial, count)], suffix)

    # writing

    def write(self) -> None:
        """Write what was collected."""
        entries = list(self._entries.values())
        self._write_trials(entries)
        columns = "trial, name, seq, step, value, at, odd"
        self._database.insert("metrics", columns, [row for entry in entries for row in entry.metrics.rows])
        columns = "trial, name, seq, value, at, odd"
        self._database.insert("times", columns, [row for entry in entries for row in entry.chronos.rows])
        series = [
            (entry.position, name, kind, spec, last, int(stepped))
            for entry in entries
            for kind, recorder in (("metrics", entry.metrics), ("times", entry.chronos))
            for name, (spec, last, stepped) in recorder.series.items()
        ]
        suffix = "ON CONFLICT (trial, kind, name) DO UPDATE SET last = excluded.last, stepped = excluded.stepped"
        self._database.insert("series", "trial, name, kind, spec, last, stepped", series, suffix)

    def _write_trials(self, entries: list[_Entry]) -> None:
        changing = ("name", "version", "project_id", "group_id", "status", "status_code", "points", "document")
        names = f"uid, position, hash, revision, {', '.join(changing)}"
        suffix = "ON CONFLICT (uid) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in changing)
        self._database.insert("trials", names, map(_trial_row, entries), suffix)
        rows = [row for entry in entries for row in _parameter_rows(entry)]
        suffix = "ON CONFLICT (trial, name) DO UPDATE SET number = excluded.number, text = excluded.text"
        self._database.insert("parameters", "trial, name, number, text", rows, suffix)


def _trial_row(entry: _Entry) -> Row:
    trial = entry.trial
    owners = [value if isinstance(value, str) else None for value in (trial.project_id, trial.group_id)]
    version = None if trial.version is None else str(trial.version)
    name = None if trial.name is None else text(trial.name)
    identity = (trial.uid, entry.position, trial.hash, trial.revision, name, version, *owners)
    return (*identity, trial.status.name, trial.status.value, entry.points, trial_document(trial))


def _parameter_rows(entry: _Entry) -> list[Row]:
    if not isinstance(entry.trial.parameters, dict):
        return []
    rows = []
    for name, value in flatten(entry.trial.parameters).items():
        number = _number(value) if isinstance(value, (int, float)) else None
        rows.append((entry.position, text(name), number, text(value) if isinstance(value, str) else None))
    return rows


def _number(value: int | float) -> float | None:
    """Return a number that compares as `value` does; None for NaN, which does not."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def _import_containers(entry: _Entry, metrics: Metrics, chronos: Metrics) -> None:
    """Write the measurements of a trial that comes from another store."""
    for name, container in metrics.items():
        spec = imported_specification(container)
        for step, value, at in imported_points(container):
            entry.metrics.log_values({name: value}, step, spec, at)
    for name, container in chronos.items():
        spec = imported_specification(container) or ["value"]
        for _, value, at in imported_points(container):
            entry.chronos.log_time(name, value, spec, at)


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE writers (writer TEXT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)",
        """CREATE TABLE projects (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, document TEXT NOT NULL)""",
        """CREATE TABLE trial_groups (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, project_id TEXT, document TEXT NOT NULL)""",
        """CREATE TABLE members (
            trial_group TEXT NOT NULL, trial TEXT NOT NULL, position BIGINT NOT NULL,
            PRIMARY KEY (trial_group, trial))""",
        """CREATE TABLE trials (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL UNIQUE, hash TEXT NOT NULL,
            revision BIGINT NOT NULL, name TEXT, version TEXT, project_id TEXT, group_id TEXT,
            status TEXT, status_code BIGINT, points BIGINT NOT NULL, document TEXT NOT NULL,
            UNIQUE (hash, revision))""",
        """CREATE TABLE parameters (
            trial BIGINT NOT NULL, name TEXT NOT NULL, number DOUBLE PRECISION, text TEXT,
            PRIMARY KEY (trial, name))""",
        "CREATE INDEX parameters_number ON parameters (name, number)",
        """CREATE TABLE series (
            trial BIGINT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT, last DOUBLE PRECISION,
            stepped BIGINT NOT NULL,
            PRIMARY KEY (trial, kind, name))""",
        """CREATE TABLE metrics (
            trial BIGINT NOT NULL, name TEXT NOT NULL, seq BIGINT NOT NULL, step BIGINT,
            value DOUBLE PRECISION, at DOUBLE PRECISION NOT NULL, odd TEXT,
            PRIMARY KEY (trial, name, seq))""",
        """CREATE TABLE times (
            trial BIGINT NOT NULL, name TEXT NOT NULL, seq BIGINT NOT NULL,
            value DOUBLE PRECISION, at DOUBLE PRECISION NOT NULL, odd TEXT,
            PRIMARY KEY (trial, name, seq))""",
    ),
)
"""Statements of each step, oldest first; a released step is never changed."""
VERSION = len(MIGRATIONS)
"""The version of the tables that this version of the library writes."""
