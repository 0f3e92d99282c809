"""The next trial with a status is found without looking at all others: in memory, in tables, and in those of before."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from track.errors import ItemNotFound
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.eventprotocol import EventProtocol
from track.persistence.query import parse_query
from track.persistence.sql.rows import STATED
from track.persistence.sqlite import SqliteProtocol
from track.persistence.state import views
from track.persistence.state.statuses import StatusIndex
from track.structure import CustomStatus, Status, Trial

_WAITING = {"status": {"$in": ["submitted", "broken"]}}


def _filled(store: EventProtocol, done: int, waiting: int) -> EventProtocol:
    for number in range(done + waiting):
        trial = store.new_trial(Trial(parameters={"number": number}))
        assert trial is not None
        store.set_trial_status(trial, "completed" if number < done else "submitted")
    return store


def _asked(index: StatusIndex, query: Any) -> list[str] | None:
    found = index.candidates(parse_query(query, Trial))
    return None if found is None else list(found)


def test_index_gives_what_may_match_oldest_first() -> None:
    """Of several statuses the trials come in the order of their creation; those that run may be shown as broken."""
    index = StatusIndex()
    statuses = [Status.Completed, CustomStatus("submitted", 2), Status.Running, Status.Completed]
    for uid, status in zip("abcd", statuses, strict=True):
        index.add(uid, status)
    index.move("d", Status.Completed, CustomStatus("submitted", 2))
    index.move("a", Status.Completed, Status.Broken)

    assert _asked(index, _WAITING) == ["a", "b", "c", "d"]
    assert _asked(index, {"status": "Submitted"}) == ["b", "c", "d"]
    assert _asked(index, [("status", 2), ("status", {"$ne": "submitted"})]) == ["c"]
    assert _asked(index, {"name": "x"}) is None


def test_index_is_as_it_was_asked() -> None:
    """A trial whose status changes while the next is asked for disturbs nobody."""
    index = StatusIndex()
    for uid in "abc":
        index.add(uid, Status.Broken)
    found = index.candidates(parse_query({"status": "broken"}, Trial))
    assert found is not None

    seen = [next(found)]
    index.move("a", Status.Broken, Status.Completed)

    assert [*seen, *found] == ["a", "b", "c"]


def test_reserving_looks_at_no_trial_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory as many trials are looked at with many stored as with few."""
    looked: list[str] = []
    shown = views.shown_fields

    def count(trial: Trial, *rest: Any) -> Any:
        looked.append(trial.uid)
        return shown(trial, *rest)

    monkeypatch.setattr("track.persistence.state.state.shown_fields", count)
    counts = []
    for done in (2, 200):
        store = _filled(EphemeralProtocol(), done, 3)
        looked.clear()
        store.fetch_and_update_trial(_WAITING, "log_trial_start")
        counts.append(len(looked))

    assert counts[0] == counts[1] < 5


def test_reserving_reads_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In tables as many rows are read with many stored as with few, and an index finds them."""
    counts = []
    for done in (2, 100):
        store = _filled(SqliteProtocol(f"sqlite:{tmp_path}/{done}.db"), done, 30)
        assert isinstance(store, SqliteProtocol)
        rows, read = store.database.rows, []

        def count(sql: str, *values: Any, rows: Any = rows, read: list[int] = read) -> Any:
            found = rows(sql, *values)
            read.append(len(found))
            return found

        monkeypatch.setattr(store.database, "rows", count)
        store.fetch_and_update_trial(_WAITING, "log_trial_start")
        counts.append(sum(read))

    assert counts[0] == counts[1] < 30


def test_tables_of_before_are_asked_and_then_indexed(tmp_path: Path) -> None:
    """In tables without the column trials are found by their status, before and after they are brought up to date."""
    store = _filled(SqliteProtocol(f"sqlite:{tmp_path}/runs.db"), 2, 2)
    first, second = (trial.uid for trial in store.fetch_trials(_WAITING))
    store.close()
    with sqlite3.connect(tmp_path / "runs.db") as database:
        database.execute("DROP INDEX trials_state")
        database.execute("ALTER TABLE trials DROP COLUMN state")
        database.execute("UPDATE format SET version = ?", (STATED - 1,))
    old = SqliteProtocol(store.uri)
    before = [trial.uid for trial in old.fetch_trials(_WAITING)]

    taken = [old.fetch_and_update_trial(_WAITING, "log_trial_start").uid for _ in range(2)]

    assert (before, taken) == ([first, second], [first, second])
    assert len(old.fetch_trials({"status": "completed"})) == 2
    with pytest.raises(ItemNotFound):
        old.fetch_and_update_trial(_WAITING, "log_trial_start")
