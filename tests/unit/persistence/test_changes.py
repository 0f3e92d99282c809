"""Which trials have changed: also after folds, restarts, backups and migrations, and what is in a transaction."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.children import printed_by, python, start_python
from track.persistence import get_protocol
from track.persistence.contract.changes import changes_by_number, changes_by_sums
from track.persistence.protocol import Protocol
from track.persistence.sql.rows import MIGRATIONS
from track.persistence.sqlite import SqliteProtocol
from track.structure import Project, Status, Trial


def _filled(uri: str, count: int = 20) -> tuple[Protocol, list[Trial]]:
    """Return a store with trials in it."""
    store = get_protocol(uri)
    store.new_project(Project(name="digits"))
    trials = [store.new_trial(Trial(parameters={"lr": number}, project_id="digits")) for number in range(count)]
    return store, [trial for trial in trials if trial is not None]


def test_one_event_after_a_fold_and_a_restart_names_one(tmp_path: Path) -> None:
    """A cursor of before the journal was cut, saved and removed is good after it, in another process too."""
    uri = f"file:{tmp_path}/runs.json"
    store, trials = _filled(uri)
    for step in range(3000):
        store.log_trial_metrics(trials[3], step=step, loss=0.5)
    cursors = [store.changes()[0]]
    store.commit()
    cursors.append(store.changes()[0])
    store.close()
    cursors.append(get_protocol(uri).changes()[0])

    code = (
        "import sys, track.persistence as p; s = p.get_protocol(sys.argv[1]); t = s.fetch_trials({'uid': sys.argv[2]})"
    )
    printed_by(f"{code}[0]; s.log_trial_metrics(t, step=1, cost=2.0); s.close()", uri, trials[7].uid)

    again = get_protocol(uri)
    assert [again.changes(cursor)[1] for cursor in cursors] == [[trials[7].uid]] * 3


def test_journal_of_a_killed_process_is_counted_as_it_was(tmp_path: Path) -> None:
    """What a process counted that was killed is counted alike by the next one: only what came since is named."""
    uri = f"file:{tmp_path}/runs.json"
    code = (
        "import os, sys, track.persistence as p; from track.structure import Trial; s = p.get_protocol(sys.argv[1]);"
        "ts = [s.new_trial(Trial(parameters={'n': n})) for n in range(9)]; s.log_trial_metrics(ts[0], loss=1.0);"
        "print(s.changes()[0], ts[4].uid, flush=True); os._exit(9)"
    )
    cursor, uid = python("-c", code, uri).stdout.split()
    store = get_protocol(uri)

    before = store.changes(cursor)[1]
    store.log_trial_metrics(Trial(*_split(uid)), step=0, loss=1.0)

    assert (before, store.changes(cursor)[1]) == ([], [uid])


def _split(uid: str) -> tuple[str, int]:
    digest, _, revision = uid.rpartition("_")
    return digest, int(revision)


def test_cursor_of_a_store_that_was_put_back_names_everything(tmp_path: Path) -> None:
    """A reader that has seen more than a backup holds must look at everything again."""
    path = tmp_path / "runs.json"
    store, trials = _filled(f"file:{path}", 3)
    store.close()
    shutil.copy(path, tmp_path / "backup")
    store, _ = get_protocol(f"file:{path}"), None
    early = store.changes()[0]
    for step in range(5):
        store.log_trial_metrics(trials[0], step=step, loss=0.5)
    late = store.changes()[0]
    store.close()
    (tmp_path / "backup").replace(path)

    again = get_protocol(f"file:{path}")
    for step in range(9):
        again.log_trial_metrics(trials[1], step=step, loss=0.5)

    assert again.changes(early)[1] == [trials[1].uid]
    assert again.changes(late)[1] == [trial.uid for trial in trials]


def test_snapshot_of_before_events_were_counted_is_counted_from(tmp_path: Path) -> None:
    """A file without numbers, or with those that an older version has kept, is read: counting begins with it."""
    path = tmp_path / "runs.json"
    store, trials = _filled(f"file:{path}", 3)
    store.close()
    document = json.loads(path.read_text())
    document["changes"]["held"][1] += 1
    for content in (document, {name: document[name] for name in document if name != "changes"}):
        path.write_text(json.dumps(content))
        again = get_protocol(f"file:{path}")
        cursor, uids = again.changes()
        assert (len(uids), again.changes(cursor)[1]) == (3, [])
        again.log_trial_metrics(trials[1], step=0, loss=0.5)
        again.close()
        assert get_protocol(f"file:{path}").changes(cursor)[1] == [trials[1].uid]


def test_dying_is_no_event(tmp_path: Path) -> None:
    """A trial whose process is killed is shown otherwise, and is not named: nothing is stored of it."""
    uri = f"file:{tmp_path}/runs.json"
    code = (
        "import os, sys, track.persistence as p; from track.structure import Trial; s = p.get_protocol(sys.argv[1]);"
        "t = s.new_trial(Trial(parameters={'n': 1})); s.log_trial_start(t); print(flush=True); sys.stdin.read();"
    )
    child = start_python("-c", code, uri)
    assert child.stdout is not None
    child.stdout.readline()
    store = get_protocol(uri)
    cursors = store.changes()[0], changes_by_sums(None, store.fetch_trials())[0]
    child.kill()
    child.communicate()

    assert [trial.status for trial in store.fetch_trials()] == [Status.Broken]
    assert store.changes(cursors[0])[1] == []
    assert changes_by_sums(cursors[1], store.fetch_trials())[1] == []


def test_tables_of_before_are_read_and_then_numbered(tmp_path: Path) -> None:
    """Tables of version 1 are compared trial by trial; a cursor of then is good when somebody has written to them."""
    store = SqliteProtocol(f"sqlite:{tmp_path}/runs.db")
    trials = [store.new_trial(Trial(parameters={"lr": number})) for number in range(3)]
    assert trials[1] is not None
    store.close()
    with sqlite3.connect(tmp_path / "runs.db") as database:
        for statement in ("DROP INDEX trials_changed", "DROP INDEX trials_state", "DROP TABLE chunks"):
            database.execute(statement)
        for column in ("changed", "measured", "state"):
            database.execute(f"ALTER TABLE trials DROP COLUMN {column}")
        database.execute("UPDATE format SET version = 1")
    old = SqliteProtocol(store.uri)
    cursor, uids = old.changes()
    assert (len(uids), old.changes(cursor)[1]) == (3, [])

    SqliteProtocol(store.uri).log_trial_metrics(trials[1], step=0, loss=0.5)

    newer, named = old.changes(cursor)
    assert len(MIGRATIONS) >= 3
    assert (named, old.changes(newer)[1]) == ([trials[1].uid], [])


def test_change_that_shows_late_is_named() -> None:
    """A transaction that ends after others with higher numbers is not missed, and what was seen is named once."""
    shown: dict[str, int] = {f"old {number}": number for number in range(1, 2001)}
    newest = 2000

    def ask(since: str | None, now: float) -> Any:
        def read(above: int, others: list[int]) -> list[tuple[str, int]]:
            return [(uid, number) for uid, number in shown.items() if number > above or number in others]

        return changes_by_number(since, "store", newest, read, now=now, settling=60.0)

    cursor, uids = ask(None, 0.0)
    named = [len(uids)]
    newest = 2002
    shown["second"] = 2002
    for now in (1.0, 2.0, 70.0):
        cursor, uids = ask(cursor, now)
        named.append(uids)
    shown["first"] = 2001
    for now in (71.0, 72.0, 140.0, 210.0, 280.0):
        cursor, uids = ask(cursor, now)
        named.append(uids)

    assert named == [2000, ["second"], [], [], ["first"], [], [], [], []]
    assert len(cursor) < 60


@pytest.mark.parametrize(
    "cursor", ["store:1:2", "store:1:2:3:4:x", "store:-1:2:3:4:0", "store:3:2:1:0:0", "other:1:1:1:0:0"]
)
def test_cursor_of_nobody_names_everything(cursor: str) -> None:
    """Text that is no cursor is one that is not known."""
    rows = [("one", 1)]

    assert changes_by_number(cursor, "store", 5, lambda *_: rows, now=0.0, settling=0.0)[1] == ["one"]
