"""Artifacts in a local folder, with nothing but the standard library."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
import secrets
import time
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import BinaryIO

from track.artifacts.content import READ, READ_NO_LINK, SMALL, Source, copy_source
from track.artifacts.folder import Folder, Found, Kept, Unfinished
from track.artifacts.keys import CONDEMNED, LEASES, OBJECTS, PARTIAL, PENDING, STORES, TREES, content_key, free_key
from track.artifacts.transfer import Advance
from track.errors import BackendUnavailable
from track.utils.files import checked_path, open_regular

_OWN = (OBJECTS, TREES, PARTIAL, LEASES, PENDING, CONDEMNED, STORES)
_PARTIAL = re.compile(r"\.(?P<owner>[0-9A-Za-z]*)-(?:[0-9]+\.[0-9]+|[0-9a-f]{16})")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
_numbers = itertools.count()


class LocalFolder(Folder):
    """A folder of this machine, made at the first write: files are written with other names, and then renamed.

    It may be a link itself. What is in it is no link: whoever may put one there would choose what is written to, or
    removed, somewhere else.
    """

    workers = 1
    can_append = True

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.url = f"file://{self.path}"
        self.paths = (self.path,)
        self._made: set[str] = set()
        self._own: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"LocalFolder({self.path!r})"

    def put(self, source: Source, owner: str, avoid: Collection[str], digest: str | None, advance: Advance) -> Kept:
        # Copied and hashed in one pass, so that what is named is what was copied.
        if source.size <= SMALL:
            return self._put_small(source, owner, avoid, advance)
        partial = self._partial(f"{PARTIAL}/", owner)
        written = os.open(partial, _CREATE, 0o666)
        try:
            try:
                found, size = copy_source(source, written, partial, advance)
            finally:
                os.close(written)
            key = free_key(OBJECTS, found, avoid)
            if self.size(key) != size:
                self._make_folder(key)
                os.replace(partial, self._at(key))
                partial = ""
        finally:
            if partial:
                os.unlink(partial)
        return Kept(key, found, size)

    def _put_small(self, source: Source, owner: str, avoid: Collection[str], advance: Advance) -> Kept:
        # No larger a buffer than is needed: making one costs more than reading. The files of /proc tell no size.
        data = bytearray()
        while piece := os.read(source.descriptor, source.size + 1 if source.size else SMALL):
            data += piece
            source.check_growth(len(data))
        source.check_unchanged(len(data))
        advance(len(data))
        return self._put_data(data, owner, avoid)

    def put_known(self, path: str, stamp: tuple[int, int, int], owner: str, avoid: Collection[str]) -> Kept | None:
        descriptor = os.open(path, READ_NO_LINK)
        try:
            data = os.read(descriptor, stamp[0] + 1)
            status = os.fstat(descriptor)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)
        if len(data) != stamp[0] or (status.st_size, status.st_mtime_ns, status.st_ino) != stamp:
            return None
        return self._put_data(data, owner, avoid)

    def _put_data(self, data: bytes | bytearray, owner: str, avoid: Collection[str]) -> Kept:
        digest, size = hashlib.sha256(data).hexdigest(), len(data)
        key = free_key(OBJECTS, digest, avoid) if avoid else content_key(OBJECTS, digest)
        folder = key[: key.rindex("/")]
        mine = self._own.get(folder)
        if mine is None and folder not in self._made:
            mine = self._begin(folder)
        # In a folder that this process has made, what it has not written is hardly there; were it, no harm is done.
        if (mine is not None and key not in mine) or self.size(key) != size:
            self._write(key, data, owner)
            if mine is not None:
                mine.add(key)
        return Kept(key, digest, size)

    def _write(self, key: str, data: bytes | bytearray, owner: str) -> None:
        # Beside its place: moving a file within its folder costs less.
        partial = self._partial(key[: key.rindex("/") + 1], owner)
        try:
            written = os.open(partial, _CREATE, 0o666)
            try:
                count = os.write(written, data)
                while count < len(data):
                    # A full disk takes a part, and says so when it is given the rest.
                    count += os.write(written, memoryview(data)[count:])
            finally:
                # Some file systems say only now that there was no room.
                os.close(written)
            os.replace(partial, f"{self.path}/{key}")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def _begin(self, folder: str) -> set[str] | None:
        """Make a folder; return the set of what this process writes to it, None where it was there."""
        self._require_own(folder)
        self._made.add(folder)
        try:
            os.makedirs(f"{self.path}/{folder}")
        except FileExistsError:
            return None
        return self._own.setdefault(folder, set())

    def _partial(self, folder: str, owner: str) -> str:
        """Return the path of a new file that nobody sees yet: a name with a dot, the lease, and a number."""
        unique = owner and f"{os.getpid()}.{next(_numbers)}"
        self._make_folder(folder)
        return f"{self.path}/{folder}.{owner}-{unique or secrets.token_hex(8)}"

    def _make_folder(self, key: str) -> None:
        folder = key.rpartition("/")[0]
        if folder not in self._made:
            self._require_own(folder)
            os.makedirs(f"{self.path}/{folder}", exist_ok=True)
            self._made.add(folder)

    def _require_own(self, folder: str) -> None:
        path = f"{self.path}/{folder}"
        if os.path.realpath(path) != path:
            raise BackendUnavailable(
                f"{path} leads to {os.path.realpath(path)}: nothing is written or removed through a link in a place of "
                f"artifacts; {self.path} itself may be one"
            )

    def _at(self, key: str) -> str:
        return f"{self.path}/{checked_path(key, 'a key of an artifact')}"

    def size(self, key: str) -> int | None:
        try:
            return os.stat(self._at(key)).st_size
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes, owner: str = "") -> None:
        self._write(checked_path(key, "a key of an artifact"), data, owner)

    def append(self, key: str, data: bytes) -> int:
        self._make_folder(key)
        written = os.open(self._at(key), _APPEND, 0o666)
        try:
            start = os.fstat(written).st_size
            try:
                count = os.write(written, data)
                while count < len(data):
                    count += os.write(written, memoryview(data)[count:])
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(written, start)
                raise
        finally:
            os.close(written)
        return start

    def read(self, key: str) -> bytes:
        # Without a buffer: of many small files that costs as much as reading them.
        descriptor = os.open(self._at(key), READ)
        try:
            pieces = [os.read(descriptor, SMALL + 1)]
            while len(pieces[-1]) > SMALL:
                pieces.append(os.read(descriptor, SMALL + 1))
        finally:
            os.close(descriptor)
        return b"".join(pieces)

    def stamp(self, folders: Iterable[str]) -> Hashable:
        try:
            return tuple([os.stat(f"{self.path}/{folder}").st_mtime_ns for folder in folders])
        except FileNotFoundError:
            return None

    def missing(self, keys: Collection[str]) -> set[str]:
        left = set(keys)
        for folder in {key.rpartition("/")[0] for key in keys}:
            with contextlib.suppress(FileNotFoundError):
                left.difference_update([f"{folder}/{name}" for name in os.listdir(f"{self.path}/{folder}")])
        return left

    def open(self, key: str) -> BinaryIO:
        # Whoever may write here may have put a pipe there, which never ends.
        return io.BufferedReader(open_regular(self._at(key)))

    def files(self, prefix: str) -> list[Found]:
        return [found for found in self._found(prefix) if not _is_partial(found.key)]

    def _found(self, prefix: str) -> list[Found]:
        now = time.time()
        found = []
        for entry in _walk(self._at(prefix)):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                key = os.path.relpath(entry.path, self.path)
                found.append(Found(key, status.st_size, now - status.st_mtime))
        return found

    def remove(self, keys: Iterable[str]) -> None:
        own: set[str] = set()
        for key in keys:
            at, folder = self._at(key), key.rpartition("/")[0]
            if folder not in own:
                self._require_own(folder)
                own.add(folder)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(at)

    def unfinished(self) -> list[Unfinished]:
        left = [found for folder in _OWN for found in self._found(folder) if _is_partial(found.key)]
        return [Unfinished(found.key, _owner(found.key), found.size, found.age) for found in left]

    def drop(self, unfinished: Iterable[Unfinished]) -> None:
        self.remove(left.token for left in unfinished)


def _is_partial(key: str) -> bool:
    return _PARTIAL.fullmatch(key.rpartition("/")[2]) is not None


def _owner(key: str) -> str:
    return key.rpartition("/")[2][1:].partition("-")[0]


def _walk(path: str) -> Iterator[os.DirEntry[str]]:
    """Yield the regular files below a folder: a link is none of ours, and reading a pipe would take for ever."""
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry
