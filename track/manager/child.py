"""One trial's body in a process group of its own, which never outlives the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_KEEPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keeper.py")
GRACE = 30.0
"""Seconds that a body has to end in, once it was told to: what a preempted job usually has."""


def own_environment() -> dict[str, str]:
    """Return the variables of this process, by which scripts that say ``python3`` find the interpreter that is meant.

    That is the one of this process, whose environment need not be activated; where another one is, it is that one's.
    """
    others = os.environ.get("PATH", os.defpath)
    path = others if _is_other_activated() else os.pathsep.join([os.path.dirname(sys.executable), others])
    return {**os.environ, "PATH": path}


def _is_other_activated() -> bool:
    """Return whether a person has activated an environment that is not ours; that of conda itself always is."""
    is_base = os.environ.get("CONDA_DEFAULT_ENV", "base") == "base"
    active = os.environ.get("VIRTUAL_ENV") or (None if is_base else os.environ.get("CONDA_PREFIX"))
    return bool(active) and os.path.realpath(str(active)) != os.path.realpath(sys.prefix)


class Child:
    """A command that runs in a process group of its own.

    Parameters
    ----------
    command: list of str
    environment: mapping
        Variables beside those of this process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._timer: threading.Timer | None = None
        held, self._held = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _KEEPER, str(held), *command],
                env={**own_environment(), **environment},
                stdin=subprocess.DEVNULL,
                pass_fds=(held,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(held)

    def wait(self) -> int:
        """Return the exit code, minus the signal that ended it, once it has ended; nothing of its group stays."""
        try:
            return self._process.wait()
        finally:
            self.kill()
            if self._timer is not None:
                self._timer.cancel()
            os.close(self._held)

    def tell(self, signum: int, frame: Any = None) -> None:
        """Send a signal to the group; who does not end soon is killed, and who is told twice at once."""
        if self._timer is not None:
            self.kill()
            return
        self._timer = threading.Timer(GRACE, self.kill)
        self._timer.daemon = True
        self._timer.start()
        self._send(signum)

    def kill(self) -> None:
        """Kill what is left of the group."""
        self._send(signal.SIGKILL)

    def _send(self, signum: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signum)
