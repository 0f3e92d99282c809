"""Real servers for the tests, started on free ports of this machine and gone with it."""

from __future__ import annotations

import ctypes
import functools
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once a condition holds; AssertionError when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come true within {seconds} s"
        time.sleep(0.005)


def start_server(
    command: Sequence[str], folder: str, is_ready: Callable[[int], bool], end: int = signal.SIGKILL, **options: Any
) -> subprocess.Popen[bytes]:
    """Return a server, given what asks the process of this number whether it answers, once it does.

    It writes to the file ``log`` in its folder, and gets the signal `end` should the tests die.
    """
    log = Path(folder, "log")
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            start_new_session=True,
            preexec_fn=functools.partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, end),  # noqa: PLW1509 - one call
            **options,
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(process.pid), 60)
        assert process.poll() is None, log.read_text()[-2000:]
    except BaseException:
        process.kill()
        raise
    return process
