"""Files that change under a running trial: what can be kept is kept; what is lost is counted, and said."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import track
from tests.children import die, python, run
from tests.e2e.processes import start, stored
from track import TrackClient


def _journal(path: Path) -> Path:
    return Path(f"{path}.journal")


def _remove_files(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _rewrite(path: Path) -> None:
    shutil.copy(_journal(path), f"{path}.new")
    os.replace(f"{path}.new", _journal(path))


def _rotate(path: Path) -> None:
    _journal(path).rename(f"{path}.journal.1")
    _journal(path).touch()


def _move_away(path: Path) -> None:
    _journal(path).rename(f"{path}.elsewhere")


def _delete_snapshot(path: Path) -> None:
    path.unlink(missing_ok=True)


def _go_back(path: Path) -> None:
    path.write_bytes(Path(f"{path}.older").read_bytes())


@pytest.mark.parametrize(
    "change", [_remove_files, _remove_folder, _rewrite, _rotate, _move_away, _delete_snapshot, _go_back]
)
@pytest.mark.parametrize("points", [2, 5_000], ids=["short", "long"])
def test_what_is_in_memory_is_written_again(tmp_path: Path, change: Callable[[Path], None], points: int) -> None:
    """Files removed, replaced by a copy, or rotated away, with their folder or without: every number is stored once."""
    path = tmp_path / "store" / "r.json"
    trial = start(path)
    trial.log_metrics(step=-1, loss=-1.0)
    trial.save()
    shutil.copy(path, f"{path}.older")
    for step in range(points):
        trial.log_metrics(step=step, loss=float(step))

    change(path)
    for step in range(points, 2 * points):
        trial.log_metrics(step=step, loss=float(step))
    trial.finish()

    (seen,) = stored(path)
    assert seen.metrics["loss"] == {step: float(step) for step in range(-1, 2 * points)}
    assert (seen.status.name, trial.protocol.unsaved()) == ("Completed", 0)


def test_what_another_program_leaves_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A journal that an older copy, with other lines, took the place of, counts; what it lacks is said at the end."""
    path = tmp_path / "r.json"
    trial = start(path)
    lines = _journal(path).read_bytes()
    trial.log_metrics(step=0, loss=0.0)

    Path(f"{path}.new").write_bytes(lines + b"another line\n")
    os.replace(f"{path}.new", _journal(path))
    trial.log_metrics(step=1, loss=1.0)
    trial.finish()

    assert trial.protocol.unsaved() >= 2
    assert f"{trial.protocol.unsaved()} events are not stored" in caplog.text
    assert "its present content counts" in caplog.text
    assert "holds everything" not in caplog.text


def test_a_journal_that_was_emptied_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was known when a program emptied the file is written again, what came later is kept, and a loss is said."""
    path = tmp_path / "r.json"
    trial = start(path)
    trial.log_metrics(step=0, loss=0.0)
    assert trial.trial.metrics["loss"] == {0: 0.0}

    os.truncate(_journal(path), 0)
    trial.log_metrics(step=1, loss=1.0)
    trial.finish()

    (seen,) = stored(path)
    assert seen.metrics["loss"] == {0: 0.0, 1: 1.0}
    assert "was emptied by another program" in caplog.text
    assert trial.protocol.unsaved() == 1


@pytest.mark.parametrize("note", ["short", "long" * 200_000])
def test_a_journal_that_was_emptied_under_a_run_that_was_killed_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, note: str
) -> None:
    """What the snapshot has is there, and what was logged after; the loss is said, and the next run goes on."""
    path = tmp_path / "r.json"
    first = start(path)
    first.log_metrics(step=0, loss=0.0)
    first.finish()
    first.protocol.close()

    def log_and_die() -> None:
        trial = TrackClient(f"file:{path}").set_trial(uid=first.trial.uid)
        trial.log_metrics(step=1, loss=1.0)
        os.truncate(_journal(path), 0)
        trial.log_metadata(note=note)
        trial.log_metrics(step=2, loss=2.0)
        die()

    run(log_and_die)
    (read,) = stored(path)
    again = TrackClient(f"file:{path}").set_trial(uid=first.trial.uid)
    again.log_metrics(step=3, loss=3.0)
    TrackClient(f"file:{path}").save()
    again.protocol.close()

    assert read.metrics["loss"] == {0: 0.0, 2: 2.0}
    assert stored(path)[0].metrics["loss"] == {0: 0.0, 2: 2.0, 3: 3.0}
    assert stored(path)[0].metadata["note"] == note
    assert "r.json.journal was emptied while a run wrote to it: what it held before is gone" in caplog.text
    assert b"3.0" in path.read_bytes()


@pytest.mark.root
def test_what_cannot_be_written_again_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a file stands in place of the folder, the events that only an unnamed file holds are not stored."""
    path = tmp_path / "store" / "r.json"
    trial = start(path)
    trial.log_metrics(step=0, loss=1.0)

    shutil.rmtree(path.parent)
    path.parent.touch()
    trial.log_metrics(step=1, loss=0.5)
    trial.finish()

    assert trial.protocol.unsaved() >= 4
    assert f"{trial.protocol.unsaved()} events are not stored" in caplog.text
    assert "holds everything" not in caplog.text
    path.parent.unlink()
    trial.save()
    assert (trial.protocol.unsaved(), len(stored(path)[0].metrics["loss"])) == (0, 2)


def test_a_journal_is_said_to_hold_everything_when_it_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot that cannot be written leaves a journal, which has its name and every line."""
    trial = start(tmp_path / "r.json")
    # In the place of the snapshot's temporary neighbour.
    (tmp_path / "r.json.tmp").mkdir()

    trial.finish()

    assert "its journal holds everything" in caplog.text
    assert len(stored(tmp_path / "r.json")) == 1


# The snapshot alone.

_RUN = """
import sys, threading
from track import TrackClient
stop = threading.Event()
other = threading.Thread(target=stop.wait, daemon=True)
other.start()
with TrackClient(sys.argv[1]).new_trial(parameters={"lr": 0.1}) as trial:
    for step in range(int(sys.argv[2])):
        trial.log_metrics(step=step, loss=1.0)
"""


@pytest.mark.parametrize("points", [1, 3_000])
def test_the_snapshot_is_alone_after_a_run(tmp_path: Path, points: int) -> None:
    """Only the lock is beside ``report.json``, also where the program has other threads; the next run goes on."""
    for count in (1, 2):
        done = python("-c", _RUN, f"file:{tmp_path}/report.json", str(points))

        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["report.json", "report.json.lock"]
        trials = track.fetch(f"file:{tmp_path}/report.json")
        assert [len(trial.metrics["loss"]) for trial in trials] == [points] * count


def test_the_snapshot_is_alone_after_several_processes(tmp_path: Path) -> None:
    """The last process to end takes the journal away."""
    path = tmp_path / "report.json"
    first = TrackClient(f"file:{path}")
    first.new_trial(parameters={"lr": 1}).finish()

    done = python("-c", _RUN, f"file:{path}", "5")
    is_there = _journal(path).exists()
    first.protocol.close()
    first.protocol.store.close()  # type: ignore[attr-defined]

    assert (done.returncode, is_there, _journal(path).exists()) == (0, True, False)
    assert len(track.fetch(f"file:{path}")) == 2


def test_a_store_goes_on_after_its_journal_is_gone(tmp_path: Path) -> None:
    """Who logs after the end begins another journal."""
    path = tmp_path / "report.json"
    trial = start(path)
    trial.protocol.store.close()  # type: ignore[attr-defined]
    assert not _journal(path).exists()

    trial.log_metrics(step=0, loss=1.0)

    assert stored(path)[0].metrics["loss"] == {0: 1.0}


def test_threads_that_log_lose_nothing_to_a_cut(tmp_path: Path) -> None:
    """While one thread shortens the journal again and again, the others' numbers are stored once each, in order."""
    path = tmp_path / "report.json"
    trial = start(path)
    count, threads = 3_000, 4

    def log(name: str) -> None:
        for number in range(count):
            trial.log_metrics(**{name: number})

    others = [threading.Thread(target=log, args=(f"m{number}",)) for number in range(threads)]
    for other in others:
        other.start()
    cuts = 0
    while any(other.is_alive() for other in others):
        before = trial.protocol.store.journal.identity  # type: ignore[attr-defined]
        trial.save()
        cuts += before != trial.protocol.store.journal.identity  # type: ignore[attr-defined]
    trial.finish()

    (seen,) = stored(path)
    assert {name: seen.metrics[name].val for name in seen.metrics} == {
        f"m{number}": list(range(count)) for number in range(threads)
    }
    assert cuts > 0


# Starting afresh.


def test_who_deletes_the_snapshot_starts_afresh(tmp_path: Path) -> None:
    """The journal of a killed run is kept under another name, which is said; a reader finds nothing before."""
    path = tmp_path / "report.json"
    for number in range(2):
        assert run(_save_and_die, path) == -9
        path.unlink()
        assert track.fetch(f"file:{path}") == []

        done = python("-c", _RUN, f"file:{path}", "1")

        left = f"{path}.journal.left-{number}"
        assert f"the store begins afresh; its old journal is kept as {left}" in done.stderr
        assert os.path.exists(left)
        assert len(track.fetch(f"file:{path}")) == 1
        path.unlink()


def _save_and_die(path: Path) -> None:
    trial = start(path)
    trial.save()
    trial.log_metrics(step=0, loss=1.0)
    die()


def _only_die(path: Path) -> None:
    start(path).log_metrics(step=0, loss=1.0)
    die()


def test_a_journal_that_never_had_a_snapshot_is_the_store(tmp_path: Path) -> None:
    """A run that was killed before its first save is found, and gone on with."""
    path = tmp_path / "report.json"
    assert run(_only_die, path) == -9

    trial = TrackClient(f"file:{path}").new_trial(parameters={"lr": 2})

    assert len(stored(path)) == 2
    assert not list(tmp_path.glob("*.left-*"))
    del trial


def test_a_journal_in_use_is_not_put_aside(tmp_path: Path) -> None:
    """Whoever deletes the snapshot of a running store starts nothing afresh: it is written again."""
    path = tmp_path / "report.json"
    trial = start(path)
    trial.save()

    path.unlink()
    done = python("-c", _RUN, f"file:{path}", "1")
    trial.finish()

    assert (done.returncode, done.stderr) == (0, "")
    assert len(stored(path)) == 2


def test_a_store_without_its_lock_is_whole(tmp_path: Path) -> None:
    """Snapshot and journal can be moved together, without the lock."""
    path = tmp_path / "report.json"
    assert run(_save_and_die, path) == -9
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["cp", str(path), f"{path}.journal", str(other)], check=True)

    assert [dict(trial.metrics["loss"]) for trial in track.fetch(f"file:{other}/report.json")] == [{0: 1.0}]
