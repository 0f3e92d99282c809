"""Events to rows: what a batch of events changes, collected in memory and written table by table."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from track.containers.packing import joined, pack, pack_few
from track.events import Event, FieldsMerged, GroupCreated, MetricsLogged, ProjectCreated, TrialAttached, TrialCreated
from track.persistence.contract import counted
from track.persistence.sql.chunks import Stored, latest_time, take_out
from track.persistence.sql.database import Database, Row
from track.persistence.sql.measured import Known, Measured
from track.persistence.sql.where import HIDDEN, state_key
from track.persistence.state import (
    DELETED,
    Column,
    PointColumns,
    comparable,
    is_forgetting,
    is_overtaken,
    is_resume,
    make_trial,
    measure_into,
    merge_into_owner,
    owner_document,
    parameter_cells,
    text,
    trial_document,
    update,
)
from track.serialization import trial_from_text
from track.shown import clean
from track.structure import FORGOTTEN, Trial
from track.utils.once import cached_property

logger = logging.getLogger(__name__)
_decode = msgspec.json.decode
_BEYOND = 2**63
_TRIALS = (
    "uid, position, hash, revision, name, version, project_id, group_id, status, status_code, points, state, document, "
    "measured, changed",
    "ON CONFLICT (uid) DO UPDATE SET name = excluded.name, version = excluded.version, "
    "project_id = excluded.project_id, group_id = excluded.group_id, status = excluded.status, "
    "status_code = excluded.status_code, points = excluded.points, "
    "document = excluded.document, measured = excluded.measured, changed = excluded.changed",
)
# To set what is set already writes its index again.
_MOVED_TRIALS = (_TRIALS[0], f"{_TRIALS[1]}, state = excluded.state")
_PARAMETERS = (
    "trial, name, number, text",
    "ON CONFLICT (trial, name) DO UPDATE SET number = excluded.number, text = excluded.text",
)
_SERIES = (
    "trial, name, kind, spec, last, stepped",
    "ON CONFLICT (trial, kind, name) DO UPDATE SET last = excluded.last, stepped = excluded.stepped",
)


RESUMED = "resumed"
"""The kind of a row of ``series`` that says of a trial that its last values may not be shown."""


class _Addition(NamedTuple):
    """New points of one name; the rows of those before, from `first` on, are to be one row with them."""

    column: Column
    first: int
    numbers: range


class _Entry:
    """One trial that a unit of work touches; what it measures goes into columns.

    `state`: by what it is found in its row, None where that is new or does not say.
    """

    def __init__(self, trial: Trial, position: int, points: int, measured: Measured, state: str | None = None) -> None:
        self.trial = trial
        self.state = state
        self.position = position
        self.points = points
        self.known = measured
        self.has_new_parameters = False
        self.is_resumed = self.is_hidden = False
        self.measured: dict[str, PointColumns] = {"metrics": trial.metrics, "times": trial.chronos}
        # What was stored before.
        self.stored = points
        self._changed = trial.latest or counted(trial, "_last_change")

    def unknown_late(self) -> list[Column]:
        """Return the metrics that a version before has stored, maybe with points that are later than the new ones."""
        columns, known = self.measured["metrics"].columns.values(), self.known.names["metrics"]
        return [column for column in columns if column.name not in known and min(column.times) < self._changed]

    def additions(self, kind: str, series: list[Row]) -> list[_Addition]:
        """Number the new points, those of one name one after the other, and return them; add what each name is."""
        found = []
        for column in self.measured[kind].columns.values():
            numbers = range(self.points, self.points + len(column.times))
            self.points = numbers.stop
            known = self.known.of(kind, column)
            is_passed = kind == "metrics" and known.latest > max(column.times)
            known.grow(kind, column)
            found.append(_Addition(column, known.place(numbers.start, len(numbers)), numbers))
            # The last point is one that was stored before.
            if is_passed:
                continue
            step, value = column.last()
            # A container without a step and an aggregator keeps everything: said, to tell it from a stepped one.
            spec = None if column.is_stepped else text(column.spec or ["series"])
            series.append((self.position, column.key, kind, spec, comparable(value), int(step is not None)))
        return found

    def row(self) -> Row:
        """Return the trial's own row, once its points are counted."""
        trial = self.trial
        owners = [value if isinstance(value, str) else None for value in (trial.project_id, trial.group_id)]
        version = None if trial.version is None else str(trial.version)
        name = None if trial.name is None else text(trial.name)
        identity = (trial.uid, self.position, trial.hash, trial.revision, name, version, *owners)
        # The document says it exactly; a column has fewer bits, and perhaps no NUL.
        code = trial.status.value if abs(trial.status.value or 0) < _BEYOND else None
        status = None if trial.status.name is None else str(trial.status.name).replace("\0", "")
        state, document = state_key(trial.status), trial_document(trial)
        return (*identity, status, code, self.points, state, document, self.known.to_text(self.points))


class UnitOfWork:
    """Collects what events change, inside a transaction, and writes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[str, _Entry] = {}
        self._last_position = 0

    @cached_property
    def number(self) -> int:
        """The number of the changes of this transaction."""
        return int(self._database.rows(self._database.driver.next_number)[0][0])

    def apply(self, events: Iterable[Event]) -> None:
        """Take events, in order; one that names a trial that is not stored is reported and skipped."""
        entries = self._entries
        for event in events:
            if type(event) is MetricsLogged and event.trial in entries:
                update(entries[event.trial].trial, event)
                continue
            match event:
                case FieldsMerged(kind="group" | "project"):
                    self._merge_into_owner(event)
                case FieldsMerged():
                    self._merge(event)
                case ProjectCreated():
                    self._create_owner("projects", event)
                case GroupCreated():
                    self._create_owner("trial_groups", event)
                case TrialCreated():
                    self._create_trial(event)
                case TrialAttached(kind="group"):
                    self._attach(event)
                case _:
                    self._change(event.trial, event)

    def _attach(self, event: TrialAttached) -> None:
        entry = self._entry(event.trial)
        if entry is None or not (entry.trial.deleted == FORGOTTEN or is_overtaken(entry.trial, event)):
            self._add_member(event.owner, event.trial)
        self._change(event.trial, event)

    def _merge(self, event: FieldsMerged) -> None:
        entry = self._change(event.uid, event)
        if entry is None:
            return
        entry.is_hidden |= event.field == DELETED
        entry.is_resumed |= is_resume(event)
        entry.has_new_parameters |= event.field == "parameters"
        if is_forgetting(event):
            self._forget(entry)

    def _change(self, uid: str, event: Event) -> _Entry | None:
        """Change a trial, and return it; None where it is not stored, or forgotten, or the event is dropped."""
        entry = self._entry(uid)
        if entry is None:
            logger.warning("an event of trial %s, which is not stored, is skipped", clean(uid))
            return None
        is_dropped = entry.trial.deleted == FORGOTTEN or is_overtaken(entry.trial, event)
        update(entry.trial, event)
        return None if is_dropped else entry

    def _forget(self, entry: _Entry) -> None:
        """Remove all rows of a trial but its own, which says that its uid is taken."""
        for table in ("metrics", "times", "chunks", "series", "parameters"):
            self._database.rows(f"DELETE FROM {table} WHERE trial = ?", entry.position)  # noqa: S608
        self._database.rows("DELETE FROM members WHERE trial = ?", entry.trial.uid)
        entry.measured = {"metrics": PointColumns(), "times": PointColumns()}
        entry.known = Measured(is_whole=True)
        entry.has_new_parameters = entry.is_resumed = False

    def has_trial(self, uid: str) -> bool:
        """Return whether a trial is stored, or was created by an event."""
        return self._entry(uid) is not None

    def _entry(self, uid: str) -> _Entry | None:
        entry = self._entries.get(uid)
        if entry is None:
            stored = "SELECT position, points, document, measured, state FROM trials WHERE uid = ?"
            found = self._database.rows(stored, uid)
            if not found:
                return None
            position, points, document, measured, state = found[0]
            trial = trial_from_text(document, PointColumns(), PointColumns())
            known = Measured.from_text(measured, points)
            entry = self._entries[uid] = _Entry(trial, position, points, known, state)
        return entry

    def _create_trial(self, event: TrialCreated) -> None:
        uid = event.trial
        position = None if uid in self._entries else self._free_position("trials", uid)
        if position is not None:
            self._last_position = max(position, self._last_position + 1)
            trial = make_trial(event)
            measure_into(trial, PointColumns(), PointColumns())
            entry = self._entries[uid] = _Entry(trial, self._last_position, 0, Measured(is_whole=True))
            entry.has_new_parameters = True

    def _free_position(self, table: str, uid: str) -> int | None:
        """Return the next position in a table, None where it has this uid already."""
        known = f"(SELECT COUNT(*) FROM {table} WHERE uid = ?)"  # noqa: S608
        count, last = self._database.rows(f"SELECT {known}, COALESCE(MAX(position), 0) FROM {table}", uid)[0]  # noqa: S608
        return None if count else int(last) + 1

    def _create_owner(self, table: str, event: ProjectCreated | GroupCreated) -> None:
        position = self._free_position(table, event.uid)
        if position is None:
            return
        row = {"uid": event.uid, "position": position, "document": text(owner_document(event))}
        if isinstance(event, GroupCreated) and isinstance(event.project_id, str):
            row["project_id"] = event.project_id
        self._database.insert(table, ", ".join(row), rows=[tuple(row.values())])
        if isinstance(event, ProjectCreated) and event.tags:
            self._mark_trials_of(event.uid)

    def _mark_trials_of(self, project: str) -> None:
        """Note that trials have changed, as those do that are shown with the tags of their project."""
        self._database.rows("UPDATE trials SET changed = ? WHERE project_id = ?", self.number, project)

    def _merge_into_owner(self, event: FieldsMerged) -> None:
        table = "trial_groups" if event.kind == "group" else "projects"
        found = self._database.rows(f"SELECT document FROM {table} WHERE uid = ?", event.uid)  # noqa: S608
        if found:
            document = _decode(found[0][0])
            merge_into_owner(document, event)
            self._database.rows(f"UPDATE {table} SET document = ? WHERE uid = ?", text(document), event.uid)  # noqa: S608
            if event.kind == "project" and event.field == "tags":
                self._mark_trials_of(event.uid)

    def _add_member(self, group: str, trial: str) -> None:
        last = "SELECT COALESCE(MAX(position), -1) FROM members WHERE trial_group = ?"
        count = self._database.rows(last, group)[0][0] + 1
        suffix = "ON CONFLICT (trial_group, trial) DO NOTHING"
        self._database.insert("members", "trial_group, trial, position", suffix, rows=[(group, trial, count)])

    # writing

    def write(self) -> None:
        """Write what was collected."""
        trials: list[Row] = []
        moved: list[Row] = []
        parameters: list[Row] = []
        series: list[Row] = []
        chunks: list[Row] = []
        for entry in self._entries.values():
            for column in () if entry.known.is_whole else entry.unknown_late():
                self._look_up(entry, column)
            for kind, points in entry.measured.items():
                if points.columns:
                    self._add_chunks(entry, kind, entry.additions(kind, series), chunks)
            row = entry.row()
            (trials if entry.state == state_key(entry.trial.status) else moved).append((*row, self.number))
            if entry.is_hidden:
                number = 2 if entry.trial.deleted == FORGOTTEN else int(bool(entry.trial.deleted))
                series.append((entry.position, "", HIDDEN, None, None, number))
            if entry.is_resumed:
                series.append((entry.position, "", RESUMED, None, None, 0))
            if entry.has_new_parameters:
                parameters += [(entry.position, *cells) for cells in parameter_cells(entry.trial)]
        insert = self._database.insert
        insert("trials", *_TRIALS, rows=trials)
        insert("trials", *_MOVED_TRIALS, rows=moved)
        insert("parameters", *_PARAMETERS, rows=parameters)
        insert("chunks", "trial, kind, name, seq, until, body, times", rows=chunks)
        insert("series", *_SERIES, rows=series)

    def _add_chunks(self, entry: _Entry, kind: str, additions: list[_Addition], chunks: list[Row]) -> None:
        """Add the rows of new points, each with those before that are to be one with it, which are taken out."""
        merging = {column.key: first for column, first, numbers in additions if first < numbers.start}
        before = take_out(self._database, entry.position, kind, merging) if merging else {}
        for column, _, numbers in additions:
            identity = entry.position, kind, column.key
            few = None if column.key in before else pack_few(numbers, column.steps, column.values, column.times)
            if few is not None:
                chunks.append((*identity, numbers.start, numbers.stop, *few))
                continue
            for part, body, times in pack(joined([*before.get(column.key, ()), column.chunk(numbers)])):
                chunks.append((*identity, part.first, part.end, body, times))

    def _look_up(self, entry: _Entry, column: Column) -> None:
        """Find out when the last point of a metric was logged that a version before has stored."""
        latest = latest_time(self._database, Stored(entry.position, entry.stored, is_whole=False), column.key)
        entry.known.names["metrics"][column.name] = Known(latest or 0.0, column.is_stepped)


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
    ("ALTER TABLE trials ADD COLUMN changed BIGINT NOT NULL DEFAULT 0",),
    # Not with the column: CockroachDB makes both after the transaction.
    ("CREATE INDEX trials_changed ON trials (changed)",),
    # The points before stay where they are: metrics and times.
    (
        """CREATE TABLE chunks (
            trial BIGINT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, seq BIGINT NOT NULL, until BIGINT NOT NULL,
            body BYTEA NOT NULL, times BYTEA NOT NULL,
            PRIMARY KEY (trial, kind, name, seq))""",
    ),
    ("ALTER TABLE trials ADD COLUMN measured TEXT",),
    ("ALTER TABLE trials ADD COLUMN state TEXT",),
    ("CREATE INDEX trials_state ON trials (state, position)",),
)
"""Statements of each step, oldest first; a released step is never changed."""
NUMBERED = 2
"""The version of the tables from which on changes are numbered."""
IN_CHUNKS = 5
"""The version of the tables from which on points are stored in chunks."""
STATED = 6
"""The version of the tables from which on trials are found by their status."""
VERSION = len(MIGRATIONS)
"""The version of the tables that this version of the library writes."""
