"""A client that exists before a fork works in the parent and in the child."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
import threading
from pathlib import Path

import pytest

from tests.children import fork, run, wait
from tests.e2e.processes import start, stored
from track import TrackClient
from track.persistence.file import FileStore, journal
from track.persistence.sql import Database
from track.utils import files


def test_parent_and_child_both_log(tmp_path: Path) -> None:
    """Both go on with the same trial after a fork, and nothing of either is lost or mixed."""
    path = tmp_path / "runs.json"
    trial = start(path)

    def child() -> None:
        for number in range(2_000):
            trial.log_metrics(child=number)
        trial.finish()

    pid = fork(child)
    for number in range(2_000):
        trial.log_metrics(parent=number)
    code = wait(pid)
    trial.finish()

    (seen,) = stored(path)
    assert code == 0
    assert seen.metrics["child"].val == seen.metrics["parent"].val == list(range(2_000))
    assert seen.status.name == "Completed"


def test_exit_of_a_child_says_nothing_about_the_trial(tmp_path: Path) -> None:
    """A child that leaves through `sys.exit`, inside the ``with`` of its parent, does not end the trial."""
    path = tmp_path / "runs.json"
    trial = start(path)

    def child() -> None:
        try:
            with trial:
                trial.log_metrics(child=1)
                sys.exit(3)
        except SystemExit:
            pass

    with trial:
        assert run(child) == 0
        status = stored(path)[0].status.name

    assert status == "Running"
    assert stored(path)[0].status.name == "Completed"


def test_fork_during_a_decision_of_another_thread(tmp_path: Path) -> None:
    """A lock that a thread of the parent holds at the time of a fork is not held for ever in the child."""
    path = tmp_path / "runs.json"
    trial = start(path)
    begun, end = threading.Event(), threading.Event()

    def decide() -> None:
        begun.set()
        end.wait()

    thread = threading.Thread(target=trial.protocol.atomically, args=(decide,))  # type: ignore[attr-defined]
    thread.start()
    begun.wait()
    pid = fork(lambda: trial.log_metrics(child=1))
    end.set()
    thread.join()

    assert wait(pid) == 0
    assert stored(path)[0].metrics["child"].val == [1]


def _sqlite(tmp_path: Path) -> TrackClient:
    """Return a client of a SQLite file; all of them have the same store."""
    return TrackClient(f"sqlite:{tmp_path}/runs.db?timeout=20")


def _log_one(client: TrackClient, name: str) -> None:
    with client.new_trial(name=name) as trial:
        trial.log_metrics(loss=0.5)


def test_child_forked_in_the_middle_of_a_transaction_of_another_thread_writes(
    tmp_path: Path, spills: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps locks in the memory of a process: a fork waits until none is held, and both can write after it."""
    client = _sqlite(tmp_path)
    _log_one(client, "first")
    begun, forking = threading.Event(), threading.Event()
    rest = Database.before_fork

    def noted(database: Database) -> None:
        forking.set()
        rest(database)

    def hold() -> None:
        begun.set()
        forking.wait(5)

    monkeypatch.setattr(Database, "before_fork", noted)
    thread = threading.Thread(target=client.protocol.remote.atomically, args=(hold,))  # type: ignore[attr-defined]
    thread.start()
    begun.wait()
    code = run(lambda: _log_one(_sqlite(tmp_path), "child"))
    thread.join()
    _log_one(client, "last")

    assert code == 0
    assert {trial.name for trial in client.protocol.fetch_trials()} == {"first", "child", "last"}


def test_what_a_child_writes_after_its_parent_has_closed_is_stored(tmp_path: Path, spills: Path) -> None:
    """SQLite removes the log when it takes itself for the last that has the file open: a child has it open, too."""
    client = _sqlite(tmp_path)
    _log_one(client, "first")
    (told, tell), (closed, close) = os.pipe(), os.pipe()

    def child() -> None:
        own = _sqlite(tmp_path)
        trial = own.new_trial(name="child")
        trial.log_metrics(loss=0.5)
        own.protocol.flush()  # type: ignore[attr-defined]
        os.close(close)
        os.write(tell, b"x")
        os.read(closed, 1)
        trial.log_metrics(loss=0.25)
        trial.finish()

    pid = fork(child)
    os.close(tell)
    os.close(closed)
    os.read(told, 1)
    client.protocol.close()
    os.close(close)
    code = wait(pid)
    os.close(told)

    (seen,) = _sqlite(tmp_path).protocol.fetch_trials({"name": "child"})
    assert (code, list(seen.metrics["loss"]), seen.status.name) == (0, [0.5, 0.25], "Completed")


@pytest.mark.parametrize("end", ["save", "close"])
def test_fork_while_the_journal_is_replaced_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Where a child is forked while its parent has the journal for itself, who waits for that goes on afterwards."""
    path = tmp_path / "runs.json"
    trial = start(path)
    for number in range(1_500):
        trial.log_metrics(step=number, loss=number / 2)
    store = trial.protocol.store  # type: ignore[attr-defined]
    assert isinstance(store, FileStore)
    if end == "close":
        store.save()
    forked: list[int] = []
    sync_folder = files.sync_folder

    def synced(name: str) -> None:
        # What a child has, too; and the file as somebody has opened it by its name.
        forked.extend((os.dup(store.journal.fileno()) if store.journal.is_open else last, os.open(name, os.O_RDONLY)))
        sync_folder(name)

    last = os.dup(store.journal.fileno())
    monkeypatch.setattr(journal, "sync_folder", synced)
    getattr(store, end)()

    assert len(forked) == 2
    # BlockingIOError: they would wait for ever.
    fcntl.flock(forked[1], fcntl.LOCK_SH | fcntl.LOCK_NB)
    for descriptor in {*forked, last}:
        os.close(descriptor)
    trial.finish()


def test_client_is_not_pickled(tmp_path: Path) -> None:
    """Sending a client to another process fails with a sentence that says what to send instead."""
    client = TrackClient(f"file:{tmp_path}/runs.json")

    with pytest.raises(TypeError, match="URI"):
        pickle.dumps(client)
