"""Run a command that dies with the process that wants it, with nothing of track in it.

``python keeper.py PIPE SHELL COMMAND...``: a script that does not say what runs it is run by the shell.

The other end of the pipe is held by whoever wants the command. Once it is closed, however that process ended, the whole
process group is killed: a shell's own children too, which no signal at the parent's death reaches.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shlex
import signal
import sys
import threading

_PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
"""Signals that are sent to the group are for the command: it decides when it ends."""


def _die_with_parent(parent: int) -> None:
    """On Linux: be killed when the parent dies, this process only."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _kill_at_end_of(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _become(command: list[str], shell: str) -> None:
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    words = [*shlex.split(shell), *command]
    os.execvp(words[0], words)  # noqa: S606 - as run.sh does


def _main(pipe: int, shell: str, command: list[str]) -> int:
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED)
    child = os.fork()
    if child == 0:
        _die_with_parent(keeper)
        os.close(pipe)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED)
        try:
            _become(command, shell)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="replace"))
        finally:
            os._exit(127)
    threading.Thread(target=_kill_at_end_of, args=(pipe,), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        # As the command has ended; it may have left a core, this has nothing to leave.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        # Of it only: another one that waits here would be news of this process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
        os.kill(keeper, -code)
    return code


if __name__ == "__main__":
    os._exit(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
