"""The objects of an artifact: copies of files, and references to what stays where it is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, BinaryIO

import msgspec

from track.artifacts import Standing
from track.em.store import LocalFile
from track.em.texts import append_list, can_grow, read_list, write_list
from track.errors import AlreadyExists, CorruptArtifact, CorruptJournal, FileChanged, NothingThere
from track.shown import bounded
from track.utils.files import (
    OpenFile,
    Room,
    checked_path,
    chunks_of,
    digest_of,
    inside,
    is_below,
    open_regular,
    replace_file,
    replacing,
    stamp_of,
)
from track.utils.filesystem import open_url
from track.utils.masking import mask_secrets

logger = logging.getLogger(__name__)
_OWN = ".em"
_LIST, _REFERENCES = f"{_OWN}/objects.yaml", f"{_OWN}/references.json"
_END = b"\n}"
_BAD = re.compile(r"[\x00-\x1f\x7f\\]")


class _Object(msgspec.Struct):
    """What a line of the list says, whoever wrote it."""

    path: str
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    reference: str | None = None


class Objects:
    """The objects in the directory of an artifact."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._room = Room(folder)
        self._all: dict[str, dict[str, Any]] = {}
        self._references: dict[str, str] = {}
        self._references_stamp: tuple[int, int, int] | None = None
        # Objects by what a file system may take for the same, and one in each folder.
        self._folded: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        path = inside(folder, _LIST)
        self._can_grow = can_grow(path)
        found = read_list(path) if os.path.isfile(path) else []
        self._lines = len(found)
        for each in found:
            self._put(_checked_object(each, path))

    def _put(self, each: dict[str, Any]) -> None:
        path = each["path"]
        if path not in self._all:
            self._folded[path.casefold()] = path
            folder = path.rpartition("/")[0]
            while folder and folder not in self._folders:
                self._folders[folder] = path
                folder = folder.rpartition("/")[0]
        self._all[path] = each
        if "reference" in each:
            self._references[path] = each["reference"]
        else:
            self._references.pop(path, None)

    def as_list(self) -> list[dict[str, Any]]:
        """Return a dictionary an object."""
        return [dict(each) for each in self._all.values()]

    def replace_all(self, objects: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Take what somebody else knows about the objects."""
        pairs = objects.items() if isinstance(objects, Mapping) else [(each["path"], each) for each in objects]
        taken = [_checked_object({**each, "path": path}, "the data of the artifact") for path, each in pairs]
        if {each["path"]: each for each in taken} != self._all:
            for known in (self._all, self._references, self._folded, self._folders):
                known.clear()
            for each in taken:
                self._put(each)
            self._save()
            self._save_references()

    def copy(self, files: list[tuple[str, str]]) -> None:
        """Copy files to their object paths, all checked before the first is copied."""
        for path, _ in files:
            self._check_free(path)
        copied = []
        try:
            for path, source in files:
                size, digest = _copy(source, self._room.make_parent(path))
                copied.append({"path": path, "size": size, "sha256": digest})
        finally:
            self._add(copied)

    def refer(self, path: str, uri: str) -> None:
        """Add a reference."""
        self._check_free(path)
        target = inside(self.folder, path)
        if os.path.isfile(target):
            os.unlink(target)
        self._add([{"path": path, "size": None, "reference": uri}])

    def _add(self, objects: list[dict[str, Any]]) -> None:
        known = [each["path"] for each in objects if each["path"] in self._references]
        new = {each["path"]: each["reference"] for each in objects if "reference" in each}
        for each in objects:
            self._put(each)
        # The last line of a path counts, and most of them are no older ones: adding many costs as much for each.
        if self._can_grow and self._lines + len(objects) <= 2 * len(self._all) + 100:
            append_list(self._room.path(_LIST), objects)
            self._lines += len(objects)
        else:
            self._save()
        if known or (new and not self._grow_references(new)):
            self._save_references()

    def _check_free(self, path: str) -> None:
        in_the_way = self._folders.get(path)
        folder = path.rpartition("/")[0]
        # What is in a folder that is known is in no file.
        while folder and folder not in self._folders and in_the_way is None:
            in_the_way = folder if folder in self._all else None
            folder = folder.rpartition("/")[0]
        if in_the_way is not None:
            raise AlreadyExists(f"{path!r} cannot be an object: {in_the_way!r} is one, and a file is no folder")
        other = self._folded.get(path.casefold(), path)
        if other != path and os.path.lexists(self._room.path(path)):
            raise AlreadyExists(f"{path!r} cannot be an object: to this file system {other!r} is the same name")

    def _save(self) -> None:
        write_list(inside(self.folder, _LIST), self._all.values())
        self._lines, self._can_grow = len(self._all), bool(self._all)

    def _save_references(self) -> None:
        path = inside(self.folder, _REFERENCES)
        replace_file(path, [json.dumps(self._references, indent=2).encode()], sync=False, follow=False)
        self._references_stamp = stamp_of(path)

    def _grow_references(self, new: Mapping[str, str]) -> bool:
        """Add references to the file, where it is as it was left, and return whether that was done.

        In one write over its end: to replace it for each of thousands costs their square. The list has them, too.
        """
        path, stamp = inside(self.folder, _REFERENCES), self._references_stamp
        if stamp is None or stamp_of(path) != stamp or len(self._references) == len(new):
            return False
        end, place = f",{json.dumps(new, indent=2)[1:]}".encode(), stamp[1] - len(_END)
        with contextlib.suppress(OSError), OpenFile.at(path, os.O_RDWR | os.O_NOFOLLOW) as file:
            try:
                if os.pwrite(file.fileno(), end, place) == len(end):
                    self._references_stamp = stamp_of(path)
                    return True
            finally:
                if self._references_stamp is stamp:
                    # There was no room for all of it: it is as it was.
                    os.ftruncate(file.fileno(), stamp[1])
                    os.pwrite(file.fileno(), _END, place)
        return False

    def local_files(self) -> list[LocalFile]:
        """Return the files to upload: copies as they were added, and what is noted about all."""
        if self._lines != len(self._all):
            self._save()
        noted = [name for name in (_LIST, _REFERENCES) if os.path.isfile(inside(self.folder, name))]
        return self._copies() + [LocalFile.at(name, inside(self.folder, name)) for name in noted]

    def _copies(self) -> list[LocalFile]:
        copies = {path: each for path, each in self._all.items() if path not in self._references}
        return [self._local_file(path, each) for path, each in copies.items()]

    def _local_file(self, path: str, each: Mapping[str, Any]) -> LocalFile:
        local = self._room.path(path)
        try:
            status = os.stat(local)
        except OSError as error:
            raise NothingThere(f"object {path!r} is gone from {self.folder}: add it again") from error
        if "sha256" not in each or status.st_size != each["size"] or not stat.S_ISREG(status.st_mode):
            raise FileChanged(f"object {path!r} was changed in {self.folder} after it was added: add it again")
        return LocalFile(path, local, each["size"], each["sha256"])

    def standing(self) -> tuple[list[Standing], dict[str, str]]:
        """Return the files here, as trials name them, and what is elsewhere.

        NothingThere or FileChanged where one is not what was added.
        """
        files = [Standing(file.name, file.path, file.size, file.sha256) for file in self._copies()]
        return files, {path: f"is a reference to {mask_secrets(uri)}" for path, uri in self._references.items()}

    def open(self, path: str) -> BinaryIO:
        """Return an object, opened to read."""
        each = self._all.get(path)
        if each is None:
            raise NothingThere(f"there is no object {path!r} in {self.folder}")
        if "reference" not in each:
            return io.BufferedReader(open_regular(inside(self.folder, path)))
        return open_url(str(each["reference"]))

    def export(self, folder: str) -> None:
        """Copy everything into another directory."""
        os.makedirs(folder, exist_ok=True)
        room = Room(folder)
        for path, each in self._all.items():
            target = room.make_parent(path)
            with self.open(path) as source, replacing(target, sync=False, mode=0o666) as output:
                digest, _ = _copy_some(source, output, each["size"] if "reference" not in each else _size_of(source))
                if "sha256" in each and digest != each["sha256"]:
                    raise CorruptArtifact(f"object {path!r} in {self.folder} is not what was added")


def _checked_object(each: Any, place: str) -> dict[str, Any]:
    """Return what is known of an object, without what is not; CorruptJournal where a stranger made it up."""
    try:
        msgspec.convert(each, _Object)
        return {**each, "path": checked_object_path(each["path"])}
    except (msgspec.ValidationError, ValueError) as error:
        raise CorruptJournal(f"{place} names an object that cannot be one: {error}") from error


def object_path(source: str, wanted: str | None) -> str:
    """Return the object path of a file or directory: ``a/1.png`` of ``x/1.png`` where ``a/`` is wanted."""
    name = os.path.basename(source.rstrip("/"))
    if wanted is None or wanted in ("", "/"):
        return checked_object_path(name)
    return checked_object_path(f"{wanted}{name}" if str(wanted).endswith("/") else wanted)


def checked_object_path(path: str) -> str:
    """Return an object path without outer slashes and dots; ValueError where it leads out, or to the library's own."""
    if not isinstance(path, str):
        raise TypeError(f"an object path is a str, not {type(path).__name__}")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if _BAD.search(path):
        raise ValueError(f"{bounded(repr(path))} cannot be an object path: it has control characters or backslashes")
    if parts[:1] == [_OWN]:
        raise ValueError(f"{bounded(repr(path))} cannot be an object path: {_OWN} is where the library keeps its notes")
    return checked_path("/".join(parts), "an object path")


def walk(folder: str, own: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of each file below a folder but `own`, sorted; a warning names what may not be copied."""
    hidden = os.stat(own)
    waiting = [(folder, "")]
    while waiting:
        at, prefix = waiting.pop()
        with os.scandir(at) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        folders = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.inode() != hidden.st_ino or not os.path.samestat(entry.stat(), hidden):
                    folders.append((entry.path, f"{prefix}{entry.name}/"))
            elif entry.is_file() and (not entry.is_symlink() or is_below(folder, entry.path)):
                yield f"{prefix}{entry.name}", entry.path
            else:
                logger.warning("%s is left out: it is no file, or a link that leads elsewhere", entry.path)
        waiting += reversed(folders)


def _copy(source: str, target: str) -> tuple[int, str]:
    """Copy a file in one step, and return its size and digest; FileChanged when it changes meanwhile."""
    with open_regular(source) as given:
        before = os.fstat(given.fileno())
        size = before.st_size
        if os.path.exists(target) and os.path.samestat(before, os.stat(target)):
            return size, digest_of(target, size)
        with replacing(target, sync=False, mode=0o666) as output:
            # One byte more than there were: whoever reads on may never come to the end of a log.
            digest, count = _copy_some(given, output, size + 1)
            after = os.fstat(given.fileno())
            if not count == size == after.st_size or before.st_mtime_ns != after.st_mtime_ns:
                raise FileChanged(f"{source} changed while it was read: add it when nobody writes to it")
            os.fchmod(output.fileno(), stat.S_IMODE(before.st_mode))
    return size, digest


def _copy_some(source: Any, output: OpenFile, most: int | None) -> tuple[str, int]:
    """Copy so many bytes at most, or all, and return the digest of them and their number."""
    digest, count = hashlib.sha256(), 0
    for chunk in chunks_of(source, most):
        digest.update(chunk)
        output.write_all(chunk)
        count += len(chunk)
    return digest.hexdigest(), count


def _size_of(source: BinaryIO) -> int | None:
    """Return how large an open file of this machine is; None for what is elsewhere."""
    try:
        return os.fstat(source.fileno()).st_size
    except (OSError, AttributeError):
        return None
