"""A store in SQL tables: events become rows, queries become ``WHERE``, whatever the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import chain, islice, repeat, tee
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from track.errors import CorruptJournal, InvalidEvent, InvalidQuery
from track.events import Event
from track.metrics import Metrics
from track.persistence.buckets import Buckets, Question
from track.persistence.contract import (
    RESERVING,
    FetchedPoints,
    Since,
    changes_by_number,
    check_batch,
    is_elsewhere,
    is_of_sums,
    new_identity,
    require_one_of,
    unknown_trial,
)
from track.persistence.eventprotocol import EventProtocol
from track.persistence.query import EXACT, Query, SortKey, ordered, parse_limit, parse_query, parse_sort, parse_stored
from track.persistence.sql.charts import measured_of, stamps_of
from track.persistence.sql.chunks import Stored
from track.persistence.sql.database import Database, Home, Row
from track.persistence.sql.measured import is_whole, stored_line
from track.persistence.sql.reading import PointsReader
from track.persistence.sql.rows import IN_CHUNKS, MIGRATIONS, NUMBERED, RESUMED, STATED, VERSION, UnitOfWork
from track.persistence.sql.where import MOST, is_deleted, states, where
from track.persistence.state import Liveness, buckets_from, resumes_of, shown_fields, text, with_members
from track.plain import is_utf8, restore
from track.serialization import brief_lines, from_json, measured_line, trial_from_text
from track.structure import Project, Trial, TrialGroup
from track.utils.collecting import nothing_collected

Result = TypeVar("Result")
_decode = msgspec.json.decode
_PAGE = 5_000
_SOME = 3
_BEYOND = 2**63
_LAST_COUNTS = {"value", "series"}
_TABLES = {Trial: "trials", TrialGroup: "trial_groups", Project: "projects"}
# A trial may be told to be in a group before it is stored.
_MEMBERS = (
    "SELECT m.trial FROM members m LEFT JOIN trials t ON t.uid = m.trial"  # noqa: S608
    f" WHERE m.trial_group = ? AND NOT {is_deleted('> 0')} ORDER BY m.position"
)
_LAST = (
    "SELECT t.position, s.last FROM trials t JOIN series s ON s.trial = t.position"
    " WHERE s.kind = 'metrics' AND s.name = ? AND s.last IS NOT NULL"
)


class _Project(msgspec.Struct):
    """What of a project its trials are shown with: the rest, such as packages, need not be decoded."""

    tags: Any = None


_tags = msgspec.json.Decoder(_Project).decode


class _Measured(Metrics):
    """Metrics with the row of the trial, where that is shown as it is stored."""

    __slots__ = ("row",)

    row: Row | None


def _lines(trial: Trial) -> tuple[bytes, bytes]:
    """Return a trial in brief as JSON, made from its row where that says all of it."""
    row = trial.metrics.row if isinstance(trial.metrics, _Measured) else None
    if row is None:
        return brief_lines(trial)
    _, points, document, measured = row
    return document.encode(), stored_line(measured, points) or measured_line(trial)


class SqlProtocol(EventProtocol):
    """A backend over SQL; a subclass brings the database."""

    keeps_numbers = True

    def __init__(self, uri: str, database: Database, strict: bool = True) -> None:
        super().__init__(uri, strict)
        self.database = database
        self.liveness = Liveness(clock=database.clock)
        self._identity, self._is_identified, self._is_identifying = "", False, False
        self._version = 0
        self._points = PointsReader(database)
        database.on_connect = self._look

    # writing

    def apply(self, *events: Event) -> None:
        self._written(self.database.decide, partial(self._store, events))

    def receive(self, writer: str, first: int, events: Sequence[Event], lines: bytes | None = None) -> None:

        def store() -> None:
            self._store_new(UnitOfWork(self.database), writer, self._last(writer), first, events)

        self._written(self.database.transaction, store)

    def receive_after(
        self, writer: str, after: int, first: int, events: Sequence[Event], lines: bytes | None = None
    ) -> None:
        # Nothing is made for events of another store: neither tables nor a file.
        if not (self._is_identified and self.database.is_connected):
            self.require_store(self.expected_store)

        def store() -> None:
            self.require_store(self.expected_store)
            work, last = UnitOfWork(self.database), self._last(writer)
            check_batch(self.uri, partial(self._has_for, work), last, after, first, events)
            self._store_new(work, writer, last, first, events)

        # It may be run again as it is: it needs no mark of a decision.
        self._written(self.database.transaction, store)

    def _has_for(self, work: UnitOfWork, kind: type, uid: str) -> bool:
        """Return whether something is stored; a trial is read at once for what will be changed of it."""
        return self._can_hold(uid) and work.has_trial(uid) if kind is Trial else self.has(kind, uid)

    def _store_new(self, work: UnitOfWork, writer: str, last: int, first: int, events: Sequence[Event]) -> None:
        """Store those events that come after the last one of this writer."""
        new = events[max(0, last + 1 - first) :]
        # Never backwards: an older batch may arrive after a newer one, from another process.
        if new:
            self._store(new, work)
            self.database.mark(writer, first + len(events) - 1)

    def last(self, writer: str) -> int:
        return self._read(lambda: self._last(writer), -1)

    def atomically(self, action: Callable[[], Result]) -> Result:
        def decide() -> Result:
            self._identify()
            return action()

        return self._written(self.database.decide, decide)

    def update_trial(self, query: Any, attr: str, args: Any, kwargs: Any) -> tuple[Trial, int | None]:
        if attr != RESERVING:
            return super().update_trial(query, attr, args, kwargs)
        # All want the same row: those who come at once would fail, but one, again and again.
        with self.database.turns():
            return super().update_trial(query, attr, args, kwargs)

    def _store(self, events: Sequence[Event], work: UnitOfWork | None = None) -> None:
        self._identify()
        work = work or UnitOfWork(self.database)
        work.apply(events)
        work.write()

    def _last(self, writer: str) -> int:
        return -1 if (seq := self.database.marked(writer)) is None else seq

    def close(self) -> None:
        self.database.close()

    # which store it is

    def identity(self) -> str:
        if self._identity:
            return self._identity
        found = (self._known_identities() or [""])[-1]
        # What a transaction sees that has not ended may not come to be.
        self._identity = "" if self.database.is_inside else found
        return found

    def former_identities(self) -> list[str]:
        return self._known_identities()[:-1]

    def store_time(self) -> float | None:
        return self.database.clock.told()

    def require_store(self, identity: str) -> None:
        # As it is now, in the transaction that stores: the tables may have been replaced.
        if identity:
            require_one_of(self._known_identities(), identity, self.uri)

    def _known_identities(self) -> list[str]:
        return self.database.reading(self._identities) if self.database.is_there else []

    def _identities(self) -> list[str]:
        """Return the ids of the store, its own last; none while nothing was written, since there are any."""
        if not self.database.has_table("store"):
            return []
        return [identity for (identity,) in self.database.rows("SELECT uid FROM store ORDER BY position")]

    def _identify(self) -> None:
        """Give the store an id, where it has none or is a copy, in the first transaction that writes."""
        if not self._is_identified:
            self._name()
            self._is_identifying = True

    def _written(self, run: Callable[[Callable[[], Result]], Result], action: Callable[[], Result]) -> Result:
        """Return what a transaction returns that identifies the store, which is done once it has ended."""
        if not self._is_identified and not self.database.is_inside:
            # On their own: whether they are there is asked before it is known what became of a commit.
            self._make_tables()
        if self.database.is_inside:
            return run(action)
        self._is_identifying = False
        result = run(action)
        # Not where there was nothing to write.
        self._is_identified = self._is_identified or self._is_identifying
        return result

    def _name(self) -> None:
        columns = "position BIGINT NOT NULL PRIMARY KEY, uid TEXT NOT NULL, home TEXT NOT NULL"
        if not self.database.has_table("store"):
            self.database.rows(f"CREATE TABLE IF NOT EXISTS store ({columns})")
        found = self.database.rows("SELECT position, uid, home FROM store ORDER BY position")
        number, identity, before = found[-1] if found else (-1, "", "")
        known, here = Home.read(before), self.database.home()
        if found and not self._is_copy(known, here, identity):
            # Another user may have been told more of the server.
            text = str(Home(here.place, known.origin | here.origin))
            if text != before:
                self.database.rows("UPDATE store SET home = ? WHERE position = ?", text, number)
            return
        suffix = "ON CONFLICT (position) DO NOTHING"
        self.database.insert("store", "position, uid, home", suffix, rows=[(number + 1, new_identity(), str(here))])
        # What it is now is asked once that is stored.
        self._identity = ""

    def _is_copy(self, known: Home, here: Home, identity: str) -> bool:
        if is_elsewhere(known.origin, here.origin):
            return True
        return known.place != here.place and self.database.is_copy(known.place, identity)

    # asking

    def fetch_trials(self, query: Any = None) -> list[Trial]:
        return self._asked(partial(self._fetch_trials, parse_stored(query)), [])

    def _shown(self, uid: str) -> Trial:
        return next(self._trials(self._rows(f"{self._select} WHERE t.uid = ?", uid)))

    def select_trials(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[Trial]:
        parsed, keys, most = parse_stored(query), parse_sort(sort, Trial), parse_limit(limit)
        return self._asked(partial(self._select_trials, parsed, keys, most), [])

    def changes(self, since: str | None = None) -> tuple[str, list[str]]:
        nothing: tuple[str, list[str]] = "", []
        return self._read(partial(self._changes, since), nothing)

    def _changes(self, since: str | None) -> tuple[str, list[str]]:
        if self._version < NUMBERED:
            return super().changes(since)
        store = (self._identities() or [""])[-1]
        newest = int(self.database.rows("SELECT COALESCE(MAX(changed), 0) FROM trials")[0][0])
        # A transaction that takes longer than the patience is broken off.
        settling = self.database.driver.settling and max(self.database.driver.settling, 2 * self.database.patience)
        found = changes_by_number(since, store, newest, self._numbered, now=time.time(), settling=settling)
        return (found[0], super().changes(since)[1]) if is_of_sums(since) else found

    def _numbered(self, above: int, others: list[int]) -> list[tuple[str, int]]:
        """Return the trials with numbers above one, or with some others; sorted here, for the index of the numbers."""
        rows = self.database.rows("SELECT position, uid, changed FROM trials WHERE changed > ?", above)
        if others:
            marks = ", ".join("?" * len(others))
            chosen = f"SELECT position, uid, changed FROM trials WHERE changed IN ({marks})"  # noqa: S608
            rows = [*rows, *self.database.rows(chosen, *others)]
        return [(uid, number) for _, uid, number in sorted(rows)]

    def fetch_groups(self, query: Any = None) -> list[TrialGroup]:
        return self._fetch_owners(TrialGroup, query)

    def fetch_projects(self, query: Any = None) -> list[Project]:
        return self._fetch_owners(Project, query)

    def brief_lines(self, query: Any = None, sort: Any = None, limit: int | None = None) -> list[tuple[bytes, bytes]]:
        return list(map(_lines, self.brief_trials(query, sort, limit)))

    def first_trial(self, query: Any = None) -> Trial | None:
        found: list[Trial] = self._asked(partial(self._fetch_trials, parse_stored(query), 1), [])
        return found[0] if found else None

    def revisions(self, digest: str) -> set[int]:
        if not self._can_hold(digest):
            return set()
        return {revision for (revision,) in self._rows("SELECT revision FROM trials WHERE hash = ?", digest)}

    def has(self, kind: type, uid: Any) -> bool:
        return self._can_hold(uid) and bool(self._rows(f"SELECT 1 FROM {_TABLES[kind]} WHERE uid = ?", uid))  # noqa: S608

    def _can_hold(self, value: Any) -> bool:
        """Return whether a column can hold a value: what it cannot is not there."""
        if isinstance(value, int):
            return -_BEYOND <= value < _BEYOND
        return is_utf8(value) and not self.database.driver.unstorable & set(value)

    def _read(self, question: Callable[[], Result], nothing: Result) -> Result:
        """Return the answer to a question, or `nothing` where there is no file, or no tables: to read makes none."""
        if not self.database.is_there:
            return nothing
        return self.database.reading(lambda: question() if self._has_tables() else nothing)

    def _asked(self, question: Callable[[], Result], nothing: Result) -> Result:
        """Return the answer to a question, InvalidQuery where the database finds fault with what it is given."""
        try:
            return self._read(question, nothing)
        except InvalidEvent as error:
            raise InvalidQuery(str(error)) from error

    def _rows(self, sql: str, *parameters: Any) -> list[Row]:
        return self._read(partial(self.database.rows, sql, *parameters), [])

    def _fetch_owners(self, kind: type, query: Any) -> list[Any]:
        """Return projects or groups: narrowed by what has a column, the rest is checked after."""
        parsed = parse_query(query, kind)
        columns = ("uid", "project_id") if kind is TrialGroup else ("uid",)
        exact = {column: value for column in columns if (value := parsed.exact(column)) is not None}
        if not all(map(self._can_hold, exact.values())):
            return []
        condition = " AND ".join(f"{column} = ?" for column in exact) or "1 = 1"
        sql = f"SELECT document FROM {_TABLES[kind]} WHERE {condition} ORDER BY position"  # noqa: S608
        stored = (from_json(_decode(document)) for (document,) in self._rows(sql, *exact.values()))
        owners = (with_members(owner, self._members, self.fetch_trials, self.fetch_groups) for owner in stored)
        return [owner for owner in owners if parsed.matches(owner)]

    def _members(self, group: str) -> list[str]:
        return [uid for (uid,) in self._rows(_MEMBERS, group)]

    @property
    def _select(self) -> str:
        """The statement that reads trials; tables of a version before say nothing of what they measured."""
        measured = "t.measured" if self._version >= IN_CHUNKS else "NULL"
        return f"SELECT t.position, t.points, t.document, {measured} FROM trials t"  # noqa: S608

    def _fetch_trials(self, query: Query, limit: int | None = None) -> list[Trial]:
        parts = [(part, *self._where(part)) for part in query.parts(MOST)]
        pages = (self._pages(*part, limit) for part in parts)
        # Each part is in order; one after the other they are not.
        rows, same = tee(next(pages) if len(parts) == 1 else merge(*pages, key=lambda found: found[0][0]))
        shown = zip(self._trials(row for row, _ in rows), same, strict=False)
        with nothing_collected():
            return list(islice((trial for trial, (_, rest) in shown if rest.matches(trial)), limit))

    def _pages(
        self, query: Query, condition: str, parameters: list[Any], rest: Query, limit: int | None
    ) -> Iterator[tuple[Row, Query]]:
        """Yield the rows that a condition lets through, oldest first, and what remains to be checked."""
        found = states(query) if self._has_states() else None
        if limit is not None:
            size = limit + (_SOME if rest.conditions else 0)
            yield from zip(self._first_rows(condition, parameters, found, size), repeat(rest))
            return
        if found is not None:
            marks = ", ".join("?" * len(found))
            condition, parameters = f"{condition} AND (t.state IN ({marks}) OR t.state IS NULL)", [*parameters, *found]
        sql = f"{self._select} WHERE {condition} ORDER BY t.position"
        yield from zip(self.database.rows(sql, *parameters), repeat(rest))

    def _first_rows(self, condition: str, parameters: list[Any], found: list[str] | None, size: int) -> Iterator[Row]:
        """Yield rows, oldest first, of which few are wanted: some, then more and more.

        Each status is asked for on its own: so an index has its rows in order, however many others there are.
        """
        # Of a trial of before there was such a column none is known.
        tests = ["1 = 1"] if found is None else ["t.state = ?"] * len(found) + ["t.state IS NULL"]
        wanted: list[list[Any]] = [*([state] for state in found or ()), []]
        chosen = f"{self._select} WHERE {condition}"
        pages = (f"({chosen} AND {test} AND t.position > ? ORDER BY t.position LIMIT ?)" for test in tests)
        sql = " UNION ALL ".join(f"SELECT * FROM {page} AS page{number}" for number, page in enumerate(pages))  # noqa: S608
        last = -_BEYOND
        while True:
            values = chain.from_iterable([*parameters, *state, last, size] for state in wanted)
            rows = sorted(self.database.rows(sql, *values), key=itemgetter(0))[:size]
            yield from rows
            if len(rows) < size:
                return
            size, last = min(2 * size, max(size, _PAGE)), rows[-1][0]

    def _has_states(self) -> bool:
        """Return whether trials are found by their status; another process may have seen to it meanwhile."""
        if self._version < STATED:
            self._version = self._noted_version()
        return self._version >= STATED

    def _select_trials(self, query: Query, keys: tuple[SortKey, ...], limit: int | None) -> list[Trial]:
        if not keys:
            return self._fetch_trials(query, limit)
        positions = None if limit is None else self._first_positions(query, keys, limit)
        if positions is None:
            return ordered(self._fetch_trials(query), keys)[:limit]
        if not positions:
            return []
        marks = ", ".join("?" * len(positions))
        rows = self.database.rows(f"{self._select} WHERE t.position IN ({marks}) ORDER BY t.position", *positions)
        place = {position: number for number, position in enumerate(positions)}
        return list(self._trials(sorted(rows, key=lambda row: place[row[0]])))

    def _first_positions(self, query: Query, keys: tuple[SortKey, ...], limit: int) -> list[int] | None:
        """Return which trials come first, by the last values of a metric; None where these do not say it surely."""
        (key, *others), (part, *more) = keys, query.parts(MOST)
        if others or more or limit > MOST or len(key.path) != 2 or key.path[0] != "metrics":
            return None
        condition, parameters, rest = self._where(part)
        name = text(key.path[1])
        if rest.conditions or not self._is_plain(name) or self._has_resumes():
            return None
        found = self.database.rows(f"{_LAST} AND {condition} ORDER BY t.position", name, *parameters)
        # Who has no number comes last; numbers of very many bits are other doubles than they are.
        if len(found) < limit or any(abs(last) >= EXACT for _, last in found):
            return None
        found.sort(key=lambda row: row[1], reverse=key.is_descending)
        return [position for position, _ in found[:limit]]

    def _where(self, query: Query) -> tuple[str, list[Any], Query]:
        return where(query, self._is_plain, self._has_resumes, self._can_hold)

    def _trials(self, rows: Iterable[Row]) -> Iterator[Trial]:
        """Yield the trials of rows, as they are shown now."""
        tags: dict[str, dict[str, Any]] | None = None
        alive: dict[Any, bool | None] = {}
        for row in rows:
            tags = self._project_tags() if tags is None else tags
            trial = self._trial(row)
            if fields := shown_fields(trial, tags.get, self.liveness, alive):
                vars(trial).update(fields)
            else:
                trial.metrics.row = row
            yield trial

    def _is_plain(self, name: str) -> bool:
        """Return whether a metric is compared by its last value, in every trial."""
        odd = "SELECT spec FROM series WHERE kind = 'metrics' AND name = ? AND spec IS NOT NULL"
        return all(_decode(spec)[0] in _LAST_COUNTS for (spec,) in self.database.rows(f"{odd} GROUP BY spec", name))

    def _has_resumes(self) -> bool:
        return bool(self.database.rows("SELECT 1 FROM series WHERE kind = ? LIMIT 1", RESUMED))

    def _project_tags(self) -> dict[str, dict[str, Any]]:
        rows = self.database.rows("SELECT uid, document FROM projects")
        return {uid: restore(_tags(document).tags) for uid, document in rows}

    def _trial(self, row: Row) -> Trial:
        position, points, document, measured = row
        stored = self._stored(position, points, measured)
        read = partial(self._points.containers, stored, measured)
        metrics = _Measured(partial(read, "metrics"), partial(self._points.briefs, stored, measured))
        metrics.row = None
        return trial_from_text(document, metrics, Metrics(partial(read, "times")))

    def _stored(self, position: int, points: int, measured: str | None) -> Stored:
        return Stored(position, points, is_whole(measured, points), self._version >= IN_CHUNKS)

    def columns_of(self, name: str, uids: Sequence[str], times: bool = False) -> dict[str, Any]:
        """Return one metric of many trials, by uid, in few statements: what ``trial.metrics[name]`` of each is.

        A trial that is not stored, or has no such metric, is left out. Where the times are not asked for, they may
        be 0: they are half of what there is to read.
        """
        parts = [list(uids[begin : begin + MOST]) for begin in range(0, len(uids), MOST)]
        nothing: dict[str, Any] = {}
        found = [self._read(partial(self._columns_of, name, part, times), nothing) for part in parts]
        return {uid: container for part in found for uid, container in part.items()}

    def _columns_of(self, name: str, uids: Sequence[str], times: bool) -> dict[str, Any]:
        marks = ", ".join("?" * len(uids))
        measured = "measured" if self._version >= IN_CHUNKS else "NULL"
        known = f"SELECT uid, position, points, {measured} FROM trials WHERE uid IN ({marks})"  # noqa: S608
        stored = {uid: self._stored(*row) for uid, *row in self.database.rows(known, *uids)}
        found, others = self._points.of_trials(name, stored, times)
        for uid in others:
            for trial in self._trials(self.database.rows(f"{self._select} WHERE t.uid = ?", uid)):
                if name in trial.metrics:
                    found[uid] = trial.metrics[name]
        return found

    def _buckets(self, question: Question, uids: Sequence[str]) -> Buckets:
        known = list(filter(self._can_hold, uids))
        store = self.identity()
        # In tables of a version before nothing tells of every change.
        is_numbered = self._version >= NUMBERED
        stamps = partial(stamps_of, self._rows, is_numbered)
        fetch = partial(measured_of, self._rows, self.columns_of, question)
        return buckets_from(question, known, store * is_numbered, stamps, fetch)

    def fetch_points(self, uid: str, names: Sequence[str] | None = None, since: Since = 0) -> dict[str, FetchedPoints]:
        def read() -> dict[str, FetchedPoints]:
            rows = self.database.rows(f"{self._select} WHERE t.uid = ?", uid) if self._can_hold(uid) else []
            if not rows:
                raise unknown_trial(uid)
            position, points, _, measured = rows[0]
            stored = self._stored(position, points, measured)
            return self._points.since(stored, names, since, lambda: resumes_of(self._trial(rows[0])))

        found = self._read(read, None)
        if found is None:
            raise unknown_trial(uid)
        return found

    # the tables

    def _look(self) -> None:
        """See what is there, over a new connection; nothing is made before something is written."""
        self._identity, self._is_identified = "", False
        self._points.clear()
        self._version = self.database.reading(self._noted_version)
        if self._version > VERSION:
            raise CorruptJournal(
                f"the tables in {self.uri} have version {self._version}, this version of track knows {VERSION}: "
                "upgrade track"
            )

    def _noted_version(self) -> int:
        if not self.database.has_table("format"):
            return 0
        found = self.database.rows("SELECT version FROM format WHERE id = 1")
        return int(found[0][0]) if found else 0

    def _has_tables(self) -> bool:
        """Return whether there is anything to read; another process may have made the tables meanwhile."""
        if self._version < VERSION:
            self._version = self._noted_version()
        return self._version > 0

    def _make_tables(self) -> None:
        for number in range(self.database.reading(self._noted_version), VERSION):
            self.database.transaction(partial(self._step, number))

    def _step(self, number: int) -> None:
        columns = "id BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL"
        self.database.rows(f"CREATE TABLE IF NOT EXISTS format ({columns})")
        # Another process may have taken this step meanwhile.
        if self._noted_version() > number:
            return
        for statement in MIGRATIONS[number]:
            self.database.rows(statement)
        if number + 1 == NUMBERED and self.database.driver.numbering:
            self.database.rows(self.database.driver.numbering)
        suffix = "ON CONFLICT (id) DO UPDATE SET version = excluded.version"
        self.database.insert("format", "id, version", suffix, rows=[(1, number + 1)])
