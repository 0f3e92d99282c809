"""How a process ends, and what its trial says afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.children import python
from tests.e2e.processes import stored

_BEGIN = """
import os, signal, sys
from track import TrackClient
client = TrackClient("file:" + sys.argv[1])
client.set_project(name="survival")
trial = client.new_trial(parameters={"lr": 0.1})
"""

ENDS = {
    "terminated": ("with trial: os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143, "Interrupted"),
    "terminated without with": ("trial.start(); os.kill(os.getpid(), signal.SIGTERM)", 143, "Interrupted"),
    "ctrl-c": ("with trial: os.kill(os.getpid(), signal.SIGINT); signal.pause()", -2, "Interrupted"),
    "exit 0 inside with": ("with trial: sys.exit(0)", 0, "Completed"),
    "exception inside with": ("with trial: raise ValueError('bad')", 1, "Exception"),
    "exception without with": ("trial.start(); raise ValueError('bad')", 1, "Exception"),
    "no finish": ("trial.start()", 0, "Completed"),
    "exit 0 without with": ("trial.start(); sys.exit(0)", 0, "Completed"),
    "exit 3 without with": ("trial.start(); sys.exit(3)", 3, "Exception"),
    "exit with a text": ("trial.start(); sys.exit('no data')", 1, "Exception"),
    "exit that is caught": (
        "trial.start()\ndef main():\n  try: sys.exit(3)\n  except SystemExit: pass\nmain()",
        0,
        "Completed",
    ),
    "exit of a thread": (
        "import threading; trial.start(); thread = threading.Thread(target=sys.exit, args=(3,)); thread.start(); "
        "thread.join()",
        0,
        "Completed",
    ),
    "killed": ("trial.start(); os.kill(os.getpid(), signal.SIGKILL)", -9, "Broken"),
}


def _run(path: Path, script: str) -> subprocess.CompletedProcess[str]:
    return python("-c", _BEGIN + script, path)


@pytest.mark.parametrize("end", ENDS)
def test_end_of_a_process_is_the_status_of_its_trial(tmp_path: Path, end: str) -> None:
    """The exit code is what it would be without track, and the trial says how it ended."""
    path = tmp_path / "runs.json"
    script, code, status = ENDS[end]

    done = _run(path, script)

    (trial,) = stored(path)
    assert (done.returncode, trial.status.name) == (code, status), done.stderr
    if "terminated" in end:
        assert "SIGTERM" in trial.errors[0]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_error_of_a_signal_ends_where_the_program_was(tmp_path: Path, name: str) -> None:
    """The traceback that is stored ends in the user's own code, not in what raised for the signal."""
    path = tmp_path / "runs.json"
    script = f"def wait_here():\n  os.kill(os.getpid(), signal.{name}); signal.pause()\nwith trial: wait_here()"

    done = _run(path, script)

    error = stored(path)[0].errors[-1]
    assert error.splitlines()[-1].endswith("in wait_here"), (error, done.stderr)


def test_error_of_an_exit_ends_where_the_program_was(tmp_path: Path) -> None:
    """The traceback of ``sys.exit`` ends in the user's own code."""
    path = tmp_path / "runs.json"

    _run(path, "def leave():\n  sys.exit(3)\nwith trial: leave()")

    error = stored(path)[0].errors[-1]
    assert error.startswith("SystemExit: 3\n")
    assert error.splitlines()[-1].endswith("in leave")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_handler_of_the_user_runs(tmp_path: Path, when: str, name: str) -> None:
    """A user's own signal handler runs, installed before the trial or after it, and the training goes on."""
    path = tmp_path / "runs.json"
    install = f"signal.signal(signal.{name}, lambda *_: print('mine'))\n"
    first, second = (install, "trial.start()\n") if when == "before" else ("trial.start()\n", install)

    done = _run(path, f"{first}{second}os.kill(os.getpid(), signal.{name})\ntrial.log_metrics(value=1)")

    assert (done.stdout, done.returncode) == ("mine\n", 0), done.stderr
    assert stored(path)[0].metrics["value"].val == [1]
