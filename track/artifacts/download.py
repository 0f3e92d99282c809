"""Bring artifacts back: only what differs, gone on with where it was broken off, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from track.artifacts.content import CHUNK, SMALL, Source, hash_source
from track.artifacts.keys import check_clashes, is_digest
from track.artifacts.store import ArtifactStore, damaged, missing_named
from track.artifacts.transfer import Advance, each, ignore, progress
from track.artifacts.trees import Entry
from track.errors import CorruptArtifact, UnsafePath
from track.persistence.file import claim
from track.utils.files import is_named


def download_content(
    opened: Callable[[], BinaryIO],
    digest: str | None,
    size: int | None,
    target: str,
    advance: Advance,
    *,
    damaged: Callable[[], CorruptArtifact],
) -> None:
    """Write content to a file, unless the file has it; a link there is replaced, not followed.

    `opened` returns the content, to read and seek in. Where nobody knows its digest, nothing can be verified or gone on
    with. What `damaged` returns is raised where the content is not what was stored; the file is as it was then.
    UnsafePath where a folder is in the way.
    """
    if digest is not None and _has(target, digest, size):
        return
    if target.endswith("/") or (os.path.isdir(target) and not os.path.islink(target)):
        raise UnsafePath(f"{target!r} is a folder: a file cannot replace it, name the file in it")
    with _part(target, digest) as (path, part):
        known = _resumed(part)
        found = _receive(opened, part, known, advance)
        if found != digest and digest is not None and known[1]:
            # What an earlier transfer had left may be what is wrong.
            part.truncate(0)
            found = _receive(opened, part, _resumed(part), advance)
        count = part.tell()
        if (digest is not None and found != digest) or (size is not None and count != size):
            os.unlink(path)
            raise damaged()
        part.flush()
        os.replace(path, target)


def _has(target: str, digest: str, size: int | None) -> bool:
    try:
        status = os.lstat(target)
        if not stat.S_ISREG(status.st_mode) or (size is not None and status.st_size != size):
            return False
        with Source(target) as source:
            return hash_source(source, ignore)[0] == digest
    except OSError:
        return False


@contextmanager
def _part(target: str, digest: str | None) -> Iterator[tuple[str, BinaryIO]]:
    """Give the file in which a transfer is collected: another transfer that goes on has another."""
    folder = os.path.dirname(target) or os.curdir
    # A record may say anything of its digest: what is none is found out once the content is read.
    name = f".{digest[:32]}.part" if digest and is_digest(digest) else f".{secrets.token_hex(8)}.part"
    path = os.path.join(folder, name)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    if not claim(descriptor) or not is_named(descriptor, path):
        os.close(descriptor)
        path = os.path.join(folder, f".{secrets.token_hex(8)}.part")
        descriptor = os.open(path, flags | os.O_EXCL, 0o666)
        digest = None
    with open(descriptor, "r+b", buffering=0) as part:
        try:
            yield path, part
        except BaseException:
            # Nobody could go on with it.
            if digest is None or not os.fstat(part.fileno()).st_size:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            raise


def _resumed(part: BinaryIO) -> tuple[Any, int]:
    """Return the hash of what was collected before, and how much that is."""
    part.seek(0)
    digest, count = hashlib.sha256(), 0
    while data := part.read(CHUNK):
        digest.update(data)
        count += len(data)
    return digest, count


def _receive(opened: Any, part: BinaryIO, known: tuple[Any, int], advance: Advance) -> str:
    digest, count = known[0].copy(), known[1]
    part.seek(count)
    with opened() as content:
        if count:
            content.seek(count)
            advance(count)
        while data := content.read(CHUNK):
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[part.write(view) :]
            advance(len(data))
    return str(digest.hexdigest())


def download_entries(store: ArtifactStore, entries: list[Entry], target: str, name: str) -> None:
    """Write the files of a directory below a folder; what else is there stays.

    UnsafePath where a link in the folder would lead out of it, or two files are one on this disk: nothing is written.
    CorruptArtifact where a file is not what was stored.
    """
    names = [entry.name for entry in entries]
    made = set() if os.path.lexists(target) else {""}
    make_folder(target)
    try:
        check_clashes(names)
    except UnsafePath:
        if folds_case(target):
            raise
    parents = sorted({name.rpartition("/")[0] for name in names})
    made.update(parent for parent in parents if make_folders(target, parent))
    with progress(name, sum(entry.size for entry in entries)) as advance:

        def bring(entry: Entry) -> None:
            if entry.size > SMALL or not _bring_small(store, entry, target, made):
                _download_entry(store, entry, target, advance)
            else:
                advance(entry.size)
            if entry.is_executable:
                _make_executable(os.path.join(target, entry.name))

        for _ in each(bring, entries, store.folder.workers):
            pass


def _bring_small(store: ArtifactStore, entry: Entry, target: str, made: set[str]) -> bool:
    """Write a small file in one piece, and return whether that was done; not where something is in the way.

    `made`: the folders in which there was nothing before.
    """
    path = entry.name
    parent, slash, _ = path.rpartition("/")
    at = f"{target}/{path}"
    if parent not in made and os.path.lexists(at):
        return False
    with missing_named(path, store, entry.key):
        data = store.folder.read(entry.key)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.digest:
        raise damaged(path, store, entry.key)
    part = f"{target}/{parent}{slash}.{entry.digest[:32]}.part"
    try:
        written = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        # Held until it has its name: nobody goes on with it meanwhile, or has already.
        if not claim(written) or not is_named(written, part):
            return False
        count = os.write(written, data)
        while count < len(data):
            count += os.write(written, memoryview(data)[count:])
        os.replace(part, at)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    finally:
        os.close(written)
    return True


def _download_entry(store: ArtifactStore, entry: Entry, target: str, advance: Advance) -> None:
    at = os.path.join(target, entry.name)

    def opened() -> BinaryIO:
        with missing_named(entry.name, store, entry.key):
            return store.folder.open(entry.key)

    download_content(
        opened, entry.digest, entry.size, at, advance, damaged=lambda: damaged(entry.name, store, entry.key)
    )


def _make_executable(path: str) -> None:
    mode = os.stat(path).st_mode
    os.chmod(path, mode | (mode & 0o444) >> 2)


def make_folder(path: str) -> None:
    """Make a folder, and those above it; UnsafePath where a file is in the way."""
    try:
        os.makedirs(path, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        at = path
        while not os.path.lexists(at):
            at = os.path.dirname(at)
        raise UnsafePath(f"{at!r} is a file, not a folder") from error


def folds_case(folder: str) -> bool:
    """Return whether the disk of a folder does not tell upper from lower case."""
    probe = os.path.join(folder, f".track-{secrets.token_hex(8)}-x")
    with open(probe, "xb"):
        pass
    try:
        return os.path.exists(f"{probe[:-1]}X")
    finally:
        os.unlink(probe)


def make_folders(root: str, path: str) -> bool:
    """Make the folders of a path, none of which may be a link that somebody put there; say whether the last is new."""
    at, is_new = root, False
    for part in filter(None, path.split("/")):
        at = os.path.join(at, part)
        if os.path.islink(at):
            raise UnsafePath(f"{at!r} is a link: files are not written through it")
        is_new = not os.path.isdir(at)
        if is_new:
            make_folder(at)
    return is_new
