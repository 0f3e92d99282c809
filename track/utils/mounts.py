"""Which file system a path is on, by the system's table of mounts, and the numbers that it gives to files."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_OCTAL = re.compile(rb"\\([0-7]{3})")
# Others make numbers up as files are looked at (vfat, most of what is in user space), or translate those of a host.
_NUMBERED = {
    "", "apfs", "bcachefs", "btrfs", "ceph", "ext2", "ext3", "ext4", "f2fs", "gfs2", "gpfs", "hfs", "jfs", "lustre",
    "nfs", "nfs4", "ocfs2", "overlay", "tmpfs", "ufs", "xfs", "zfs",
}  # fmt: skip


def file_system_of(path: str, mounts: str = "/proc/mounts") -> str:
    """Return the kind of file system that a path is on, as ``ext4``; '' where there is no table that tells."""
    try:
        table = Path(mounts).read_bytes()
    except OSError:
        return ""
    target = os.path.realpath(path)
    longest, kind = -1, ""
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = os.fsdecode(_OCTAL.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), fields[1]))
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:
            longest, kind = len(point), os.fsdecode(fields[2])
    return kind


def keeps_numbers(kind: str) -> bool:
    """Return whether a kind of file system knows a file by one number for as long as it is there, on every machine."""
    return kind in _NUMBERED


def numbers_of(folder: str, **files: str) -> dict[str, str]:
    """Return the numbers of a folder and of files, by what they are called here; nothing for one that is not there.

    A rename keeps the number of a file, what is mounted elsewhere has it too, and a copy has another.
    """
    found = {}
    with contextlib.suppress(OSError):
        here, above = os.stat(folder), os.stat(os.path.join(folder, os.pardir))
        # The root of every file system has the same number.
        if here.st_dev == above.st_dev and here.st_ino != above.st_ino:
            found["folder"] = str(here.st_ino)
    for name, path in files.items():
        with contextlib.suppress(OSError):
            found[name] = str(os.stat(path).st_ino)
    return found
