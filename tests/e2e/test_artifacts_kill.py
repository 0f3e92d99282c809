"""SIGKILL at every step of an upload, a download and a clean-up: nothing partial is seen, nothing named is missing."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import die, fork, run, run_all, wait
from tests.e2e.processes import attach, start
from track.artifacts import artifacts, find, gc
from track.artifacts.leases import hold_lease
from track.artifacts.local import LocalFolder
from track.artifacts.store import ArtifactStore

_STEPS = ("open", "write", "replace", "unlink", "close", "copy_file_range", "makedirs", "mkdir", "read")
_LARGE = b"large" * 200_000


def _die_at(step: int) -> None:
    """Kill this process when it is about to make its n-th call of the system about files."""
    left = [step]

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                die()
            return original(*arguments, **options)

        return call

    for name in _STEPS:
        if hasattr(os, name):
            setattr(os, name, counted(getattr(os, name)))


def _prepared(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "data" / "sub" / "b.txt").write_text("b" * 1000)
    (tmp_path / "large.bin").write_bytes(_LARGE)
    path = tmp_path / "runs.json"
    start(path)
    return path


def _check(path: Path) -> list[str]:
    """Return the names in the manifests; everything they name is there, whole, and so is all else that is visible."""
    named = artifacts(f"file:{path}")
    for artifact in named:
        if artifact.is_directory:
            assert [artifact.read_bytes(entry.path) for entry in artifact.entries()] == [b"a", b"b" * 1000]
        else:
            assert artifact.read_bytes() == _LARGE
    objects = LocalFolder(f"{path}.artifacts")
    for kind in ("objects", "trees"):
        for found in objects.files(kind):
            content = objects.read(found.key)
            assert hashlib.sha256(content).hexdigest() == found.key.rpartition("/")[2].partition(".")[0]
    return [artifact.name for artifact in named]


def _until_it_lives(action: Callable[[int], None], check: Callable[[int], object]) -> int:
    """Kill a child at its first step, its second, ... until it comes to its end; return how many steps it has."""
    step = 0
    while True:
        step += 1
        code = run(action, step)
        assert code in (0, -9)
        check(step)
        if code == 0:
            return step


def test_killed_upload(tmp_path: Path) -> None:
    """A manifest names only what is there whole, and the next upload and clean-up find all in order."""
    path = _prepared(tmp_path)
    (uid,) = [trial.uid for trial in start(path).protocol.fetch_trials({"revision": 0})]

    def upload(step: int) -> None:
        trial = attach(path, uid)
        trial.protocol.fetch_trials(None)
        _die_at(step)
        trial.log_file(tmp_path / "large.bin")
        trial.log_directory(tmp_path / "data", recursive=True)

    steps = _until_it_lives(upload, lambda step: _check(path))

    assert steps > 30
    assert set(_check(path)) == {"large.bin", "data"}
    gc(f"file:{path}")
    assert set(_check(path)) == {"large.bin", "data"}
    assert [left for left in LocalFolder(f"{path}.artifacts").unfinished() if left.owner] == []


def test_killed_clean_up(tmp_path: Path) -> None:
    """What trials name is there after every step, and the next clean-up ends the work."""
    path = _prepared(tmp_path)
    trial = start(path)
    trial.log_file(tmp_path / "large.bin")
    trial.log_directory(tmp_path / "data", recursive=True)
    store = ArtifactStore(LocalFolder(f"{path}.artifacts"))

    def leave_garbage() -> None:
        with store.storing() as lease:
            for number in range(3):
                store.put_bytes(b"garbage %d" % number, lease)

    def clean(step: int) -> None:
        _die_at(step)
        gc(f"file:{path}")

    def check(step: int) -> None:
        assert set(_check(path)) == {"large.bin", "data"}
        gc(f"file:{path}")
        assert len(store.folder.files("objects")) == 3
        leave_garbage()

    leave_garbage()
    steps = _until_it_lives(clean, check)

    assert steps > 10
    assert len(gc(f"file:{path}").removed) == 3
    assert len(store.folder.files("objects")) == 3
    assert store.folder.files("condemned") == []


def test_killed_download(tmp_path: Path) -> None:
    """A file is there whole or not at all, and the next download leaves nothing else."""
    path = _prepared(tmp_path)
    trial = start(path)
    trial.log_file(tmp_path / "large.bin")
    trial.log_directory(tmp_path / "data", recursive=True)
    large, data = find(trial, "large.bin"), find(trial, "data")
    target = tmp_path / "back"
    target.mkdir()

    def bring(step: int) -> None:
        _die_at(step)
        large.download(target / "large.bin")
        data.download(target / "data")

    def check(step: int) -> None:
        expected = {"large.bin": _LARGE, "data/a.txt": b"a", "data/sub/b.txt": b"b" * 1000}
        for name, content in expected.items():
            if (target / name).exists():
                assert (target / name).read_bytes() == content

    steps = _until_it_lives(bring, check)

    assert steps > 10
    visible = sorted(file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file())
    assert visible == ["data/a.txt", "data/sub/b.txt", "large.bin"]


def _store_many(path: Path, uid: str, source: Path) -> None:
    trial = attach(path, uid)
    for number in range(20):
        assert trial.log_file(source, name=f"{os.getpid()}-{number}") is not None
        assert trial.log_artifact(b"shared %d" % number, f"bytes-{os.getpid()}-{number}") is not None


def test_processes_store_the_same(tmp_path: Path) -> None:
    """Processes that store the same content at the same time have it stored once, whole."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid
    (tmp_path / "large.bin").write_bytes(_LARGE)

    codes = run_all(_store_many, [(path, uid, tmp_path / "large.bin")] * 4)

    assert codes == [0] * 4
    folder = LocalFolder(f"{path}.artifacts")
    assert len(folder.files("objects")) == 21
    assert folder.unfinished() == []
    assert len(artifacts(f"file:{path}")) == 160
    assert all(len(found.read_bytes()) == found.size for found in artifacts(f"file:{path}"))


def _clean_many(path: Path) -> None:
    for _ in range(60):
        gc(f"file:{path}")


def _store_and_leave(path: Path, uid: str) -> None:
    """Store the same few contents again and again, some with a record and some without."""
    trial = attach(path, uid)
    store = ArtifactStore(LocalFolder(f"{path}.artifacts"))
    for number in range(60):
        content = b"content %d" % (number % 3)
        with store.storing() as lease:
            store.put_bytes(content, lease)
        if number % 7 == 0:
            assert trial.log_artifact(content + b"!" * (number // 7 % 2), f"{os.getpid()}-{number}") is not None


def test_clean_up_beside_uploads(tmp_path: Path) -> None:
    """However uploads and clean-ups mix, everything that a trial names is there at the end."""
    path = tmp_path / "runs.json"
    uid = start(path).trial.uid
    cleaners = [fork(_clean_many, path) for _ in range(2)]

    codes = run_all(_store_and_leave, [(path, uid)] * 3)
    codes += [wait(pid) for pid in cleaners]

    assert codes == [0] * 5
    found = artifacts(f"file:{path}")
    assert len(found) == 27
    assert all(hashlib.sha256(artifact.read_bytes()).hexdigest() == artifact.digest for artifact in found)
    gc(f"file:{path}")
    assert len(LocalFolder(f"{path}.artifacts").files("objects")) == len({artifact.uri for artifact in found})


def test_clean_up_waits_for_an_upload_in_another_process(tmp_path: Path) -> None:
    """A large file that is being stored keeps what was stored under its lease."""
    path = tmp_path / "runs.json"
    start(path)
    store = ArtifactStore(LocalFolder(f"{path}.artifacts"))
    ready, go = os.pipe(), os.pipe()

    def upload() -> None:
        with hold_lease(store.folder) as lease:
            store.put_bytes(b"first of many", lease)
            os.write(ready[1], b"x")
            os.read(go[0], 1)

    pid = fork(upload)
    os.read(ready[0], 1)
    during = gc(f"file:{path}")
    os.write(go[1], b"x")

    assert wait(pid) == 0
    assert (during.removed, during.waiting) == ([], 1)
    assert len(gc(f"file:{path}").removed) == 1


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_file_that_changes_is_found_out(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is written while it is read is not stored, and nothing raises; it is once it rests."""
    path = tmp_path / "runs.json"
    source = tmp_path / "changing.bin"
    source.write_bytes(b"0" * size)
    trial = start(path)
    has_ended = threading.Event()

    def write() -> None:
        number = 0
        with source.open("r+b", buffering=0) as file:
            while not has_ended.is_set():
                number += 1
                os.pwrite(file.fileno(), b"%d" % number, 0)
                os.utime(source, ns=(number, number))

    writer = threading.Thread(target=write)
    writer.start()
    found = [trial.log_file(source) for _ in range(5)]
    has_ended.set()
    writer.join()
    for artifact in filter(None, found):
        assert hashlib.sha256(artifact.read_bytes()).hexdigest() == artifact.digest
    if None in found:
        assert "changed while it was read" in caplog.text
        assert "changing.bin" in trial.trial.metadata["artifacts_not_stored"]
    kept = trial.log_file(source)

    assert kept is not None
    assert kept.read_bytes() == source.read_bytes()
