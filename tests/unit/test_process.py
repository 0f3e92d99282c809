"""What the library does to the process it is imported by: what docs/explanation/process.rst lists, and nothing else."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from track.utils.lifecycle import backoff

ROOT = Path(__file__).parents[2]

# Prints, for each phase of a program, what is other than it was before the import.
SCRIPT = """
import atexit, gc, json, locale, logging, os, random, resource, signal, socket, sys, threading, warnings
import multiprocessing, multiprocessing.util

hooks = []
register = os.register_at_fork
os.register_at_fork = lambda **functions: (hooks.append(functions), register(**functions))[0]

def state():
    root = logging.getLogger()
    mask = os.umask(0)
    os.umask(mask)
    return {
        **{name: signal.getsignal(getattr(signal, name)) for name in (
            "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGCHLD"
        )},
        **{f"sys.{name}": getattr(sys, name) for name in (
            "exit", "stdout", "stderr", "stdin", "excepthook", "displayhook", "unraisablehook", "argv"
        )},
        "exit": type(exit).__call__,
        "sys.path": list(sys.path), "import hooks": [list(sys.meta_path), list(sys.path_hooks)],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), resource.getrlimit(resource.RLIMIT_NOFILE)],
        "tracing": [sys.gettrace(), sys.getprofile(), threading.excepthook],
        "atexit": atexit._ncallbacks(), "os.register_at_fork": len(hooks),
        "multiprocessing": len(multiprocessing.util._finalizer_registry),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "threads": [thread.name for thread in threading.enumerate()],
        "logging": [list(root.handlers), root.level, logging.getLogRecordFactory(), logging.getLoggerClass()],
        "loggers": [logging.getLogger(name).handlers + [logging.getLogger(name).level] for name in ("track", "TRACK")],
        "warnings": list(warnings.filters), "environment": dict(os.environ), "folder": [os.getcwd(), mask],
        "random": random.getstate(), "locale": locale.setlocale(locale.LC_ALL), "socket": socket.getdefaulttimeout(),
        "gc": [gc.isenabled(), gc.get_threshold()],
    }

before = state()

def changed():
    now = state()
    return [name for name in before if now[name] != before[name]]

told = {}
import track, track.em, track.tracking
told["imported"] = changed()
client = track.TrackClient(sys.argv[1])
told["client"] = changed()
trial = client.new_trial(parameters={"lr": 0.1})
trial.capture_output()
trial.start()
trial.log_metrics(loss=1.0)
told["running"] = changed()
trial.finish()
told["finished"] = changed()
os.write(1, json.dumps(told).encode())
"""


def _phases(uri: str, **environment: str) -> dict[str, list[str]]:
    """Return what was changed in each phase of a program."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, uri],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    phases: dict[str, list[str]] = json.loads(done.stdout)
    return phases


def _documented() -> set[str]:
    """Return the names in the first column of the table of docs/explanation/process.rst."""
    text = (ROOT / "docs" / "explanation" / "process.rst").read_text(encoding="utf-8")
    rows = text.partition(".. process-begin")[2].partition(".. process-end")[0].split("   * - ")[2:]
    return {name for row in rows for name in re.findall(r"``(.+?)``", row.partition("\n")[0]) or [row.split("\n")[0]]}


@pytest.mark.parametrize("scheme", ["file:{}/runs.json", "ephemeral:"])
def test_process_is_changed_as_documented(scheme: str, tmp_path: Path) -> None:
    """The import changes nothing, a client and a trial what the page lists, and the end puts it back."""
    phases = _phases(scheme.format(tmp_path))

    kept = {"atexit", "os.register_at_fork"}
    assert phases["imported"] == []
    assert set(phases["client"]) <= kept
    signals = {"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"}
    assert set(phases["running"]) == kept | signals | {"sys.exit", "exit", "sys.stdout", "sys.stderr"}
    assert set(phases["finished"]) == kept
    assert set(phases["running"]) <= _documented()


def test_hooks_can_be_switched_off(tmp_path: Path) -> None:
    """With the option, a trial leaves signals and ``sys.exit`` alone."""
    phases = _phases(f"file:{tmp_path}/runs.json", TRACK_PROCESS_HOOKS="0")

    assert set(phases["running"]) == {"atexit", "os.register_at_fork", "sys.stdout", "sys.stderr"}


def test_backoff_leaves_the_random_numbers_of_the_program_alone() -> None:
    """A training with a seed is the same, whether a server was away or not."""
    random.seed(7)
    state = random.getstate()

    backoff(3)

    assert random.getstate() == state
