"""Facts about this machine as a person wants them: processors, memory, disks, network, scheduler, environment.

Nothing is imported that is not installed, and what cannot be found out is left out.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from track.utils.environment import find_user
from track.utils.masking import is_secret, mask_command
from track.utils.system import hostname

_SHOWN = re.compile(r"CUDA|SLURM|SBATCH|PBS|LSB_|OMP_|MKL_|NCCL_|(LD_LIBRARY_|PYTHON)?PATH$|VIRTUAL_ENV|CONDA|TRACK_")
_UNITS = ("", "K", "M", "G", "T", "P", "E", "Z", "Y")


def size_text(count: float, suffix: str = "B") -> str:
    """Return a number of bytes as a person reads it.

    Examples
    --------
    >>> size_text(1253656), size_text(1253656678), size_text(10)
    ('1.20MB', '1.17GB', '10.00B')
    """
    for unit in _UNITS[:-1]:
        if abs(count) < 1024:
            return f"{count:.2f}{unit}{suffix}"
        count /= 1024
    return f"{count:.2f}{_UNITS[-1]}{suffix}"


def identity() -> dict[str, Any]:
    """Return what tells machines and users apart: mac, host, user, home."""
    user, home = find_user() or str(os.getuid()), os.path.expanduser("~")
    return {"mac": hex(uuid.getnode()), "host": hostname(), "user": user, "home": home}


def system() -> dict[str, Any]:
    """Return what runs here, and on what."""
    found = platform.uname()
    return {name: getattr(found, name) for name in ("system", "node", "release", "version", "machine", "processor")}


def cpu(is_live: bool = False) -> dict[str, Any]:
    """Return how many processors there are, and how fast they are in MHz; `is_live` adds how busy they were lately."""
    facts: dict[str, Any] = {"total": os.cpu_count()}
    psutil = _psutil()
    if psutil is None:
        return facts
    facts["physical"] = _physical_processors()
    speed = _asked(psutil.cpu_freq)
    if speed is not None:
        facts |= {"max_freq": speed.max, "min_freq": speed.min, "cur_freq": speed.current}
    if is_live:
        # Since the last call: nobody waits for it.
        facts["usage"] = psutil.cpu_percent(interval=None)
    return facts


@functools.lru_cache(maxsize=1)
def _physical_processors() -> int | None:
    # They do not change, and a worker asks for each of its experiments.
    found: int | None = _psutil().cpu_count(logical=False)
    return found


def memory() -> dict[str, Any]:
    """Return how much memory there is, as ``virtual`` and ``swap``."""
    psutil = _psutil()
    if psutil is None:
        return _memory_of_proc()
    virtual, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "virtual": _amounts(virtual.total, virtual.available, virtual.used, virtual.percent),
        "swap": _amounts(swap.total, swap.free, swap.used, swap.percent),
    }


def _memory_of_proc() -> dict[str, Any]:
    with open("/proc/meminfo", encoding="ascii") as file:
        known = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    facts = {}
    for name, total, free in (("virtual", "MemTotal", "MemAvailable"), ("swap", "SwapTotal", "SwapFree")):
        used = known[total] - known[free]
        facts[name] = _amounts(known[total], known[free], used, round(100 * used / known[total], 1) if used else 0.0)
    return facts


def _amounts(total: float, free: float, used: float, percentage: float) -> dict[str, Any]:
    return {"total": size_text(total), "free": size_text(free), "used": size_text(used), "percentage": percentage}


def disks() -> dict[str, Any]:
    """Return how full the disk of this folder is."""
    total, used, free = shutil.disk_usage(".")
    return {os.getcwd(): _amounts(total, free, used, round(100 * used / total, 1) if total else 0.0)}


def network() -> dict[str, Any]:
    """Return the interfaces of this machine by name, with their addresses where psutil is installed."""
    psutil = _psutil()
    if psutil is None:
        return {name: {} for _, name in socket.if_nameindex()}
    return {name: {"address": addresses[0].address} for name, addresses in psutil.net_if_addrs().items() if addresses}


def gpus() -> list[dict[str, Any]]:
    """Return what the NVIDIA driver says of each GPU; no library of it is loaded."""
    # A worker asks for each of its experiments.
    if shutil.which("nvidia-smi") is None:
        return []
    import subprocess

    names = ("index", "name", "memory.total", "memory.used", "utilization.gpu")
    answer = subprocess.run(
        ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    return [dict(zip(names, map(str.strip, line.split(",")), strict=False)) for line in answer.stdout.splitlines()]


def slurm() -> dict[str, str]:
    """Return what Slurm says of this job."""
    found = {name[6:].lower(): value for name, value in os.environ.items() if name.startswith("SLURM_")}
    return {name: masked(name, value) for name, value in found.items()}


def conda() -> dict[str, str]:
    """Return which environment of conda or venv this is."""
    names = ("CONDA_DEFAULT_ENV", "CONDA_PREFIX", "VIRTUAL_ENV")
    return {name.lower(): os.environ[name] for name in names if name in os.environ}


def environment(more: Callable[[str], bool] | None = None) -> dict[str, str]:
    """Return variables that say how a program runs, of GPUs, schedulers, paths; `more` chooses others, too.

    What is named like a secret, or looks like a key, or a URL with a password, is ``***`` in any case.
    """
    chosen = sorted(name for name in os.environ if _SHOWN.match(name) or (more is not None and more(name)))
    return {name: masked(name, os.environ[name]) for name in chosen}


def masked(name: str, value: str) -> str:
    """Return the value of a variable as it may be shown."""
    return "***" if is_secret(name) else mask_command([value])[0]


def facts(groups: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what each collector finds, by its group; one that fails, or finds nothing, is left out."""
    found = {group: _asked(collect) for group, collect in groups.items()}
    return {group: value for group, value in found.items() if value}


def _asked(collect: Callable[[], Any]) -> Any:
    try:
        return collect()
    except Exception:  # noqa: BLE001 - drivers and containers fail in many ways, and this is an ornament
        return None


def _psutil() -> Any:
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return psutil
