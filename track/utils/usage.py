"""How busy this process, its cgroup and its machine are: read from ``/proc`` and ``/sys``, with no package for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from track.utils.cgroups import Cgroup, read_bytes

Seen = dict[str, float]
"""Numbers by name: percent, GB (1e9 bytes), and MB a second (1e6 bytes)."""
_GB, _MB, _SECTOR, _KB = 1e9, 1e6, 512, 1024
# Fields of a line of /proc/stat, and of /proc/diskstats.
_IDLE, _WAITING, _STEAL = 3, 4, 8
_NAME, _READ, _WRITTEN = 2, 5, 9
# What is a disk only by name.
_NO_DISKS = (b"loop", b"ram", b"zram", b"dm-", b"md", b"sr", b"fd")
_FAILURES = (OSError, ValueError, LookupError, ZeroDivisionError)


def can_be_read(root: str = "/") -> bool:
    """Return whether this system tells how busy it is."""
    return os.access(os.path.join(root, "proc/self/statm"), os.R_OK)


class Usage:
    """What is used by this process, and by its machine; by its cgroup, and of it, where that has a limit.

    Each part that cannot be read is left out, now or for good: a container may show none of it.

    Parameters
    ----------
    root: str
        Where ``proc`` and ``sys`` are.
    clock: callable
        Returns seconds that never go back.
    processors: set of int, optional
        Those that the process may use.
    """

    def __init__(
        self, root: str = "/", clock: Callable[[], float] = time.monotonic, processors: Iterable[int] | None = None
    ) -> None:
        self._root = root
        self._clock = clock
        self._pagesize = os.sysconf("SC_PAGE_SIZE")
        self._own = _own_lines(processors)
        self._totals: dict[str, tuple[float, float]] = {}
        self._is_device: dict[bytes, bool] = {}
        self._cgroup = Cgroup(root, self._own[1])
        self._parts: list[Callable[[Seen, float], None]] = [
            self._processors if self._cgroup.processors is None else self._processors_of_cgroup,
            self._memory if self._cgroup.memory is None else self._memory_of_cgroup,
            self._process,
            self._process_disk,
            self._disk_of_cgroup if self._cgroup.is_limited else self._disks,
            self._room,
            self._network,
        ]

    def read(self) -> Seen:
        """Return what is used now, and since the last call: a rate is there from the second one on."""
        seen: Seen = {}
        now = self._clock()
        for part in self._parts:
            try:
                part(seen, now)
            except _FAILURES:
                continue
        return seen

    def _file(self, path: str) -> bytes:
        return read_bytes(f"{self._root}/{path}")

    def _rate(self, seen: Seen, name: str, total: float, now: float, unit: float) -> None:
        """Note by how many units a second something grew that is only counted."""
        before, at = self._totals.get(name, (total, now))
        self._totals[name] = (total, now)
        if now > at and total >= before:
            seen[name] = (total - before) / unit / (now - at)

    # the parts

    def _processors(self, seen: Seen, now: float) -> None:
        busy = total = 0
        lines, _ = self._own
        text = self._file("proc/stat")
        for line in (text[: text.index(b"\n")],) if lines is None else text.split(b"\n"):
            fields = line.split()
            if lines is None or (fields and fields[0] in lines):
                times = list(map(int, fields[1 : _STEAL + 1]))
                spent = sum(times)
                total += spent
                busy += spent - times[_IDLE] - times[_WAITING]
        before, of = self._totals.get("cpu", (busy, total))
        self._totals["cpu"] = (busy, total)
        if total > of:
            seen["cpu"] = min(100.0, max(0.0, 100 * (busy - before) / (total - of)))

    def _processors_of_cgroup(self, seen: Seen, now: float) -> None:
        assert self._cgroup.processors is not None
        self._rate(seen, "cpu", self._cgroup.processor_seconds(), now, self._cgroup.processors / 100)

    def _memory(self, seen: Seen, now: float) -> None:
        text = self._file("proc/meminfo")
        total, available = _kilobytes(text, b"MemTotal:"), _kilobytes(text, b"MemAvailable:")
        seen["memory"] = 100 * (total - available) / total

    def _memory_of_cgroup(self, seen: Seen, now: float) -> None:
        assert self._cgroup.memory is not None
        seen["memory"] = 100 * self._cgroup.used_memory() / self._cgroup.memory

    def _process(self, seen: Seen, now: float) -> None:
        self._rate(seen, "process.cpu", time.process_time(), now, 0.01)
        seen["process.memory"] = int(self._file("proc/self/statm").split(b" ", 2)[1]) * self._pagesize / _GB

    def _process_disk(self, seen: Seen, now: float) -> None:
        words = self._file("proc/self/io").split()
        for name, word in (("process.read", b"read_bytes:"), ("process.write", b"write_bytes:")):
            self._rate(seen, name, int(words[words.index(word) + 1]), now, _MB)

    def _disks(self, seen: Seen, now: float) -> None:
        read = written = 0
        for line in self._file("proc/diskstats").splitlines():
            fields = line.split()
            if self._is_disk(fields[_NAME]):
                read += int(fields[_READ])
                written += int(fields[_WRITTEN])
        self._rate(seen, "disk.read", read * _SECTOR, now, _MB)
        self._rate(seen, "disk.write", written * _SECTOR, now, _MB)

    def _is_disk(self, name: bytes) -> bool:
        """Return whether it is a whole disk: what is on a partition is counted there already."""
        known = self._is_device.get(name)
        if known is None:
            is_one = not name.startswith(_NO_DISKS)
            path = f"{self._root}/sys/block/{os.fsdecode(name)}"
            known = self._is_device[name] = is_one and os.path.exists(path)
        return known

    def _disk_of_cgroup(self, seen: Seen, now: float) -> None:
        read, written = self._cgroup.disk_bytes()
        self._rate(seen, "disk.read", read, now, _MB)
        self._rate(seen, "disk.write", written, now, _MB)

    def _room(self, seen: Seen, now: float) -> None:
        found = os.statvfs(".")
        used = found.f_blocks - found.f_bfree
        # As df says it: what only root may fill is no room.
        seen["disk.used"] = 100 * used / (used + found.f_bavail)

    def _network(self, seen: Seen, now: float) -> None:
        received: dict[bool, int] = {}
        sent: dict[bool, int] = {}
        for line in self._file("proc/self/net/dev").splitlines()[2:]:
            name, _, rest = line.partition(b":")
            name = name.strip()
            if name != b"lo":
                fields = rest.split()
                is_real = self._is_adapter(name)
                received[is_real] = received.get(is_real, 0) + int(fields[0])
                sent[is_real] = sent.get(is_real, 0) + int(fields[8])
        # A container has none: there it is what leads out of it.
        chosen = True in received
        if received:
            self._rate(seen, "net.received", received[chosen], now, _MB)
            self._rate(seen, "net.sent", sent[chosen], now, _MB)

    def _is_adapter(self, name: bytes) -> bool:
        """Return whether it is a device: bridges and bonds pass on what devices have counted."""
        known = self._is_device.get(b"net/" + name)
        if known is None:
            path = f"{self._root}/sys/class/net/{os.fsdecode(name)}/device"
            known = self._is_device[b"net/" + name] = os.path.exists(path)
        return known


def _own_lines(processors: Iterable[int] | None) -> tuple[set[bytes] | None, int]:
    """Return the lines of /proc/stat that are about processors that this one may use, None for all; and how many."""
    count = os.cpu_count() or 1
    try:
        # Of the process: threads of its own may be bound to fewer.
        own = set(os.sched_getaffinity(os.getpid()) if processors is None else processors)
    except (AttributeError, OSError):
        return None, count
    return (None, count) if len(own) >= count else ({b"cpu%d" % number for number in own}, len(own))


def _kilobytes(text: bytes, name: bytes) -> int:
    place = text.index(name) + len(name)
    return int(text[place : text.index(b"kB", place)])
