"""Object stores: bytes under names, in a folder, in memory, or behind a URL that fsspec opens."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from track.errors import AlreadyExists, MissingExtra
from track.persistence.file import StoreLock
from track.persistence.utils import uri_path
from track.utils.files import (
    checked_path,
    chunks_of,
    expand_user,
    inside,
    is_temporary,
    open_regular,
    replace_file,
    replacing,
)
from track.utils.filesystem import CHUNK, Failed, age_of, connect, schemes_of, translated, unavailable, unfinished_parts
from track.utils.masking import mask_secrets

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_LOCK, _PATIENCE = ".lock", 30.0
_REFUSALS = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
_in_turn = threading.RLock()
"""Held by the threads of this process where the store itself has no conditional writes."""


class Aged(NamedTuple):
    """What a store has: its name, bytes, seconds since it was written, and what `drop` needs to know."""

    name: str
    size: int
    age: float
    token: str = ""


class ObjectStore(abc.ABC):
    """Bytes under names; a name has parts, with slashes between them. Messages call the store by its `title`.

    Content appears whole: always in a folder, and behind a URL where the service does so, as S3 and its kin do.
    `failed` returns the error for one of a driver: `unavailable`, or what says more.
    """

    def __init__(self, title: str, failed: Failed = unavailable) -> None:
        self.title = title
        self.failed = failed

    def where(self, name: str) -> str:
        """Return what messages call a name."""
        return f"{mask_secrets(self.title).rstrip('/')}/{name}"

    @abc.abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return small content; None where nothing is, or names below this one."""

    @abc.abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Put small content in place of what was there; AlreadyExists where names are below it, or above it."""

    @abc.abstractmethod
    def names(self) -> Iterator[str]:
        """Yield all names, in any order."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove content, if it is there."""

    def check(self) -> None:  # noqa: B027 - memory is always there
        """Return if the store answers; what `failed` says when not."""

    def children(self, name: str) -> list[str]:
        """Return what is directly below a name, sorted."""
        start = f"{name}/"
        return sorted({found[len(start) :].partition("/")[0] for found in self.names() if found.startswith(start)})

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write content of any size under a new name."""
        self.write(name, b"".join(chunks))

    def get(self, name: str) -> Iterator[bytes]:
        """Yield content, some of it at a time; FileNotFoundError when there is none."""
        content = self.read(name)
        if content is None:
            raise FileNotFoundError(self.where(name))
        yield content

    def aged(self) -> Iterator[Aged]:
        """Yield all that has a name, with its age; memory is as young as can be."""
        for name in self.names():
            yield Aged(name, 0, 0.0)

    def unfinished(self) -> Iterator[Aged]:
        """Yield what writers have not finished, or have left when they were killed: no name shows it."""
        yield from ()

    def drop(self, left: Aged) -> None:
        """Remove what `aged` or `unfinished` has found, if it is still there."""
        self.remove(left.name)

    def _alone(self) -> AbstractContextManager[Any]:
        """Return what is held while content is looked at and then written."""
        return _in_turn

    def tagged(self, name: str) -> tuple[bytes, str] | None:
        """Return content and the tag of its state, as `swap` takes it; None where nothing is."""
        content = self.read(name)
        return None if content is None else (content, hashlib.sha256(content).hexdigest())

    def create(self, name: str, content: bytes) -> bool:
        """Write content that does not exist yet; return False when somebody was faster."""
        with self._alone():
            if self.read(name) is not None:
                return False
            self.write(name, content)
            return True

    def swap(self, name: str, content: bytes, tag: str) -> bool:
        """Replace content that is still in this state; return False when it is not."""
        with self._alone():
            found = self.tagged(name)
            if found is None or found[1] != tag:
                return False
            self.write(name, content)
            return True


class FolderStore(ObjectStore):
    """A folder, made at the first write, which machines may share: of all who create or swap, one wins by a lock."""

    def __init__(self, folder: str, failed: Failed = unavailable) -> None:
        super().__init__(folder, failed)
        self._lock = StoreLock(os.path.join(folder, _LOCK), _PATIENCE)
        self._pid = os.getpid()

    def _alone(self) -> StoreLock:
        os.makedirs(self.title, exist_ok=True)
        if self._pid != os.getpid():
            # What the parent of this process holds is no business of it.
            self._pid = os.getpid()
            self._lock.reset_after_fork()
        return self._lock

    def check(self) -> None:
        # Its parent must be there, or a disk is not mounted.
        try:
            if not os.path.isdir(self.title):
                os.mkdir(self.title)
        except OSError as error:
            raise self.failed(self.title, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            with open_regular(inside(self.title, name)) as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        path = inside(self.title, name)
        try:
            try:
                replace_file(path, [content], sync=False, follow=False)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, [content], sync=False, follow=False)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise _in_the_way(name, path) from error

    def names(self) -> Iterator[str]:
        return (name for name, _ in self._files() if not is_temporary(name.rpartition("/")[2]))

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield name and path of all files."""
        for parent, _, files in os.walk(self.title):
            inner = os.path.relpath(parent, self.title)
            for file in files:
                yield (file if inner == "." else f"{inner}/{file}"), os.path.join(parent, file)

    def _aged(self) -> Iterator[Aged]:
        now = time.time()
        for name, path in self._files():
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield Aged(name, status.st_size, max(0.0, now - status.st_mtime))

    def aged(self) -> Iterator[Aged]:
        return (found for found in self._aged() if not is_temporary(found.name.rpartition("/")[2]))

    def unfinished(self) -> Iterator[Aged]:
        return (found for found in self._aged() if is_temporary(found.name.rpartition("/")[2]))

    def children(self, name: str) -> list[str]:
        try:
            return sorted(child for child in os.listdir(inside(self.title, name)) if not is_temporary(child))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        path = inside(self.title, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with replacing(path) as file:
            for chunk in chunks:
                file.write_all(chunk)

    def get(self, name: str) -> Iterator[bytes]:
        with open_regular(inside(self.title, name)) as file:
            yield from chunks_of(file)

    def remove(self, name: str) -> None:
        # Its folder, too, when that is empty then.
        path = inside(self.title, name)
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))


def _in_the_way(name: str, path: str = "") -> AlreadyExists:
    if os.path.isdir(path):
        reason = f"there are names below it, and {path} is their folder"
    elif path:
        reason = "the beginning of it is a name of its own, and a file"
    else:
        reason = "it is a folder, or below a file"
    return AlreadyExists(f"nothing can be stored under {name!r}: {reason}")


class MemoryStore(ObjectStore):
    """Memory of this process, for ``memory://`` where fsspec is not installed."""

    _all: dict[str, bytes] = {}  # noqa: RUF012 - one memory for the process is the purpose

    def __init__(self, url: str) -> None:
        super().__init__(f"memory://{url.partition('://')[2].strip('/')}")

    def read(self, name: str) -> bytes | None:
        return self._all.get(self.where(name))

    def write(self, name: str, content: bytes) -> None:
        self._all[self.where(name)] = content

    def names(self) -> Iterator[str]:
        start = self.where("")
        yield from [key[len(start) :] for key in list(self._all) if key.startswith(start)]

    def remove(self, name: str) -> None:
        self._all.pop(self.where(name), None)


class FsspecStore(ObjectStore):
    """A URL that fsspec opens, with the settings that its file system gets.

    On S3 `create` and `swap` are conditional PUTs: of several clients one wins. Other stores are asked and then written
    to, which is the same unless two processes meet within the milliseconds between.
    """

    def __init__(self, url: str, failed: Failed = unavailable, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, failed)
        self._fs, root = connect(url, settings, failed)
        self._root = root.rstrip("/")
        self._is_s3 = "s3" in schemes_of(self._fs)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.title, self.failed)

    def _path(self, name: str) -> str:
        # As in a folder: a name may come from what somebody has stored.
        return f"{self._root}/{checked_path(name, 'a name in a store')}"

    def check(self) -> None:
        try:
            with self._translated():
                if self._is_s3:
                    self._fs.call_s3("head_bucket", Bucket=self._root.partition("/")[0])
                else:
                    self._fs.exists(self._root)
        except FileNotFoundError as error:
            raise self.failed(self.title, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            with self._translated():
                return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        with self._translated():
            self._make_folder(name)
            try:
                self._fs.pipe_file(self._path(name), content)
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise _in_the_way(name) from error

    def _make_folder(self, name: str) -> None:
        with contextlib.suppress(FileExistsError):
            self._fs.makedirs(self._fs._parent(self._path(name)), exist_ok=True)

    def names(self) -> Iterator[str]:
        with self._translated():
            self._fs.invalidate_cache()
            found = self._fs.find(self._root)
        yield from [path[len(self._root) + 1 :] for path in found]

    def aged(self) -> Iterator[Aged]:
        with self._translated():
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
        for path, known in found.items():
            yield Aged(path[len(self._root) + 1 :], int(known.get("size") or 0), age_of(known))

    def unfinished(self) -> Iterator[Aged]:
        if not self._is_s3:
            return
        with self._translated():
            found = list(unfinished_parts(self._fs, self._root))
        for path, token, age in found:
            yield Aged(path[len(self._root) + 1 :], 0, age, token)

    def drop(self, left: Aged) -> None:
        if not left.token:
            self.remove(left.name)
            return
        bucket, _, key = self._path(left.name).partition("/")
        with contextlib.suppress(FileNotFoundError), self._translated():
            self._fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=left.token)

    def children(self, name: str) -> list[str]:
        try:
            with self._translated():
                self._fs.invalidate_cache()
                found = self._fs.ls(self._path(name), detail=False)
        except FileNotFoundError:
            return []
        # Some stores list a folder in itself.
        paths = {str(path).strip("/") for path in found} - {self._path(name).strip("/")}
        return sorted(path.rpartition("/")[2] for path in paths)

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        with self._translated():
            if not self._is_s3:
                self._make_folder(name)
            with self._fs.open(self._path(name), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)

    def get(self, name: str) -> Iterator[bytes]:
        with self._translated(), self._fs.open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._translated():
            self._fs.rm_file(self._path(name))

    def tagged(self, name: str) -> tuple[bytes, str] | None:
        if not self._is_s3:
            return super().tagged(name)
        try:
            # The tag first: the content is never older.
            with self._translated():
                tag = self._fs.info(self._path(name))["ETag"]
        except FileNotFoundError:
            return None
        content = self.read(name)
        return None if content is None else (content, tag)

    def create(self, name: str, content: bytes) -> bool:
        return self._write_if(name, content, IfNoneMatch="*") if self._is_s3 else super().create(name, content)

    def swap(self, name: str, content: bytes, tag: str) -> bool:
        return self._write_if(name, content, IfMatch=tag) if self._is_s3 else super().swap(name, content, tag)

    def _write_if(self, name: str, content: bytes, **condition: str) -> bool:
        with _in_turn, self._translated():
            try:
                self._fs.pipe_file(self._path(name), content, **condition)
            except Exception as error:
                if not _is_refusal(error):
                    raise
                # A request that was sent again, because its answer was lost, is refused for its own effect.
                return self.read(name) == content
        return True


def object_store(base: str) -> ObjectStore:
    """Return the store at a path, a ``file:`` URL, or a URL that fsspec opens; MissingExtra without fsspec."""
    if base.startswith("file:") or not _SCHEME.match(base):
        # A folder, wherever the process goes.
        return FolderStore(os.path.abspath(uri_path(base) if base.startswith("file:") else expand_user(base)))
    try:
        return FsspecStore(base)
    except MissingExtra:
        if base.startswith("memory://"):
            return MemoryStore(base)
        raise


def _is_refusal(error: BaseException) -> bool:
    """Return whether this is how S3 says that the condition of a write does not hold."""
    response = getattr(error.__cause__ or error, "response", None) or {}
    return response.get("Error", {}).get("Code") in _REFUSALS
