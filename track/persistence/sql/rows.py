"""Events to rows: what a batch of events changes, collected in memory and written table by table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import msgspec

from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached, TrialCreated
from track.persistence.cells import (
    Column,
    PointColumns,
    comparable,
    measure_into,
    merge_into_owner,
    owner_document,
    parameter_cells,
    text,
    trial_document,
)
from track.persistence.sql.database import Database, Row
from track.persistence.state import is_resume, make_trial, update
from track.serialization import trial_from_document
from track.structure import Trial

logger = logging.getLogger(__name__)
_decode = msgspec.json.decode
_TRIAL = (
    "uid, position, hash, revision, name, version, project_id, group_id, status, status_code, points, document",
    "ON CONFLICT (uid) DO UPDATE SET name = excluded.name, version = excluded.version, "
    "project_id = excluded.project_id, group_id = excluded.group_id, status = excluded.status, "
    "status_code = excluded.status_code, points = excluded.points, document = excluded.document",
)
_PARAMETER = (
    "trial, name, number, text",
    "ON CONFLICT (trial, name) DO UPDATE SET number = excluded.number, text = excluded.text",
)
_SERIES = (
    "trial, name, kind, spec, last, stepped",
    "ON CONFLICT (trial, kind, name) DO UPDATE SET last = excluded.last, stepped = excluded.stepped",
)
_POINTS = {"metrics": "trial, name, seq, step, value, at, odd", "times": "trial, name, seq, value, at, odd"}


RESUMED = "resumed"
"""The kind of a row of ``series`` that says of a trial that its last values may not be shown."""


class _Entry:
    """One trial that a unit of work touches; what it measures goes into columns."""

    def __init__(self, trial: Trial, position: int, points: int, is_new: bool) -> None:
        self.trial = trial
        self.position = position
        self.points = points
        self.is_new = is_new
        self.has_new_parameters = is_new
        self.is_resumed = False
        self.measured: dict[str, PointColumns] = {"metrics": trial.metrics, "times": trial.chronos}

    def point_rows(self, table: str) -> Iterator[Row]:
        """Yield the rows of new points, and number them: those of one name follow each other."""
        for column in self.measured[table].columns.values():
            numbers = range(self.points, self.points + len(column.times))
            self.points = numbers.stop
            identity = (repeat(self.position), repeat(column.key), numbers)
            steps = (column.steps,) if table == "metrics" else ()
            yield from zip(*identity, *steps, column.values, column.times, column.odd_cells(), strict=False)

    def series_rows(self) -> Iterator[Row]:
        """Yield what queries, and readers, must know of each name."""
        for kind, measured in self.measured.items():
            for column in measured.columns.values():
                yield self.position, column.key, kind, *_series(column)
        if self.is_resumed:
            yield self.position, "", RESUMED, None, None, 0

    def row(self) -> Row:
        """Return the trial's own row, once its points are counted."""
        trial = self.trial
        owners = [value if isinstance(value, str) else None for value in (trial.project_id, trial.group_id)]
        version = None if trial.version is None else str(trial.version)
        name = None if trial.name is None else text(trial.name)
        identity = (trial.uid, self.position, trial.hash, trial.revision, name, version, *owners)
        return (*identity, trial.status.name, trial.status.value, self.points, trial_document(trial))


def _series(column: Column) -> Row:
    step, value = column.last()
    # A container without a step and without an aggregator keeps everything: said, to tell it from a stepped one.
    spec = None if column.is_stepped else text(column.spec or ["series"])
    return spec, comparable(value), int(step is not None)


class UnitOfWork:
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
                    self._create_owner("projects", event)
                case GroupCreated():
                    self._create_owner("trial_groups", event)
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
        entry.is_resumed |= is_resume(event)
        entry.has_new_parameters |= isinstance(event, FieldsMerged) and event.field == "parameters"
        update(entry.trial, event)

    def _entry(self, uid: str) -> _Entry | None:
        entry = self._entries.get(uid)
        if entry is None:
            found = self._database.rows("SELECT position, points, document FROM trials WHERE uid = ?", uid)
            if not found:
                return None
            position, points, document = found[0]
            trial = trial_from_document(_decode(document), PointColumns(), PointColumns())
            entry = self._entries[uid] = _Entry(trial, position, points, is_new=False)
        return entry

    def _create_trial(self, event: TrialCreated) -> None:
        if self._entry(event.trial) is None:
            trial = make_trial(event)
            measure_into(trial, PointColumns(), PointColumns())
            self._entries[event.trial] = _Entry(trial, self._next_position("trials"), 0, is_new=True)

    def _next_position(self, table: str) -> int:
        stored = self._database.rows(f"SELECT COALESCE(MAX(position), 0) FROM {table}")[0][0]  # noqa: S608
        new = [entry.position for entry in self._entries.values() if entry.is_new] if table == "trials" else []
        return int(max([stored, *new])) + 1

    def _create_owner(self, table: str, event: ProjectCreated | GroupCreated) -> None:
        if self._database.rows(f"SELECT 1 FROM {table} WHERE uid = ?", event.uid):  # noqa: S608
            return
        document = owner_document(event)
        row = {"uid": event.uid, "position": self._next_position(table), "document": text(document)}
        if isinstance(event, GroupCreated) and isinstance(event.project_id, str):
            row["project_id"] = event.project_id
        self._database.insert(table, ", ".join(row), [tuple(row.values())])

    def _merge_into_owner(self, event: FieldsMerged) -> None:
        table = "trial_groups" if event.kind == "group" else "projects"
        found = self._database.rows(f"SELECT document FROM {table} WHERE uid = ?", event.uid)  # noqa: S608
        if found:
            document = _decode(found[0][0])
            merge_into_owner(document, event)
            self._database.run(f"UPDATE {table} SET document = ? WHERE uid = ?", text(document), event.uid)  # noqa: S608

    def _add_member(self, group: str, trial: str) -> None:
        # Nobody leaves a group: their number is the next position.
        count = self._database.rows("SELECT COUNT(*) FROM members WHERE trial_group = ?", group)[0][0]
        suffix = "ON CONFLICT (trial_group, trial) DO NOTHING"
        self._database.insert("members", "trial_group, trial, position", [(group, trial, count)], suffix)

    # writing

    def write(self) -> None:
        """Write what was collected."""
        insert, entries = self._database.insert, list(self._entries.values())
        points = {table: [row for entry in entries for row in entry.point_rows(table)] for table in _POINTS}
        series = [row for entry in entries for row in entry.series_rows()]
        renewed = [entry for entry in entries if entry.has_new_parameters]
        parameters = [(entry.position, *cells) for entry in renewed for cells in parameter_cells(entry.trial)]
        insert("trials", _TRIAL[0], [entry.row() for entry in entries], _TRIAL[1])
        insert("parameters", _PARAMETER[0], parameters, _PARAMETER[1])
        for table, rows in points.items():
            insert(table, _POINTS[table], rows)
        insert("series", _SERIES[0], series, _SERIES[1])


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
