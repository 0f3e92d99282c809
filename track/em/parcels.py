"""What is uploaded at a time: the files of a run or of an artifact, with what a store says about them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from track.em.errors import UploadFailed
from track.em.places import CHUNK
from track.errors import FileChanged

__all__ = ["LocalFile", "Parcel", "digest_of"]


@dataclass(frozen=True)
class LocalFile:
    """A file that is to be uploaded.

    Parameters
    ----------
    name: str
        Its name in the store, with slashes.
    path: str
        Where it is on this machine.
    size: int
        How many of its bytes are uploaded: a file that is appended to meanwhile has more.
    sha256: str
        Of these bytes.
    """

    name: str
    path: str
    size: int
    sha256: str

    @classmethod
    def at(cls, name: str, path: str) -> LocalFile:
        """Return the file as it is now."""
        size = os.path.getsize(path)
        return cls(name, path, size, digest_of(path, size))

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes; FileChanged when they are not those that were promised."""
        digest = hashlib.sha256()
        try:
            for chunk in _read(self.path, self.size):
                digest.update(chunk)
                yield chunk
        except OSError as error:
            raise UploadFailed(f"{self.path} cannot be read: {error}") from error
        if digest.hexdigest() != self.sha256:
            raise FileChanged(f"{self.path} was changed after it was added, or while it was read: add it again")


@dataclass(frozen=True)
class Parcel:
    """A run or an artifact, as a store gets it.

    Parameters
    ----------
    kind: str
        ``"Run"`` or ``"Artifact"``.
    name, alternative_name: str
    labels, description:
        For listings.
    files: list of LocalFile
    """

    kind: str
    name: str
    alternative_name: str
    labels: list[str] = field(default_factory=list)
    description: str = ""
    files: list[LocalFile] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        """Return what the store's record says of it, but for its files."""
        return {
            "type": self.kind,
            "name": self.name,
            "alternative_name": self.alternative_name,
            "labels": self.labels,
            "description": self.description,
        }


def digest_of(path: str, size: int | None = None) -> str:
    """Return the sha256 of a file, or of its first bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in _read(path, os.path.getsize(path) if size is None else size):
        digest.update(chunk)
    return digest.hexdigest()


def _read(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while size > 0 and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
