"""Many workers and launchers at one set, some of them killed, paused, or cut off: each body runs once, or again.

A few experiments by default; many by ``TRACK_TEST_ROUNDS=full python -m pytest tests/e2e/test_work.py``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.children import deadline, fork, wait
from tests.e2e.deliveries import IS_FULL, Place, rounds
from tests.e2e.served import shared_store
from tests.sweeps import bodies, python_set, shell_set
from track.experiment_utils import load_param
from track.manager import ExperimentManager, work
from track.persistence import get_protocol
from track.structure import Status, Trial
from track.utils import system

pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("log")
_EXPERIMENTS = rounds(8, 300)
_WORKERS = rounds(3, 32)
_LAUNCHERS = rounds(2, 4)
_HANG = f'[ "$name $TRACK_ATTEMPT" != "number=0 1" ] || sleep 60\nsleep {0.5 * IS_FULL}\n'


@pytest.fixture(params=["file", "sqlite", "postgresql", "socket"])
def uri(
    request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Give an empty store that is configured."""
    with shared_store(request, request.param, tmp_path) as uri:
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
        yield uri


def _trials(uri: str) -> list[Trial]:
    protocol = get_protocol(uri)
    found = protocol.fetch_trials()
    protocol.close()
    return found


def _wait_until(condition: Callable[[], object], pid: int) -> None:
    with deadline(pid):
        while not condition():
            time.sleep(0.002)


def _stopped(pid: int) -> None:
    with deadline(pid):
        os.waitid(os.P_PID, pid, os.WSTOPPED)


@pytest.mark.timeout(900 if IS_FULL else 120)
def test_only_bodies_of_killed_workers_run_again(uri: str, tmp_path: Path, log: Path) -> None:
    """Workers take, launchers push, and workers are killed: every experiment ends, and has one owner at a time."""
    root = tmp_path / "set"
    shell_set(root, f"{{number: {' | '.join(map(str, range(_EXPERIMENTS)))}}}", _HANG)

    workers = [fork(work, root) for _ in range(_WORKERS)]
    _wait_until(lambda: "number=0" in bodies(log), workers[0])
    launchers = [fork(lambda: ExperimentManager(root).run("*", "bash", parallel=2)) for _ in range(_LAUNCHERS)]
    killed = {_killed(bodies(log)["number=0"][0].worker, workers)}
    while IS_FULL and len(bodies(log)) < _EXPERIMENTS:
        workers.append(fork(work, root))
        time.sleep(1)
        killed.add(_killed(random.choice(workers), workers))
    codes = [wait(pid) for pid in (*workers, *launchers)]
    # What the last that was killed has left.
    assert (set(codes), wait(fork(work, root))) == ({0}, 0)

    ran = bodies(log)
    trials = _trials(uri)
    assert {trial.name for trial in trials if trial.status is Status.Completed} == ran.keys()
    assert len(ran) == len(trials) == _EXPERIMENTS
    assert [body.attempt for body in ran["number=0"]][:2] == [1, 2]
    for of_one in ran.values():
        for body, again in pairwise(of_one):
            assert again.attempt > body.attempt
            assert body.worker in killed
    # One that was killed after it had stored the end may not have shown it.
    shown = {load_param(root / name)["_status"] for name, of_one in ran.items() if of_one[-1].worker not in killed}
    assert shown == {"finished"}


def _killed(pid: int, workers: list[int]) -> int:
    """Kill a worker, and return it; 0 where it had ended already."""
    os.kill(pid, signal.SIGKILL)
    workers.remove(pid)
    code = wait(pid)
    assert code in (0, -signal.SIGKILL)
    return pid if code else 0


def _work_elsewhere(root: Path, clock: float = 0.0) -> None:
    """Work as a process of which nobody here can say whether it lives, with a clock that is ahead."""
    system.process_identity()
    system._own["host"] = "elsewhere"
    now = time.time
    time.time = lambda: now() + clock
    work(root, isolate=False)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker of another host be taken for dead after half a second, by servers too."""
    monkeypatch.setenv("TRACK_LOG_HEARTBEAT_TIMEOUT", "0.5")


@pytest.mark.usefixtures("_impatient")
def test_a_worker_that_was_paused_too_long_changes_nothing(uri: str, tmp_path: Path, log: Path) -> None:
    """Once its experiment was taken its body is interrupted, nothing of what it says is stored, and it works on."""
    root = tmp_path / "set"
    python_set(root, "{how: pause-say}")
    pid = fork(_work_elsewhere, root)
    _stopped(pid)

    assert work(root, isolate=False, trials=1, wait=60) == 1
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0

    (trial,) = _trials(uri)
    assert (trial.status, trial.attempt, trial.errors) == (Status.Completed, 2, [])
    assert trial.metadata["messages.number"] == 0
    assert trial.metadata["late_events"] > 0
    assert [body.attempt for body in bodies(log)["how=pause-say"]] == [1, 2]
    assert load_param(root / "how=pause-say")["_status"] == "finished"


def test_a_clock_that_is_ahead_rules_nobody(uri: str, tmp_path: Path, log: Path) -> None:
    """What a worker says whose clock is right counts after one whose clock was ten minutes ahead."""
    root = tmp_path / "set"
    python_set(root, "{how: end-worker}")

    assert wait(fork(_work_elsewhere, root, 600.0)) == 0
    (before,) = _trials(uri)
    assert work(root, isolate=False) == 1

    (trial,) = _trials(uri)
    assert (str(before.status), trial.status, trial.attempt) == ("requeue", Status.Completed, 2)


def _away(place: Place, root: Path) -> int:
    """Return a worker in whose body the server went away, and which goes on."""
    pid = fork(lambda: work(root, isolate=False))
    _stopped(pid)
    place.proxy.refuse()
    os.kill(pid, signal.SIGCONT)
    return pid


def test_the_end_of_a_body_waits_for_the_server(
    sql_place: Place, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, spills: Path
) -> None:
    """The worker takes no other experiment before it is stored, and nothing runs twice."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", sql_place.uri)
    root = tmp_path / "set"
    python_set(root, "{how: pause | well}")
    pid = _away(sql_place, root)
    _wait_until(lambda: load_param(root / "how=pause")["_status"] == "finished", pid)
    assert list(bodies(log)) == ["how=pause"]

    sql_place.proxy.heal()

    assert wait(pid) == 0
    assert {name: len(ran) for name, ran in bodies(log).items()} == {"how=pause": 1, "how=well": 1}
    assert {(trial.status, trial.attempt) for trial in _trials(sql_place.direct)} == {(Status.Completed, 1)}


def test_an_end_that_waits_on_the_disk_is_sent_by_the_next_worker(
    sql_place: Place, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, spills: Path
) -> None:
    """A worker that is told to end while the server is away ends; its experiment is not run again."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", sql_place.uri)
    root = tmp_path / "set"
    python_set(root, "{how: pause | well}")
    pid = _away(sql_place, root)
    _wait_until(lambda: load_param(root / "how=pause")["_status"] == "finished", pid)

    os.kill(pid, signal.SIGTERM)
    assert wait(pid) == 0
    sql_place.proxy.heal()
    assert work(root, isolate=False) == 1

    assert {name: len(ran) for name, ran in bodies(log).items()} == {"how=pause": 1, "how=well": 1}
    assert {(trial.status, trial.attempt) for trial in _trials(sql_place.direct)} == {(Status.Completed, 1)}
