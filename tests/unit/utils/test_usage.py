"""What is used of a machine and of a cgroup, read below a folder that looks like ``/``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from track.utils.usage import Usage, can_be_read

Write = Callable[[dict[str, str]], None]

MACHINE = {
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 50 0 50 350 50 0 0 0 0 0\n"
    "cpu1 50 0 50 350 50 0 0 0 0 0\nintr 5\n",
    "proc/meminfo": "MemTotal:  4000 kB\nMemFree:  500 kB\nMemAvailable:  1000 kB\n",
    "proc/self/statm": "900 250 100 1 0 200 0\n",
    "proc/self/io": "rchar: 5\nread_bytes: 1000000\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
    "proc/diskstats": "8 0 sda 1 0 1000 0 1 0 2000 0 0 0 0\n8 1 sda1 1 0 900 0 1 0 2000 0 0 0 0\n"
    "7 0 loop0 1 0 50 0 1 0 9 0 0 0 0\n",
    "proc/self/net/dev": "Inter-| Receive\n face |bytes\n    lo: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n"
    "  eth0: 1000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  br0: 1000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
    "sys/block/sda/size": "1",
    "sys/block/loop0/size": "1",
    "sys/class/net/eth0/device/vendor": "1",
}
LATER = {
    "proc/stat": "cpu  140 0 110 740 110 0 0 0 0 0\ncpu0 90 0 60 350 50 0 0 0 0 0\n"
    "cpu1 50 0 50 390 60 0 0 0 0 0\nintr 6\n",
    "proc/self/io": "rchar: 5\nread_bytes: 5000000\nwrite_bytes: 2000000\ncancelled_write_bytes: 0\n",
    "proc/diskstats": "8 0 sda 1 0 9000 0 1 0 2000 0 0 0 0\n8 1 sda1 1 0 8900 0 1 0 2000 0 0 0 0\n"
    "7 0 loop0 1 0 99 0 1 0 9 0 0 0 0\n",
    "proc/self/net/dev": "Inter-| Receive\n face |bytes\n    lo: 999999999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n"
    "  eth0: 9000000 0 0 0 0 0 0 0 4000000 0 0 0 0 0 0 0\n  br0: 9000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
}
SECOND = "0::/job/step\n"
SECOND_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = "9:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n3:blkio:/docker/ab\n0::/\n"
FIRST_MOUNTS = "".join(
    f"3{number} 31 0:3{number} /docker/ab /sys/fs/cgroup/{name} ro - cgroup cgroup rw,{name}\n"
    for number, name in enumerate(["cpu,cpuacct", "memory", "blkio"])
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Give what writes files below a folder that looks like the root of a machine with two processors."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write(MACHINE)
    return write


def _seen(root: Path, write: Write, later: dict[str, str], processors: set[int] | None = None) -> dict[str, float]:
    """Return what was used within two seconds."""
    clock = iter([10.0, 12.0])
    usage = Usage(str(root), clock.__next__, {0, 1} if processors is None else processors)
    first = usage.read()
    assert "cpu" not in first
    assert "disk.read" not in first
    write(later)
    return usage.read()


def test_machine(tmp_path: Path, write: Write) -> None:
    """Percent of processors and memory, MB a second; what partitions and bridges pass on counts once."""
    seen = _seen(tmp_path, write, LATER, set(range(os.cpu_count() or 1)))

    assert seen.pop("process.cpu") >= 0
    assert 0 < seen.pop("disk.used") <= 100
    assert seen == pytest.approx(
        {
            "cpu": 50.0,
            "memory": 75.0,
            "process.memory": 250 * os.sysconf("SC_PAGE_SIZE") / 1e9,
            "process.read": 2.0,
            "process.write": 1.0,
            "disk.read": 8000 * 512 / 2e6,
            "disk.write": 0.0,
            "net.received": 4.0,
            "net.sent": 2.0,
        }
    )


def test_only_processors_that_the_process_may_use(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is bound to one of two processors is busy when that one is."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    assert _seen(tmp_path, write, LATER, {0})["cpu"] == 100.0


def test_container_without_an_adapter(tmp_path: Path, write: Write) -> None:
    """In a container the network is what leads out of it, though it is no device."""
    (tmp_path / "sys/class/net/eth0/device/vendor").unlink()
    (tmp_path / "sys/class/net/eth0/device").rmdir()

    assert _seen(tmp_path, write, LATER)["net.sent"] == 2.0


def test_cgroup_of_version_2(tmp_path: Path, write: Write) -> None:
    """Where a cgroup, or one around it, has a limit, that is what is used up; what can be dropped is not counted."""
    place = "sys/fs/cgroup/job"
    write(
        {
            "proc/self/cgroup": SECOND,
            "proc/self/mountinfo": SECOND_MOUNT,
            f"{place}/cpu.max": "50000 100000\n",
            f"{place}/cpu.stat": "usage_usec 1000000\nuser_usec 1\n",
            f"{place}/memory.max": "1000000\n",
            f"{place}/memory.current": "900000\n",
            f"{place}/memory.stat": "anon 1\nworkingset 5\ninactive_file 400000\n",
            f"{place}/io.stat": "8:0 rbytes=1000000 wbytes=0 rios=1 wios=1 dbytes=0 dios=0\n",
            f"{place}/step/cpu.max": "max 100000\n",
            f"{place}/step/memory.max": "max\n",
        }
    )
    later = {
        f"{place}/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        f"{place}/io.stat": "8:0 rbytes=2000000 wbytes=0 rios=1\n8:16 rbytes=2000000 wbytes=8000000 rios=1\n",
    }

    seen = _seen(tmp_path, write, later)

    assert {name: seen[name] for name in ("cpu", "memory", "disk.read", "disk.write")} == {
        "cpu": pytest.approx(50.0),
        "memory": 50.0,
        "disk.read": 1.5,
        "disk.write": 4.0,
    }


def test_cgroup_of_version_1(tmp_path: Path, write: Write) -> None:
    """The same of the older version, as a container of docker sees it."""
    place = "sys/fs/cgroup"
    write(
        {
            "proc/self/cgroup": FIRST,
            "proc/self/mountinfo": FIRST_MOUNTS,
            f"{place}/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
            f"{place}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            f"{place}/cpu,cpuacct/cpuacct.usage": "1000000000\n",
            f"{place}/memory/memory.limit_in_bytes": "2000000\n",
            f"{place}/memory/memory.usage_in_bytes": "1500000\n",
            f"{place}/memory/memory.stat": "cache 1\ninactive_file 7\ntotal_inactive_file 500000\n",
            f"{place}/blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 0\n8:0 Write 0\n"
            "8:0 Total 0\nTotal 0\n",
        }
    )
    later = {
        f"{place}/cpu,cpuacct/cpuacct.usage": "2500000000\n",
        f"{place}/blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 6000000\n8:0 Write 2000000\n"
        "Total 8000000\n",
    }

    seen = _seen(tmp_path, write, later)

    assert {name: seen[name] for name in ("cpu", "memory", "disk.read", "disk.write")} == {
        "cpu": pytest.approx(75.0),
        "memory": 50.0,
        "disk.read": 3.0,
        "disk.write": 1.0,
    }


@pytest.mark.parametrize(
    ("files", "cpu", "memory"),
    [
        ({"job/cpu.max": "max 100000\n", "job/memory.max": "max\n"}, 50.0, 75.0),
        ({"job/cpu.max": "900000 100000\n", "job/memory.max": "99999999\n"}, 50.0, 75.0),
        ({"job/cpu.max": "rubbish\n", "job/memory.max": "-5\n"}, 50.0, 75.0),
        ({"job/cpu.max": "50000 100000\n", "job/memory.max": "1000000\n"}, None, None),
    ],
)
def test_limits_that_are_none(
    tmp_path: Path, write: Write, files: dict[str, str], cpu: float | None, memory: float | None
) -> None:
    """Beyond what the machine has, or unreadable, a limit is none; what a limited cgroup does not tell is left out."""
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    write({"proc/self/cgroup": "0::/job\n", "proc/self/mountinfo": SECOND_MOUNT, **placed})

    seen = _seen(tmp_path, write, LATER, set(range(os.cpu_count() or 1)))

    assert (seen.get("cpu"), seen.get("memory")) == (cpu, memory)


PARTS = {
    "proc/stat": {"cpu"},
    "proc/meminfo": {"memory"},
    "proc/self/statm": {"process.memory"},
    "proc/self/io": {"process.read", "process.write"},
    "proc/diskstats": {"disk.read", "disk.write"},
    "proc/self/net/dev": {"net.received", "net.sent"},
}


@pytest.mark.parametrize("name", sorted(PARTS))
@pytest.mark.parametrize("text", [None, "", "nothing of the kind\n", "\0\xff"])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, write: Write, name: str, text: str | None) -> None:
    """A container shows some of it, none of it, or something else: the rest is there."""
    usage = Usage(str(tmp_path), iter([1.0, 2.0]).__next__, set(range(os.cpu_count() or 1)))
    usage.read()
    write(LATER)
    if text is None:
        (tmp_path / name).unlink()
    else:
        write({name: text})

    seen = set(usage.read())

    assert seen == set.union(*PARTS.values()) - PARTS[name] | {"process.cpu", "disk.used"}


def test_counters_that_begin_again(tmp_path: Path, write: Write) -> None:
    """A counter that is lower than before, as after a device was taken away, is no rate below zero."""
    usage = Usage(str(tmp_path), iter([1.0, 2.0, 3.0]).__next__, {0, 1})
    write(LATER)
    usage.read()
    write(MACHINE)
    usage.read()

    assert all(value >= 0 for value in usage.read().values())


@pytest.mark.parametrize("path", ["/../../etc", "/gone", "/docker/elsewhere", "/"])
def test_cgroup_of_another_part_of_the_tree(tmp_path: Path, write: Write, path: str) -> None:
    """A container may name its cgroup as the host does, and show only its own: that is looked at."""
    write(
        {
            "proc/self/cgroup": f"0::{path}\n",
            "proc/self/mountinfo": SECOND_MOUNT,
            "sys/fs/cgroup/memory.max": "1000000\n",
            "sys/fs/cgroup/memory.current": "250000\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
        }
    )

    assert _seen(tmp_path, write, {})["memory"] == 25.0


def test_a_system_without_proc(tmp_path: Path, write: Write) -> None:
    """Whether there is anything to read is known beforehand."""
    assert can_be_read(str(tmp_path))
    assert not can_be_read(str(tmp_path / "sys"))
