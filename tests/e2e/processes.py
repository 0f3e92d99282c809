"""Helpers of the end-to-end tests: children by fork, and readers that share nothing with the writers."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from track import TrackClient
from track.logger import TrialLogger
from track.persistence.file import FileStore
from track.structure import Trial


def fork(action: Callable[..., Any], *arguments: Any) -> int:
    """Run an action in a child, and return its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        action(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    """Return the exit code of a child; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(action: Callable[..., Any], *arguments: Any) -> int:
    """Run an action in a child to its end, and return its exit code."""
    return wait(fork(action, *arguments))


def run_all(action: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[int]:
    """Run an action in several children at the same time, and return their exit codes."""
    gate, opener = os.pipe()

    def when_open(*own: Any) -> None:
        os.close(opener)
        os.read(gate, 1)
        action(*own)

    pids = [fork(when_open, *own) for own in arguments]
    os.close(gate)
    os.close(opener)
    return [wait(pid) for pid in pids]


def die() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


def start(path: Path, **parameters: Any) -> TrialLogger:
    """Return a trial that runs, in the store at `path`."""
    client = TrackClient(f"file:{path}")
    client.set_project(name="survival")
    trial = client.new_trial(parameters=parameters or {"lr": 0.1})
    trial.start()
    return trial


def attach(path: Path, uid: str) -> TrialLogger:
    """Return a trial that exists, for a process of its own."""
    return TrackClient(f"file:{path}").set_trial(uid=uid)


def stored(path: Path) -> list[Trial]:
    """Return all trials as a reader finds them who has never seen the store."""
    with FileStore(str(path), 30.0).reading() as storage:
        return list(storage.find_trials())
