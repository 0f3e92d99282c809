"""A monitor in real programs, and a watch over them: how they end, and what is told."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.children import deadline, ended, kill, python, start_python
from track import TrackClient
from track.structure import Trial

# A program that is monitored, and goes on once something was recorded.
MONITORED = """
import os, signal, sys, threading
from track import TrackClient
from track.front import system
client = TrackClient(sys.argv[1])
told = threading.Event()
real = system.recorder
system.recorder = lambda *given: lambda values: (real(*given)(values), told.set())
trial = client.new_trial(name="watched", parameters={"pid": os.getpid()}).monitor(every=0.01)
trial.start()
assert told.wait(30)
assert [one.daemon for one in threading.enumerate() if one.name == "track-monitor"] == [True]
"""
ENDS = {
    "returns": ("pass", 0, "completed"),
    "exits": ("sys.exit(3)", 3, "exception"),
    "raises": ("raise ValueError('too large')", 1, "exception"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "broken"),
    "is told to stop": ("os.kill(os.getpid(), signal.SIGTERM)", 143, "interrupted"),
    "leaves at once": ("os._exit(0)", 0, "broken"),
    "leaves without hooks": ("trial.finish(); os._exit(0)", 0, "completed"),
}


def _stored(path: Path) -> Trial:
    (trial,) = TrackClient(f"file:{path}").protocol.fetch_trials({})
    return trial


@pytest.mark.parametrize("end", ENDS)
def test_monitor_is_in_no_ones_way_at_the_end(tmp_path: Path, end: str) -> None:
    """However a program ends, it does so at once, with its own exit code and status, and what was recorded is there."""
    action, code, status = ENDS[end]

    done = python("-c", f"{MONITORED}\n{action}", f"file:{tmp_path}/runs")

    found = _stored(tmp_path / "runs")
    assert (done.returncode, str(found.status)) == (code, status)
    assert "track-monitor" not in done.stderr
    assert found.metrics["system/memory"].val
    assert found.metrics["system/process.memory.peak"].val[0] > 0.001


def test_thousand_trials_with_a_monitor(tmp_path: Path) -> None:
    """Trials that are begun and ended in a row leave neither threads nor descriptors behind."""
    script = """
import os, sys, threading
from track import TrackClient
client = TrackClient("ephemeral:")
def run(numbers):
    for number in numbers:
        with client.new_trial(parameters={"number": number}, force=True) as trial:
            trial.log_metrics(step=0, loss=number)
run(range(100))
before = len(os.listdir("/proc/self/fd"))
run(range(100, 1000))
assert len(os.listdir("/proc/self/fd")) == before
assert sum(one.name == "track-monitor" for one in threading.enumerate()) <= 1
workers = [threading.Thread(target=run, args=(range(1000 * place, 1000 * place + 100),)) for place in range(2, 10)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert sum(one.name == "track-monitor" for one in threading.enumerate()) <= 1
print(len(client.protocol.fetch_trials({"status": "completed"})))
"""

    done = python("-c", script, TRACK_MONITOR="0.01")

    assert (done.stdout, done.stderr, done.returncode) == ("1800\n", "", 0)


def test_children_of_a_monitored_program(tmp_path: Path) -> None:
    """Forked children, and their children, have no monitor; those that begin a trial of their own have one each."""
    script = f"""{MONITORED}
def descend(depth):
    assert not [one for one in threading.enumerate() if one.name == "track-monitor"]
    pids = []
    for number in range(2 if depth else 0):
        pid = os.fork()
        if not pid:
            descend(depth - 1)
            told.clear()
            with client.new_trial(parameters={{"depth": depth, "number": number}}, force=True).monitor(every=0.01):
                assert told.wait(30)
            os._exit(0)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
pid = os.fork()
if not pid:
    descend(3)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
trial.finish()
"""

    done = python("-W", "ignore::DeprecationWarning", "-c", script, f"file:{tmp_path}/runs")

    trials = TrackClient(f"file:{tmp_path}/runs").protocol.fetch_trials({})
    assert (done.stderr, done.returncode) == ("", 0)
    assert len(trials) == 1 + 2 + 4 + 8
    assert all(trial.metrics["system/memory"].val for trial in trials)


def test_watch_runs_a_command_when_a_run_is_killed(tmp_path: Path) -> None:
    """A process that is killed is told of, by name, to a program that no shell starts."""
    uri, told = f"file:{tmp_path}/runs", tmp_path / "told"
    training = start_python("-c", f"{MONITORED}\nprint('ready', flush=True)\nsys.stdin.read()", uri)
    assert training.stdout is not None
    assert training.stdout.readline() == "ready\n"
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])", str(told), "{text}"]
    watch = start_python(
        "-u",
        "-m",
        "track",
        "watch",
        uri,
        "-i",
        "0.05",
        "--json",
        "--until-done",
        "--silent",
        "0.01s",
        "--on",
        "silent,failed",
        *command,
    )
    assert watch.stdout is not None
    # It looks at the store by now.
    assert '"event": "silent"' in watch.stdout.readline()
    kill(training.pid)
    ended(training)
    with deadline(watch.pid):
        rest = watch.stdout.read()
    done = ended(watch)

    assert done.returncode == 0
    assert '"text": "watched/0 failed: its process is gone"' in rest
    assert told.read_text() == "watched/0 failed: its process is gone"
