"""One artifact: what is known of it, and how to get at its content."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from track.artifacts.inline import inline_data
from track.artifacts.keys import INLINE, check_name, is_tree, offset_in, split_uri
from track.artifacts.location import open_folder
from track.artifacts.packs import SMALL
from track.artifacts.store import ArtifactStore, damaged, missing_named
from track.artifacts.transfer import progress
from track.artifacts.trees import Entry
from track.errors import CorruptArtifact, NotFound, UnsafePath
from track.persistence.utils import mask_secrets


@dataclass(frozen=True)
class Artifact:
    """A file, a directory, or a reference to data elsewhere, that belongs to a trial.

    Parameters
    ----------
    uri: str
        Where the content is; relative to the folder beside the tracking store where it has no scheme.
    digest: str or None
        A sha256; of a reference ``etag:`` and what its place calls this state of the data, if it does.
    size: int or None
        Bytes; of a directory, of all files in it.
    at: float
        When it was logged, unix seconds.
    trial: str
        The uid of the trial that logged it.
    project: str or None
        The project of that trial.
    version: int or None
        0 for the first content of this name in the project, 1 for the next that differs, ...; None for one that
        was just logged: `find` knows it.
    step: any or None
        That of the metrics to which it belongs.
    media: dict or None
        What was said of it for who displays it.
    """

    name: str
    uri: str
    digest: str | None
    size: int | None
    at: float
    trial: str
    project: str | None = None
    version: int | None = None
    step: Any = None
    media: dict[str, Any] | None = field(default=None, hash=False)
    _places: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def is_directory(self) -> bool:
        """Whether it is a whole directory."""
        return is_tree(self.uri) and not self.is_reference

    @property
    def is_reference(self) -> bool:
        """Whether the data is not in a store of ours."""
        return not self.is_inline and (not split_uri(self.uri)[1] or (self.digest or "").startswith("etag:"))

    @property
    def is_inline(self) -> bool:
        """Whether the content is in the trial's manifest itself."""
        return self.uri.startswith(INLINE)

    def entries(self) -> list[Entry]:
        """Return the files of a directory; `UnsafePath` where it is none."""
        if not self.is_directory:
            raise UnsafePath(f"{self.name!r} is no directory")
        store, key = self._located()
        with missing_named(self.name, store, key):
            return store.listing(key, self.digest).entries

    def left_out(self) -> dict[str, str]:
        """Return which files of a directory were not stored with it, and why; `UnsafePath` where it is none."""
        if not self.is_directory:
            raise UnsafePath(f"{self.name!r} is no directory")
        store, key = self._located()
        with missing_named(self.name, store, key):
            return store.listing(key, self.digest).skipped

    def open(self, path: str | None = None) -> BinaryIO:
        """Return the content to read, as it is in the store, without a check of all its bytes.

        Parameters
        ----------
        path: str, optional
            Which file of a directory.

        Raises
        ------
        NotFound
            The content, or the file, is not there.
        UnsafePath
            It is a directory, and `path` is not given; or it is none, and `path` is.
        """
        if path is not None and not self.is_directory:
            raise UnsafePath(f"{self.name!r} is no directory: open() it without {path!r}")
        if self.is_inline:
            return io.BytesIO(inline_data(self.uri))
        if self.is_reference:
            from track.artifacts.connecting import open_reference

            return open_reference(self.uri, self.digest, self.size)
        store, key, _ = self._content(path)
        offset = None if self.is_directory else offset_in(self.uri)
        with missing_named(path or self.name, store, key):
            if offset is None:
                return store.folder.open(key)
            with store.folder.open(key) as pack:
                # Who writes to the tracking store has said where it is: what is there is compared with its digest.
                pack.seek(min(offset, pack.seek(0, os.SEEK_END)))
                return io.BytesIO(pack.read(min(max(self.size or 0, 0), SMALL)))

    def _content(self, path: str | None) -> tuple[ArtifactStore, str, str | None]:
        """Return where the content is, or that of a file of a directory, and its digest."""
        store, key = self._located()
        if not self.is_directory:
            return store, key, self.digest
        if path is None:
            raise UnsafePath(f"{self.name!r} is a directory: name a file in it, as in open('a.txt')")
        for entry in self.entries():
            if entry.name == path:
                return store, entry.key, entry.digest
        raise NotFound(f"no file {path!r} in the directory {self.name!r}")

    def read_bytes(self, path: str | None = None) -> bytes:
        """Return the whole content; NotFound where it is not there, CorruptArtifact where it is not what was stored."""
        with self.open(path) as file:
            data = file.read()
        if self.is_reference:
            return data
        expected = self.digest if self.is_inline else self._content(path)[2]
        if hashlib.sha256(data).hexdigest() != expected:
            raise self._damaged(path)
        return data

    def download(self, target: str | os.PathLike[str] | None = None) -> str:
        """Write the content to a file, or a directory's files below a folder, and return its path.

        What is there already with the same content stays; a transfer that was broken off goes on where it
        was; every byte is verified before a file appears under its name.

        Parameters
        ----------
        target: path, optional
            The artifact's name, below the working directory, by default.

        Raises
        ------
        NotFound
            The content is not there.
        CorruptArtifact
            It is not what was stored.
        UnsafePath
            A file would be outside of `target`, or replace a folder, or the other way round.
        """
        from track.artifacts.download import download_content, download_entries, make_folder, make_folders

        chosen = check_name(self.name) if target is None else os.fspath(target)
        if target is None:
            # Whoever writes to the tracking store has chosen the name.
            make_folders(os.curdir, chosen if self.is_directory else os.path.dirname(chosen))
        if self.is_directory:
            store, _ = self._located()
            download_entries(store, self.entries(), chosen, self.name)
            return chosen
        make_folder(os.path.dirname(os.path.abspath(chosen)))
        digest = None if self.is_reference else self.digest
        with progress(self.name, self.size or 0) as advance:
            download_content(self.open, digest, self.size, chosen, advance, damaged=self._damaged)
        return chosen

    def _damaged(self, path: str | None = None) -> CorruptArtifact:
        if self.is_inline:
            return CorruptArtifact(f"what is kept of {self.name!r} is not what was logged: log it again")
        if path is not None:
            return damaged(path, *self._content(path)[:2])
        if self.is_reference:
            return CorruptArtifact(f"{mask_secrets(self.uri)} has changed since it was logged")
        return damaged(self.name, *self._located())

    def _located(self) -> tuple[ArtifactStore, str]:
        root, key = split_uri(self.uri)
        places = self._places or (root,)
        if not places[0]:
            raise NotFound(f"{self.name!r} is beside the store that named it: open that store")
        for place in places if len(places) > 1 else ():
            folder = open_folder(place)
            if folder.size(key) is not None:
                return ArtifactStore(folder), key
        return ArtifactStore(open_folder(places[0])), key
