"""Files: opened for threads, replaced whole or not at all, named so that they stay in their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from track.errors import BackendUnavailable, InvalidUri, TrackError, UnsafePath

_CHUNK = 1 << 18
_TEMPORARY = re.compile(r"\.track-[0-9a-f]{16}\.tmp")


class OpenFile(io.FileIO):
    """A file that is closed when the last thread that writes to it is done, not before."""

    @classmethod
    def at(cls, path: str, flags: int, mode: int = 0o666) -> OpenFile:
        """Return the file at a path, opened as flags and mode of `os.open` say."""
        descriptor = os.open(path, flags, mode)
        return cls(descriptor, "r+" if flags & os.O_RDWR else "r")

    def write_all(self, data: bytes | bytearray) -> None:
        """Write all of the data, in as many steps as it takes."""
        view = memoryview(data)
        while view:
            view = view[self.write(view) :]

    def __del__(self) -> None:
        self.close()


def user_folder(variable: str, *below: str) -> str | None:
    """Return the folder that a variable names, else the one in the user's home; None for a user without a home."""
    named = os.environ.get(variable)
    if named:
        return os.path.abspath(named)
    home = os.path.expanduser("~")
    # Where the system does not know the user, as in a container, the text comes back as it is.
    return os.path.join(home, *below) if os.path.isabs(home) else None


def expand_user(path: str) -> str:
    """Return a path whose ``~`` is a user's home.

    Raises InvalidUri: the user has no home (a ValueError): a folder called ``~`` is meant by nobody.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~") and expanded.partition("/")[0] == path.partition("/")[0]:
        raise InvalidUri(f"{path!r} is in a home, and this user has none: set HOME, or write the whole path")
    return expanded


def absolute_path(path: str) -> str:
    """Return the path that means the same wherever the process goes, as `expand_user` reads it."""
    return os.path.abspath(expand_user(path))


def read_all(descriptor: int, offset: int) -> bytes:
    """Return what a file holds from a byte offset on."""
    chunks = []
    while chunk := os.pread(descriptor, _CHUNK, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def open_regular(path: str) -> io.FileIO:
    """Return a file, opened to read; UnsafePath where it is a pipe or a device, which might never end."""
    # Not blocking: a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return io.FileIO(descriptor, "r")
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise UnsafePath(f"{path} is no file: it is a device, a pipe or a socket")


def read_chunks(path: str, size: int | None = None) -> Iterator[bytes]:
    """Yield a file, or its first `size` bytes, some of it at a time."""
    with open(path, "rb", buffering=0) as file:
        yield from chunks_of(file, size)


def chunks_of(file: io.RawIOBase, size: int | None = None) -> Iterator[bytes]:
    """Yield what is left of an open file, or its next `size` bytes, some of it at a time."""
    left = sys.maxsize if size is None else size
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def digest_of(path: str, size: int | None = None) -> str:
    """Return the sha256 of a file, or of its first `size` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        for chunk in chunks_of(file, size):
            digest.update(chunk)
    return digest.hexdigest()


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
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(os.fstat(descriptor), found)


def stamp_of(path: str) -> tuple[int, int, int] | None:
    """Return what is another after a file was replaced or written to; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def name_aside(path: str) -> str:
    """Return the name that a file gets which is kept and no longer used: ``<path>.left-N``, one that is free."""
    return next(name for number in itertools.count() if not os.path.lexists(name := f"{path}.left-{number}"))


def keep_aside(path: str) -> str:
    """Give the file at `path` a second name, ``<path>.left-N``, before it is replaced, and return that."""
    left = name_aside(path)
    try:
        os.link(path, left)
    except OSError:
        # A file system without links.
        replace_file(left, read_chunks(path))
    return left


@contextmanager
def reaching(path: str) -> Iterator[None]:
    """Raise BackendUnavailable, with a way out, where the system says that the file at `path` cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TrackError):
            raise
        raise BackendUnavailable(
            f"{path} cannot be written ({error.strerror or error}): choose a folder that can, as in "
            "TrackClient('file:///somewhere/else.json')"
        ) from error


def require_writable(path: str) -> None:
    """Return if a file could be made, with its folders; BackendUnavailable where not. Nothing is created."""
    folder = Path(path).parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return
    raise BackendUnavailable(
        f"{path} cannot be written: {folder} is read-only or no folder; choose another, as in "
        "TrackClient('file:///somewhere/else.json')"
    )


@contextmanager
def replacing(
    path: str, *, sync: bool = True, mode: int | None = None, temporary: str | None = None
) -> Iterator[OpenFile]:
    """Give a new file that takes the place of the one at `path` when the block ends, whole or not at all.

    The folder must be there. A device, a pipe or a socket is left alone (OSError): root would replace ``/dev/null`` for
    everybody. A link at `path` is replaced itself: whoever may put links there does not choose what is
    written to. With `sync` the content reaches the disk before the name does, and the file is open after the block.

    Permissions are `mode` less the umask; by default those of the file that is replaced, exactly, and of a new one
    those that everything new gets. The content goes first to a neighbour with a name of its own, see `is_temporary`; or
    to `temporary`, where what was left behind is overwritten: for callers that hold a lock.
    """
    with contextlib.suppress(FileNotFoundError):
        _require_replaceable(path, os.lstat(path).st_mode)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | (os.O_EXCL if temporary is None else os.O_TRUNC)
    temporary = temporary or os.path.join(os.path.dirname(path), f".track-{secrets.token_hex(8)}.tmp")
    try:
        file = OpenFile.at(temporary, flags, 0o666 if mode is None else mode)
        if mode is None:
            with contextlib.suppress(FileNotFoundError):
                share_alike(file.fileno(), os.stat(path))
        yield file
        if sync:
            os.fsync(file.fileno())
        else:
            # Some file systems say only now that there was no room.
            file.close()
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _require_replaceable(path: str, mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket", path)


def share_alike(descriptor: int, replaced: os.stat_result) -> None:
    """Give a new file the mode of the one that it replaces, and its owner and group as far as this user may."""
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid):
        for owner in (replaced.st_uid, -1):
            with contextlib.suppress(OSError):
                os.fchown(descriptor, owner, replaced.st_gid)
                break
    os.fchmod(descriptor, stat.S_IMODE(replaced.st_mode))


def require_alike(path: str) -> None:
    """Raise PermissionError where a file that takes the place of another cannot have its owner and group.

    A member of a group takes the place of another one, where the group may do what the owner may.
    """
    found, groups = os.stat(path), {os.getegid(), *os.getgroups()}
    folder = os.stat(os.path.dirname(path) or ".")
    keeps_group = found.st_gid in groups or (folder.st_mode & stat.S_ISGID and folder.st_gid == found.st_gid)
    is_shared = not found.st_mode >> 6 & 0o6 & ~(found.st_mode >> 3)
    if (os.geteuid() not in (0, found.st_uid) and not is_shared) or not (os.geteuid() == 0 or keeps_group):
        raise PermissionError(errno.EPERM, "it would not be its owner's and group's any more", path)


def replace_file(
    path: str,
    pieces: Iterable[bytes],
    temporary: str | None = None,
    *,
    sync: bool = True,
    mode: int | None = None,
    follow: bool = True,
) -> int:
    """Write a file whole or not at all, and return its bytes; `follow` goes through a link. See `replacing`."""
    size, waiting = 0, bytearray()
    with replacing(os.path.realpath(path) if follow else path, sync=sync, mode=mode, temporary=temporary) as file:
        for piece in pieces:
            waiting += piece
            if len(waiting) >= _CHUNK:
                file.write_all(waiting)
                size, waiting = size + len(waiting), bytearray()
        file.write_all(waiting)
    return size + len(waiting)


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one that is not finished; listings pass over it."""
    return _TEMPORARY.fullmatch(name) is not None


def checked_path(name: str, what: str) -> str:
    """Return a relative path with ``/`` that stays below any folder it is joined to, unless through a link.

    UnsafePath (a ValueError) where it is no text, is empty or absolute, climbs with ``..``, or has a NUL in it.
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    if "" in parts or "." in parts or ".." in parts:
        raise UnsafePath(f"{name!r} cannot be {what}: it must be relative, and not climb with '..'")
    if "\0" in name:
        raise UnsafePath(f"{name!r} cannot be {what}: it has a NUL in it")
    return name


def inside(folder: str, name: str) -> str:
    """Return the path of a name with slashes in a folder; UnsafePath (a ValueError) where it, or a link, leads out."""
    path = os.path.join(folder, checked_path(name, f"a path in {folder}"))
    if not is_below(folder, path):
        raise UnsafePath(f"{name!r} leads out of {os.path.realpath(folder)}")
    return path


class Room:
    """The paths in a folder, as `inside` gives them; a folder below that is the same as before is followed once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._known: dict[str, tuple[str, int]] = {}

    def path(self, name: str) -> str:
        """Return the path of a name with slashes; UnsafePath where it, or a link, leads out."""
        parent, _, last = checked_path(name, f"a path in {self.folder}").rpartition("/")
        path = f"{self._folder(parent)}/{last}"
        return inside(self.folder, name) if os.path.islink(path) else path

    def _folder(self, parent: str) -> str:
        known = self._known.pop(parent, None)
        if known is not None:
            with contextlib.suppress(OSError):
                if os.stat(known[0]).st_ino == known[1]:
                    self._known[parent] = known
                    return known[0]
        at = inside(self.folder, parent) if parent else self.folder
        with contextlib.suppress(OSError):
            self._known[parent] = at, os.stat(at).st_ino
        return at

    def make_parent(self, name: str) -> str:
        """Return the path of a name whose folder is there then."""
        parent = name.rpartition("/")[0]
        at = self._folder(parent)
        if parent not in self._known:
            os.makedirs(at, exist_ok=True)
        return self.path(name)


def is_below(folder: str, path: str) -> bool:
    """Return whether a path leads into a folder, with all links followed."""
    return os.path.realpath(path).startswith(os.path.realpath(folder).rstrip("/") + "/")
