"""Copy a file and know the digest of the copy: the kernel copies while a thread hashes what has arrived."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import threading

from track.artifacts.hashing import Source
from track.artifacts.progress import Advance

__all__ = ["copy_source"]

_PIECE = 8 << 20
_BUFFER = 1 << 17


def copy_source(source: Source, target: int, path: str, advance: Advance) -> tuple[str, int]:
    """Copy a file to an empty one, and return the digest of the copy and its bytes.

    Parameters
    ----------
    source: Source
    target: int
        Descriptor, to write.
    path: str
        Its path, to read.
    advance: callable
        Told of the bytes as they are copied.

    Raises
    ------
    FileChanged
        The source changed meanwhile.
    OSError
        The disk is full, or fails.
    """
    follower = _Follower(path)
    try:
        count = _copy_in_kernel(source.descriptor, target, follower.reached, advance)
        if count is None:
            count = _copy_by_hand(source.descriptor, target, follower.reached, advance)
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


def _copy_in_kernel(source: int, target: int, reached: Advance, advance: Advance) -> int | None:
    """Return how many bytes were copied, None where the system cannot."""
    copy = getattr(os, "copy_file_range", None)
    if copy is None:
        return None
    count = 0
    while True:
        try:
            length = copy(source, target, _PIECE)
        except OSError:
            # Between two file systems, or on one that cannot; a full disk says so again.
            if count:
                raise
            return None
        if not length:
            return count
        count += length
        reached(count)
        advance(length)


def _copy_by_hand(source: int, target: int, reached: Advance, advance: Advance) -> int:
    buffer = bytearray(_BUFFER)
    view, count = memoryview(buffer), 0
    with open(source, "rb", buffering=0, closefd=False) as reader:
        while length := reader.readinto(buffer):
            piece = view[:length]
            while piece:
                piece = piece[os.write(target, piece) :]
            count += length
            reached(count)
            advance(length)
    return count
