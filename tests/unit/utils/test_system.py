"""Facts about the machine and its processes."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from tests.children import deadline, ended, python, start_python
from track.utils import system
from track.utils.system import ancestors, get_gpu_name, hostname, is_process_alive, process_identity

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.fixture
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is not loaded."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def _install_driver(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("_no_torch")
@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("echo 'Big GPU 80GB'; echo other", "Big GPU 80GB"),
        ("exit 9", None),
        ("echo", None),
        ("printf '\\377'", None),
    ],
)
def test_gpu_of_the_driver(script: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first GPU is named; a driver that fails, or finds none, gives None."""
    _install_driver(tmp_path, script, monkeypatch)

    assert get_gpu_name() == name


@pytest.mark.usefixtures("_no_torch")
def test_machine_without_a_driver_has_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is not an error."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert get_gpu_name() is None


def test_gpu_in_use_by_torch_is_named_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch knows which of several devices is used."""
    cuda = types.SimpleNamespace(is_initialized=lambda: True, get_device_name=lambda: "Used GPU")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]

    assert get_gpu_name() == "Used GPU"


def test_broken_torch_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a driver does, a trial can be recorded."""
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace())  # type: ignore[arg-type]

    assert get_gpu_name() is None


def test_identity_of_this_process() -> None:
    """Host and pid are plain, and the process is alive."""
    identity = process_identity()

    assert (identity["host"], identity["pid"]) == (hostname(), os.getpid())
    assert list(identity) == ["host", "pid", "started", "machine"]
    assert identity == process_identity(os.getpid())
    assert is_process_alive(identity) is True


def test_identity_cannot_be_changed_by_its_reader() -> None:
    """The remembered identity is not handed out itself."""
    process_identity()["pid"] = -1

    assert process_identity()["pid"] == os.getpid()


def test_process_is_alive_until_it_has_ended() -> None:
    """Running is alive; a zombie and a process that is gone are not."""
    child = start_python("-c", "input()")
    identity = process_identity(child.pid)

    running = is_process_alive(identity)
    child.stdin.write("\n")  # type: ignore[union-attr]
    child.stdin.flush()  # type: ignore[union-attr]
    with deadline(child.pid):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = is_process_alive(identity)
    ended(child)
    gone = is_process_alive(identity)

    assert (running, zombie, gone) == (True, False, False)


def test_process_is_seen_to_end_without_a_descriptor_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no descriptors of processes, what it says of them is read each time."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    child = start_python("-c", "input()")
    identity = process_identity(child.pid)

    running = is_process_alive(identity)
    ended(child)

    assert (running, is_process_alive(identity)) == (True, False)


@on_linux
def test_watched_processes_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes are asked for, few descriptors are held."""
    monkeypatch.setattr(system, "_MOST_WATCHED", 2)
    monkeypatch.setattr(system, "_watched", {})
    children = [start_python("-c", "input()") for _ in range(4)]
    before = len(os.listdir("/proc/self/fd"))

    alive = [is_process_alive(process_identity(child.pid)) for child in children]
    held = len(os.listdir("/proc/self/fd")) - before
    for child in children:
        ended(child)

    assert alive == [True] * 4
    assert held <= 2


@on_linux
def test_recycled_pid_is_another_process() -> None:
    """The same pid with another start time is not the process that was recorded."""
    identity = process_identity()
    boot, namespace, ticks = identity["started"].split("/")

    assert is_process_alive({**identity, "started": f"{boot}/{namespace}/{int(ticks) - 1}"}) is False
    assert is_process_alive({**identity, "started": "something else"}) is False


@on_linux
@pytest.mark.parametrize(
    ("then", "now", "is_alive"),
    [("one", "one", False), ("one", "other", None), (None, "one", None), ("one", None, None)],
)
def test_machines_of_one_name_are_told_apart(
    then: str | None, now: str | None, is_alive: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before this machine was started again a process is gone; on another one of its name nobody can tell."""
    monkeypatch.setattr(system, "_machine", lambda: now)
    identity = process_identity()
    _, namespace, ticks = identity["started"].split("/")

    assert is_process_alive({**identity, "started": f"another-boot/{namespace}/{ticks}", "machine": then}) is is_alive


@on_linux
def test_a_container_has_no_machine_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id in an image is that of all its containers."""
    monkeypatch.setattr(os, "readlink", lambda _: "pid:[4026532000]")

    assert process_identity(1)["machine"] is None


@on_linux
def test_other_container_of_this_host_cannot_be_seen() -> None:
    """A pid counted by another container says nothing here."""
    identity = process_identity()
    boot, _, ticks = identity["started"].split("/")

    assert is_process_alive({**identity, "started": f"{boot}/pid:[1]/{ticks}"}) is None


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid": None}])
def test_process_of_another_host_cannot_be_seen(change: dict[str, object]) -> None:
    """Only this machine's processes are known here."""
    assert is_process_alive({**process_identity(), **change}) is None


def test_identity_without_a_start_is_judged_by_its_pid() -> None:
    """Where the start is unknown, the pid alone decides."""
    child = start_python("-c", "")
    ended(child)

    assert is_process_alive({**process_identity(), "started": None}) is True
    assert is_process_alive({**process_identity(), "pid": child.pid, "started": None}) is False


def test_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not being allowed to signal a process proves that it exists."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)

    assert is_process_alive({**process_identity(), "started": None}) is True


def test_forked_child_is_another_process() -> None:
    """The identity is not inherited."""
    parent = process_identity()
    script = (
        "import os, sys; from track.utils.system import process_identity; before = process_identity();\n"
        "pid = os.fork()\n"
        "if pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "now = process_identity()\n"
        "sys.exit(now['pid'] != os.getpid() or now == before)"
    )

    done = python("-c", script)

    assert done.returncode == 0, done.stderr
    assert process_identity() == parent


def test_psutil_stands_in_for_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc the start time comes from psutil, when that is installed."""

    class Process:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def status(self) -> str:
            return "zombie" if self.pid == 2 else "running"

        def create_time(self) -> float:
            return 12.5

    def refuse(_: str) -> str:
        raise OSError

    module = types.SimpleNamespace(Process=Process, STATUS_ZOMBIE="zombie", Error=LookupError)
    monkeypatch.setitem(sys.modules, "psutil", module)  # type: ignore[arg-type]
    monkeypatch.setattr(system, "_read_text", refuse)

    assert process_identity(1)["started"] == "12.5"
    assert process_identity(2)["started"] is None


def test_start_is_unknown_without_proc_and_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not tell is not an error."""

    def refuse(_: str) -> str:
        raise OSError

    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(system, "_read_text", refuse)

    assert process_identity(1)["started"] is None


@on_linux
def test_ancestors_of_a_process() -> None:
    """The nearest is its parent, and that one's come after it."""
    known = ancestors()

    assert known[:1] == ([os.getppid()] if os.getppid() > 1 else [])
    assert os.getpid() not in known
