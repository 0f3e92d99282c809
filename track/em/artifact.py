"""Artifacts: sets of files that runs read or write, in directories that anybody can look into."""

from __future__ import annotations

import os
from typing import BinaryIO
from urllib.parse import urlsplit

from track.em.artifactdata import METADATA, ArtifactData
from track.em.errors import NothingThere
from track.em.history import remote_entry
from track.em.nodes import Node
from track.em.objects import checked_object_path, object_path, walk
from track.em.parcels import LocalFile, Parcel
from track.em.session import current_store
from track.em.store import Store, checked_strategy

__all__ = ["Artifact"]


class Artifact(ArtifactData):
    """A set of files, its objects, that a run has as input or output.

    The files are copied into the artifact's directory under their object paths; what the library notes about them
    is below ``.em`` there.

    Parameters
    ----------
    metadata: dict
        At least ``name``; more of what `to_dict` gives. A directory that is not there is made.
    objects: dict or list of dict, optional
        Size, sha256 or reference by object path, or as `to_dict` gives them.

    Attributes
    ----------
    labels: list of str
    description: str

    Examples
    --------
    >>> from track import em
    >>> artifact = em.create_artifact("data")
    >>> artifact.add_reference("s3://bucket/images.tar?versionId=3", "raw/")
    >>> artifact.objects
    [{'path': 'raw/images.tar', 'size': None, 'reference': 's3://bucket/images.tar?versionId=3'}]
    """

    # adding

    def add_file(self, file_path: str | os.PathLike[str], obj_path: str | None = None) -> None:
        """Copy a file into the artifact.

        Parameters
        ----------
        file_path: path
        obj_path: str, optional
            Where to: a path that ends with a slash is a folder that the file goes into. By default the file's
            name. An object that has the path is replaced.

        Raises
        ------
        NothingThere
            It is no file (a RuntimeError).
        ValueError
            The object path leads out of the artifact.
        AlreadyExists
            The path is a folder, or the beginning of it a file.
        """
        path = os.fspath(file_path)
        if not os.path.isfile(path):
            raise NothingThere(f"{path!r} is no file")
        self._objects.copy([(object_path(path, obj_path), path)])

    def add_dir(self, dir_path: str | os.PathLike[str], obj_path: str | None = None) -> None:
        """Copy all files of a directory, and of those in it.

        Links that lead out of it, and what is neither file nor directory, are left out with a warning.

        Parameters
        ----------
        dir_path: path
        obj_path: str, optional
            Where to, as for `add_file`.

        Raises
        ------
        NothingThere
            It is no directory (a RuntimeError).
        """
        path = os.path.abspath(os.fspath(dir_path))
        if not os.path.isdir(path):
            raise NothingThere(f"{os.fspath(dir_path)!r} is no directory")
        base = object_path(path, obj_path)
        self._objects.copy([(f"{base}/{name}", file) for name, file in walk(path, self._local)])

    def add_reference(self, uri: str, obj_path: str | None = None) -> None:
        """Add an object that stays where it is: only its address is kept, and uploaded.

        Parameters
        ----------
        uri: str
        obj_path: str, optional
            What it is called here, as for `add_file`; by default the last part of the URI's path.

        Raises
        ------
        TypeError
            It is no text.
        ValueError
            It is empty; or it says no name, and there is no object path.
        """
        if not isinstance(uri, str):
            raise TypeError(f"a reference is a URI, not {type(uri).__name__}")
        if not uri:
            raise ValueError("a reference needs a URI")
        source = urlsplit(uri).path or uri
        if not source.strip("/") and (not obj_path or obj_path.endswith("/")):
            raise ValueError(f"{uri!r} says no name for the object: give obj_path")
        self._objects.refer(object_path(source, obj_path), uri)

    # reading

    def open(self, obj_path: str) -> BinaryIO:
        """Return an object, opened to read its bytes; a reference is opened where it is (the extra ``fsspec``)."""
        return self._objects.open(checked_object_path(obj_path))

    def download(self, folder: str | os.PathLike[str]) -> None:
        """Copy every object, those that are references too, into a directory.

        Raises
        ------
        CorruptArtifact
            A file here is not what was added.
        """
        self._objects.export(os.fspath(folder))

    # uploading

    def upload(self, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
        """Upload the artifact; an earlier state of it is replaced, and objects that are there are not sent again.

        Parameters
        ----------
        folder: str
            Where to; ``/<user>/`` is put before a path without a slash at the beginning.
        make_folder: bool
            Whether to make the folder, and those above it, when it is not there.
        conflict_strategy: str
            When another has its name there: ``"skip"`` the upload, ``"error"``, ``"new"`` to use the alternative
            name, ``"replace"`` the other.

        Raises
        ------
        NotLoggedIn
            Call `login` first.
        UploadConflict
            The name is taken, with ``"error"``.
        NothingThere
            There is no such folder.
        FileChanged
            A file in the directory is not what was added.
        """
        self.send(current_store(), folder, make_folder, checked_strategy(conflict_strategy))

    def send(self, store: Store, folder: str, make_folder: bool, strategy: str) -> Node | None:
        """Upload to a store, and return what is there; None when it was skipped."""
        self._save()
        state = self.state
        node = store.upload(self.parcel(), folder, make_folder, strategy)
        if node is not None:
            self.remember(remote_entry(store.host, node, "upload", state))
        return node

    def parcel(self) -> Parcel:
        """Return what is to be uploaded."""
        files = [*self._objects.local_files(), LocalFile.at(METADATA, self._metadata_path)]
        return Parcel("Artifact", self._name, self._alternative_name, list(self.labels), self.description, files)
