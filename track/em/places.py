"""Where an upload store keeps its bytes: a directory. Names have slashes between their parts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

from track.em.errors import unreachable
from track.persistence.lock import StoreLock
from track.tracking.places import is_temporary, replace_bytes

__all__ = ["CHUNK", "DirectoryPlace", "StorePlace"]

CHUNK = 1 << 20
"""Bytes that are in memory at a time, about."""

_LOCK = ".lock"
_PATIENCE = 30.0


class StorePlace(Protocol):
    """What an upload store needs: small records that change in one step, and large content that never changes."""

    def check(self) -> None:
        """Return if the place answers; ConnectionError when not, ValueError when it refuses the key."""

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a record and the tag of its state; None when there is none."""

    def create(self, name: str, record: bytes) -> bool:
        """Write a record that does not exist yet; return False when somebody was faster."""

    def swap(self, name: str, record: bytes, tag: str) -> bool:
        """Replace a record that is still in this state; return False when it is not."""

    def children(self, name: str) -> list[str]:
        """Return the names directly below this one, sorted."""

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content of any size under a new name."""

    def get(self, name: str) -> Iterator[bytes]:
        """Yield content, some of it at a time; FileNotFoundError when there is none."""

    def remove(self, name: str) -> None:
        """Remove content, if it is there."""


class DirectoryPlace:
    """A directory; it may be shared by machines.

    Parameters
    ----------
    root: str
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self._store_lock = StoreLock(os.path.join(self.root, _LOCK), _PATIENCE)
        self._pid = os.getpid()

    @property
    def _lock(self) -> StoreLock:
        if self._pid != os.getpid():
            # What the parent of this process holds is no business of it.
            self._pid = os.getpid()
            self._store_lock.reset_after_fork()
        return self._store_lock

    def check(self) -> None:
        """Make the directory; its parent must be there, or a disk is not mounted."""
        try:
            if not os.path.isdir(self.root):
                os.mkdir(self.root)
        except OSError as error:
            raise unreachable(f"the upload store {self.root} cannot be reached: {error}") from error

    def _path(self, name: str) -> str:
        return os.path.join(self.root, *name.split("/"))

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a record and the digest of it."""
        try:
            with open(self._path(name), "rb") as file:
                record = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return record, hashlib.sha256(record).hexdigest()

    def create(self, name: str, record: bytes) -> bool:
        """Write a record under the lock; it appears whole."""
        path = self._path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with self._lock:
            if os.path.lexists(path):
                return False
            replace_bytes(path, record)
        return True

    def swap(self, name: str, record: bytes, tag: str) -> bool:
        """Replace a record under the lock."""
        with self._lock:
            found = self.read(name)
            if found is None or found[1] != tag:
                return False
            replace_bytes(self._path(name), record)
        return True

    def children(self, name: str) -> list[str]:
        """Return the entries of a directory, sorted."""
        try:
            found = os.listdir(self._path(name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(child for child in found if not is_temporary(child) and child != _LOCK)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content beside its name, and give it the name once it is on the disk."""
        path = self._path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = os.path.join(os.path.dirname(path), f".track-{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def get(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        with open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def remove(self, name: str) -> None:
        """Remove a file, and its directory when that is empty then."""
        path = self._path(name)
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
