"""How a process ends, and what its trial says afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
    "killed": ("trial.start(); os.kill(os.getpid(), signal.SIGKILL)", -9, "Broken"),
}


def _run(path: Path, script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _BEGIN + script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


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
