"""Open files as the journal needs them."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from track.errors import BackendUnavailable

_CHUNK = 1 << 18


class OpenFile(io.FileIO):
    """A file that is closed when the last thread that writes to it is done, not before."""

    @classmethod
    def at(cls, path: str, flags: int) -> OpenFile:
        """Return the file at a path, opened as the flags of `os.open` say."""
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        return cls(descriptor, "r+" if flags & os.O_RDWR else "r")

    def write_all(self, data: bytes) -> None:
        """Write all of the data, in as many steps as it takes."""
        view = memoryview(data)
        while view:
            view = view[self.write(view) :]

    def __del__(self) -> None:
        self.close()


def read_all(descriptor: int, offset: int) -> bytes:
    """Return what a file holds from a byte offset on."""
    chunks = []
    while chunk := os.pread(descriptor, _CHUNK, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def sync_folder(path: str) -> None:
    """Make the names in the folder of `path` survive a loss of power."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_named(descriptor: int, path: str) -> bool:
    """Return whether an open file is the one at `path` now."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)


def stamp_of(path: str) -> tuple[int, int, int] | None:
    """Return what is another after a file was replaced or written to; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def require_writable(path: str) -> None:
    """Return if a file could be made, with its folders; nothing is created.

    Raises
    ------
    BackendUnavailable
        The folder cannot be written to.
    """
    folder = Path(path).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return
    raise BackendUnavailable(
        f"{path} cannot be written: {folder} is read-only or no folder; choose another, as in "
        "TrackClient('file:///somewhere/else.json')"
    )


def replace_file(path: str, pieces: Iterable[bytes], temporary: str | None = None) -> int:
    """Write a file whole or not at all, and return its size in bytes; its mode is kept.

    Parameters
    ----------
    path: str
    pieces: iterable of bytes
    temporary: str, optional
        The neighbour that gets the content, reaches the disk, and takes the name. One that was left behind
        is overwritten: for callers that hold a lock. By default it has a name of its own.
    """
    target = os.path.realpath(path)
    temporary = temporary or f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.writelines(pieces)
            file.flush()
            # A file that is new has the mode that everything new gets.
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return size


def replace_bytes(path: str, content: bytes) -> None:
    """Write a file whole or not at all; its folder must be there.

    A file that is new has the mode that everything new gets; one that is replaced keeps its mode.
    """
    temporary = os.path.join(os.path.dirname(path), f".track-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, _CREATE, 0o666)
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(path).st_mode & 0o777)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
