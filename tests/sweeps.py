"""Sets of experiments for tests, whose bodies write a line each time that they run."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.children import deadline, fork, wait
from track.experiment import Experiment
from track.manager import ExperimentManager

LOG = "TEST_BODIES"
"""The variable that names the file of the lines."""
SCRIPT = f"""#!/bin/bash
read -r _ _ _ worker _ < /proc/$PPID/stat
name="$(basename "${{1%/params.yml}}")"
echo "$name ${{TRACK_ATTEMPT:-0}} $$ $worker" >> "${LOG}"
"""


class Body(NamedTuple):
    """What a body has written."""

    attempt: int
    pid: int
    worker: int


def bodies(log: Path) -> dict[str, list[Body]]:
    """Return which bodies have run, by the experiment."""
    found = defaultdict(list)
    for line in log.read_text().splitlines() if log.exists() else ():
        name, *numbers = line.split()
        found[name].append(Body(*map(int, numbers)))
    return dict(found)


def wait_for_a_body(log: Path, pid: int) -> None:
    """Return once a child has begun a body."""
    with deadline(pid):
        while not log.exists() or not log.read_bytes().count(b"\n"):
            time.sleep(0.002)


def interrupt(log: Path, action: Callable[[], object]) -> None:
    """Call a function in a child, press Ctrl-C in its first body, and require that it raises KeyboardInterrupt."""

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            action()

    pid = fork(interrupted)
    wait_for_a_body(log, pid)
    os.kill(pid, signal.SIGINT)
    assert wait(pid) == 0


def write_line(name: str, attempt: int) -> None:
    """Say that a body runs in this process."""
    descriptor = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{name} {attempt} {os.getpid()} {os.getppid()}\n".encode())
    os.close(descriptor)


class Train(Experiment):
    """An experiment that ends as it is told to."""

    number: int = 0  # @p of the experiment
    how: str = "well"  # @p how it ends

    def run(self) -> None:
        assert self.trial is not None
        assert self.root is not None
        attempt = self.trial.trial.attempt
        self.message({"number": self.number})
        write_line(os.path.basename(self.root), attempt)
        _ENDS[self.how](self, attempt)


def _use_memory(experiment: Train, attempt: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    bytearray(1 << 30)


def _raise(experiment: Train, attempt: int) -> None:
    raise ValueError("as asked")


def _fork(experiment: Train, attempt: int) -> None:
    if os.fork() == 0:
        sys.exit(5)
    os.wait()


def _say_until_told(experiment: Train, attempt: int) -> None:
    while attempt == 1:
        experiment.message({"number": -time.monotonic()}, keep="min")


def _pause(experiment: Train, attempt: int) -> None:
    if attempt == 1:
        # Not in the middle of a transaction, for whose end others would wait.
        assert experiment.trial is not None
        experiment.trial.protocol.flush()
        os.kill(os.getpid(), signal.SIGSTOP)


def _pause_and_say(experiment: Train, attempt: int) -> None:
    _pause(experiment, attempt)
    _say_until_told(experiment, attempt)


def _end_worker(experiment: Train, attempt: int) -> None:
    if attempt == 1:
        os.kill(os.getpid(), signal.SIGTERM)


_ENDS = {
    "well": lambda experiment, attempt: None,
    "raise": _raise,
    "leave": lambda experiment, attempt: os._exit(0),
    "kill": lambda experiment, attempt: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda experiment, attempt: sys.exit(3),
    "memory": _use_memory,
    "fork": _fork,
    "once": lambda experiment, attempt: attempt > 1 or _raise(experiment, attempt),
    "pause": _pause,
    "pause-say": _pause_and_say,
    "end-worker": _end_worker,
    "say": _say_until_told,
    "deaf": lambda experiment, attempt: os.environ.clear(),
}


def python_set(root: Path, parameters: str) -> ExperimentManager:
    """Make a set of `Train`."""
    manager = ExperimentManager(root)
    manager.initialise(name=Train)
    manager.register(string_params=parameters)
    manager._set.close()
    return manager


def shell_set(root: Path, parameters: str, script: str = "") -> ExperimentManager:
    """Make a set of a script, whose bodies write their line first; ``$name`` is that of the experiment."""
    source = root.parent / f"{root.name} source"
    source.mkdir()
    (source / "defaults.yml").write_text("number: 0\n")
    (source / "script.sh").write_text(SCRIPT + script)
    manager = ExperimentManager(root)
    manager.initialise(defaults=str(source / "defaults.yml"), script=str(source / "script.sh"))
    manager.register(string_params=parameters)
    manager._set.close()
    return manager
