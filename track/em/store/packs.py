"""Many small files are few contents: each new name costs a store more than the bytes of such a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from track.em.store.nodes import LocalFile
from track.errors import CorruptArtifact
from track.objectstore import ObjectStore

_FEW = 32
_SMALL = 1 << 18
_LARGEST = 8 << 20
_PIECE = 1 << 20


def packed(files: Iterable[LocalFile]) -> list[list[LocalFile]]:
    """Return files as they are sent: each alone, but small ones together where there are many."""
    every = list(files)
    small = [file for file in every if file.size <= _SMALL]
    if len(small) <= _FEW:
        return [[file] for file in every]
    packs: list[list[LocalFile]] = []
    room = 0
    for file in small:
        if not packs or file.size > room:
            packs.append([])
            room = _LARGEST
        packs[-1].append(file)
        room -= file.size
    return packs + [[file] for file in every if file.size > _SMALL]


def pieces(files: list[LocalFile]) -> Iterator[bytes]:
    """Yield the bytes of files, one after another; FileChanged where they are not those that were promised."""
    if len(files) == 1:
        yield from files[0].chunks()
        return
    waiting = bytearray()
    for file in files:
        for chunk in file.chunks():
            waiting += chunk
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


class Contents:
    """Reads the files of records, most easily in their order: the pack that was read last is kept in memory."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._last: tuple[str, bytes] = ("", b"")

    def of(self, file: dict[str, Any]) -> Iterator[bytes]:
        """Yield the bytes of a file, no more than its record says; FileNotFoundError when they are gone."""
        if "offset" in file:
            offset = file["offset"]
            yield self._pack(file["content"])[offset : offset + file["size"]]
            return
        left = file["size"]
        for chunk in self._objects.get(file["content"]):
            if len(chunk) > left:
                where = self._objects.where(file["content"])
                raise CorruptArtifact(f"{file['name']!r} is damaged: {where} has more bytes than were stored")
            left -= len(chunk)
            yield chunk

    def _pack(self, content: str) -> bytes:
        if self._last[0] != content:
            pack = bytearray()
            for chunk in self._objects.get(content):
                pack += chunk
                if len(pack) > _LARGEST:
                    raise CorruptArtifact(f"{self._objects.where(content)} is larger than any pack that was stored")
            self._last = content, bytes(pack)
        return self._last[1]
