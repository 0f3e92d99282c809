"""Digests of files: read once with little memory, and not again while size, times and inode stay the same."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import queue
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeAlias

from track.artifacts.transfer import Advance
from track.errors import FileChanged, UnsafePath

_PIECE = 8 << 20
_BUFFER = 1 << 17
SMALL = 1 << 18
"""Bytes of the largest file that is read at once, and that is read again rather than remembered."""
CHUNK = 1 << 20
"""Bytes that are in memory at a time."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a write to a file surely shows in its times: some file systems count in 2 s."""
UNTOLD = 64 << 20
"""Bytes of the largest file that is read though its folder says that it has none, as those of /proc do."""
READ = os.O_RDONLY | os.O_NONBLOCK
"""How a file is opened that may turn out to be a pipe."""
READ_NO_LINK = READ | os.O_NOFOLLOW
"""How one is opened that was no link when it was looked at: one put there since may lead anywhere."""


Stamp: TypeAlias = tuple[int, int, int, int, int]


class Source:
    """A regular file that is read, and found out when it changes meanwhile; use it in a ``with`` block.

    Links are followed, unless `flags` say else; FileNotFoundError or PermissionError as from `open`, UnsafePath for a
    folder, device or pipe.
    """

    __slots__ = ("descriptor", "path", "read_at", "status")

    def __init__(self, path: str, flags: int = READ) -> None:
        self.path = path
        self.read_at = time.time_ns()
        # Not blocking: a pipe would wait for its writer.
        try:
            self.descriptor = os.open(path, flags)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise UnsafePath(f"{path!r} is a socket, not a file") from error
            raise
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
        """What changes when the file does, as far as its folder tells."""
        status = self.status
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.descriptor)

    def check_unchanged(self, count: int) -> None:
        """Raise FileChanged unless all of the file was read, `count` bytes, and it is still as it was."""
        before, after = self.status, os.fstat(self.descriptor)
        # The files of /proc tell no size.
        is_whole = before.st_size in (count, 0)
        if not is_whole or after.st_size != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
            raise self.changed()

    def check_growth(self, count: int) -> None:
        """Raise FileChanged once more was read than there was at first: a file may grow faster than it is read."""
        if count > (self.status.st_size or UNTOLD):
            raise self.changed()

    def changed(self) -> FileChanged:
        """Return the error of a file that is not what it was when it was looked at first."""
        return FileChanged(f"{self.path!r} changed while it was read: store it once it is written")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe or a socket" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "a device"


def hash_source(source: Source, advance: Callable[[int], Any]) -> tuple[str, int]:
    """Return the digest of a file and its size; FileChanged where it changed meanwhile."""
    digest, count = hashlib.sha256(), 0
    os.lseek(source.descriptor, 0, os.SEEK_SET)
    while data := os.read(source.descriptor, CHUNK):
        digest.update(data)
        count += len(data)
        source.check_growth(count)
        advance(len(data))
    source.check_unchanged(count)
    return digest.hexdigest(), count


class DigestCache:
    """Digests of files that were read before, by stamp, the latest of them; and `sizes`, in bytes, of all of them."""

    def __init__(self, limit: int = 65_536) -> None:
        self._limit = limit
        self._digests: OrderedDict[Stamp, str] = OrderedDict()
        self.sizes: set[int] = set()

    def get(self, stamp: Stamp) -> str | None:
        """Return the digest of a file with this stamp; None when it is not known."""
        return self._digests.get(stamp)

    def add(self, source: Source, digest: str) -> None:
        """Remember a file that did not change while it was read; its size in any case."""
        status = source.status
        self.sizes.add(status.st_size)
        # Otherwise a later write might not show in the stamp.
        if max(status.st_mtime_ns, status.st_ctime_ns) + SETTLED >= source.read_at:
            return
        self._digests[source.stamp] = digest
        if len(self._digests) > self._limit:
            self._digests.popitem(last=False)


def copy_source(source: Source, target: int, path: str, advance: Advance) -> tuple[str, int]:
    """Copy a file to an empty one (descriptor, path); return digest and bytes. FileChanged, or OSError of the disk."""
    follower = _Follower(path)
    try:
        count = _copy_in_kernel(source, target, follower.reached, advance)
        if count is None:
            count = _copy_by_hand(source, target, follower.reached, advance)
        source.check_unchanged(count)
    finally:
        digest = follower.end()
    return digest, count


class _Follower:
    """Hashes a file as far as it is written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._pieces: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="track-digest", daemon=True)
        self._thread.start()

    def reached(self, offset: int) -> None:
        """Say how far the file is written."""
        self._pieces.put(offset)

    def end(self) -> str:
        """Return the digest of what was written."""
        self._pieces.put(-1)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def _run(self) -> None:
        try:
            with open(self._path, "rb", buffering=0) as written:
                self._hash(written)
        except OSError as error:
            self._error = error

    def _hash(self, written: io.FileIO) -> None:
        buffer = bytearray(_BUFFER)
        view, at = memoryview(buffer), 0
        while (offset := self._pieces.get()) >= 0:
            while at < offset:
                length = written.readinto(view[: min(_BUFFER, offset - at)])
                if not length:
                    raise OSError(f"{offset - at} bytes that were written to {self._path} are not there")
                self._digest.update(view[:length])
                at += length


def _copy_in_kernel(source: Source, target: int, reached: Advance, advance: Advance) -> int | None:
    """Return how many bytes were copied, None where the system cannot."""
    copy = getattr(os, "copy_file_range", None)
    if copy is None:
        return None
    count = 0
    while True:
        try:
            length = copy(source.descriptor, target, _PIECE)
        except OSError:
            # Between two file systems, or on one that cannot; a full disk says so again.
            if count:
                raise
            return None
        if not length:
            return count
        count += length
        source.check_growth(count)
        reached(count)
        advance(length)


def _copy_by_hand(source: Source, target: int, reached: Advance, advance: Advance) -> int:
    buffer = bytearray(_BUFFER)
    view, count = memoryview(buffer), 0
    with open(source.descriptor, "rb", buffering=0, closefd=False) as reader:
        while length := reader.readinto(buffer):
            count += length
            source.check_growth(count)
            piece = view[:length]
            while piece:
                piece = piece[os.write(target, piece) :]
            reached(count)
            advance(length)
    return count
