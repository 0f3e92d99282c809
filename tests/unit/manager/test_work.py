"""Workers of a set: which experiments they run, and what becomes of those whose body ends badly."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import time
from pathlib import Path

import pytest

from tests.children import deadline, fork, wait
from tests.sweeps import LOG, bodies, python_set, shell_set
from track import fetch
from track.errors import InvalidCall
from track.experiment_utils import load_param
from track.manager import work, work_in_processes
from track.structure import Trial
from track.utils.system import hostname, is_process_alive

pytest.importorskip("yaml")
_KILL_WORKER = 'kill -9 "$worker"; sleep 60\n'


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that bodies write to."""
    path = tmp_path / "bodies"
    monkeypatch.setenv(LOG, str(path))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root with what a shell would take for something else in its name."""
    return tmp_path / 'a $(set) of "them"'


def _trials(root: Path) -> dict[str, Trial]:
    return {trial.name: trial for trial in fetch(f"file:{root}/.track/report.json")}


def _statuses(root: Path) -> dict[str, tuple[str, str]]:
    """Return the status of each experiment, as stored and as its file says."""
    return {
        name: (str(trial.status), load_param(root / name)["_status"]) for name, trial in sorted(_trials(root).items())
    }


def _wait_for_a_body(log: Path, pid: int, count: int = 1) -> None:
    with deadline(pid):
        while not log.exists() or log.read_bytes().count(b"\n") < count:
            time.sleep(0.002)


def test_what_waits_is_run_once_in_its_order(root: Path, log: Path) -> None:
    """Each is run by its script, the oldest first; nothing is left for a second call."""
    shell_set(root, "{number: 3 | 1 | 2}")

    assert (work(root), work(root)) == (3, 0)

    assert [(name, len(ran)) for name, ran in bodies(log).items()] == [
        ("number=3", 1),
        ("number=1", 1),
        ("number=2", 1),
    ]
    assert _statuses(root) == dict.fromkeys(["number=1", "number=2", "number=3"], ("completed", "finished"))


def test_only_so_many_are_run(root: Path, log: Path) -> None:
    """``trials`` is the most, and the others wait."""
    shell_set(root, "{number: 1 | 2}")

    assert work(root, trials=1) == 1

    assert list(bodies(log)) == ["number=1"]
    assert _statuses(root)["number=2"] == ("registered", "registered")


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(InvalidCall, match="no set of experiments"):
        work(tmp_path)


def test_the_end_of_a_script_is_that_of_its_trial(root: Path) -> None:
    """The exit code says what a script does not say itself; one that is killed is no worse for the worker."""
    shell_set(root, "{number: 1 | 2 | 3}", 'case "$name" in *1) exit 3;; *2) kill -9 $$;; esac\n')

    assert work(root) == 3

    assert list(_statuses(root).values()) == [("exception", "error"), ("exception", "error"), ("completed", "finished")]
    errors = [trial.errors for _, trial in sorted(_trials(root).items())]
    assert errors == [
        ["BodyDied: it has ended with 3"],
        ["BodyDied: its process was killed by SIGKILL (for want of memory?)"],
        [],
    ]


def test_the_end_of_a_program_is_that_of_its_trial(root: Path, log: Path) -> None:
    """Whatever kills a body, or leaves it without a word, is an error of that trial alone, of which its file tells."""
    python_set(root, "{how: raise | leave | kill | memory | fork}")

    assert work(root) == 5

    assert {len(ran) for ran in bodies(log).values()} == {1}
    failed = ("exception", "error")
    assert _statuses(root) == {
        "how=fork": ("completed", "finished"),
        **dict.fromkeys(["how=kill", "how=leave", "how=memory", "how=raise"], failed),
    }
    first = {name: trial.errors[0].splitlines()[0] for name, trial in _trials(root).items() if trial.errors}
    assert first == {
        "how=raise": "ValueError: as asked",
        "how=leave": "BodyDied: its process has ended with 0 in the middle of its body",
        "how=kill": "BodyDied: its process was killed by SIGKILL (for want of memory?)",
        "how=memory": "MemoryError",
    }
    assert load_param(root / "how=fork")["_messages"] == {"number": 0}


def test_bodies_in_the_worker_itself(root: Path, log: Path) -> None:
    """Without isolation an error, an exit, and a fork that comes out of its body end that trial, not the worker."""
    python_set(root, "{how: raise | exit | fork | well}")

    assert work(root, isolate=False) == 4

    assert {(len(ran), ran[0].pid) for ran in bodies(log).values()} == {(1, os.getpid())}
    assert _statuses(root) == {
        "how=exit": ("exception", "error"),
        "how=fork": ("completed", "finished"),
        "how=raise": ("exception", "error"),
        "how=well": ("completed", "finished"),
    }


def test_a_script_cannot_run_in_the_worker_itself(root: Path) -> None:
    """It says so, and gives it back."""
    shell_set(root, "{number: 1}")

    with pytest.raises(InvalidCall, match="process of its own"):
        work(root, isolate=False)

    assert _statuses(root) == {"number=1": ("requeue", "registered")}


def test_so_many_errors_end_the_worker(root: Path) -> None:
    """``stop_after_errors`` counts those that failed here."""
    python_set(root, "{how: well | raise, number: 1 | 2 | 3}")

    assert work(root, isolate=False, stop_after_errors=2) == 5


def test_errors_are_tried_again_when_that_is_asked_for(root: Path, log: Path) -> None:
    """They are run again after everything else, up to the number of attempts."""
    python_set(root, "{how: raise | once | well}")

    assert work(root, isolate=False) == 3
    assert work(root, isolate=False, retry_errors=True, attempts=2) == 2

    assert {name: [body.attempt for body in ran] for name, ran in bodies(log).items()} == {
        "how=raise": [1, 2],
        "how=once": [1, 2],
        "how=well": [1],
    }
    assert _statuses(root)["how=once"] == ("completed", "finished")


@pytest.mark.parametrize("isolate", [True, False], ids=["apart", "here"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_worker_that_is_told_to_end_gives_its_trial_back(
    root: Path, log: Path, signum: signal.Signals, isolate: bool, tmp_path: Path
) -> None:
    """It says so and ends well, in the middle of a message as well; the next worker goes on, with what was said."""
    python_set(root, "{how: say}")

    def told() -> None:
        logging.basicConfig(filename=tmp_path / "said", force=True)
        work(root, isolate=isolate)

    pid = fork(told)
    _wait_for_a_body(log, pid)

    os.kill(pid, signum)

    assert wait(pid) == 0
    assert "'how=say' is given back" in (tmp_path / "said").read_text()
    assert _statuses(root) == {"how=say": ("requeue", "requeue")}
    assert work(root, isolate=False) == 1
    assert _statuses(root) == {"how=say": ("completed", "finished")}
    (trial,) = _trials(root).values()
    assert (trial.attempt, trial.metadata["messages.number"]) == (2, 0)


def test_ctrl_c_gives_the_trial_back_and_goes_on_as_ctrl_c(root: Path, log: Path) -> None:
    """Who calls the worker gets KeyboardInterrupt."""
    shell_set(root, "{number: 1}", "sleep 60\n")

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            work(root)

    pid = fork(interrupted)
    _wait_for_a_body(log, pid)
    os.kill(pid, signal.SIGINT)

    assert wait(pid) == 0
    assert _statuses(root) == {"number=1": ("requeue", "requeue")}


def test_what_the_program_does_about_the_signal_is_done_last(root: Path, log: Path, tmp_path: Path) -> None:
    """A handler that was there before is called once the trial was given back."""
    shell_set(root, "{number: 1}", "sleep 60\n")

    def told() -> None:
        signal.signal(signal.SIGTERM, lambda *_: (tmp_path / "seen").write_text(str(_statuses(root))))
        work(root)

    pid = fork(told)
    _wait_for_a_body(log, pid)
    os.kill(pid, signal.SIGTERM)

    assert wait(pid) == 0
    assert (tmp_path / "seen").read_text() == "{'number=1': ('requeue', 'requeue')}"


def test_a_body_dies_with_its_worker_and_runs_again(root: Path, log: Path) -> None:
    """The processes of a script are gone with the worker; the next one takes the trial, in its next attempt."""
    shell_set(root, "{number: 1}", '[ "$TRACK_ATTEMPT" = 2 ] || sleep 60\n')
    pid = fork(work, root)
    _wait_for_a_body(log, pid)

    os.kill(pid, signal.SIGKILL)
    assert wait(pid) == -signal.SIGKILL
    assert work(root) == 1

    first, second = bodies(log)["number=1"]
    assert (first.attempt, second.attempt) == (1, 2)
    assert not is_process_alive({"host": hostname(), "pid": first.pid})
    assert _statuses(root) == {"number=1": ("completed", "finished")}


def test_a_body_that_kills_its_workers_is_an_error_in_the_end(root: Path, log: Path) -> None:
    """It is tried three times; a person who puts it back gets three more."""
    shell_set(root, "{number: 1}", _KILL_WORKER)

    for _ in range(3):
        assert wait(fork(work, root)) == -signal.SIGKILL
    assert work(root) == 0

    assert _statuses(root) == {"number=1": ("exception", "error")}
    (trial,) = _trials(root).values()
    assert trial.errors == ["WorkerDied: its worker died 3 times"]
    assert len(bodies(log)["number=1"]) == 3


def test_a_preempted_trial_is_not_one_whose_worker_died(root: Path, log: Path) -> None:
    """However often it is given back, it waits."""
    shell_set(root, "{number: 1}", '[ "$TRACK_ATTEMPT" = 5 ] || { kill -TERM "$worker"; sleep 60; }\n')

    for _ in range(4):
        assert wait(fork(work, root)) == 0
    assert work(root) == 1

    assert [body.attempt for body in bodies(log)["number=1"]] == [1, 2, 3, 4, 5]


def test_a_folder_that_is_missing_is_made_from_the_record(root: Path, log: Path) -> None:
    """As after a crash between trial and folder."""
    shell_set(root, "{number: 7}")
    for name in ("params.yml", "run.sh"):
        (root / "number=7" / name).unlink()

    assert work(root) == 1

    assert load_param(root / "number=7")["number"] == 7
    assert _statuses(root) == {"number=7": ("completed", "finished")}


def test_a_worker_without_the_disk_of_the_set_has_all_from_the_record(
    root: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that is configured a root of the same name is enough: the folders and the program are made there."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/store.json")
    python_set(root, "{number: 7}")
    elsewhere = tmp_path / "another disk" / root.name

    assert work(elsewhere) == 1

    assert load_param(elsewhere / "number=7")["number"] == 7
    assert load_param(elsewhere / "number=7")["_status"] == "finished"
    assert load_param(root / "number=7")["_status"] == "registered"
    assert work(root) == 0


def test_a_script_that_only_says_client_logs_to_its_trial(root: Path) -> None:
    """What a worker starts finds the store and the trial in its environment."""
    program = "from track import TrackClient; TrackClient().new_trial().log_metrics(step=0, loss=0.5)"
    shell_set(root, "{number: 1}", f"python3 -c '{program}'\n")

    assert work(root) == 1

    (trial,) = _trials(root).values()
    assert (dict(trial.metrics["loss"]), str(trial.status), trial.attempt) == ({0: 0.5}, "completed", 1)


def test_workers_make_the_trials_of_a_sampler(root: Path, log: Path) -> None:
    """Each when one can run it, and as many as the budget has."""
    pytest.importorskip("optuna")
    manager = python_set(root, "{number: 1 | 2}")
    manager.register(string_params="{number: 1 .. 9}", trials=3, sampler="tpe", goal="min:number")

    assert [work(root, isolate=False, trials=4), work(root, isolate=False)] == [4, 1]

    assert set(_statuses(root).values()) == {("completed", "finished")}
    assert [len(ran) for ran in bodies(log).values()] == [1] * 5


def test_a_body_that_does_not_end_is_killed(root: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time is over that it has to end in; the experiment is given back all the same."""
    monkeypatch.setattr("track.manager.child.GRACE", 0.05)
    shell_set(root, "{number: 1}", "trap '' TERM\nsleep 60\n")
    pid = fork(work, root)
    _wait_for_a_body(log, pid)

    os.kill(pid, signal.SIGTERM)

    assert wait(pid) == 0
    assert _statuses(root) == {"number=1": ("requeue", "requeue")}


def test_submitit_is_told_to_start_the_same_again() -> None:
    """After a preemption, or the end of its time."""
    pytest.importorskip("submitit")

    again = work.checkpoint("runs", wait=5)  # type: ignore[attr-defined]

    assert (again.function, again.args, again.kwargs) == (work, ("runs",), {"wait": 5})


def test_script_that_does_not_say_what_runs_it_is_run_as_a_shell_would(root: Path, log: Path) -> None:
    """A ``script.sh`` without ``#!`` is run by the shell that ``run.sh`` runs it with; bash, where none is said."""
    shell_set(root, "{number: 1}", 'test -n "$BASH_VERSION"\n')
    script = root / "script.sh"
    script.write_text(script.read_text().split("\n", 1)[1])

    assert work(root) == 1

    assert _statuses(root) == {"number=1": ("completed", "finished")}


def test_it_is_told_how_many_have_failed(root: Path) -> None:
    """The number that ran also says how many of them failed, in several processes and pickled, too."""
    manager = shell_set(root, "{number: 1 | 2 | 3}", 'case "$name" in *=2) exit 3;; esac\n')

    ran = work(root)
    manager.reset("*")
    of_two = pickle.loads(pickle.dumps(work_in_processes(root, 2)))

    assert (ran, ran.failed, of_two, of_two.failed) == (3, 1, 3, 1)


def test_worker_that_is_killed_is_told_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody would look for what it has left, where the others have nothing more to do."""
    shell_set(root, "{number: 1 | 2}", 'case "$name" in *=2) kill -9 "$worker"; sleep 60;; esac\n')

    work_in_processes(root, [0, 1], attempts=1)

    assert "1 of 2 workers ended before their time" in caplog.text


@pytest.mark.parametrize("isolate", [True, False])
def test_experiment_that_cannot_begin_is_in_nobodys_way(root: Path, log: Path, isolate: bool) -> None:
    """A file where the folder belongs, no YAML, a folder instead of the file: an error of each, and the rest runs."""
    python_set(root, "{number: 1 | 2 | 3 | 4}")
    for path in (root / "number=1").iterdir():
        path.unlink()
    (root / "number=1").rmdir()
    (root / "number=1").write_text("in the way")
    (root / "number=2" / "params.yml").write_text("number: [")
    (root / "number=3" / "params.yml").unlink()
    (root / "number=3" / "params.yml").mkdir()

    ran = work(root, isolate=isolate)

    assert (ran, ran.failed) == (4, 3)
    assert list(bodies(log)) == ["number=4"]
    assert {name: str(trial.status) for name, trial in _trials(root).items()} == {
        "number=1": "exception",
        "number=2": "exception",
        "number=3": "exception",
        "number=4": "completed",
    }


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("text", ["number: 1\n", "_status: finished\nnumber: 1\n", "another"])
def test_trial_of_a_folder_is_the_one_that_was_given(root: Path, log: Path, isolate: bool, text: str) -> None:
    """What a person has made of ``params.yml``, a copy of another one's, too, changes parameters only."""
    python_set(root, "{number: 1 | 2}")
    file = root / "number=2" / "params.yml"
    file.write_text((root / "number=1" / "params.yml").read_text() if text == "another" else text)

    ran = work(root, isolate=isolate)

    assert (ran, ran.failed) == (2, 0)
    assert {name: len(ran) for name, ran in bodies(log).items()} == {"number=1": 1, "number=2": 1}
    assert _statuses(root) == dict.fromkeys(["number=1", "number=2"], ("completed", "finished"))
    assert _trials(root)["number=2"].metadata["messages.number"] == 1


def test_ctrl_c_at_a_body_says_nothing_of_ours(root: Path, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What starts the body ends as the body does, by the same signal, without a traceback."""
    shell_set(root, "{number: 1}", 'echo "$$ is there"; sleep 60\n')

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            work(root)

    pid = fork(interrupted)
    _wait_for_a_body(log, pid)
    os.kill(pid, signal.SIGINT)

    assert wait(pid) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_status_that_a_body_could_not_write_is_shown(root: Path) -> None:
    """The file is a view of the trial: what has ended is not shown as running for ever."""
    python_set(root, "{how: deaf}")

    assert work(root) == 1
    assert _statuses(root) == {"how=deaf": ("completed", "finished")}
