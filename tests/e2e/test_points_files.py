"""Points outside of the JSON survive whatever interrupts the fold that moves them, and what happens to their file."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import die, run, run_all
from tests.e2e import test_compaction as compaction
from tests.e2e.deliveries import IS_FULL
from tests.e2e.processes import attach, start, stored
from track import TrackClient
from track.cli import main
from track.containers import chunks
from track.errors import BackendUnavailable, CorruptJournal
from track.events import FieldsMerged, MetricsLogged
from track.persistence.file import FileStore, replaying
from track.persistence.state import placing
from track.persistence.storage import load_database

_POINTS = 1_000
_WRITERS, _ROUNDS = 8, 40 if IS_FULL else 6


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let points leave the JSON soon, in small chunks, here and in the processes that a test forks."""
    monkeypatch.setattr(placing, "FROM", 500)
    monkeypatch.setattr(chunks, "LARGEST", 128)
    monkeypatch.setattr(replaying, "SLICE", 1 << 14)
    for name in ("pwrite", "unlink"):
        calls = [*compaction._CALLS, (os, name)]
        monkeypatch.setattr(compaction, "_CALLS", calls)


def _fill(path: Path, first: int = 0, points: int = _POINTS) -> None:
    trial = start(path)
    for number in range(first, first + points):
        trial.log_metrics(step=number, loss=number / 2)
        trial.log_metrics(value=number)


def _go_on(path: Path, count: int) -> None:
    """Log as much again to the first trial, fold, and die at a system call of that."""
    (trial, *_) = stored(path)
    logger = attach(path, trial.uid)
    for number in range(_POINTS, 2 * _POINTS):
        logger.log_metrics(step=number, loss=number / 2)
        logger.log_metrics(value=number)
    compaction._interrupt_at(count, die, after=False)
    logger.save()


def _save_and_die_at(path: Path, count: int) -> None:
    (trial, *_) = stored(path)
    logger = attach(path, trial.uid)
    logger.log_metadata(opened=True)
    compaction._interrupt_at(count, die, after=False)
    logger.save()


def _assert_whole(path: Path, points: int = _POINTS, trials: int = 1) -> None:
    found = stored(path)
    assert len(found) == trials
    for trial in found:
        assert dict(trial.metrics["loss"]) == {number: number / 2 for number in range(points)}
        assert trial.metrics["value"].val == list(range(points))
        assert trial.metrics.briefs()["loss"].greatest == (points - 1) / 2


def _points(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.glob(f"{path.name}.points-*"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a store that has a long journal."""
    folder = tmp_path_factory.mktemp("filled")
    assert run(_fill, folder / "runs.json") == 0
    return folder


@pytest.fixture
def folded(filled: Path, tmp_path: Path) -> Path:
    """Give a store whose points are outside."""
    path = _copies(filled, tmp_path, "folded")
    assert run(_save_and_die_at, path, 10_000) == 0
    assert _points(path) == ["runs.json.points-1"]
    return path


def _copies(filled: Path, tmp_path: Path, name: Any) -> Path:
    return Path(shutil.copytree(filled, tmp_path / str(name))) / "runs.json"


# whoever folds is killed


@pytest.mark.parametrize("is_first", [True, False], ids=["first fold", "second fold"])
def test_kill_at_any_call_of_a_fold_is_harmless(filled: Path, folded: Path, tmp_path: Path, is_first: bool) -> None:
    """SIGKILL before the k-th system call of a fold: each point is there once, and the next fold works."""
    code, count, points = -9, 0, _POINTS if is_first else 2 * _POINTS
    while code == -9:
        count += 1 if IS_FULL or count < 3 else 4
        path = _copies(filled if is_first else folded.parent, tmp_path, count)

        code = run(_save_and_die_at if is_first else _go_on, path, count)

        _assert_whole(path, points)
        assert run(_save_and_die_at, path, 10_000) == 0
        _assert_whole(path, points)
        assert _points(path) == ["runs.json.points-1"]
        shutil.rmtree(path.parent)
    assert (code, count > 20) == (0, True)


def _forget_and_die_at(path: Path, count: int) -> None:
    client = TrackClient(f"file:{path}")
    uids = [trial.uid for trial in client.protocol.fetch_trials()]
    client.delete_trial(uids[1])
    compaction._interrupt_at(count, die, after=False)
    client.protocol.forget_trials()


def test_kill_at_any_call_of_gc_is_harmless(folded: Path, tmp_path: Path) -> None:
    """SIGKILL before the k-th system call of `gc`: what is kept is whole, and the next one leaves one points file."""
    assert run(_fill, folded) == 0
    assert run(_save_and_die_at, folded, 10_000) == 0
    code, count = -9, 0
    while code == -9:
        count += 1 if IS_FULL or count < 3 else 5
        path = _copies(folded.parent, tmp_path, count)

        code = run(_forget_and_die_at, path, count)

        kept = [trial for trial in stored(path) if trial.deleted != "forgotten"]
        assert dict(kept[0].metrics["loss"]) == {number: number / 2 for number in range(_POINTS)}
        if code == -9 and len(kept) == 2 and not kept[1].deleted:
            assert run(_forget_and_die_at, path, 10_000) == 0
        client = TrackClient(f"file:{path}")
        client.protocol.forget_trials()
        client.save()
        client.protocol.close()
        _assert_whole(path)
        shutil.rmtree(path.parent)
    assert (code, count > 20) == (0, True)


# no room


def test_a_full_disk_in_a_fold_loses_nothing(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a chunk does not fit, or only a part of it, the fold is not made; the next one goes on after it."""
    written, write = 0, os.pwrite

    def limited(descriptor: int, data: Any, offset: int) -> int:
        nonlocal written
        if written + len(data) > room:
            data = memoryview(data)[: max(0, room - written)]
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
        count = write(descriptor, data, offset)
        written += count
        return count

    for room in (0, 1, 700, 3_000, 9_000, 20_000):
        path = _copies(filled, tmp_path, room)
        written = 0
        client = TrackClient(f"file:{path}")

        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", limited)
            with pytest.raises(BackendUnavailable, match="No space left"):
                client.save()

        _assert_whole(path)
        assert len(client.protocol.fetch_trials()[0].metrics["loss"]) == _POINTS
        client.save()
        client.protocol.close()
        _assert_whole(path)


# many at once


def _log_and_fold(path: Path, number: int) -> None:
    trial = start(path, writer=number)
    for round_ in range(_ROUNDS):
        for step in range(round_ * 100, round_ * 100 + 100):
            trial.log_metrics(step=step, loss=float(step), accuracy=number)
        trial.save()
    trial.finish()


@pytest.mark.parametrize("writers", [2, _WRITERS])
def test_folds_at_once_lose_nothing(tmp_path: Path, writers: int) -> None:
    """Processes that log and fold at the same time: each point is there once, and few are on the disk twice."""
    path = tmp_path / "runs.json"

    assert run_all(_log_and_fold, [(path, number) for number in range(writers)]) == [0] * writers

    found = stored(path)
    assert len(found) == writers
    for trial in found:
        assert dict(trial.metrics["loss"]) == {step: float(step) for step in range(100 * _ROUNDS)}
        assert list(trial.metrics["accuracy"].values()) == [trial.parameters["writer"]] * 100 * _ROUNDS
    TrackClient(f"file:{path}").protocol.compact()
    size = sum(file.stat().st_size for file in tmp_path.glob("runs.json.points-*"))
    assert 0 < size < 100 * (2 * 100 * _ROUNDS * writers)


def test_a_reader_goes_on_through_folds_and_gc(folded: Path) -> None:
    """What was fetched before the points file was replaced by another, and removed, is read afterwards."""
    client = TrackClient(f"file:{folded}")
    client.save()
    client.protocol.close()
    reader = FileStore(str(folded), 30.0)
    with reader.reading() as state:
        (before,) = list(state.find_trials())
    assert run(_fill, folded) == 0
    assert run(_forget_and_die_at, folded, 10_000) == 0
    assert _points(folded) == ["runs.json.points-2"]

    assert dict(before.metrics["loss"]) == {number: number / 2 for number in range(_POINTS)}
    with reader.reading() as state:
        found = [trial for trial in state.find_trials() if trial.metrics]
    assert [dict(trial.metrics["loss"]) for trial in found] == [dict(before.metrics["loss"])]


# what becomes of the file


def test_a_points_file_that_is_missing_is_said_and_stays_named(folded: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without its points a store opens, says how many of which metrics, keeps the rest, and has them when they come."""
    points = folded.with_name("runs.json.points-1")
    points.rename(folded.with_name("away"))
    with caplog.at_level(logging.WARNING):
        (trial,) = stored(folded)
    shown = len(trial.metrics["loss"])
    assert shown < 128
    assert f"{_POINTS - shown:,} of 'loss'" in caplog.text
    assert "put the file back" in caplog.text

    assert run(_go_on, folded, 10_000) == 0
    assert _points(folded) == ["runs.json.points-2"]
    assert len(stored(folded)[0].metrics["loss"]) == _POINTS + shown
    folded.with_name("away").rename(points)

    _assert_whole(folded, 2 * _POINTS)


def test_a_points_file_cut_short_keeps_the_rest(folded: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is before the cut is shown, what is not is said, and the next fold does not write where it was."""
    points = folded.with_name("runs.json.points-1")
    whole = points.read_bytes()
    os.truncate(points, len(whole) // 2)
    with caplog.at_level(logging.WARNING):
        (trial,) = stored(folded)
    shown = len(trial.metrics["loss"])
    assert 128 < shown < _POINTS
    assert "points are not shown" in caplog.text

    assert run(_go_on, folded, 10_000) == 0
    points.write_bytes(whole)

    _assert_whole(folded, 2 * _POINTS)


def test_a_damaged_chunk_is_reported_and_the_rest_kept(folded: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A byte that is not what was written costs its chunk, which is reported once with its metric and position."""
    points = folded.with_name("runs.json.points-1")
    data = bytearray(points.read_bytes())
    data[data.index(b"TRK1", 2_000) - 1] ^= 1
    points.write_bytes(data)

    with caplog.at_level(logging.WARNING):
        (trial,) = stored(folded)
        steps, _ = trial.metrics["loss"].to_numpy()
        again = list(trial.metrics["loss"])

    assert steps.tolist() == again == list(range(128, _POINTS))
    assert caplog.text.count("is damaged") == 1
    assert "points 0 to 127 of metric" in caplog.text
    with pytest.raises(CorruptJournal, match="the chunk at byte"):
        TrackClient(f"file:{folded}").protocol.forget_trials()


def test_the_points_of_another_store_are_not_taken(folded: Path, tmp_path: Path) -> None:
    """A points file says of which store it is."""
    other = tmp_path / "other" / "runs.json"
    other.parent.mkdir()
    assert run(_fill, other, 0, 2 * _POINTS) == 0
    assert run(_save_and_die_at, other, 10_000) == 0
    shutil.copy(f"{other}.points-1", f"{folded}.points-1")

    (trial,) = stored(folded)

    assert len(trial.metrics["loss"]) < 128


def test_json_copied_without_its_points_says_so(folded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who copies the JSON file alone hears what is missing, from where."""
    copy = tmp_path / "copy.json"
    shutil.copy(folded, copy)

    with caplog.at_level(logging.WARNING):
        trials = track.fetch(f"file:{copy}")

    assert len(trials[0].metrics["loss"]) < 128
    assert f"{copy}.points-1 is missing" in caplog.text


def test_who_deletes_the_json_starts_afresh(folded: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A points file that is left behind is kept under another name, which is said."""
    for file in folded.parent.glob("runs.json*"):
        if ".points-" not in file.name:
            file.unlink()

    with caplog.at_level(logging.WARNING):
        start(folded).finish()

    assert _points(folded) == ["runs.json.points-1.left-0"]
    assert "its points are kept as" in caplog.text
    assert len(stored(folded)) == 1


def test_a_removed_points_file_is_written_again(folded: Path) -> None:
    """What a running process has read from it is not lost with its name."""
    client = TrackClient(f"file:{folded}")
    assert len(client.protocol.fetch_trials()[0].metrics["loss"]) == _POINTS
    client.save()

    os.unlink(f"{folded}.points-1")
    client.save()
    client.protocol.close()

    _assert_whole(folded)


# whose the files are


@pytest.mark.parametrize("mode", [0o640, 0o664])
def test_a_points_file_has_the_mode_of_the_json(filled: Path, tmp_path: Path, mode: int) -> None:
    """Who may read the one may read the other."""
    path = _copies(filled, tmp_path, "mode")
    path.write_bytes(b"")
    path.chmod(mode)

    assert run(_save_and_die_at, path, 10_000) == 0

    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, Path(f"{path}.points-1"))} == {mode}


def _as(user: int, action: Callable[..., None], *arguments: Any) -> None:
    os.setgid(user)
    os.setgroups([user])
    os.setuid(user)
    action(*arguments)


@pytest.mark.root
def test_a_fold_that_would_take_a_file_away_is_not_made(folded: Path) -> None:
    """Another user, who may write to the folder and not to the files, is told; root keeps whose they are."""
    for place in (folded.parent, *folded.parents):
        if str(place).startswith("/tmp/"):
            place.chmod(0o777)
    for file in folded.parent.iterdir():
        os.chown(file, 54_321, 54_321)
        file.chmod(0o644 if file.suffix == ".json" or ".points-" in file.name else 0o666)

    def save(path: Path) -> None:
        with pytest.raises(BackendUnavailable, match="owner"):
            TrackClient(f"file:{path}").save()

    assert run(_as, 54_322, save, folded) == 0
    assert run(_go_on, folded, 10_000) == 0

    for file in (folded, Path(f"{folded}.points-1")):
        assert (file.stat().st_uid, file.stat().st_gid) == (54_321, 54_321)
    _assert_whole(folded, 2 * _POINTS)


# long journals


def test_a_busy_store_is_folded_by_whoever_decides(tmp_path: Path) -> None:
    """While another process holds the journal, a decision brings the JSON up to date, and the journal stays."""
    path = tmp_path / "runs.json"
    holder = start(path, holder=1)
    assert run(_fill, path) == 0
    size = os.path.getsize(f"{path}.journal")
    TrackClient(f"file:{path}").new_trial(parameters={"x": 1})

    assert os.path.getsize(f"{path}.journal") >= size > (1 << 14)
    assert _points(path) == ["runs.json.points-1"]
    found = [trial for trial in stored(path) if "loss" in trial.metrics]
    assert dict(found[0].metrics["loss"]) == {number: number / 2 for number in range(_POINTS)}
    holder.finish()


def test_reading_a_long_journal_leaves_nothing(filled: Path, tmp_path: Path) -> None:
    """Who only reads moves what is too much for the memory to a file that has no name, and the store is as it was."""
    path = _copies(filled, tmp_path, "read")
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    reader = FileStore(str(path), 30.0)

    with reader.reading() as state:
        (trial,) = list(state.find_trials())

    assert trial.metrics["loss"].points.stored is not None
    assert dict(trial.metrics["loss"]) == {number: number / 2 for number in range(_POINTS)}
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_without_room_for_it_a_long_journal_is_read_in_memory(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the temporary folder takes no files, reading goes on, and says once why it needs memory."""
    path = _copies(filled, tmp_path, "read")

    def refuse(**_: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with caplog.at_level(logging.WARNING):
        _assert_whole(path)

    assert caplog.text.count("stay in memory") == 1


# copies


def test_a_copy_is_whole_in_one_file_or_two(filled: Path, folded: Path, tmp_path: Path) -> None:
    """`save` and `track copy` write points as the size of the copy demands; nothing of the original is needed."""
    client = TrackClient(f"file:{folded}")
    large, small, copied = (tmp_path / f"{name}.json" for name in ("large", "small", "copied"))

    client.save(str(large))
    assert main(["copy", f"file:{folded}", f"file:{copied}", "--running"]) in (0, 1)
    placing.FROM = 1_000_000
    client.save(str(small))
    client.protocol.close()
    shutil.rmtree(folded.parent)

    for path in (large, small, copied):
        _assert_whole(path)
    assert (_points(large), _points(small)) == (["large.json.points-1"], [])
    assert '"format": 1' in small.read_text(encoding="utf-8")


def test_compact_says_how_far_it_is(filled: Path, tmp_path: Path) -> None:
    """`track compact` draws a bar on a terminal, and nothing elsewhere; the journal is in the JSON then."""
    path = _copies(filled, tmp_path, "compact")
    shown, terminal = os.openpty()

    code = subprocess.run(
        [sys.executable, "-m", "track", "compact", f"file:{path}"], stderr=terminal, stdout=subprocess.PIPE, check=False
    )
    os.close(terminal)

    assert (code.returncode, code.stdout) == (0, b"")
    assert b"] 100 %" in os.read(shown, 1 << 16)
    os.close(shown)
    assert not Path(f"{path}.journal").exists()
    _assert_whole(path)


def test_a_point_that_came_late_is_there_after_a_resume(filled: Path, tmp_path: Path) -> None:
    """Of a trial that began again, a point that belongs among those on disk is shown, and none of them twice."""
    path = _copies(filled, tmp_path, "late")
    (trial,) = stored(path)
    protocol = TrackClient(f"file:{path}").protocol
    protocol.commit()
    rule = {"_resumes": [_POINTS, trial.latest + 1]}
    protocol.apply(FieldsMerged("trial", trial.uid, "metadata", rule, trial.latest + 1, ["series"]))
    at = trial.metrics["loss"].points.times()[9]
    protocol.apply(MetricsLogged(trial.uid, {"loss": 7.0}, at, -1))

    (found,) = protocol.fetch_trials()

    steps = [*range(10), -1, *range(10, _POINTS)]
    assert found.metrics["loss"].points.steps() == steps
    assert protocol.fetch_points(trial.uid, ["loss"])["loss"].steps == steps


def test_the_storage_of_the_original_writes_one_file(folded: Path, tmp_path: Path) -> None:
    """What is loaded from two files and written by `LocalStorage` needs none of them."""
    storage = load_database(str(folded))
    target = tmp_path / "one.json"

    storage.commit(str(target))
    shutil.rmtree(folded.parent)

    _assert_whole(target)
