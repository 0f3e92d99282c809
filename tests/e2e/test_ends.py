"""What a trial says about how it ended, in programs as people write them."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.children import ended, python, start_python
from tests.e2e.deliveries import Place
from tests.e2e.processes import stored
from track import TrackClient, fetch
from track.structure import Status

_BEGIN = """
import asyncio, gc, os, signal, sys, time
from track import CustomStatus, TrackClient
client = TrackClient(sys.argv[1])
trial = client.new_trial(name="t", parameters={"lr": 0.1})
"""
_FINALLY = "trial.start()\ntry: {}\nfinally: trial.finish()"
_SIGTERM = "os.kill(os.getpid(), signal.SIGTERM)"

PROGRAMS = {
    "exit(3)": ("trial.start(); exit(3)", 3, "exception"),
    "quit(3)": ("trial.start(); quit(3)", 3, "exception"),
    "exit(0)": ("trial.start(); exit(0)", 0, "completed"),
    "finally after an error": (_FINALLY.format("raise ValueError('bad')"), 1, "exception"),
    "finally after sys.exit": (_FINALLY.format("sys.exit(3)"), 3, "exception"),
    "finally after SIGTERM": (_FINALLY.format(_SIGTERM), 143, "interrupted"),
    "finally after Ctrl-C": (_FINALLY.format("os.kill(os.getpid(), signal.SIGINT)"), -2, "interrupted"),
    "finish in except": ("trial.start()\ntry: 1 / 0\nexcept ZeroDivisionError: trial.finish()", 0, "exception"),
    "begun while an error is handled": (
        "try: 1 / 0\nexcept ZeroDivisionError:\n  trial.start()\n  trial.finish()",
        0,
        "completed",
    ),
    "pruned": ("with trial: trial.set_status('pruned')", 0, "pruned"),
    "pruned, by an error": ("with trial:\n  trial.set_status('pruned')\n  raise KeyError('x')", 1, "pruned"),
    "status of one's own": ("with trial: trial.set_status(CustomStatus('odd', 377))", 0, "odd"),
    "suspended": ("with trial: trial.set_status('suspended')", 0, "suspended"),
    "completed by hand, then an error": (
        "with trial:\n  trial.set_status('completed')\n  raise KeyError('x')",
        1,
        "completed",
    ),
    "forgotten": ("trial.start()\ndel trial, client\ngc.collect()", 0, "completed"),
    "SIGHUP": ("trial.start(); os.kill(os.getpid(), signal.SIGHUP)", -1, "interrupted"),
    "SIGUSR1": ("trial.start(); os.kill(os.getpid(), signal.SIGUSR1)", -10, "interrupted"),
    "SIGQUIT": ("trial.start(); os.kill(os.getpid(), signal.SIGQUIT)", -3, "interrupted"),
    "SIGUSR1 that is used": (
        "signal.signal(signal.SIGUSR1, lambda *_: None); trial.start(); os.kill(os.getpid(), signal.SIGUSR1)",
        0,
        "completed",
    ),
    "SIGTERM that is survived": (f"signal.signal(15, lambda *_: None)\nwith trial: {_SIGTERM}", 0, "completed"),
    "Ctrl-C that is survived": (
        "with trial:\n  try: os.kill(os.getpid(), 2); time.sleep(9)\n  except KeyboardInterrupt: pass",
        0,
        "completed",
    ),
    "killed after a signal": (
        f"signal.signal(15, lambda *_: None)\ntrial.start(); {_SIGTERM}; os.kill(os.getpid(), 9)",
        -9,
        "interrupted",
    ),
    "text that raises": (
        "class Bad(Exception):\n  def __str__(self): raise RuntimeError('no text')\nwith trial: raise Bad",
        1,
        "exception",
    ),
    "SIGTERM in asyncio": (
        f"async def main():\n  with trial: {_SIGTERM}; await asyncio.sleep(9)\nasyncio.run(main())",
        143,
        "interrupted",
    ),
    "Ctrl-C in asyncio": (
        "async def main():\n  with trial: os.kill(os.getpid(), 2); await asyncio.sleep(9)\nasyncio.run(main())",
        -2,
        "interrupted",
    ),
    "Ctrl-C in a task group": (
        "async def work():\n  os.kill(os.getpid(), 2); await asyncio.sleep(9)\n"
        "async def main():\n  with trial:\n    async with asyncio.TaskGroup() as group:\n"
        "      group.create_task(work()); await asyncio.sleep(9)\n"
        "asyncio.run(main())",
        -2,
        "interrupted",
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_trial_says_how_it_ended(tmp_path: Path, program: str) -> None:
    """The status is what ended the program, and the program ends as it would without track."""
    path = tmp_path / "runs.json"
    script, code, status = PROGRAMS[program]
    if "TaskGroup" in script and sys.version_info < (3, 11):
        pytest.skip("Python has task groups from 3.11 on")

    done = python("-c", _BEGIN + script, f"file:{path}")

    (trial,) = stored(path)
    assert (done.returncode, str(trial.status)) == (code, status), done.stderr
    assert len([error for error in trial.errors if "went on" not in error]) <= 1, trial.errors


@pytest.mark.parametrize("program", ["SIGTERM that is survived", "Ctrl-C that is survived"])
def test_survived_signal_leaves_a_note(tmp_path: Path, program: str) -> None:
    """A signal that the program survived is in the errors, and in no status."""
    path = tmp_path / "runs.json"

    python("-c", _BEGIN + PROGRAMS[program][0], f"file:{path}")

    (error,) = stored(path)[0].errors
    assert error.startswith("SIG")
    assert error.endswith(": the program went on")


def test_error_after_a_status_of_ones_own_is_kept(tmp_path: Path) -> None:
    """An exception that leaves the block of a pruned trial is added to its errors."""
    path = tmp_path / "runs.json"

    python("-c", _BEGIN + PROGRAMS["pruned, by an error"][0], f"file:{path}")

    assert stored(path)[0].errors[0].startswith("KeyError: 'x'")


@pytest.mark.parametrize(
    "output",
    ["sys.stdout = None", "sys.stdout.write = None", "sys.stdout.detach()", "other.finish()"],
    ids=["none", "broken", "detached", "overlapping"],
)
def test_broken_output_hides_no_end(tmp_path: Path, output: str) -> None:
    """`finish` records the end also where captured output is broken, or captures overlap."""
    path = tmp_path / "runs.json"
    script = (
        "other = client.new_trial(force=True, name='other', parameters={'lr': 1})\n"
        "trial.start(); trial.capture_output(); other.start(); other.capture_output()\n"
        f"try:\n  {output}\nexcept BaseException: pass\ntrial.finish(); other.finish()"
    )

    done = python("-c", _BEGIN + script, f"file:{path}")

    assert [trial.status for trial in stored(path)] == [Status.Completed] * 2, done.stderr


_JOBS = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from track import TrackClient

def job(uri, kind):
    TrackClient(uri).new_trial(name=kind, parameters={"lr": 0.1}).log_metrics(step=0, loss=1.0)
    if kind == "raises":
        raise ValueError("bad")
    if kind == "exits":
        sys.exit(3)

if __name__ == "__main__":
    method, uri = sys.argv[1:]
    kinds = ("returns", "raises", "exits")
    if method == "pool":
        with ProcessPoolExecutor(1) as pool:
            pool.submit(job, uri, "returns").result()
        kinds = ()
    for kind in kinds:
        worker = multiprocessing.get_context(method).Process(target=job, args=(uri, kind))
        worker.start()
        worker.join()
"""


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "sqlite:{}/runs.db"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn", "pool"])
def test_end_of_a_child_is_the_end_of_its_trials(tmp_path: Path, spills: Path, method: str, scheme: str) -> None:
    """What a child of multiprocessing began ends with it, and with its error."""
    script, uri = tmp_path / "jobs.py", scheme.format(tmp_path)
    script.write_text(_JOBS)

    done = python(script, method, uri)

    found = {trial.name: (str(trial.status), "".join(trial.errors)[:10]) for trial in fetch(uri)}
    expected = {
        "returns": ("completed", ""),
        "raises": ("exception", "ValueError"),
        "exits": ("exception", "SystemExit"),
    }
    assert found == (expected if method != "pool" else {"returns": ("completed", "")}), done.stderr


_WORKER = """
import multiprocessing, sys
from track import TrackClient

def work(trial, number):
    trial.log_metrics(step=number, n=number)

if __name__ == "__main__":
    method, uri = sys.argv[1:]
    with TrackClient(uri).new_trial(parameters={"lr": 0.1}) as trial:
        context = multiprocessing.get_context(method)
        workers = [context.Process(target=work, args=(trial, number)) for number in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
"""


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "sqlite:{}/runs.db"])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_logger_goes_along_to_a_child(tmp_path: Path, spills: Path, method: str, scheme: str) -> None:
    """A logger that is an argument of a child logs there, and the end of the child is not the trial's."""
    script, uri = tmp_path / "workers.py", scheme.format(tmp_path)
    script.write_text(_WORKER)

    done = python(script, method, uri)

    (trial,) = fetch(uri)
    assert sorted(trial.metrics["n"].items()) == [(0, 0), (1, 1)], done.stderr
    assert (str(trial.status), len(trial.processes)) == ("completed", 1)


# Several processes in one trial.

_RANK = """
import sys
from track import TrackClient
uri, uid, how = sys.argv[1:]
trial = TrackClient(uri).set_trial(uid=uid)
with trial:
    trial.log_metrics(step=0, n=1)
    trial.save()
    print("ready", flush=True)
    sys.stdin.readline()
    if how == "raise":
        raise ValueError("bad")
"""


def _trial_of_ranks(uri: str) -> str:
    return TrackClient(uri).new_trial(parameters={"lr": 0.1}).trial.uid


def _status(uri: str, uid: str) -> str:
    (trial,) = fetch(uri, {"uid": uid})
    return str(trial.status)


def _two_ranks(uri: str, how: str) -> list[str]:
    """Return the status after the end of the first rank, which ends so, and after the good end of the second."""
    uid = _trial_of_ranks(uri)
    ranks = [start_python("-c", _RANK, uri, uid, kind) for kind in (how, "return")]
    for rank in ranks:
        assert rank.stdout is not None
        rank.stdout.readline()
    seen = []
    for rank, kind in zip(ranks, (how, "return"), strict=True):
        if kind == "kill":
            rank.send_signal(signal.SIGKILL)
        ended(rank, "\n")
        seen.append(_status(uri, uid))
    return seen


_ENDS_OF_RANKS = [("return", "completed"), ("raise", "exception"), ("kill", "broken")]


@pytest.mark.parametrize(("how", "status"), _ENDS_OF_RANKS)
def test_trial_of_two_processes_has_their_worst_end(tmp_path: Path, how: str, status: str) -> None:
    """A trial runs while one of its processes does, and a later good end covers nothing up."""
    assert _two_ranks(f"file:{tmp_path}/runs.json", how) == ["running", status]


@pytest.mark.network
@pytest.mark.parametrize(("how", "status"), _ENDS_OF_RANKS)
def test_processes_of_a_delivered_trial_have_their_worst_end(place: Place, how: str, status: str) -> None:
    """The same over delivery, in SQL and in MongoDB."""
    assert _two_ranks(place.uri, how) == ["running", status]


def test_trial_that_goes_on_is_new(tmp_path: Path) -> None:
    """A program that goes on with a failed trial, and ends well, completes it."""
    uri = f"file:{tmp_path}/runs.json"
    uid = _trial_of_ranks(uri)

    statuses = []
    for how in ("raise", "return"):
        python("-c", _RANK, uri, uid, how, given="\n")
        statuses.append(_status(uri, uid))

    assert statuses == ["exception", "completed"]


_OPEN = """
import sys
from track import TrackClient
uri, rank = sys.argv[1:]
client = TrackClient(uri)
print("ready", flush=True)
sys.stdin.readline()
with client.open_trial("job 7", parameters={"lr": 0.1}) as trial:
    trial.log_metrics(step=0, **{f"loss{rank}": 1.0})
    print("ready", flush=True)
    sys.stdin.readline()
"""


def _opened_at_once(uri: str, count: int) -> list[tuple[str, list[str]]]:
    """Return status and metrics of the trials that so many processes have made, which open a key at the same time."""
    ranks = [start_python("-c", _OPEN, uri, str(rank)) for rank in range(count)]
    for _ in range(2):
        for rank in ranks:
            assert rank.stdout is not None
            rank.stdout.readline()
        for rank in ranks:
            assert rank.stdin is not None
            # One that has failed says below why.
            with suppress(BrokenPipeError):
                rank.stdin.write("\n")
                rank.stdin.flush()
    done = [ended(rank) for rank in ranks]
    assert [one.returncode for one in done] == [0] * count, [one.stderr for one in done]
    return [(str(trial.status), sorted(trial.metrics)) for trial in fetch(uri)]


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "sqlite:{}/runs.db"])
def test_processes_that_open_a_key_at_once_have_one_trial(tmp_path: Path, spills: Path, scheme: str) -> None:
    """Of eight processes one creates the trial, and the others join it."""
    assert _opened_at_once(scheme.format(tmp_path), 8) == [("completed", [f"loss{rank}" for rank in range(8)])]


@pytest.mark.network
def test_processes_that_open_a_key_of_a_server_have_one_trial(place: Place) -> None:
    """The same over delivery, in SQL and in MongoDB."""
    assert _opened_at_once(place.direct, 3) == [("completed", [f"loss{rank}" for rank in range(3)])]


_CHOOSE = """
import sys
from track import TrackClient
client = TrackClient(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
client.set_project(name="digits")
client.set_group(name="idea")
TrackClient(sys.argv[1]).new_trial(parameters={"lr": 0.1})
"""


def _chosen_at_once(uri: str) -> list[str]:
    """Return what four processes print that choose, and create, the same project and group at the same time."""
    programs = [start_python("-c", _CHOOSE, uri) for _ in range(4)]
    for program in programs:
        assert program.stdout is not None
        program.stdout.readline()
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    done = [ended(program) for program in programs]
    return [text for one in done for text in (one.stdout, one.stderr) if text]


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "sqlite:{}/runs.db"])
def test_processes_choose_the_same_project_in_silence(tmp_path: Path, spills: Path, scheme: str) -> None:
    """Nobody is warned of what nobody did wrong, and there is one project of each name."""
    uri = scheme.format(tmp_path)

    assert _chosen_at_once(uri) == []
    assert [trial.project_id for trial in fetch(uri)] == ["orphan"] * 4


@pytest.mark.network
def test_processes_choose_the_same_project_of_a_server_in_silence(sql_place: Place) -> None:
    """The same over delivery, where all of them create the tables, too."""
    printed = "".join(_chosen_at_once(sql_place.direct))

    assert "Traceback" not in printed
    assert "digits" not in printed
    assert "orphan" not in printed
    assert [trial.project_id for trial in fetch(sql_place.direct)] == ["orphan"] * 4
