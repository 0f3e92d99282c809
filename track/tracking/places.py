"""Where files of results are: a folder, memory, or what fsspec opens. Content by name, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

from track.errors import AlreadyExists, InvalidUri, MissingExtra
from track.persistence.utils import mask_secrets, parse_uri, uri_path
from track.utils.files import is_temporary, replace_file

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")


class Place(Protocol):
    """Named bytes; a name has parts, with slashes between them."""

    def read(self, name: str) -> bytes | None:
        """Return what is under a name; None where nothing is."""

    def write(self, name: str, content: bytes) -> None:
        """Put content under a name, whole or not at all where the place can do that."""

    def names(self) -> Iterator[str]:
        """Yield all names, in any order."""

    def where(self, name: str) -> str:
        """Return how messages call the file of a name."""


def open_place(base: str | os.PathLike[str]) -> Place:
    """Return the place at a path, or at a URL that fsspec knows; nothing is created.

    Raises
    ------
    MissingExtra
        The URL needs fsspec, or a package that fsspec needs for it.
    InvalidUri
        There is no such scheme.
    """
    base = os.fspath(base)
    if base.startswith("file:"):
        return FolderPlace(uri_path(base))
    if not _SCHEME.match(base):
        return FolderPlace(base)
    try:
        return _FsspecPlace(base)
    except MissingExtra:
        if base.startswith("memory://"):
            return MemoryPlace(parse_uri(base)["path"])
        raise


class FolderPlace:
    """A folder of this machine; it is created at the first write.

    Parameters
    ----------
    folder: str
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.expanduser(folder)

    def where(self, name: str) -> str:
        """Return the path of a name."""
        return os.path.join(self.folder, *name.split("/"))

    def _inside(self, name: str) -> str:
        path, root = os.path.realpath(self.where(name)), os.path.realpath(self.folder)
        if not path.startswith(root.rstrip(os.sep) + os.sep):
            raise ValueError(f"{name!r} leads out of {root}: {path}")
        return path

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None for a folder, too."""
        try:
            with open(self._inside(name), "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except PermissionError:
            # What Windows says of a folder.
            if os.path.isdir(self.where(name)):
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step: a reader finds the old content or the new."""
        path = self._inside(name)
        try:
            try:
                replace_file(path, [content], sync=False, follow=False)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, [content], sync=False, follow=False)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise AlreadyExists(_in_the_way(name, path)) from error
        except PermissionError as error:
            if os.path.isdir(path):
                raise AlreadyExists(_in_the_way(name, path)) from error
            raise

    def names(self) -> Iterator[str]:
        """Yield the files below the folder."""
        for parent, _, files in os.walk(self.folder):
            inner = os.path.relpath(parent, self.folder).replace(os.sep, "/")
            for file in files:
                if not is_temporary(file):
                    yield file if inner == "." else f"{inner}/{file}"


def _in_the_way(name: str, path: str) -> str:
    if os.path.isdir(path):
        return f"nothing can be stored under {name!r}: there are names below it, and {path} is their folder"
    return f"nothing can be stored under {name!r}: the beginning of it is a name of its own, and a file"


class MemoryPlace:
    """Memory of this process, for ``memory://`` where fsspec is not installed.

    Parameters
    ----------
    base: str
    """

    _all: dict[str, bytes] = {}  # noqa: RUF012 - one memory for the process is the purpose

    def __init__(self, base: str) -> None:
        self.base = base.strip("/")

    def where(self, name: str) -> str:
        """Return the URL of a name."""
        return f"memory://{self.base}/{name}"

    def read(self, name: str) -> bytes | None:
        """Return the content under a name; None where nothing is."""
        return self._all.get(f"{self.base}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Put content under a name."""
        self._all[f"{self.base}/{name}"] = content

    def names(self) -> Iterator[str]:
        """Yield all names."""
        start = f"{self.base}/"
        yield from [key[len(start) :] for key in self._all if key.startswith(start)]


class _FsspecPlace:
    """What fsspec opens; whether a write is seen whole depends on the store (with S3 and its kin it is)."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._fs, self._root = open_fsspec(base)

    def where(self, name: str) -> str:
        return f"{mask_secrets(self.base).rstrip('/')}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def read(self, name: str) -> bytes | None:
        try:
            content: bytes = self._fs.cat_file(self._path(name))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        with contextlib.suppress(FileExistsError):
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
        try:
            self._fs.pipe_file(path, content)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise AlreadyExists(f"nothing can be stored under {name!r}: it is a folder, or below a file") from error

    def names(self) -> Iterator[str]:
        # What another process stored must be seen.
        self._fs.invalidate_cache()
        start = f"{self._root.rstrip('/')}/"
        for path in self._fs.find(self._root):
            yield path[len(start) :]


def open_fsspec(base: str, **settings: Any) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it.

    Raises
    ------
    MissingExtra
        fsspec is not installed, or a package that it needs for the URL.
    InvalidUri
        There is no such scheme.
    """
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtra(f'{mask_secrets(base)} needs fsspec: pip install "track[fsspec]"') from error
    try:
        filesystem, root = fsspec.core.url_to_fs(base, **settings)
    except ImportError as error:
        raise MissingExtra(f"{mask_secrets(base)} needs another package: {error}") from error
    except ValueError as error:
        raise InvalidUri(f"{mask_secrets(base)!r} cannot be opened: {error}") from error
    return filesystem, root
