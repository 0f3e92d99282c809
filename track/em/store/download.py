"""A run or an artifact out of an upload store into a directory: verified, and whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from typing import Any

from track.em.folders import alternative_name, checked_name, with_article
from track.em.store.nodes import Node
from track.em.store.packs import Contents
from track.em.store.store import Store
from track.em.texts import parse_mapping, read_mapping
from track.errors import CorruptArtifact, NothingThere, UnsafePath
from track.utils.files import OpenFile, Room, digest_of, read_chunks

_UNFINISHED = ".download-"
_TRIES = 5
_LARGEST_METADATA = 16 << 20
_ABANDONED = 7 * 24 * 3600.0
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


def download(store: Store, path: str, kind: str, parent: str) -> tuple[str, Node | None]:
    """Return the directory that has what is at an absolute path of the store, and what was fetched.

    A directory in `parent` that has the same files already is returned as it is, and None: nothing was fetched. Files
    that one has are not fetched again. NothingThere where nothing of this kind (``"Run"`` or ``"Artifact"``) is at the
    path, CorruptArtifact where content is missing or damaged.
    """
    for tries_left in reversed(range(_TRIES)):
        node = store.find(path)
        if node is None or node.kind != kind:
            found = "nothing" if node is None else with_article(node.kind)
            wanted = with_article(kind)
            raise NothingThere(f"there is {found} at {path} in {store.host}, where {wanted} was looked for")
        try:
            return _fetch(store, node, parent)
        except FileNotFoundError as error:
            # Somebody may have replaced it since the record was read.
            if not tries_left:
                raise CorruptArtifact(f"content of {path} in {store.host} is missing: {error}") from error
    raise AssertionError


def _fetch(store: Store, node: Node, parent: str) -> tuple[str, Node | None]:
    try:
        target = os.path.join(parent, checked_name(node.record.get("alternative_name", "")))
    except ValueError as error:
        raise CorruptArtifact(f"the record of {node.path} in {store.host} cannot be used: {error}") from error
    contents, here = Contents(store.objects), Room(target)
    if os.path.isdir(target) and all(_has_same(contents, here, file) for file in node.files):
        return target, None
    os.makedirs(parent, exist_ok=True)
    _remove_abandoned(parent)
    unfinished = os.path.join(parent, f"{_UNFINISHED}{secrets.token_hex(6)}")
    os.mkdir(unfinished)
    try:
        room = Room(unfinished)
        is_there = os.path.isdir(target)
        for file in node.files:
            _fetch_file(store, contents, file, room, here if is_there else None)
        while True:
            try:
                os.rename(unfinished, target)
                return target, node
            except OSError:
                if not os.path.lexists(target):
                    raise
                # What is here under this name is something else, and stays.
                target = os.path.join(parent, alternative_name(checked_name(node.record["name"])))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_abandoned(parent: str) -> None:
    """Remove what downloads have left here that were killed a week ago or earlier."""
    with os.scandir(parent) as found:
        left = [entry for entry in found if entry.name.startswith(_UNFINISHED) and entry.is_dir(follow_symlinks=False)]
    for entry in left:
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime + _ABANDONED < time.time():
                shutil.rmtree(entry.path, ignore_errors=True)


def _fetch_file(store: Store, contents: Contents, file: dict[str, Any], room: Room, here: Room | None) -> None:
    try:
        output = OpenFile.at(room.make_parent(file["name"]), _NEW)
    except (FileExistsError, NotADirectoryError, UnsafePath) as error:
        raise CorruptArtifact(f"the record in {store.host} names a file that cannot be one: {error}") from error
    is_here = here is not None and _has(here, file)
    digest = hashlib.sha256()
    with output:
        for chunk in read_chunks(here.path(file["name"]), file["size"]) if here and is_here else contents.of(file):
            digest.update(chunk)
            output.write_all(chunk)
    if digest.hexdigest() != file["sha256"]:
        raise CorruptArtifact(f"{file['name']!r} from {store.host} is damaged: its content is not what was uploaded")


def _has(here: Room, file: dict[str, Any]) -> bool:
    with contextlib.suppress(OSError, UnsafePath):
        path = here.path(file["name"])
        return bool(os.path.getsize(path) == file["size"] and digest_of(path) == file["sha256"])
    return False


def _has_same(contents: Contents, here: Room, file: dict[str, Any]) -> bool:
    """Return whether a folder has a file; of metadata, whether it says the same but for its ups and downs."""
    is_there = _has(here, file)
    if is_there or file["name"].rpartition("/")[2] != "metadata.yaml" or file["size"] > _LARGEST_METADATA:
        return is_there
    try:
        ours = read_mapping(here.path(file["name"]))
    except (OSError, ValueError):
        return False
    theirs = parse_mapping(b"".join(contents.of(file)), file["name"])
    return {**ours, "remote": None} == {**theirs, "remote": None}
