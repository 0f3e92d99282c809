"""Facts about this machine, and about which processes are alive on it."""

from __future__ import annotations

import functools
import hashlib
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ancestors",
    "get_gpu_name",
    "hostname",
    "is_loopback",
    "is_process_alive",
    "process_began",
    "process_identity",
]

_GPU_TIMEOUT = 5.0
# Fields of /proc/<pid>/stat after the name, which is the second and may hold spaces.
_STATE, _PARENT, _START = 0, 1, 19

# The pid namespace of a machine itself has this name on every Linux.
_FIRST_NAMESPACE = "pid:[4026531836]"

_LARGEST = 1 << 16

_own: dict[str, Any] = {}


def get_gpu_name() -> str | None:
    """Return the name of the first GPU, or None where none is found; never raises.

    It asks torch where that is already using the GPU, else the NVIDIA driver. No package is imported for it.
    """
    try:
        return _gpu_of_torch() or _gpu_of_driver()
    except Exception:  # noqa: BLE001 - drivers fail in many ways, and the name is an ornament
        return None


def _gpu_of_torch() -> str | None:
    torch = sys.modules.get("torch")
    # Asking any earlier would start CUDA, after which the process can no longer fork workers.
    if torch is None or not torch.cuda.is_initialized():
        return None
    return str(torch.cuda.get_device_name())


def _gpu_of_driver() -> str | None:
    import subprocess

    answer = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_GPU_TIMEOUT,
        check=True,
    )
    return next(filter(None, map(str.strip, answer.stdout.splitlines())), None)


def hostname() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Return what tells one process from all others: host, pid, started and machine.

    Parameters
    ----------
    pid: int, optional
        A process of this machine; this process when not given.

    Returns
    -------
    dict
        `started` is a text to compare, never to read; None where the system does not tell, or the process
        does not exist. `machine` tells machines of one name apart; None where there is nothing to tell it by.
    """
    if pid is not None and pid != os.getpid():
        return {"host": hostname(), "pid": pid, "started": _started(pid), "machine": _machine()}
    # A forked child has the memory of its parent, but another pid.
    if _own.get("pid") != os.getpid():
        _own.update(host=hostname(), pid=os.getpid(), started=_started(os.getpid()), machine=_machine())
    return dict(_own)


def process_began() -> float:
    """Return when this process began, in unix seconds; when it first asked, where the system does not tell."""
    try:
        ticks = int(_read_text("/proc/self/stat").rpartition(")")[2].split()[_START])
        running = float(_read_text("/proc/uptime").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - running
    except (OSError, ValueError, IndexError):
        return float(_own.setdefault("first", time.time()))


def ancestors() -> list[int]:
    """Return the processes of which this one is a child, a grandchild, ..., the nearest first."""
    found: list[int] = []
    pid = os.getppid()
    while pid > 1 and pid not in found:
        found.append(pid)
        try:
            pid = int(_read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[_PARENT])
        except (OSError, ValueError, IndexError):
            break
    return found


def is_process_alive(identity: Mapping[str, Any]) -> bool | None:
    """Return whether that process still runs, or None where this machine cannot tell.

    Parameters
    ----------
    identity: Mapping
        From `process_identity`. A process of another host, also of one that has the same name, or of another container
        on this one, cannot be seen from here. A later process with the same pid is not the same one; a zombie is dead.
    """
    pid, started = identity.get("pid"), identity.get("started")
    if pid is None or identity.get("host") != hostname():
        return None
    watched = _watched.get((pid, started))
    if watched is not None and watched.is_alive():
        return True
    if _is_elsewhere(started, identity.get("machine")):
        return None
    now = _started(pid)
    if now is None or started is None:
        return _exists(pid)
    if now == started and pid != os.getpid():
        _watch(pid, started)
    return bool(now == started)


_MOST_WATCHED = 128
_watched: dict[tuple[int, str | None], _Watched] = {}


class _Watched:
    """A process that lives, by a descriptor of its own: to ask again costs a tenth of reading what is known of it.

    `pid`: of a process of this machine. Raises OSError: it has ended, or the system has no such descriptors.
    """

    def __init__(self, pid: int) -> None:
        if not hasattr(os, "pidfd_open"):
            raise OSError("there are no descriptors of processes")
        self._descriptor = -1
        self._descriptor = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        try:
            return not self._poll.poll(0)
        except RuntimeError:
            # Another thread asks just now.
            return False

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)


def _watch(pid: int, started: str) -> None:
    if len(_watched) >= _MOST_WATCHED:
        _watched.clear()
    try:
        watched = _Watched(pid)
    except OSError:
        return
    # Another process may have had the number by then.
    if _started(pid) == started:
        _watched[pid, started] = watched


def _started(pid: int) -> str | None:
    """Return boot, process namespace and start time in clock ticks; None for a dead process."""
    try:
        fields = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if fields[_STATE] in "ZX":
            return None
        return f"{_boot()}/{_namespace()}/{fields[_START]}"
    except (OSError, IndexError):
        return _started_by_psutil(pid)


def _started_by_psutil(pid: int) -> str | None:
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


@functools.cache
def _boot() -> str:
    return _read_text("/proc/sys/kernel/random/boot_id").strip()


def _namespace() -> str:
    # Containers count their own pids, even when they share the host's name.
    return os.readlink("/proc/self/ns/pid")


def _machine() -> str | None:
    """Return what stays when this machine is started again; None in a container, whose image others run too."""
    try:
        text = _read_text("/etc/machine-id").strip() if _namespace() == _FIRST_NAMESPACE else ""
    except OSError:
        return None
    # As its manual asks: it is shown to nobody as it is.
    return hashlib.sha256(f"track {text}".encode()).hexdigest()[:16] if text else None


def _is_elsewhere(started: Any, machine: Any) -> bool:
    try:
        boot, namespace, _ = str(started).split("/")
        if boot == _boot():
            return namespace != _namespace()
    except (OSError, ValueError):
        return False
    # Before this machine was started again; or on another one that is called the same.
    return machine is None or machine != _machine()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[_STATE] in "ZX"
    except (OSError, IndexError):
        return False


def _read_text(path: str) -> str:
    # By descriptor: a reader asks for each process that runs a trial.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _LARGEST).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name: nobody is asked.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "10.0.0.1", "db")]
    [True, True, True, False, False]
    """
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
