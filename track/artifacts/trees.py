"""Whole directories: which files are in one, and the listing that stands for it in a store."""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from track.artifacts.keys import OBJECTS, content_key, is_content_key, is_digest
from track.errors import CorruptArtifact, UnsafePath
from track.utils.files import checked_path, is_below, is_temporary

_FORMAT = 1
_BESIDE = r"(?:\.(?:artifacts|journal|left-[0-9]+|lock|points|spill|tmp)(?:\..*)?|-(?:journal|shm|wal))?"
"""How the names go on that files of a store have beside its own."""
Value = TypeVar("Value")


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A file of a directory: its relative path with ``/``, the sha256 of its content and its bytes."""

    path: str
    digest: str
    size: int
    is_executable: bool = False
    raw: bool = False
    place: str = ""

    @property
    def name(self) -> str:
        """The path as this system writes it."""
        return os.fsdecode(base64.b64decode(self.path)) if self.raw else self.path

    @property
    def key(self) -> str:
        """Where the content is in the store; `place` says it only where it is not where its digest says."""
        return self.place or content_key(OBJECTS, self.digest)


class Listing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A directory: its files, and what was left out, each with the reason."""

    entries: list[Entry] = []
    skipped: dict[str, str] = {}
    format: int = _FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


class Member(NamedTuple):
    """Something below a directory on disk: a file to store, or what is left out with the reason."""

    path: str
    at: str
    mode: int = 0
    size: int = 0
    modified: int = 0
    changed: int = 0
    inode: int = 0
    problem: str = ""


Row: TypeAlias = Any
"""A folder (path, prefix); a file (name, mode, size, modified, changed, inode); or a `Member`, where it is neither."""


class TreeCache(Generic[Value]):
    """What became of folders that were stored before, as long as no file of them changes."""

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._known: OrderedDict[Hashable, tuple[list[Row], Value]] = OrderedDict()

    def get(self, folder: Hashable, rows: list[Row]) -> Value | None:
        """Return what was remembered, None where a file differs."""
        known = self._known.get(folder)
        return known[1] if known is not None and known[0] == rows else None

    def add(self, folder: Hashable, rows: list[Row], value: Value) -> None:
        """Remember a folder in which a later write will surely show."""
        self._known.pop(folder, None)
        self._known[folder] = (rows, value)
        while sum(len(known[0]) for known in self._known.values()) > self._limit:
            self._known.popitem(last=False)


_decode = msgspec.json.Decoder(Listing).decode


def make_entry(path: str, digest: str, size: int, key: str, mode: int) -> Entry:
    """Return an entry; a path that is no text is kept as bytes."""
    place = "" if key == content_key(OBJECTS, digest) else key
    is_executable = bool(mode & stat.S_IXUSR)
    try:
        path.encode()
    except UnicodeEncodeError:
        return Entry(base64.b64encode(os.fsencode(path)).decode(), digest, size, is_executable, True, place)
    return Entry(path, digest, size, is_executable, False, place)


def encode_listing(listing: Listing) -> bytes:
    """Return the bytes of a listing; the same files in any order give the same."""
    entries = sorted(listing.entries, key=lambda entry: entry.path)
    return msgspec.json.encode(msgspec.structs.replace(listing, entries=entries))


def decode_listing(data: bytes, where: str) -> Listing:
    """Return a listing; CorruptArtifact where it is none, or of a later version, UnsafePath where a path leads out.

    Whoever may write to the store has chosen what is in it: nothing of it is believed that could be a path.
    """
    try:
        listing = _decode(data)
        names = [entry.name for entry in listing.entries]
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptArtifact(f"{where} is no listing of a directory: {error}") from error
    if listing.format > _FORMAT:
        raise CorruptArtifact(f"{where} was written by a later version of track: update track to read it")
    for name, entry in zip(names, listing.entries, strict=True):
        checked_path(name, "a path in an artifact")
        if not is_digest(entry.digest) or (entry.place and not is_content_key(entry.place)):
            raise UnsafePath(f"{where} says that {name!r} is at {(entry.place or entry.digest)!r}, which is no content")
        if not name.isascii():
            _check_encodes(name)
    return listing


def _check_encodes(name: str) -> None:
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise UnsafePath(f"{name!r} cannot be a path in an artifact: no file is called so") from error


def survey(folder: str, recursive: bool, own: Iterable[str] = ()) -> list[Row]:
    """Return what is in a folder, as fast as looking at every file can be: the same again means that nothing changed.

    `own`: real paths of the files and folders of stores, which are left out, with the journals and locks beside them:
    a store is not stored in itself.

    A link is never gone into; one to a file in the folder is that file. UnsafePath where `folder` is none.
    """
    root = os.path.realpath(folder)
    if not os.path.isdir(root):
        raise UnsafePath(f"{folder!r} is no folder") if os.path.lexists(folder) else FileNotFoundError(folder)
    hidden: dict[str, list[str]] = {}
    for path in own:
        at, _, name = path.rpartition("/")
        hidden.setdefault(at, []).append(re.escape(name))
    rows: list[Row] = []
    waiting = [(root, "")]
    while waiting:
        at, prefix = waiting.pop()
        rows.append((at, prefix))
        try:
            with os.scandir(at) as entries:
                for entry in _without(entries, hidden[at]) if at in hidden else entries:
                    if entry.is_symlink():
                        rows.append(_linked(prefix + entry.name, entry.path, root))
                    elif not entry.is_dir():
                        try:
                            known = entry.stat()
                        except OSError as error:
                            rows.append(Member(prefix + entry.name, entry.path, problem=unread(error)))
                            continue
                        times = known.st_mtime_ns, known.st_ctime_ns
                        rows.append((entry.name, known.st_mode, known.st_size, *times, known.st_ino))
                    elif recursive:
                        waiting.append((entry.path, f"{prefix}{entry.name}/"))
        except OSError as error:
            rows.append(Member(prefix.rstrip("/"), at, problem=unread(error)))
    return rows


def _without(entries: Iterable[os.DirEntry[str]], names: list[str]) -> Iterator[os.DirEntry[str]]:
    own = re.compile(rf"(?:{'|'.join(names)}){_BESIDE}")
    return (entry for entry in entries if not own.fullmatch(entry.name) and not is_temporary(entry.name))


def unread(error: OSError) -> str:
    """Return why a file is left out."""
    if isinstance(error, FileNotFoundError):
        return "is gone"
    return "has become a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"


def members_of(rows: list[Row]) -> Iterator[Member]:
    """Yield the files of a survey, and what is no file."""
    folder = prefix = ""
    for row in rows:
        if isinstance(row, Member):
            yield row
        elif len(row) == 2:
            folder, prefix = row
        elif stat.S_ISREG(row[1]):
            yield Member(prefix + row[0], f"{folder}/{row[0]}", *row[1:])
        else:
            yield Member(prefix + row[0], row[0], problem="is no file: a device, a pipe or a socket")


def _linked(path: str, at: str, root: str) -> Member:
    target = os.path.realpath(at)
    try:
        known = os.stat(target)
    except OSError:
        return Member(path, at, problem="is a link to nothing")
    if target != root and not is_below(root, target):
        return Member(path, at, problem="is a link that leaves the folder")
    if not stat.S_ISREG(known.st_mode):
        return Member(path, at, problem="is a link to something that is no file")
    times = known.st_mtime_ns, known.st_ctime_ns
    return Member(path, target, known.st_mode, known.st_size, *times, known.st_ino)
