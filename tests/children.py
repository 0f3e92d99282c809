"""Children of the tests: each has a time to end in, after which it and its own children are killed."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 60.0
"""How long a child may take; less than a test may."""


def kill(pid: int) -> None:
    """Kill a child, and its own children where it leads their group."""
    with suppress(ProcessLookupError):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)


@contextmanager
def deadline(pid: int, seconds: float = SECONDS) -> Iterator[list[str]]:
    """Fail, once a child is killed for its time being over, with what the block has put into the list it is given."""
    printed: list[str] = []
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        kill(pid)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield printed
    except BaseException:
        kill(pid)
        raise
    finally:
        timer.cancel()
        timer.join()
    if is_over.is_set():
        pytest.fail(f"a child did not end within {seconds:g} s; it had printed:\n{''.join(printed)}", pytrace=False)


# Programs.


def start_program(
    *command: str | Path, cwd: str | Path | None = None, stderr: int | None = subprocess.PIPE, **variables: str
) -> subprocess.Popen[str]:
    """Start a program that finds the track of this tree, with more variables in its environment."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def ended(
    process: subprocess.Popen[str], given: str = "", seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Return how a program ended, given its input, and what it printed."""
    with deadline(process.pid, seconds) as printed:
        printed.extend(text or "" for text in process.communicate(given))
    return subprocess.CompletedProcess(process.args, process.returncode, *printed)


def start_python(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start Python with these arguments; the options are those of `start_program`."""
    return start_program(sys.executable, *arguments, **options)


def python(
    *arguments: str | Path, given: str = "", seconds: float = SECONDS, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Return how Python ended with these arguments; the other options are those of `start_program`."""
    return ended(start_python(*arguments, **options), given, seconds)


def printed_by(script: str, *arguments: str | Path, **options: Any) -> str:
    """Return what a script printed that ended well, without the last end of line."""
    done = python("-c", script, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


# Forks.


def fork(action: Callable[..., Any], *arguments: Any) -> int:
    """Run an action in a child, and return its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    # A collection would look at all that pytest holds, and copy the memory of it: a second or more.
    gc.freeze()
    try:
        os.setpgid(0, 0)
        action(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int, seconds: float = SECONDS) -> int:
    """Return the exit code of a child; minus the signal that ended it."""
    with deadline(pid, seconds):
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


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """Let files grow no longer than this one, and so many bytes more; for a child alone."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def die() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


def join(process: BaseProcess) -> None:
    """Wait for the end of a process that `multiprocessing` started."""
    assert process.pid is not None
    with deadline(process.pid):
        process.join()
