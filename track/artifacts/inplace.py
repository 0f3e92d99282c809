"""A directory that stays where it is, as a place of artifacts: listings in it say which of its files are what content.

So what somebody keeps as plain files is named by trials, with versions and digests, and is there once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from typing import BinaryIO, NamedTuple, NoReturn

from track.artifacts.content import Source
from track.artifacts.folder import Folder, Found, Unfinished
from track.artifacts.keys import OBJECTS, TREES, content_key
from track.artifacts.transfer import Advance
from track.artifacts.trees import Entry, Listing, decode_listing, encode_listing, make_entry
from track.errors import UnsafePath
from track.utils.files import inside, open_regular, replace_file

SCHEME = "inplace+file"
_LISTINGS = ".em/listings"


class Standing(NamedTuple):
    """A file of such a directory: its relative path, where that is on this machine, and its content."""

    name: str
    path: str
    size: int
    sha256: str


def in_place(files: Iterable[Standing], left_out: Mapping[str, str]) -> tuple[bytes, str, int]:
    """Return the listing of files of a directory, encoded, its digest, and the bytes of all files.

    `left_out` is what belongs to it and is no file there, each with the reason.
    """
    entries = []
    for file in files:
        key, mode = content_key(OBJECTS, file.sha256), os.stat(file.path).st_mode
        entries.append(make_entry(file.name, file.sha256, file.size, key, mode))
    listing = Listing(entries, dict(left_out))
    data = encode_listing(listing)
    return data, hashlib.sha256(data).hexdigest(), listing.size


def list_in_place(folder: str, data: bytes, digest: str) -> str:
    """Keep such a listing in its directory, and return the URI of what it lists."""
    folder = os.path.realpath(folder)
    path = inside(folder, f"{_LISTINGS}/{digest}")
    if not os.path.isfile(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace_file(path, [data], sync=False, follow=False)
    return f"{SCHEME}://{folder}/{content_key(TREES, digest)}"


class InPlaceFolder(Folder):
    """Reads the files of such a directory by their digests; it belongs to somebody else, and nothing in it is changed.

    `size` and `open` find what is now at the path that a listing says: whether it is the same is for the reader to see.
    """

    workers = 1

    def __init__(self, url: str) -> None:
        self.url = url
        self._path = url.removeprefix(f"{SCHEME}://")
        self._entries: dict[str, Entry] = {}

    def _at(self, key: str) -> str:
        """Return the path of what is at a key; FileNotFoundError where there is none."""
        digest = key.rpartition("/")[2]
        if key.startswith(f"{TREES}/"):
            return inside(self._path, f"{_LISTINGS}/{digest}")
        if not self._entries:
            self._read_listings()
        entry = self._entries.get(digest)
        if entry is None:
            raise FileNotFoundError(f"{self.url}/{key}")
        path = inside(self._path, entry.name)
        if os.path.getsize(path) != entry.size:
            raise FileNotFoundError(f"{path} is not what it was")
        return path

    def _read_listings(self) -> None:
        folder = os.path.join(self._path, _LISTINGS)
        paths = [inside(self._path, f"{_LISTINGS}/{name}") for name in os.listdir(folder)]
        for path in sorted(paths, key=os.path.getmtime):
            self._entries |= {entry.digest: entry for entry in decode_listing(self._content(path), path).entries}

    def _content(self, path: str) -> bytes:
        with open_regular(path) as file:
            return file.read()

    def read(self, key: str) -> bytes:
        return self._content(self._at(key))

    def open(self, key: str) -> BinaryIO:
        path = self._at(key)
        with Source(path):
            return open(path, "rb")

    def size(self, key: str) -> int | None:
        try:
            return os.path.getsize(self._at(key))
        except FileNotFoundError:
            return None

    def files(self, prefix: str) -> list[Found]:
        # What is not ours to remove is not ours to list.
        return []

    def unfinished(self) -> list[Unfinished]:
        return []

    def write(self, key: str, data: bytes, owner: str = "") -> None:
        # Notes of who names what are for those who clean up: nobody does here.
        return

    def remove(self, keys: Iterable[str]) -> None:
        return

    def drop(self, unfinished: Iterable[Unfinished]) -> None:
        return

    def put(self, source: Source, owner: str, avoid: Collection[str], digest: str | None, advance: Advance) -> NoReturn:
        raise UnsafePath(f"{self.url} is somebody's directory: nothing is stored in it")
