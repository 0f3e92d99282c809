"""A content-addressed store: files go by their digest, so that the same bytes are stored once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from track.artifacts import trees
from track.artifacts.content import READ, READ_NO_LINK, SETTLED, SMALL, DigestCache, Source, hash_source
from track.artifacts.folder import Folder, Kept
from track.artifacts.keys import OBJECTS, TREES, content_key, free_key
from track.artifacts.leases import Lease, hold_lease
from track.artifacts.transfer import Advance, each, progress
from track.artifacts.trees import Entry, Listing, Member, TreeCache
from track.errors import CorruptArtifact, FileChanged, NotFound, UnsafePath

_TRIES = 3
_UNREADABLE = {
    errno.EACCES, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENODEV, errno.ENOENT, errno.ENOTDIR, errno.ENXIO,
    errno.EPERM, errno.ESTALE,
}  # fmt: skip
"""Errors of one file, not of the process or the machine."""


@dataclass
class _Tree:
    """A directory that was stored, and what its folders in the store were like afterwards."""

    kept: Kept
    listing: Listing
    folders: list[str]
    stamp: Hashable


_digests = DigestCache()
_trees: TreeCache[_Tree] = TreeCache()


class ArtifactStore:
    """Content-addressed files, in a folder from `track.artifacts.location.open_folder`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def storing(self) -> contextlib.AbstractContextManager[Lease]:
        """Give a lease: `gc` removes nothing that was found or stored under it."""
        return hold_lease(self.folder)

    def put_file(self, path: str, lease: Lease) -> Kept:
        """Store a file, unless its content is there already; a bar is shown on a terminal.

        FileNotFoundError, PermissionError or UnsafePath where it is none, or may not be read; FileChanged where it
        changed three times in a row while it was read; BackendUnavailable or OSError where the store fails.
        """
        for _ in range(_TRIES - 1):
            with contextlib.suppress(FileChanged):
                return self._put_once(path, lease, None)
        return self._put_once(path, lease, None)

    def _put_once(self, path: str, lease: Lease, advance: Advance | None, flags: int = READ) -> Kept:
        with Source(path, flags) as source:
            if source.size <= SMALL:
                return self.folder.put(source, lease.uid, lease.avoid, None, advance or lease.heartbeat)
            return self._put_large(source, lease, advance)

    def _put_large(self, source: Source, lease: Lease, advance: Advance | None) -> Kept:
        known = _digests.get(source.stamp)
        if known is None and source.size in _digests.sizes:
            # Perhaps the same again: reading it once more costs less than writing it.
            known, _ = hash_source(source, lease.heartbeat)
            os.lseek(source.descriptor, 0, os.SEEK_SET)
        key = "" if known is None else content_key(OBJECTS, known)
        if known is not None and key not in lease.avoid and self.folder.size(key) == source.size:
            _digests.add(source, known)
            return Kept(key, known, source.size)
        with _shown(source.path, source.size, lease, advance) as moved:
            kept = self.folder.put(source, lease.uid, lease.avoid, known, moved)
        _digests.add(source, kept.digest)
        return kept

    def put_bytes(self, data: bytes, lease: Lease, kind: str = OBJECTS) -> Kept:
        """Store bytes: a file, or the listing of a tree."""
        digest = hashlib.sha256(data).hexdigest()
        key = free_key(kind, digest, lease.avoid)
        if self.folder.size(key) != len(data):
            self.folder.write(key, data, lease.uid)
        return Kept(key, digest, len(data))

    def put_tree(self, folder: str, recursive: bool, lease: Lease, own: Iterable[str] = ()) -> tuple[Kept, Listing]:
        """Store a folder's files and the listing that stands for it, which names what cannot be read or leads out.

        `own`: real paths of the files of tracking stores, which are no part of it.
        """
        identity, read_at = (self.folder.url, os.path.realpath(folder), recursive), time.time_ns()
        rows = trees.survey(folder, recursive, [*own, *self.folder.paths])
        known = None if lease.avoid else _trees.get(identity, rows)
        if known is not None and self._is_there(known):
            return known.kept, known.listing
        members = list(trees.members_of(rows))
        kept, listing = self._put_members(folder, members, lease)
        if not listing.skipped and all(max(member.modified, member.changed) + SETTLED < read_at for member in members):
            folders = sorted({f"{OBJECTS}/{entry.digest[:2]}" for entry in listing.entries})
            _trees.add(identity, rows, _Tree(kept, listing, folders, self.folder.stamp(folders)))
        return kept, listing

    def _is_there(self, known: _Tree) -> bool:
        """Return whether all of a directory is in the store still: somebody may have removed some of it."""
        if self.folder.size(known.kept.key) is None:
            return False
        stamp = self.folder.stamp(known.folders)
        if stamp is None or stamp != known.stamp:
            if self.folder.missing({entry.key for entry in known.listing.entries}):
                return False
            known.stamp = stamp
        return True

    def _put_members(self, folder: str, members: list[Member], lease: Lease) -> tuple[Kept, Listing]:
        entries: list[Entry] = []
        skipped: dict[str, str] = {}
        with _shown(folder, sum(member.size for member in members), lease, None) as moved:
            stored = each(lambda member: self._put_member(member, lease, moved), members, self.folder.workers)
            for member, outcome in zip(members, stored, strict=True):
                if isinstance(outcome, str):
                    skipped[os.fsencode(member.path).decode(errors="backslashreplace")] = outcome
                else:
                    entries.append(outcome)
        listing = Listing(entries, skipped)
        return self.put_bytes(trees.encode_listing(listing), lease, TREES), listing

    def _put_member(self, member: Member, lease: Lease, advance: Advance) -> Entry | str:
        """Store one file of a folder; return its entry, or why there is none."""
        if member.problem:
            return member.problem
        try:
            kept = None
            if member.size <= SMALL:
                stamp = member.size, member.modified, member.inode
                kept = self.folder.put_known(member.at, stamp, lease.uid, lease.avoid)
            if kept is None:
                kept = self._put_once(member.at, lease, advance, READ_NO_LINK)
            else:
                advance(kept.size)
        except FileChanged:
            return "changed while it was read"
        except OSError as error:
            if error.filename != member.at or error.errno not in _UNREADABLE:
                raise
            return trees.unread(error)
        except UnsafePath as error:
            return str(error)
        return trees.make_entry(member.path, kept.digest, kept.size, kept.key, member.mode)

    def listing(self, key: str, digest: str | None) -> Listing:
        """Return a stored directory; FileNotFoundError where it is gone, CorruptArtifact where it has changed."""
        data = self.folder.read(key)
        where = f"{self.folder.url}/{key}"
        if digest is not None and hashlib.sha256(data).hexdigest() != digest:
            raise CorruptArtifact(f"{where} is not what was stored: remove it, and log the directory again")
        return trees.decode_listing(data, where)


@contextmanager
def missing_named(name: str, store: ArtifactStore, key: str) -> Iterator[None]:
    """Raise NotFound, with the place, where content of this name is not in a store."""
    try:
        yield
    except FileNotFoundError as error:
        place = f"{store.folder.url}/{key}"
        raise NotFound(f"the content of {name!r} is not at {place}: was the folder moved or removed?") from error


def damaged(name: str, store: ArtifactStore, key: str) -> CorruptArtifact:
    """Return the error of content that is there and differs from its digest."""
    place = f"{store.folder.url}/{key}"
    return CorruptArtifact(f"{place} is not what was stored: remove it, and log {name!r} again")


@contextmanager
def _shown(path: str, total: int, lease: Lease, advance: Advance | None) -> Iterator[Advance]:
    """Give what is told of bytes that were moved: it moves the bar, and says that the upload goes on."""
    if advance is not None:
        yield advance
        return
    with progress(os.path.basename(path), total) as moved:

        def tell(count: int) -> None:
            lease.heartbeat(count)
            moved(count)

        yield tell
