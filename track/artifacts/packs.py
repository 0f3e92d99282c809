"""Many small contents in one file: an archive (tar) that grows by whole members while a trial runs.

A member's name is the digest of its content; the manifest says where in the archive it begins. A writer that is killed
leaves a torn member at most, which nothing names.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tarfile
import threading
import time

from track.artifacts.folder import Folder, Kept
from track.artifacts.keys import pack_key
from track.artifacts.leases import Lease

SMALL = 256 * 1024
"""Bytes; what is as long, or longer, is a file of its own."""
_FULL = 64 * 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE
_guard = threading.Lock()
_writers: dict[tuple[str, str], Pack] = {}


class Pack:
    """A pack that this process appends to; `full`: how many bytes are enough."""

    def __init__(self, full: int = _FULL) -> None:
        self.full = full
        self.began = time.monotonic()
        self.pid = os.getpid()
        self.key = pack_key(secrets.token_hex(16))
        self.size = 0
        self.known: dict[str, int] = {}
        self.lock = threading.Lock()

    def is_good(self, avoid: frozenset[str]) -> bool:
        """Return whether more may come: into one that is being removed, or is a parent's, nothing may."""
        return self.pid == os.getpid() and self.size < self.full and self.key not in avoid


def put_packed(folder: Folder, owner: str, data: bytes, ending: str, lease: Lease) -> tuple[Kept, int]:
    """Append content to the pack of `owner` in a folder, unless it is there; return its pack and where it begins."""
    digest = hashlib.sha256(data).hexdigest()
    with _guard:
        pack = _writers.get((folder.url, owner))
        if pack is None or not pack.is_good(lease.avoid):
            pack = _writers[folder.url, owner] = Pack()
    return append_to(pack, folder, digest, data, ending)


def append_to(pack: Pack, folder: Folder, digest: str, data: bytes, ending: str) -> tuple[Kept, int]:
    """Append content to a pack in a folder, unless it is there; return the pack and where it begins."""
    with pack.lock:
        offset = pack.known.get(digest)
        if offset is None:
            member = _member(f"{digest}{ending}", data)
            start = folder.append(pack.key, member)
            pack.size = start + len(member)
            offset = pack.known[digest] = start + _BLOCK
    return Kept(pack.key, digest, len(data)), offset


def _member(name: str, data: bytes) -> bytes:
    head = tarfile.TarInfo(name)
    head.size, head.mtime, head.mode = len(data), int(time.time()), 0o644
    made = io.BytesIO()
    made.write(head.tobuf(tarfile.USTAR_FORMAT))
    made.write(data)
    made.write(bytes(-len(data) % _BLOCK))
    return made.getvalue()
