"""The folder of an experiment, in processes of their own: whole at any moment, and nothing of anybody lost."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.children import ended, fork, python, run, run_all, start_program, wait
from tests.servers.track import Process
from track import Experiment, fetch
from track.experiment_utils import load_param
from track.persistence.registry import get_protocol
from track.structure import Status

pytest.importorskip("yaml")


@pytest.fixture(params=["folder", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the folder of an experiment: alone, or with a trial in a store."""
    if request.param == "store":
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store.json")
    return str(Experiment(tmp_path / "runs" / "a").root)


def _joined(root: str) -> Experiment:
    experiment = Experiment()
    experiment.from_yml(os.path.join(root, "params.yml"))
    return experiment


def _flush(experiment: Experiment) -> None:
    assert experiment._folder is not None
    experiment._folder._file.close()


def _write(root: str, who: int) -> None:
    experiment = _joined(root)
    for value in range(60):
        # 7 and 11 have no factor in common with 60: each comes by its least and its greatest at another time.
        experiment.message({f"own {who}": value})
        experiment.message({"least": (value * 7 + who) % 60, "by": who}, "min", "least")
        experiment.message({"greatest": (value * 11 + who) % 60}, "max")
        if value % 20 == 0:
            experiment.note(f"{who}: {value}")
        if value % 5 == 0:
            _flush(experiment)
    _flush(experiment)


def test_four_writers_and_a_reader(root: str) -> None:
    """Every reading is a whole file, and what each has said is there in the end."""
    is_over = threading.Event()
    found: list[dict[str, Any]] = []

    def read() -> None:
        while not is_over.is_set():
            found.append(load_param(root))

    reader = threading.Thread(target=read)
    pids = [fork(_write, root, who) for who in range(4)]
    reader.start()
    codes = [wait(pid) for pid in pids]
    is_over.set()
    reader.join()

    assert codes == [0, 0, 0, 0]
    assert {tuple(one)[:3] for one in found} == {("_root", "_status", "_purpose")}
    assert all("_meta" in one for one in found)
    last = load_param(root)
    assert {name: last["_messages"][name] for name in ("least", "greatest")} == {"least": 0, "greatest": 59}
    assert [last["_messages"][f"own {who}"] for who in range(4)] == [59] * 4
    assert sorted(last["_notes"]) == sorted(f"{who}: {value}" for who in range(4) for value in (0, 20, 40))
    assert sorted(os.listdir(root)) == [".lock", "params.yml"]


def _register(parent: str) -> None:
    experiment = Experiment()
    experiment.register(os.path.join(parent, "x"))
    print(experiment.root, flush=True)


@pytest.mark.parametrize("has_store", [False, True])
def test_eight_take_a_name_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_store: bool) -> None:
    """Each gets a folder of its own, without a gap, and a trial."""
    uri = f"file:{tmp_path}/store.json"
    if has_store:
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)

    assert run_all(_register, [(str(tmp_path / "runs"),)] * 8) == [0] * 8

    assert sorted(os.listdir(tmp_path / "runs")) == ["x", *(f"x_{number}" for number in range(7))]
    assert {load_param(folder)["_status"] for folder in (tmp_path / "runs").iterdir()} == {"registered"}
    if has_store:
        assert sorted(str(trial.name) for trial in fetch(uri)) == sorted(os.listdir(tmp_path / "runs"))


def test_one_of_several_that_restart_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, the others are told so."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store.json")
    folder = str(Experiment(tmp_path / "a").root)

    def again() -> None:
        Experiment().register(folder, restart=True)

    with _joined(folder):
        assert run(again) == 1
    assert run(again) == 0


_RUN = """
import sys
from track import Experiment
class Train(Experiment):
    lr = 0.1  # @p step
    def run(self):
        for value in range(3):
            self.message({"loss": value}, "max")
            self.note(str(value))
made = Train()
made.register(sys.argv[1], force=False)
made()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["openat", "write", "rename", "flock", "mkdir", "fchmod"])
def test_kill_by_the_kernel_leaves_a_whole_file(tmp_path: Path, call: str) -> None:
    """SIGKILL at the k-th system call of a kind in the folder: the file is whole, or not there yet."""
    program = tmp_path / "train.py"
    program.write_text(_RUN)
    statuses = set()
    for count in range(1, 13):
        folder = tmp_path / f"{call} {count}"
        inject = f"inject={call}:signal=KILL:when={count}"
        within = ["-P", str(folder), *(f"-P{folder / name}" for name in (".lock", "params.yml", ".params.yml.tmp"))]
        traced = ["strace", "-f", "-o", os.devnull, *within, "-e", f"trace={call}", "-e", inject]

        done = ended(start_program(*traced, sys.executable, program, folder))

        if "ptrace" in done.stderr:
            pytest.skip(f"strace cannot trace here: {done.stderr.splitlines()[0]}")
        assert done.returncode in (0, -9, 137), done.stderr
        if (folder / "params.yml").exists():
            found = load_param(folder)
            statuses.add(found["_status"])
            names = list(found)
            assert (names[0], names[-1]) == ("_root", "lr")
        again = Experiment()
        again.register(folder, restart=True)
        again.note("again")
        assert load_param(folder)["_notes"][-1] == "again"
        if done.returncode == 0:
            break

    assert statuses <= {"registered", "running", "finished"}


def test_a_killed_run_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trial is shown broken, its messages stay, and it goes on as the same trial."""
    uri = f"file:{tmp_path}/store.json"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)

    def die() -> None:
        with Experiment(tmp_path / "a") as experiment:
            experiment.message({"loss": 1})
            os.kill(os.getpid(), signal.SIGKILL)

    assert run(die) == -9
    (trial,) = fetch(uri)
    assert trial.status is Status.Broken

    again = Experiment()
    again.register(tmp_path / "a", restart=True)
    with again:
        again.message({"more": 2})

    (trial,) = fetch(uri)
    assert (trial.status, trial.attempt) == (Status.Completed, 2)
    assert load_param(tmp_path / "a")["_messages"] == {"loss": 1, "more": 2}


def test_a_child_says_nothing_about_the_run(root: str) -> None:
    """A process that is forked inside of a run, and leaves its block, ends nothing."""
    with _joined(root) as experiment:
        pid = os.fork()
        if not pid:
            experiment.message({"child": 1})
    if not pid:
        _flush(experiment)
        os._exit(0)
    assert wait(pid) == 0

    experiment.note("later")
    assert experiment.status == "finished"
    assert load_param(root)["_messages"]["child"] == 1


def test_last_messages_of_a_program_are_written(root: str) -> None:
    """A program that ends within the second, without a block, leaves nothing unsaid."""
    script = (
        "import sys; from track import Experiment\n"
        "made = Experiment(); made.from_yml(sys.argv[1] + '/params.yml'); made.message({'last': 1})"
    )

    done = python("-c", script, root)

    assert (done.returncode, done.stderr) == (0, "")
    assert load_param(root)["_messages"] == {"last": 1}


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", "stopped"), ("SIGINT", "stopped"), ("SIGUSR1", "timeout")])
def test_a_signal_ends_a_program_in_order(tmp_path: Path, name: str, status: str) -> None:
    """What it was doing is left, the file is written, and the process ends as it would have."""
    program = tmp_path / "train.py"
    program.write_text(
        "import sys, time\nfrom track import Experiment\n"
        "class Train(Experiment):\n"
        "    def run(self):\n"
        "        self.message({'time': time.time()})\n"
        "        print('ready', flush=True)\n"
        "        while True: self.message({'time': time.time()}, 'max')\n"
        "Train().main()\n"
    )
    environment = {"TRACK_LOG_BACKEND_NAME": f"file:{tmp_path}/store.json"}
    process = start_program(sys.executable, program, "-x", tmp_path / "a", **environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(getattr(signal, name))
    done = ended(process)

    assert done.returncode != 0
    found = load_param(tmp_path / "a")
    assert found["_status"] == status
    assert "time" in found["_messages"]


def test_a_server_that_is_away_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on, the folder shows what it says, that is told once, and the store has it in the end."""
    server = Process(f"file:{tmp_path}/store.json")
    server.start()
    uri = f"socket://127.0.0.1:{server.port}"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    experiment = Experiment(tmp_path / "a")
    with experiment:
        experiment.message({"best": 5, "note": "a"}, "min", "best")
        experiment.note("before")
        server.kill()
        for value in (4, 6, 3):
            experiment.message({"best": value, "by": value}, "min", "best")
            experiment.message({"last": value})
        experiment.note("while")
        _flush(experiment)
        shown = load_param(tmp_path / "a")
        server.start()
        assert experiment.trial is not None
        experiment.trial.protocol.flush(30)
        experiment.message({"best": 2, "by": 2}, "min", "best")
        experiment.note("after")

    expected = {"best": 2, "note": "a", "by": 2, "last": 3}
    reader = get_protocol(uri)
    (trial,) = reader.fetch_trials()
    for protocol in (reader, experiment.trial.protocol):
        protocol.close()
    server.end()
    assert (shown["_messages"], shown["_notes"]) == ({**expected, "best": 3, "by": 3}, ["before", "while"])
    assert load_param(tmp_path / "a")["_messages"] == expected
    assert {name: trial.metadata[f"messages.{name}"] for name in expected} == expected
    assert (trial.metadata["notes"], trial.status) == (["before", "while", "after"], Status.Completed)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) <= 1
