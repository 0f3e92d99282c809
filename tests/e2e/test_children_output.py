"""What children and C code print is the trial's on request; nobody waits, nothing is lost, all is put back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import ROOT, kill
from tests.servers import wait_until
from track.front import pieces_of

BEGIN = """
import ctypes, os, subprocess, sys, time, logging
from track import TrackClient
uri = sys.argv[1]
logging.basicConfig(format="%(message)s")
client = TrackClient(uri, environment="none")
trial = client.new_trial(name="a", parameters={"lr": 1})
"""


def _program(tmp_path: Path, text: str) -> tuple[list[str], str]:
    path = tmp_path / "program.py"
    path.write_text(BEGIN + text)
    return [sys.executable, str(path), f"file:{tmp_path}/runs.json"], f"file:{tmp_path}/runs.json"


def _environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TRACK_LOG_SPILL_FOLDER": str(tmp_path / "spill")}


def _run(tmp_path: Path, text: str, **options: Any) -> tuple[Any, Any]:
    command, uri = _program(tmp_path, text)
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run(command, timeout=60, env=_environment(tmp_path), check=False, **given)
    # With its carriage returns.
    texts = [None if said is None else said.decode() for said in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *texts), track.fetch(uri, "@last")[0]


def _lines(trial: Any) -> list[tuple[str, str]]:
    return [(stream, text) for _, _, lines in pieces_of(trial.metadata) for stream, text in lines]


EVERYBODY = """
print("before")
with trial.capture_output(children=True):
    print("python")
    os.write(1, b"a write of C\\n")
    ctypes.CDLL(None).puts(b"buffered by C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["sh", "-c", "echo child; echo of a child >&2"])
    if os.fork() == 0:
        print("forked")
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    logging.warning("logged")
    subprocess.run(["sh", "-c", "printf '\\\\r10 %%\\\\r100 %%'"])
print()
os.write(1, b"after\\n")
"""


def test_everybody_is_heard_and_shown(tmp_path: Path) -> None:
    """Python, C, children, forked ones and logging are kept, and printed in the stream they were written to."""
    done, trial = _run(tmp_path, EVERYBODY)

    said = ["python", "a write of C", "buffered by C", "child", "forked"]
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n".join(["before", *said, "\r10 %\r100 %"]) + "\nafter\n"
    assert done.stderr == "of a child\nlogged\n"
    assert [text for stream, text in _lines(trial) if stream == "stdout"] == [*said, "100 %"]
    assert [text for stream, text in _lines(trial) if stream == "stderr"] == ["of a child", "logged"]
    assert trial.metadata["stdout"] == "\n".join([*said, "100 %"])
    assert trial.metadata["stderr"] == "of a child\nlogged\n"


def test_what_goes_to_one_place_stays_in_order(tmp_path: Path) -> None:
    """Where both streams lead to one place, as a terminal, each line is where it was written."""
    text = """
with trial.capture_output(children=True):
    for number in range(300):
        os.write(1 + number % 2, b"%d\\n" % number)
"""
    done, trial = _run(tmp_path, text, stderr=subprocess.STDOUT)

    numbers = [str(number) for number in range(300)]
    assert done.stdout.splitlines() == numbers
    assert [line for _, line in _lines(trial)] == numbers


def test_who_holds_the_lock_of_the_interpreter_waits_for_nobody(tmp_path: Path) -> None:
    """C code that writes more than any pipe holds, without letting another thread run, goes on."""
    text = """
with trial.capture_output(children=True):
    text = b"x" * 999 + b"\\n"
    for _ in range(5_000):
        ctypes.PyDLL(None).write(1, text, len(text))
    print("done")
"""
    done, trial = _run(tmp_path, text)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 5_000_000 + 5
    assert _lines(trial)[-1] == ("stdout", "done")


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Of 100 MB that are printed, the file behind the descriptors keeps some, and all of it is shown."""
    text = """
with trial.capture_output(children=True):
    most = 0
    for _ in range(100):
        subprocess.run(["head", "-c", "1000000", "/dev/zero"])
        most = max(most, os.fstat(1).st_blocks * 512)
        # As fast as it is shown: a terminal would not let a program go on either.
        while os.fstat(1).st_blocks > 40_000:
            time.sleep(0.01)
    print(most, file=sys.stderr)
"""
    command, _ = _program(tmp_path, text)
    done = subprocess.run(command, capture_output=True, timeout=100, env=_environment(tmp_path), check=False)

    assert len(done.stdout) == 100_000_000
    assert int(done.stderr) < 30_000_000


KILLED = """
trial.capture_output(children=True)
trial.start()
print("ready", flush=True)
child = subprocess.Popen(["sh", "-c", "sleep 1; echo of an orphan"])
for number in range(50_000):
    os.write(1, b"%d\\n" % number)
os.write(1, b"last\\n")
os.kill(os.getpid(), 9)
"""


def test_nothing_that_was_written_is_lost_at_a_kill(tmp_path: Path) -> None:
    """After SIGKILL the rest is shown, that of a child which lives on, too; then nobody is left."""
    done, trial = _run(tmp_path, KILLED)

    said = done.stdout.splitlines()
    assert done.returncode == -signal.SIGKILL
    assert said == ["ready", *map(str, range(50_000)), "last", "of an orphan"]
    assert str(trial.status) == "broken"


ENDS = {
    "finish": "trial.finish()",
    "exit": "sys.exit(3)",
    "error": "raise RuntimeError('lost')",
    "SIGTERM": "import signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
    "SIGINT": "import signal; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)",
    "the end": "pass",
    "_exit": "os._exit(4)",
    "abort": "os.abort()",
}


@pytest.mark.parametrize("end", ENDS)
def test_all_is_shown_however_a_run_ends(tmp_path: Path, end: str) -> None:
    """Whatever ends the process, what it has written is there, in order, and what comes after it behind it."""
    text = f"""
import atexit
atexit.register(os.write, 1, b"at exit\\n")
trial.capture_output(children=True)
trial.start()
os.write(1, b"written\\n")
print("printed", flush=True)
{ENDS[end]}
"""
    done, trial = _run(tmp_path, text)

    rest = [] if end in ("_exit", "abort") else ["at exit"]
    assert done.stdout.splitlines() == ["written", "printed", *rest]
    if end not in ("_exit", "abort"):
        assert _lines(trial)[:2] == [("stdout", "written"), ("stdout", "printed")]
    if end == "error":
        assert "RuntimeError: lost" in done.stderr


def test_descriptors_are_put_back(tmp_path: Path) -> None:
    """After the trial both lead where they did, no descriptor is left open, and no thread or child."""
    text = """
import threading
def there():
    return [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)], sorted(os.listdir("/proc/self/fd"))
client.protocol.flush()
with client.new_trial(name="warm", parameters={"lr": 2}, force=True).capture_output():
    print("warm")
before = there()
with client.new_trial(name="b", parameters={"lr": 3}, force=True).capture_output(children=True) as trial:
    assert there()[0] != before[0]
    os.write(1, b"x\\n")
    try:
        os.waitpid(-1, os.WNOHANG)
        print("a child is left")
    except ChildProcessError:
        pass
time.sleep(0.2)
assert there() == before, (there(), before)
assert not [one for one in threading.enumerate() if one.name.startswith("track-output")]
"""
    done, _ = _run(tmp_path, text)

    assert (done.returncode, done.stdout, done.stderr) == (0, "warm\nx\n", "")


def test_two_trials_at_once_hear_the_same(tmp_path: Path) -> None:
    """Captures that overlap, and end in any order, share the descriptors."""
    text = """
other = client.new_trial(name="b", parameters={"lr": 2}, force=True)
trial.start(); trial.capture_output(children=True)
os.write(1, b"one\\n")
other.start(); other.capture_output(children=True)
os.write(1, b"both\\n")
trial.finish()
os.write(1, b"other\\n")
other.finish()
os.write(1, b"nobody\\n")
"""
    done, _ = _run(tmp_path, text)

    uri = f"file:{tmp_path}/runs.json"
    assert done.stdout == "one\nboth\nother\nnobody\n"
    assert [line for _, line in _lines(track.fetch(uri, "a")[0])] == ["one", "both"]
    assert [line for _, line in _lines(track.fetch(uri, "b")[0])] == ["both", "other"]


def test_a_forked_child_has_its_own(tmp_path: Path) -> None:
    """A worker that was forked in the middle of a capture may have a trial, and one of its own."""
    text = """
with trial.capture_output(children=True):
    print("parent", flush=True)
    if os.fork() == 0:
        with client.new_trial(name="b", parameters={"lr": 2}, force=True).capture_output(children=True):
            os.write(1, b"of the child\\n")
        client.protocol.flush()
        os._exit(0)
    os.wait()
os.write(1, b"after\\n")
"""
    done, _ = _run(tmp_path, text)

    uri = f"file:{tmp_path}/runs.json"
    assert done.stdout.splitlines() == ["parent", "of the child", "after"], done.stderr
    assert [line for _, line in _lines(track.fetch(uri, "a")[0])] == ["parent", "of the child"]
    assert [line for _, line in _lines(track.fetch(uri, "b")[0])] == ["of the child"]


def test_a_run_outlives_who_shows_its_output(tmp_path: Path) -> None:
    """Where that process is killed, the run goes on, and shows its output itself."""
    text = """
import glob
with trial.capture_output(children=True):
    os.write(1, b"first\\n")
    time.sleep(0.5)
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            words = open(path, "rb").read().split(b"\\0")
        except OSError:
            continue
        if any(word.endswith(b"showing.py") for word in words):
            pid = int(path.split("/")[2])
            # Its files are ours.
            if os.stat(f"/proc/{pid}/fd/{words[-3].decode()}").st_ino in (os.fstat(1).st_ino, os.fstat(2).st_ino):
                os.kill(pid, 9)
    os.write(1, b"second\\n")
    subprocess.run(["echo", "third"])
os.write(1, b"fourth\\n")
"""
    done, trial = _run(tmp_path, text)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "first\nsecond\nthird\nfourth\n"
    assert [line for _, line in _lines(trial)] == ["first", "second", "third"]


def test_a_closed_descriptor_is_no_error(tmp_path: Path) -> None:
    """Without standard output the run goes on, and what cannot be captured is said."""
    command, _ = _program(tmp_path, "with trial.capture_output(children=True):\n    trial.log_metrics(step=1, a=1)\n")
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, env=_environment(tmp_path), check=False)

    assert done.returncode == 0, done.stderr
    assert "what child processes print is not captured" in done.stderr


def test_a_terminal_stays_one_for_python(tmp_path: Path) -> None:
    """On a terminal, progress bars of Python draw as before, in their place."""
    text = """
with trial.capture_output(children=True):
    print(sys.stdout.isatty(), sys.stderr.isatty())
    for percent in (0, 50, 100):
        print(f"\\r{percent} %", end="", file=sys.stderr, flush=True)
print("after")
"""
    command, uri = _program(tmp_path, text)
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=_environment(tmp_path)) as child:
        os.close(theirs)
        said, started = b"", time.monotonic()
        while time.monotonic() - started < 60:
            try:
                said += os.read(ours, 4096)
            except OSError:
                break
    os.close(ours)

    assert child.returncode == 0
    assert said == b"True True\r\n\r0 %\r50 %\r100 %after\r\n"
    assert [line for _, line in _lines(track.fetch(uri, "@last")[0])] == ["True True", "100 %"]


def test_output_of_children_is_followed(tmp_path: Path) -> None:
    """What a child prints is in the store while it runs."""
    text = """
with trial.capture_output(children=True):
    subprocess.run(["sh", "-c", "echo started; sleep 60"])
"""
    command, uri = _program(tmp_path, text)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment(tmp_path), start_new_session=True)
    try:
        path = tmp_path / "runs.json.journal"
        wait_until(lambda: path.exists() and b'"started"]' in path.read_bytes())
    finally:
        kill(child.pid)
        child.wait()

    assert _lines(track.fetch(uri, "@last")[0]) == [("stdout", "started")]
