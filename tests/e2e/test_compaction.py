"""The snapshot and the journal are replaced without losing or doubling anything, whenever the process dies."""

from __future__ import annotations

import builtins
import fcntl
import gc
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import die, ended, fork, run, start_program, wait
from tests.e2e.processes import attach, start, stored
from track import TrackClient
from track.logger import TrialLogger
from track.persistence.file import folding
from track.persistence.file import store as store_module
from track.persistence.local import FileProtocol

_POINTS = 1_500
_CALLS = [(os, name) for name in ("open", "replace", "fsync", "chmod", "stat", "fstat", "pread")]
_CALLS += [(builtins, "open"), (fcntl, "flock")]


def _fill(path: Path) -> None:
    """Log enough for the journal to be worth cutting, and stay without a snapshot."""
    trial = start(path)
    for number in range(_POINTS):
        trial.log_metrics(step=number, loss=number / 2)
        trial.log_metrics(value=number)


def _interrupt_at(count: int, action: Callable[[], None], after: bool) -> Callable[[], int]:
    """Run `action` before, or after, the system call of this number from now, until the result is called."""
    calls = 0

    def end() -> int:
        nonlocal calls
        made, calls = calls, 1 << 30
        return made

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            is_due = calls == count
            if is_due and not after:
                action()
            result = function(*arguments, **options)
            if is_due and after:
                action()
            return result

        return counted

    for module, name in _CALLS:
        setattr(module, name, wrap(getattr(module, name)))
    return end


def _save_and_die_at(path: Path, count: int) -> None:
    (trial,) = stored(path)
    logger = attach(path, trial.uid)
    logger.log_metadata(opened=True)
    _interrupt_at(count, die, after=False)
    logger.save()


def _raise_interrupt() -> None:
    raise KeyboardInterrupt


def _save_interrupted_at(path: Path, count: int, after: bool) -> None:
    """Save, interrupted once, and go on logging."""
    (trial,) = stored(path)
    logger = attach(path, trial.uid)
    logger.log_metadata(opened=True)
    end = _interrupt_at(count, _raise_interrupt, after)
    try:
        logger.save()
        code = 0
    except KeyboardInterrupt:
        code = 1
    if end() < count:
        code = 2
    logger.log_metrics(step=_POINTS, loss=_POINTS / 2)
    logger.save()
    os._exit(10 + code)


def _assert_whole(path: Path, points: int = _POINTS) -> None:
    (trial,) = stored(path)
    assert dict(trial.metrics["loss"]) == {number: number / 2 for number in range(points)}
    assert trial.metrics["value"].val == list(range(_POINTS))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a store that has a long journal."""
    folder = tmp_path_factory.mktemp("filled")
    assert run(_fill, folder / "runs.json") == 0
    return folder


def _copies(filled: Path, tmp_path: Path, count: int) -> Path:
    return Path(shutil.copytree(filled, tmp_path / str(count))) / "runs.json"


def test_kill_at_any_call_of_a_save_is_harmless(filled: Path, tmp_path: Path) -> None:
    """SIGKILL before the k-th system call of a save, for every k: each event is there once, the next writer works."""
    code, count = -9, 0
    while code == -9:
        count += 1
        path = _copies(filled, tmp_path, count)

        code = run(_save_and_die_at, path, count)

        _assert_whole(path)
        assert run(_save_and_die_at, path, 10_000) == 0
        _assert_whole(path)
        assert os.path.getsize(f"{path}.journal") < 1_000
        shutil.rmtree(path.parent)
    assert (code, count > 10) == (0, True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupt_at_any_call_of_a_save_is_harmless(
    filled: Path, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the k-th system call of a save, for every k: the process goes on, and each event is there once."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_LOCK_TIMEOUT", "1")
    code, count = 11, 0
    while code != 12:
        count += 1
        path = _copies(filled, tmp_path, count)

        code = run(_save_interrupted_at, path, count, after)

        assert code in (10, 11, 12)
        _assert_whole(path, _POINTS + 1)
        shutil.rmtree(path.parent)
    assert count > 10


def test_descriptors_do_not_grow_with_stores(tmp_path: Path) -> None:
    """A store that nobody uses any more gives its files back at once."""

    def use(number: int) -> None:
        start(tmp_path / f"{number}.json").finish()

    for number in range(8):
        use(number)
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    for number in range(8, 30):
        use(number)
    gc.enable()

    assert len(os.listdir("/proc/self/fd")) <= before


_SAVE = """
import sys
from track import TrackClient
client = TrackClient("file:" + sys.argv[1])
client.set_trial(uid=sys.argv[2])
client.logger.log_metadata(opened=True)
client.save()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "flock", "pread64", "chmod"])
def test_kill_by_the_kernel_in_a_save_is_harmless(filled: Path, tmp_path: Path, call: str) -> None:
    """SIGKILL delivered at the k-th real system call of a kind loses and doubles nothing."""
    for count in (1, 2, 3, 4):
        path = _copies(filled, tmp_path, count)
        (trial,) = stored(path)
        command = [sys.executable, "-c", _SAVE, path, trial.uid]
        inject = f"inject={call}:signal=KILL:when={count}"

        traced = ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject, *command]
        done = ended(start_program(*traced))

        if "ptrace" in done.stderr:
            pytest.skip(f"strace cannot trace here: {done.stderr.splitlines()[0]}")
        assert done.returncode in (0, -9, 137), done.stderr
        _assert_whole(path)


def test_save_cuts_the_journal_of_a_process_that_is_alone(filled: Path, tmp_path: Path) -> None:
    """After a save the JSON file holds everything and the journal nothing."""
    path = _copies(filled, tmp_path, 0)

    assert run(_save_and_die_at, path, 10_000) == 0

    assert os.path.getsize(f"{path}.journal") < 1_000
    _assert_whole(path)


def test_save_leaves_the_journal_that_another_process_uses(filled: Path, tmp_path: Path) -> None:
    """What the other one logs afterwards is found."""
    path = _copies(filled, tmp_path, 0)
    (trial,) = stored(path)
    ready, tell_ready = os.pipe()
    go, tell_go = os.pipe()

    def other() -> None:
        logger = attach(path, trial.uid)
        logger.log_metadata(other=True)
        os.write(tell_ready, b".")
        os.read(go, 1)
        logger.log_metrics(step=_POINTS, loss=_POINTS / 2)

    pid = fork(other)
    os.read(ready, 1)
    assert run(_save_and_die_at, path, 10_000) == 0
    size = os.path.getsize(f"{path}.journal")
    os.write(tell_go, b".")

    assert wait(pid) == 0
    assert size > 60_000
    _assert_whole(path, _POINTS + 1)


def test_save_while_threads_log_loses_nothing(tmp_path: Path) -> None:
    """Compaction does not disturb the threads that log at the same time."""
    path = tmp_path / "runs.json"
    trial = start(path)

    def log(worker: int) -> None:
        for number in range(2_000):
            trial.log_metrics(**{f"m{worker}": number})

    threads = [threading.Thread(target=log, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        trial.save()
    for thread in threads:
        thread.join()

    (seen,) = stored(path)
    assert {name: seen.metrics[name].val for name in seen.metrics} == {f"m{w}": list(range(2_000)) for w in range(4)}


def test_interrupted_replay_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a replay does not make the next save store events twice."""
    path = tmp_path / "runs.json"
    trial: TrialLogger = start(path)
    protocol = trial.protocol
    assert isinstance(protocol, FileProtocol)
    storage = protocol.storage
    for number in range(10):
        trial.log_metrics(value=number)
    apply = storage.apply

    def interrupted(events: Any) -> None:
        apply(events[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ = trial.trial
    monkeypatch.undo()
    trial.save()

    (seen,) = stored(path)
    assert seen.metrics["value"].val == list(range(10))


def test_save_over_the_store_itself_doubles_nothing(tmp_path: Path) -> None:
    """``save("runs.json")`` on the store of that name is an ordinary save."""
    path = tmp_path / "runs.json"
    trial = start(path)
    trial.log_metrics(value=1)

    trial.save(str(path))

    (seen,) = stored(path)
    assert seen.metrics["value"].val == [1]


def test_many_short_trials_write_snapshots_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a client each, and as if a second passed between any two, four times the trials write four times as much."""
    written = 0
    replace = folding.replace_file

    def counted(*arguments: Any, **options: Any) -> int:
        nonlocal written
        size = replace(*arguments, **options)
        written += size
        return size

    def write(count: int) -> int:
        nonlocal written
        written = 0
        for number in range(count):
            client = TrackClient(f"file:{tmp_path / f'{count}.json'}")
            with client.new_trial(parameters={"number": number}) as trial:
                trial.log_metrics(step=0, loss=0.5)
        return written

    monkeypatch.setattr(folding, "replace_file", counted)
    monkeypatch.setattr(store_module, "_PAUSE", 0.0)
    monkeypatch.setattr(folding, "_SMALL", 1 << 13)

    few, many = write(100), write(400)

    assert 0 < many < 5 * few
