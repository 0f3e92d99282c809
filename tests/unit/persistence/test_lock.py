"""The lock between processes: held by one, given back for good, whatever happens to its file."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

import track
from tests.children import fork, run, wait
from track import TrackClient
from track.errors import BackendUnavailable, LockTimeout
from track.persistence.file.lock import StoreLock, _Waiter, is_of_network
from track.utils.mounts import file_system_of


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give the name of a lock file."""
    return str(tmp_path / "runs.json.lock")


def test_held_lock_is_refused_after_the_timeout(path: str) -> None:
    """Who cannot have the lock is told which file, and which option."""
    with StoreLock(path, 1), pytest.raises(LockTimeout, match=r"runs\.json\.lock .* log\.backend\.lock_timeout"):
        StoreLock(path, 0.01).__enter__()


def test_lock_that_was_refused_can_be_had_later(path: str) -> None:
    """Waiting in vain leaves nothing behind."""
    other = StoreLock(path, 0.01)
    with StoreLock(path, 1):
        was_taken = other.try_acquire()

    with other:
        assert not was_taken
        assert other.is_held


def test_inner_block_keeps_the_lock(path: str) -> None:
    """The same thread may take it again, and only the outer block gives it back."""
    lock = StoreLock(path, 1)
    with lock:
        with lock:
            pass
        assert not StoreLock(path, 0).try_acquire()
    assert StoreLock(path, 0).try_acquire()


def test_forked_child_does_not_keep_the_lock(path: str) -> None:
    """The lock is free once the parent gives it back, also while a child of that time lives."""
    read_end, write_end = os.pipe()

    def stay() -> None:
        os.close(write_end)
        os.read(read_end, 1)

    with StoreLock(path, 1):
        child = fork(stay)

    is_free = StoreLock(path, 0).try_acquire()
    os.close(write_end)
    wait(child)
    os.close(read_end)

    assert is_free


def test_child_does_not_unlock_for_its_parent(path: str) -> None:
    """A child that begins anew leaves the parent's lock as it is."""
    lock = StoreLock(path, 1)

    def begin_anew() -> None:
        lock.reset_after_fork()
        assert not StoreLock(path, 0).try_acquire()

    with lock:
        assert run(begin_anew) == 0
        assert not StoreLock(path, 0).try_acquire()


def test_lock_that_comes_too_late_is_given_back(path: str) -> None:
    """Who has given up does not keep the lock that it gets in the end."""
    with StoreLock(path, 1), pytest.raises(LockTimeout):
        StoreLock(path, 0.01).__enter__()

    # In the kernel's order it is the turn of who has given up first.
    with StoreLock(path, 30) as lock:
        assert lock.is_held


def test_lock_is_waited_for_without_asking_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits is woken when the lock is free; it does not look again and again."""
    asked: list[int] = []
    refused = filelock.lock_descriptor

    def count(descriptor: int, *, blocking: bool) -> bool:
        asked.append(descriptor)
        return refused(descriptor, blocking=blocking)

    monkeypatch.setattr(filelock, "lock_descriptor", count)
    waiting, other = threading.Event(), StoreLock(path, 30)
    monkeypatch.setattr("track.persistence.file.lock._Waiter", _told(waiting))
    with open(path, "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        thread = threading.Thread(target=other.__enter__)
        thread.start()
        assert waiting.wait(30)
        fcntl.flock(holder, fcntl.LOCK_UN)
        thread.join(30)

    assert (other.is_held, len(asked)) == (True, 1)
    other._release_file()


def test_interrupted_wait_leaves_the_lock_to_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a lock is waited for gives up the wait, and what comes of it later."""

    class Interrupted(_Waiter):
        def descriptor_within(self, seconds: float, meanwhile: Callable[[], None]) -> int | None:
            self._ended = SimpleNamespace(wait=_interrupt, set=lambda: None)  # type: ignore[assignment]
            return super().descriptor_within(seconds, meanwhile)

    monkeypatch.setattr("track.persistence.file.lock._Waiter", Interrupted)
    with open(path, "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(KeyboardInterrupt):
            StoreLock(path, 30).__enter__()
    monkeypatch.undo()

    with StoreLock(path, 30) as lock:
        assert lock.is_held


def _interrupt(seconds: float) -> None:
    raise KeyboardInterrupt


def _told(waiting: threading.Event) -> type[_Waiter]:
    """Return a waiter that says when it waits."""

    class Waiter(_Waiter):
        def descriptor_within(self, seconds: float, meanwhile: Callable[[], None]) -> int | None:
            waiting.set()
            return super().descriptor_within(seconds, meanwhile)

    return Waiter


def test_deleted_lock_file_is_made_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for a file that was deleted meanwhile locks the one that has its name, as everybody will."""
    lock = StoreLock(path, 30)
    tried, taken, done = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr("track.persistence.file.lock._Waiter", _told(tried))

    def wait() -> None:
        with lock:
            taken.set()
            done.wait(30)

    with open(path, "w") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert tried.wait(30)
        os.unlink(path)
        fcntl.flock(old, fcntl.LOCK_UN)
    try:
        assert taken.wait(30)
        assert not StoreLock(path, 0).try_acquire()
    finally:
        done.set()
        waiting.join()


def test_other_platforms_are_told() -> None:
    """Without the locks of POSIX the import of the store is one clear error; the package itself can be imported."""
    script = "import sys; sys.modules['fcntl'] = None; import track; track.TrackClient('file:runs.json')"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stderr.endswith("ImportError: track keeps files on POSIX systems only (Linux, macOS)\n")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_names_the_way_out(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files cannot be locked the first call says so, and what to add; with it, everything is stored."""

    def refuse(*_: object, **__: object) -> bool:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    uri = f"file:{tmp_path}/runs.json"

    with pytest.raises(BackendUnavailable, match=r"cannot be locked \(.*\?lock=never"):
        TrackClient(uri).new_trial(parameters={})
    for _ in range(2):
        with TrackClient(f"{uri}?lock=never").new_trial(parameters={}) as trial:
            trial.log_metrics(step=0, loss=0.5)
        trial.protocol.commit()

    assert [dict(stored.metrics["loss"]) for stored in track.fetch(uri)] == [{0: 0.5}] * 2


@pytest.mark.parametrize(
    ("kind", "is_network"),
    [
        *((kind, True) for kind in ("nfs4", "9p", "virtiofs", "wekafs", "orangefs", "beegfs", "lustre", "cifs")),
        *((kind, True) for kind in ("fuse", "fuse.sshfs", "fuse.juicefs", "fuse.rclone", "fuse.something-new")),
        *((kind, False) for kind in ("ext4", "xfs", "tmpfs", "overlay", "fuseblk", "fuse.bindfs", "fuse.gocryptfs")),
    ],
)
@pytest.mark.parametrize("name", ["plain", "with space", "données", "日本 ☃", "back\\slash", b"not \xff text"])
def test_mounts_are_told_apart(tmp_path: Path, kind: str, is_network: bool, name: str | bytes) -> None:
    """A network file system is known by its kind, whatever its folder is called, and a disk in it is not one."""
    folder = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    escaped = folder.replace(b"\\", b"\\134").replace(b" ", b"\\040")
    octal = b"".join(b"\\%03o" % code if code > 126 else bytes([code]) for code in escaped)
    inner = escaped + b"/disk"
    table = tmp_path / "mounts"
    for point in (escaped, octal):
        table.write_bytes(
            b"/dev/sda / ext4 rw 0 0\nserver:/x %s %s rw 0 0\n/dev/sdb %s ext4 rw 0 0\n" % (point, kind.encode(), inner)
        )

        found = [
            is_of_network(file_system_of(os.fsdecode(path), str(table)))
            for path in (folder + b"/runs.json", inner + b"/runs.json", folder + b"2/runs.json")
        ]

        assert found == [is_network, False, False]
