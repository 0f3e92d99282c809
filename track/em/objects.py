"""The objects of an artifact: copies of files, and references to what stays where it is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from track.em.store import LocalFile
from track.em.texts import read_list, write_list
from track.errors import AlreadyExists, CorruptArtifact, FileChanged, NothingThere
from track.utils.files import checked_path, digest_of, inside, is_below, replace_file, replacing
from track.utils.filesystem import CHUNK, open_url

logger = logging.getLogger(__name__)
_OWN = ".em"
_LIST, _REFERENCES = f"{_OWN}/objects.yaml", f"{_OWN}/references.json"
_BAD = re.compile(r"[\x00-\x1f\x7f\\]")


class Objects:
    """The objects in the directory of an artifact."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = inside(folder, _LIST)
        found = read_list(path) if os.path.isfile(path) else []
        self._all: dict[str, dict[str, Any]] = {checked_object_path(each["path"]): dict(each) for each in found}

    def as_list(self) -> list[dict[str, Any]]:
        """Return a dictionary an object."""
        return [dict(each) for each in self._all.values()]

    def replace_all(self, objects: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Take what somebody else knows about the objects."""
        pairs = objects.items() if isinstance(objects, Mapping) else [(each["path"], each) for each in objects]
        taken = {checked_object_path(path): {**each, "path": path} for path, each in pairs}
        if taken != self._all:
            self._all = taken
            self._save()

    def copy(self, files: list[tuple[str, str]]) -> None:
        """Copy files to their object paths, all checked before the first is copied."""
        for path, _ in files:
            self._check_free(path)
        copied = {}
        try:
            for path, source in files:
                copied[path] = _copy(source, inside(self.folder, path))
        finally:
            for path, (size, digest) in copied.items():
                self._all[path] = {"path": path, "size": size, "sha256": digest}
            self._save()

    def refer(self, path: str, uri: str) -> None:
        """Add a reference."""
        self._check_free(path)
        target = inside(self.folder, path)
        if os.path.isfile(target):
            os.unlink(target)
        self._all[path] = {"path": path, "size": None, "reference": uri}
        self._save()

    def _check_free(self, path: str) -> None:
        inside(self.folder, path)
        parts = path.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        is_taken = path not in self._all and os.path.lexists(inside(self.folder, path))
        for other in self._all:
            if is_taken and other.casefold() == path.casefold():
                raise AlreadyExists(f"{path!r} cannot be an object: to this file system {other!r} is the same name")
            if other in above or other.startswith(f"{path}/"):
                raise AlreadyExists(f"{path!r} cannot be an object: {other!r} is one, and a file is no folder")

    def _save(self) -> None:
        write_list(inside(self.folder, _LIST), self._all.values())
        references = {path: each["reference"] for path, each in self._all.items() if "reference" in each}
        if references or os.path.exists(inside(self.folder, _REFERENCES)):
            text = json.dumps(references, indent=2).encode()
            replace_file(inside(self.folder, _REFERENCES), [text], sync=False, follow=False)

    def local_files(self) -> list[LocalFile]:
        """Return the files to upload: copies as they were added, and what is noted about all."""
        copies = {path: each for path, each in self._all.items() if "reference" not in each}
        found = [LocalFile(path, self._checked(path), each["size"], each["sha256"]) for path, each in copies.items()]
        noted = [name for name in (_LIST, _REFERENCES) if os.path.isfile(inside(self.folder, name))]
        return found + [LocalFile.at(name, inside(self.folder, name)) for name in noted]

    def _checked(self, path: str) -> str:
        local = inside(self.folder, path)
        try:
            size = os.path.getsize(local)
        except OSError as error:
            raise NothingThere(f"object {path!r} is gone from {self.folder}: add it again") from error
        if size != self._all[path]["size"]:
            raise FileChanged(f"object {path!r} was changed in {self.folder} after it was added: add it again")
        return local

    def open(self, path: str) -> BinaryIO:
        """Return an object, opened to read."""
        each = self._all.get(path)
        if each is None:
            raise NothingThere(f"there is no object {path!r} in {self.folder}")
        if "reference" not in each:
            return open(inside(self.folder, path), "rb")
        return open_url(str(each["reference"]))

    def export(self, folder: str) -> None:
        """Copy everything into another directory."""
        for path, each in self._all.items():
            target = inside(folder, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with self.open(path) as source, open(target, "wb") as output:
                shutil.copyfileobj(source, output, CHUNK)
            if "sha256" in each and digest_of(target) != each["sha256"]:
                raise CorruptArtifact(f"object {path!r} in {self.folder} is not what was added")


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
        raise ValueError(f"{path!r} cannot be an object path: it has control characters or backslashes")
    if parts[:1] == [_OWN]:
        raise ValueError(f"{path!r} cannot be an object path: {_OWN} is where the library keeps its notes")
    return checked_path("/".join(parts), "an object path")


def walk(folder: str, own: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of each file below a folder but `own`, sorted; a warning names what may not be copied."""
    own = os.path.realpath(own)
    for parent, folders, files in os.walk(folder, onerror=_fail):
        folders[:] = sorted(name for name in folders if os.path.realpath(os.path.join(parent, name)) != own)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted([*files, *links]):
            path = os.path.join(parent, name)
            if (not os.path.islink(path) or is_below(folder, path)) and os.path.isfile(path):
                yield os.path.relpath(path, folder), path
            else:
                logger.warning("%s is left out: it is no file, or a link that leads elsewhere", path)


def _fail(error: OSError) -> None:
    raise error


def _copy(source: str, target: str) -> tuple[int, str]:
    """Copy a file in one step, and return its size and digest; FileChanged when it changes meanwhile."""
    if os.path.exists(target) and os.path.samefile(source, target):
        return os.path.getsize(target), digest_of(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as given, replacing(target, sync=False, mode=0o666) as output:
        before = os.fstat(given.fileno())
        while chunk := given.read(CHUNK):
            digest.update(chunk)
            output.write_all(chunk)
            size += len(chunk)
        after = os.fstat(given.fileno())
        if size != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
            raise FileChanged(f"{source} changed while it was read: add it when nobody writes to it")
        os.fchmod(output.fileno(), stat.S_IMODE(before.st_mode))
    return size, digest.hexdigest()
