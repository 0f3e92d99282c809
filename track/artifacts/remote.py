"""Artifacts in anything that fsspec opens: ``s3://``, ``gs://``, ``memory://``, ... (the extra ``fsspec``)."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable
from typing import BinaryIO

from track.artifacts.content import CHUNK, Source, hash_source
from track.artifacts.folder import Folder, Found, Kept, Unfinished
from track.artifacts.keys import OBJECTS, PARTIAL, free_key
from track.artifacts.multipart import PART, MultipartUploads
from track.artifacts.transfer import Advance, each, ignore
from track.errors import BackendUnavailable
from track.persistence.utils import mask_secrets
from track.utils.files import checked_path
from track.utils.filesystem import age_of, connect, open_path, reached, schemes_of, translated

_S3 = {"s3", "s3a"}
_FLAT = {*_S3, "gs", "gcs", "abfs", "az", "memory"}


class RemoteFolder(Folder):
    """A folder behind fsspec, which knows the credentials. A file is visible once it is whole, and verified."""

    workers = 8

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, root = connect(self.url)
        self._root = root.rstrip("/")
        schemes = schemes_of(self._fs)
        self._is_s3 = not _S3.isdisjoint(schemes)
        # Others want a folder to be there before a file is.
        self._has_folders = _FLAT.isdisjoint(schemes)

    def __repr__(self) -> str:
        return f"RemoteFolder({mask_secrets(self.url)!r})"

    def put(self, source: Source, owner: str, avoid: Collection[str], digest: str | None, advance: Advance) -> Kept:
        # Read once for its digest, and once more where it must be sent.
        size = source.size
        if digest is None:
            digest, size = hash_source(source, ignore)
        key = free_key(OBJECTS, digest, avoid)
        if self.size(key) == size:
            advance(size)
            return Kept(key, digest, size)
        os.lseek(source.descriptor, 0, os.SEEK_SET)
        with reached(self.url):
            if size <= PART:
                self._send_small(source, key, digest, advance)
            elif self._is_s3:
                MultipartUploads(self._fs, self._root).send(source, key, digest, size, advance)
            else:
                self._send(source, key, digest, owner, advance)
        if self.size(key) != size:
            raise BackendUnavailable(f"{self.url} has taken {size} bytes and shows {self.size(key)}")
        return Kept(key, digest, size)

    def _send_small(self, source: Source, key: str, digest: str, advance: Advance) -> None:
        self._make_folder(key)
        with open(source.descriptor, "rb", closefd=False) as reader:
            data = reader.read(PART + 1)
        if hashlib.sha256(data).hexdigest() != digest:
            raise source.changed()
        self._fs.pipe_file(self._at(key), data)
        advance(len(data))

    def _send(self, source: Source, key: str, digest: str, owner: str, advance: Advance) -> None:
        """Send to another name first: not every place shows a file only when it is whole."""
        partial = self._at(f"{PARTIAL}/{owner}-{key.rpartition('/')[2]}")
        found, count = hashlib.sha256(), 0
        self._make_folder(f"{PARTIAL}/{owner}")
        with self._fs.open(partial, "wb", block_size=PART) as target:
            while data := os.read(source.descriptor, CHUNK):
                found.update(data)
                count += len(data)
                if count > source.size:
                    break
                target.write(data)
                advance(len(data))
        if found.hexdigest() != digest:
            self._fs.rm_file(partial)
            raise source.changed()
        self._make_folder(key)
        self._fs.mv(partial, self._at(key))

    def _make_folder(self, key: str) -> None:
        if self._has_folders:
            self._fs.makedirs(self._at(key.rpartition("/")[0]), exist_ok=True)

    def _at(self, key: str) -> str:
        return f"{self._root}/{checked_path(key, 'a key of an artifact')}"

    def size(self, key: str) -> int | None:
        try:
            with translated(self.url):
                information = self._fs.info(self._at(key))
        except FileNotFoundError:
            return None
        return int(information["size"]) if information.get("type") == "file" else None

    def write(self, key: str, data: bytes, owner: str = "") -> None:
        with reached(self.url):
            self._make_folder(key)
            self._fs.pipe_file(self._at(key), data)

    def read(self, key: str) -> bytes:
        with translated(self.url):
            return bytes(self._fs.cat_file(self._at(key)))

    def open(self, key: str) -> BinaryIO:
        return open_path(self._fs, self._at(key), self.url)

    def files(self, prefix: str) -> list[Found]:
        try:
            with translated(self.url):
                found = self._fs.find(self._at(prefix), detail=True)
        except FileNotFoundError:
            return []
        start = len(self._root) + 1
        return [Found(path[start:], int(known["size"] or 0), age_of(known)) for path, known in found.items()]

    def missing(self, keys: Collection[str]) -> set[str]:
        folders = sorted({key.rpartition("/")[0] for key in keys})
        return set(keys).difference(found.key for files in each(self.files, folders, self.workers) for found in files)

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            with contextlib.suppress(FileNotFoundError), translated(self.url):
                self._fs.rm_file(self._at(key))

    def unfinished(self) -> list[Unfinished]:
        left = [
            Unfinished(found.key, found.key.rpartition("/")[2].partition("-")[0], found.size, found.age)
            for found in self.files(PARTIAL)
        ]
        if self._is_s3:
            with reached(self.url):
                left += MultipartUploads(self._fs, self._root).unfinished()
        return left

    def drop(self, unfinished: Iterable[Unfinished]) -> None:
        for left in unfinished:
            if left.token.startswith(f"{PARTIAL}/"):
                self.remove([left.token])
            else:
                with translated(self.url):
                    MultipartUploads(self._fs, self._root).abort(left.token)
