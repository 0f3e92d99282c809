"""A folder that a group shares, one that may only be read, and machines that share neither users nor homes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import die, run, run_all
from tests.e2e.disks import mounted
from track import TrackClient

# Another user may not be able to read this interpreter's modules any more.
from track.artifacts import recording  # noqa: F401
from track.errors import BackendUnavailable
from track.persistence import local, sqlite  # noqa: F401

_FORK = multiprocessing.get_context("fork")
_GROUP = 54_320
_URIS = ("file:{0}/r.json", "sqlite:{0}/r.db")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of a group, which its files belong to."""
    folder = Path(tempfile.mkdtemp(prefix="track-shared-", dir="/tmp"))
    folder.chmod(0o2770)
    if os.geteuid() == 0:
        os.chown(folder, 0, _GROUP)
    monkeypatch.setenv("HOME", "/proc")
    yield folder
    shutil.rmtree(folder)


def _as(user: int, umask: int, action: Callable[..., Any], *arguments: Any) -> None:
    """Do something as a member of the group."""
    os.setgroups([_GROUP])
    os.setgid(user)
    os.setuid(user)
    os.umask(umask)
    action(*arguments)


def _log(uri: str, user: int, end: Callable[[], Any] | None = None) -> None:
    with TrackClient(uri).new_trial(parameters={"user": user}) as trial:
        trial.log_metrics(step=0, loss=float(user))
        trial.log_artifact(f"weights of {user}".encode(), "model.bin")
        if end:
            trial.protocol.flush()
            end()
    trial.protocol.commit()
    assert trial.protocol.unsaved() == 0


def _read(uri: str, count: int) -> None:
    trials = track.fetch(uri)
    assert [trial.metrics["loss"][0] for trial in trials] == [trial.parameters["user"] for trial in trials]
    assert len(trials) == count


def _files(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640), (0o077, 0o600)])
@pytest.mark.parametrize("uri", [*_URIS, "file:{0}/r.json?eager=0"])
def test_files_follow_the_umask(shared: Path, uri: str, umask: int, mode: int) -> None:
    """Lock, journal, snapshot, database, its log, spill and artifacts: all are what the umask says."""
    before = os.umask(umask)
    try:
        with TrackClient(uri.format(shared)).new_trial(parameters={}) as trial:
            trial.log_metrics(step=0, x=1.0)
            trial.log_artifact(b"weights", "model.bin")
        trial.protocol.commit()

        found = _files(shared)
        trial.protocol.close()
    finally:
        os.umask(before)

    assert len(found) >= 3
    assert set(found.values()) == {mode}


@pytest.mark.root
@pytest.mark.parametrize("uri", _URIS)
def test_a_group_shares_a_store(shared: Path, uri: str) -> None:
    """Two users, one after the other, at once, and after a kill: each finds, and adds to, what the other has."""
    uri = uri.format(shared)
    first, second = 54_321, 54_322

    assert run(_as, first, 0o002, _log, uri, first) == 0
    assert run(_as, second, 0o002, _log, uri, second) == 0
    assert run(_as, first, 0o002, _log, uri, first, die) == -9
    both = [(user, 0o002, _log, uri, user) for user in (first, second)]
    assert run_all(_as, both) == [0, 0]
    assert run(_as, second, 0o002, _log, uri, second) == 0

    assert run(_as, first, 0o002, _read, uri, 6) == 0


@pytest.mark.root
def test_a_lock_that_only_its_owner_writes_to_is_taken(shared: Path) -> None:
    """A lock made by an older version, or under another umask, keeps nobody out of a file that he may write."""
    uri = f"file:{shared}/r.json"
    assert run(_as, 54_321, 0o002, _log, uri, 54_321) == 0
    (shared / "r.json.lock").chmod(0o644)

    assert run(_as, 54_322, 0o002, _log, uri, 54_322) == 0


@pytest.mark.root
def test_root_takes_nothing_away(shared: Path) -> None:
    """What root saves, as in a container, remains its owner's, and the group's."""
    uri = f"file:{shared}/r.json"
    assert run(_as, 54_321, 0o022, _log, uri, 54_321) == 0

    assert run(_log, uri, 0) == 0

    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in shared.glob("r.json*") if path.is_file()}
    assert owners["r.json"] == owners["r.json.journal"] == (54_321, _GROUP)
    assert run(_as, 54_321, 0o022, _log, uri, 54_321) == 0


# Without the right to write.


@pytest.mark.root
@pytest.mark.parametrize("uri", _URIS)
@pytest.mark.parametrize("life", ["ended", "killed", "running"])
def test_reading_needs_no_right_to_write(shared: Path, uri: str, life: str) -> None:
    """A folder that may only be read can be fetched from, whatever became of its writer; and nothing is created."""
    uri = uri.format(shared)
    os.chmod(shared, 0o755)
    logged, may_end = _FORK.Event(), _FORK.Event()
    writer = _FORK.Process(target=_log, args=(uri, 1, lambda: (logged.set(), may_end.wait(60))))
    if life == "killed":
        assert run(_log, uri, 1, die) == -9
        # What is left of it in memory files is gone with the machine.
        Path(f"{shared}/r.db-shm").unlink(missing_ok=True)
    elif life == "running":
        # Of another process: this one forks, for which it closes what it has open.
        writer.start()
        assert logged.wait(60)
    else:
        assert run(_log, uri, 1) == 0
    before = _files(shared)

    code = run(_as, 54_321, 0o022, _read, uri, 1)

    assert code == 0
    assert _files(shared) == before
    if life == "running":
        may_end.set()
        writer.join(60)
        assert writer.exitcode == 0


@pytest.mark.root
@pytest.mark.parametrize("uri", _URIS)
@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_a_read_only_mount_can_be_read(tmp_path: Path, uri: str, is_killed: bool) -> None:
    """So can a disk that was mounted read-only, also right after its writer was killed."""
    uri = uri.format(tmp_path)
    with mounted(tmp_path, "size=8m"):
        code = run(_log, uri, 1, die if is_killed else None)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)

        assert code == (-9 if is_killed else 0)
        _read(uri, 1)
        with pytest.raises(BackendUnavailable, match=r"read-only|readonly"):
            TrackClient(uri).new_trial(parameters={"user": 3})


@pytest.mark.root
def test_the_artifacts_of_a_read_only_store_can_be_read(tmp_path: Path) -> None:
    """Files are found and read where nothing can be written."""
    uri = f"file:{tmp_path}/r.json"
    with mounted(tmp_path, "size=8m"):
        assert run(_log, uri, 1) == 0
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)

        found = track.artifacts.find(uri, "model.bin")

        with found.open() as file:
            assert file.read() == b"weights of 1"
