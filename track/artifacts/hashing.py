"""Digests of files: read once with little memory, and not again while size, times and inode stay the same."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from track.errors import FileChanged, UnsafePath

__all__ = ["CHUNK", "SETTLED", "DigestCache", "Source", "Stamp", "hash_source", "is_settled"]

_LARGE = 1 << 20
CHUNK = 1 << 20
"""Bytes that are in memory at a time."""

SETTLED = 2_000_000_000
"""Nanoseconds after which a write to a file surely shows in its times: some file systems count in 2 s."""

_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class Stamp(NamedTuple):
    """What changes when a file does, as far as its folder tells."""

    size: int
    modified: int
    changed: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp in what `os.stat` told."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def is_settled(stamp: Stamp, read_at: int) -> bool:
    """Return whether a later write would show in the stamp.

    Parameters
    ----------
    stamp: Stamp
    read_at: int
        When the file began to be read, nanoseconds.
    """
    return max(stamp.modified, stamp.changed) + SETTLED < read_at


class Source:
    """A regular file that is read, and found out when it changes meanwhile; use it in a ``with`` block.

    Parameters
    ----------
    path: str
        Links are followed.

    Raises
    ------
    FileNotFoundError, PermissionError
        There is no such file, or it may not be read.
    UnsafePath
        It is no file: a folder, a device, a pipe.
    """

    __slots__ = ("descriptor", "path", "read_at", "stamp")

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_at = time.time_ns()
        # Not blocking: a pipe would wait for its writer.
        self.descriptor = os.open(path, _OPEN)
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.descriptor)
            raise UnsafePath(f"{path!r} is {_kind(status.st_mode)}, not a file")
        self.stamp = Stamp.of(status)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def check_unchanged(self, count: int) -> None:
        """Raise FileChanged unless all of the file was read, `count` bytes, and it is still as it was."""
        status = os.fstat(self.descriptor)
        # The files of /proc tell no size.
        is_whole = self.stamp.size in {count, 0}
        if not is_whole or (status.st_size, status.st_mtime_ns) != self.stamp[:2]:
            raise FileChanged(f"{self.path!r} changed while it was read: store it once it is written")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe or a socket" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "a device"


def hash_source(source: Source, advance: Callable[[int], Any]) -> tuple[str, int]:
    """Return the digest of a file and its size.

    Parameters
    ----------
    source: Source
    advance: callable
        Told how many bytes were read, again and again.

    Raises
    ------
    FileChanged
        The file changed meanwhile.
    """
    digest, count = hashlib.sha256(), 0
    os.lseek(source.descriptor, 0, os.SEEK_SET)
    while data := os.read(source.descriptor, CHUNK):
        digest.update(data)
        count += len(data)
        advance(len(data))
    source.check_unchanged(count)
    return digest.hexdigest(), count


class DigestCache:
    """Digests of files that were read before, by their stamps.

    Parameters
    ----------
    limit: int
        Digests to keep; the oldest go first.

    Attributes
    ----------
    sizes: set of int
        Of the large files that were read.
    """

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._digests: OrderedDict[Stamp, str] = OrderedDict()
        self.sizes: set[int] = set()

    def get(self, stamp: Stamp) -> str | None:
        """Return the digest of a file with this stamp; None when it is not known."""
        return self._digests.get(stamp)

    def add(self, source: Source, digest: str) -> None:
        """Remember a file that did not change while it was read; its size, where it is large, in any case."""
        if source.stamp.size >= _LARGE:
            self.sizes.add(source.stamp.size)
        if not is_settled(source.stamp, source.read_at):
            return
        self._digests[source.stamp] = digest
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)
