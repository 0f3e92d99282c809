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

__all__ = ["CHUNK", "READ", "SETTLED", "SMALL", "DigestCache", "Source", "Stamp", "hash_source", "is_settled"]

SMALL = 1 << 18
"""Bytes of the largest file that is read at once, and that is read again rather than remembered."""

CHUNK = 1 << 20
"""Bytes that are in memory at a time."""

SETTLED = 2_000_000_000
"""Nanoseconds after which a write to a file surely shows in its times: some file systems count in 2 s."""

READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""How a file is opened that may turn out to be a pipe."""


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

    __slots__ = ("descriptor", "path", "read_at", "status")

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_at = time.time_ns()
        # Not blocking: a pipe would wait for its writer.
        self.descriptor = os.open(path, READ)
        self.status = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.status.st_mode):
            os.close(self.descriptor)
            raise UnsafePath(f"{path!r} is {_kind(self.status.st_mode)}, not a file")

    @property
    def size(self) -> int:
        """Bytes, as its folder tells."""
        return self.status.st_size

    @property
    def stamp(self) -> Stamp:
        """What changes when the file does."""
        return Stamp.of(self.status)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def check_unchanged(self, count: int) -> None:
        """Raise FileChanged unless all of the file was read, `count` bytes, and it is still as it was."""
        before, after = self.status, os.fstat(self.descriptor)
        # The files of /proc tell no size.
        is_whole = before.st_size in (count, 0)
        if not is_whole or after.st_size != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
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
        Of the files that were read.
    """

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._digests: OrderedDict[Stamp, str] = OrderedDict()
        self.sizes: set[int] = set()

    def get(self, stamp: Stamp) -> str | None:
        """Return the digest of a file with this stamp; None when it is not known."""
        return self._digests.get(stamp)

    def add(self, source: Source, digest: str) -> None:
        """Remember a file that did not change while it was read; its size in any case."""
        stamp = source.stamp
        self.sizes.add(stamp.size)
        if not is_settled(stamp, source.read_at):
            return
        self._digests[stamp] = digest
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)
