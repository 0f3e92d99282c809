"""The object store below an artifact store: a local folder, or anything fsspec opens; leases, and no partial files."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import BinaryIO, NamedTuple, Protocol

from track.artifacts.content import Source
from track.artifacts.transfer import Advance
from track.errors import BackendUnavailable


class Kept(NamedTuple):
    """Content that is in a store."""

    key: str
    digest: str
    size: int


class Found(NamedTuple):
    """A file that is in a store, and its age in seconds."""

    key: str
    size: int
    age: float


class Unfinished(NamedTuple):
    """A transfer that was not finished: what it is, under which lease (if it says so), bytes, and seconds of silence.

    `target`: the key that the content is for, where that is known.
    """

    token: str
    owner: str
    size: int
    age: float
    target: str = ""


class Folder(Protocol):
    """Where the files of a store are. Nothing partial is ever visible under a key."""

    url: str
    workers: int
    """How many files are best moved at a time."""
    paths: tuple[str, ...] = ()
    """The real path of the folder, where it is on this machine."""

    def put(self, source: Source, owner: str, avoid: Collection[str], digest: str | None, advance: Advance) -> Kept:
        """Store a file's content once, under the lease `owner`; what is under a key to `avoid` is stored elsewhere."""

    def put_known(self, path: str, stamp: tuple[int, int, int], owner: str, avoid: Collection[str]) -> Kept | None:
        """Store a small file of a survey (bytes, mtime in ns, inode) cheaply; None where `put` must look closely."""
        # Where the time goes into sending, nothing is cheaper.
        return None

    def stamp(self, folders: Iterable[str]) -> Hashable:
        """Return what changes when a file is removed from one of these folders; None where nothing tells."""
        return None

    def missing(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys under which nothing is."""
        return {key for key in keys if self.size(key) is None}

    def size(self, key: str) -> int | None:
        """Return the size of a file; None when there is none."""

    def write(self, key: str, data: bytes, owner: str = "") -> None:
        """Write a small file, whole or not at all, under a lease if one is named; one that is there is replaced."""

    can_append: bool = False
    """Whether a file may grow at its end."""

    def append(self, key: str, data: bytes) -> int:
        """Add bytes to the end of a file, which one process at a time does, and return where they begin."""
        raise BackendUnavailable(f"{self.url} takes whole files only: {key} cannot grow")

    def read(self, key: str) -> bytes:
        """Return the content of a small file; FileNotFoundError when there is none."""

    def open(self, key: str) -> BinaryIO:
        """Return a file to read and seek in; FileNotFoundError when there is none."""

    def files(self, prefix: str) -> list[Found]:
        """Return the files below a folder of the store, at any depth."""

    def remove(self, keys: Iterable[str]) -> None:
        """Remove files; those that are gone are no matter."""

    def unfinished(self) -> list[Unfinished]:
        """Return what transfers have left that are going on or were broken off."""

    def drop(self, unfinished: Iterable[Unfinished]) -> None:
        """Remove what transfers have left; what is gone is no matter."""
