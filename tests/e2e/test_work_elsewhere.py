"""Workers that a store sees little of: in containers, on other disks, in threads, and with bodies that say nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.children import ROOT, fork, wait
from tests.e2e.test_work import _stopped, _trials, _wait_until
from tests.servers.track import Process
from tests.sweeps import bodies, python_set, shell_set
from track.experiment import Experiment
from track.experiment_utils import load_param
from track.front import innermost_block
from track.manager import ExperimentManager, work
from track.structure import Status
from track.utils import system
from track.utils.system import process_identity

pytest.importorskip("yaml")
on_linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


@pytest.fixture(autouse=True)
def log(log: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that bodies write to, of programs of this library, too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return log


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an empty store in a file, that is configured."""
    uri = f"file:{tmp_path}/store"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    return uri


@pytest.fixture
def server(tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give an empty store behind a server, that is configured."""
    server = Process(f"file:{tmp_path}/store")
    server.start()
    uri = f"socket://127.0.0.1:{server.port}"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    yield uri
    server.end()


class _Own(dict[str, Any]):
    """What a process says that it is; it is asked for its pid first."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the pid that it has, and say another one."""
        return os.getpid() if name == "pid" else super().get(name, default)


def _killed_as(root: Path, change: Callable[[str, str, str], str]) -> None:
    """Let a worker be killed in a body that says it has our pid, and another start."""
    own = process_identity()

    def work_as() -> None:
        system._own = _Own(own, started=change(*own["started"].split("/")))
        work(root, isolate=False)

    child = fork(work_as)
    _stopped(child)
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL


@on_linux
def test_a_worker_of_another_container_is_not_taken_for_dead(uri: str, tmp_path: Path, log: Path) -> None:
    """Two containers may have one host name, and a process of one pid each: what one cannot see the other may run."""
    root = tmp_path / "set"
    python_set(root, "{how: pause}")
    _killed_as(root, lambda boot, _, ticks: f"{boot}/pid:[1]/{ticks}")

    assert work(root, isolate=False) == 0

    (trial,) = _trials(uri)
    assert (trial.status, trial.attempt) == (Status.Running, 1)
    assert [body.attempt for body in bodies(log)["how=pause"]] == [1]


@on_linux
def test_a_worker_whose_pid_another_process_has_is_dead(uri: str, tmp_path: Path, log: Path) -> None:
    """A pid is given again; the process that has it now is not the one that ran the experiment."""
    root = tmp_path / "set"
    python_set(root, "{how: pause}")
    _killed_as(root, lambda boot, namespace, ticks: f"{boot}/{namespace}/{int(ticks) - 1}")

    assert work(root, isolate=False) == 1

    (trial,) = _trials(uri)
    assert (trial.status, trial.attempt) == (Status.Completed, 2)
    assert [body.attempt for body in bodies(log)["how=pause"]] == [1, 2]


def test_a_worker_speaks_for_a_body_that_is_silent(uri: str, tmp_path: Path, log: Path) -> None:
    """While a script says nothing, its worker gives signs of life, by which another host sees that it lives."""
    root, go = tmp_path / "set", tmp_path / "go"
    shell_set(root, "{number: 1}", f'while [ ! -e "{go}" ]; do sleep 0.05; done\n')

    def work_with_a_beat() -> None:
        os.environ["TRACK_LOG_HEARTBEAT_TIMEOUT"] = "0.1"
        work(root)

    pid = fork(work_with_a_beat)
    _wait_until(lambda: bodies(log), pid)
    heard: set[float] = set()

    def is_heard() -> bool:
        heard.update(trial.latest for trial in _trials(uri))
        return len(heard) > 3

    _wait_until(is_heard, pid)
    go.touch()

    assert wait(pid) == 0
    (trial,) = _trials(uri)
    assert (trial.status, trial.attempt, len(bodies(log)["number=1"])) == (Status.Completed, 1, 1)


def test_a_server_is_all_that_two_workers_share(server: str, tmp_path: Path, log: Path) -> None:
    """On another disk, with the server alone: programs and folders come from the record, and each body runs once."""
    python_set(tmp_path / "set", "{number: 1 | 2 | 3 | 4}")
    roots = [tmp_path / f"disk {number}" / "set" for number in range(2)]

    pids = [fork(work, root) for root in roots]
    assert [wait(pid) for pid in pids] == [0, 0]

    assert {name: len(ran) for name, ran in bodies(log).items()} == {f"number={number}": 1 for number in range(1, 5)}
    shown = [load_param(path.parent)["_status"] for root in roots for path in root.glob("*/params.yml")]
    assert shown == ["finished"] * 4
    assert load_param(tmp_path / "set" / "number=1")["_status"] == "registered"
    assert {trial.status for trial in _trials(server)} == {Status.Completed}


class Meeting(Experiment):
    """Waits until another one runs beside it, in another thread of this process."""

    number: int = 0  # @p of the experiment

    def run(self) -> None:
        """Say it to its own trial."""
        _MEETING.wait(60)
        block = innermost_block()
        assert block is not None
        block.log_metrics(step=0, seen=self.number)
        self.message({"number": self.number})
        _MEETING.wait(60)


_MEETING = threading.Barrier(2)


def test_threads_of_one_process_work_side_by_side(uri: str, tmp_path: Path) -> None:
    """As an engine does that runs several tasks in one process: each thread has a current trial of its own."""
    manager = ExperimentManager(tmp_path / "set", headless=True)
    manager.initialise(name=Meeting)
    manager.register(string_params="{number: 1 | 2 | 3 | 4}")
    manager.close()

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: work(tmp_path / "set", isolate=False), range(2)))

    trials = _trials(uri)
    assert (sum(done), {trial.status for trial in trials}) == (4, {Status.Completed})
    assert [(dict(trial.metrics["seen"]), trial.metadata["messages.number"]) for trial in trials] == [
        ({0: number}, number) for number in range(1, 5)
    ]


def test_threads_with_bodies_of_their_own_work_side_by_side(uri: str, tmp_path: Path, log: Path) -> None:
    """So do those whose bodies are processes, though only the main thread may say what a signal does."""
    shell_set(tmp_path / "set", "{number: 1 | 2 | 3 | 4}")

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: work(tmp_path / "set"), range(2)))

    assert (sum(done), {name: len(ran) for name, ran in bodies(log).items()}) == (
        4,
        {f"number={number}": 1 for number in range(1, 5)},
    )
