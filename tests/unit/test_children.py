"""The helper that every test starts its children with: none is waited for without end."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.children import deadline, fork, python, start_python


def test_program_that_does_not_end_is_killed_with_its_children() -> None:
    """The test fails with what was printed, and the program's own child is gone, too."""
    process = start_python("-c", "import os, time; os.fork() or print('hello', flush=True); time.sleep(600)")
    with deadline(process.pid):
        begun = process.stdout.readline()  # type: ignore[union-attr]

    said = r"within 0\.1 s; it had printed:\nhello\n"
    with pytest.raises(pytest.fail.Exception, match=said), deadline(process.pid, 0.1) as printed:
        # Returns once nobody has the other end of the pipe.
        printed.extend([begun, *process.communicate()])

    assert process.returncode == -signal.SIGKILL


def test_fork_that_does_not_end_is_killed() -> None:
    """The same for a child that is a copy of the tests."""
    pid = fork(time.sleep, 600)

    with pytest.raises(pytest.fail.Exception, match=r"within 0\.1 s"), deadline(pid, 0.1):
        os.waitpid(pid, 0)


def test_program_hears_of_ctrl_c() -> None:
    """However the tests were started, their children are interrupted by SIGINT."""
    done = python("-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)")

    assert "KeyboardInterrupt" in done.stderr
