"""What a cgroup, as that of a container or of a job, lets its processes use, and what they use: of both versions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress

_LARGEST = 1 << 16
_UNLIMITED = 1 << 60
_NANO, _MICRO = 1e-9, 1e-6
_ESCAPED = re.compile(r"\\([0-7]{3})")


def read_bytes(path: str) -> bytes:
    """Return what a file of the kernel says; OSError where there is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, _LARGEST)
        # Some are given out a page at a time.
        while more := os.read(descriptor, _LARGEST):
            text += more
        return text
    finally:
        os.close(descriptor)


class Cgroup:
    """The limits of this process's cgroup, or of one that it is in, and what is used of them.

    Parameters
    ----------
    root: str
        Where ``proc`` and ``sys`` are.
    count: int
        How many processors this process may use.

    Attributes
    ----------
    processors: float or None
        How many it may use; None where that is no limit.
    memory: int or None
        Bytes it may use; None where that is no limit.
    """

    def __init__(self, root: str, count: int) -> None:
        self.processors: float | None = None
        self.memory: int | None = None
        self.processor_seconds: Callable[[], float]
        self.used_memory: Callable[[], int]
        self._folders = _folders(root)
        self._at: list[str] = []
        quotas = [(quota, place) for place in self._levels("cpu") if (quota := self._quota(place)) is not None]
        if quotas and min(quotas)[0] < count:
            self.processors, place = min(quotas)
            self._at = place
            self.processor_seconds = self._clock_of(place)
        total = _memory_of(root)
        limits = [(limit, place) for place in self._levels("memory") if (limit := self._limit(place)) is not None]
        if limits and min(limits)[0] < total:
            self.memory, place = min(limits)
            self._at = place
            self.used_memory = self._meter_of(place)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit of any kind."""
        return self.processors is not None or self.memory is not None

    def _folder(self, controller: str, parts: list[str]) -> tuple[str, bool]:
        """Return the folder where a controller tells of a cgroup, and whether that is version 2."""
        is_second = controller not in self._folders
        mount, _ = self._folders["" if is_second else controller]
        return os.path.join(mount, *parts), is_second

    def _levels(self, controller: str) -> list[list[str]]:
        """Return the cgroup and those that it is in, innermost first, as the parts of their paths."""
        found = self._folders.get(controller) or self._folders.get("")
        if found is None:
            return []
        _, parts = found
        return [parts[:size] for size in range(len(parts), -1, -1)]

    def _quota(self, parts: list[str]) -> float | None:
        folder, is_second = self._folder("cpu", parts)
        with suppress(OSError, ValueError, ZeroDivisionError):
            if is_second:
                quota, period = read_bytes(f"{folder}/cpu.max").split()
            else:
                quota, period = (read_bytes(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
            if int(quota) > 0:
                return int(quota) / int(period)
        return None

    def _clock_of(self, parts: list[str]) -> Callable[[], float]:
        folder, is_second = self._folder("cpuacct" if "cpu" in self._folders else "cpu", parts)
        if is_second:
            return lambda: _field(read_bytes(f"{folder}/cpu.stat"), b"usage_usec ") * _MICRO
        return lambda: int(read_bytes(f"{folder}/cpuacct.usage")) * _NANO

    def _limit(self, parts: list[str]) -> int | None:
        folder, is_second = self._folder("memory", parts)
        with suppress(OSError, ValueError):
            limit = int(read_bytes(f"{folder}/{'memory.max' if is_second else 'memory.limit_in_bytes'}"))
            return limit if 0 < limit < _UNLIMITED else None
        return None

    def _meter_of(self, parts: list[str]) -> Callable[[], int]:
        folder, is_second = self._folder("memory", parts)
        used, files = ("current", b"inactive_file ") if is_second else ("usage_in_bytes", b"total_inactive_file ")
        # What was read from files is given up when there is need of room.
        return lambda: max(
            0, int(read_bytes(f"{folder}/memory.{used}")) - _field(read_bytes(f"{folder}/memory.stat"), files)
        )

    def disk_bytes(self) -> tuple[int, int]:
        """Return how much it has read from disks and written to them, in bytes."""
        folder, is_second = self._folder("blkio", self._at)
        read = written = 0
        if is_second:
            for word in read_bytes(f"{folder}/io.stat").split():
                name, _, count = word.partition(b"=")
                read += int(count) if name == b"rbytes" else 0
                written += int(count) if name == b"wbytes" else 0
            return read, written
        for line in read_bytes(f"{folder}/blkio.throttle.io_service_bytes_recursive").splitlines():
            words = line.split()
            if len(words) == 3:
                read += int(words[2]) if words[1] == b"Read" else 0
                written += int(words[2]) if words[1] == b"Write" else 0
        return read, written


def _folders(root: str) -> dict[str, tuple[str, list[str]]]:
    """Return where each controller is mounted, ``""`` version 2, and the path of this process's cgroup there."""
    try:
        own = os.fsdecode(read_bytes(f"{root}/proc/self/cgroup")).splitlines()
        mounts = os.fsdecode(read_bytes(f"{root}/proc/self/mountinfo")).splitlines()
    except OSError:
        return {}
    paths = {name: path for line in own for _, names, path in [line.split(":", 2)] for name in names.split(",")}
    found: dict[str, tuple[str, list[str]]] = {}
    for line in mounts:
        first, _, last = line.partition(" - ")
        kind, options = last.split(" ")[0], last.split(" ")[-1].split(",")
        if kind not in ("cgroup", "cgroup2"):
            continue
        top, mount = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), part) for part in first.split(" ")[3:5])
        place = f"{root.rstrip('/')}{mount}"
        for name in [""] if kind == "cgroup2" else options:
            if name in paths and name not in found:
                found[name] = (place, _below(place, top, paths[name]))
    return found


def _below(mount: str, top: str, path: str) -> list[str]:
    """Return the parts of a cgroup's path below its mount; none where that shows another part of the tree."""
    inside = path.removeprefix(top.rstrip("/")) if path == top or path.startswith(f"{top.rstrip('/')}/") else ""
    parts = [part for part in inside.split("/") if part]
    return parts if ".." not in parts and os.path.isdir(os.path.join(mount, *parts)) else []


def _memory_of(root: str) -> int:
    with suppress(OSError, ValueError):
        text = read_bytes(f"{root}/proc/meminfo")
        return _field(text, b"MemTotal:") * 1024
    return _UNLIMITED


def _field(text: bytes, name: bytes) -> int:
    """Return the number after a name at the beginning of a line; ValueError where there is none."""
    start = 0 if text.startswith(name) else text.index(b"\n" + name) + 1
    return int(text[start + len(name) :].split(None, 1)[0])
