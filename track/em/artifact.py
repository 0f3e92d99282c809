"""Artifacts: sets of files that runs read or write, in directories that anybody can look into."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from track.artifacts import Recorder, artifact_name, in_place
from track.em.folders import timestamp
from track.em.item import Item
from track.em.objects import Objects, checked_object_path, object_path, walk
from track.em.store import LocalFile, Node, Store, remote_entry
from track.em.texts import read_own, write_mapping
from track.errors import NothingThere
from track.shown import bounded, cut
from track.utils.files import inside
from track.yaml12 import flow


class Artifact(Item):
    """A set of files, its objects, that a run has as input or output.

    The files are copied into the artifact's directory under their object paths; what the library notes about them
    is below ``.em`` there.

    Parameters
    ----------
    metadata: dict
        At least ``name``; more of what `to_dict` gives. A directory that is not there is made.
    objects: dict or list of dict, optional
        Size, sha256 or reference by object path, or as `to_dict` gives them.

    Examples
    --------
    >>> from track import em
    >>> artifact = em.create_artifact("data")
    >>> artifact.add_reference("s3://bucket/images.tar?versionId=3", "raw/")
    >>> artifact.objects
    [{'path': 'raw/images.tar', 'size': None, 'reference': 's3://bucket/images.tar?versionId=3'}]
    """

    kind = "Artifact"
    metadata_file = ".em/metadata.yaml"

    def __init__(
        self, metadata: Mapping[str, Any], objects: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None
    ) -> None:
        self._identify(metadata, "created_timestamp")
        self._created = str(metadata.get("created_timestamp") or timestamp())
        is_new = not self.is_in(self._local)
        os.makedirs(self._local, exist_ok=True)
        self._objects = Objects(self._local)
        if objects is not None:
            self._objects.replace_all(objects)
        if is_new or self._metadata() != read_own(self._metadata_path):
            self._save()

    def _become(self, data: Mapping[str, Any]) -> None:
        Artifact.__init__(self, data["metadata"], data.get("objects") or ())

    @classmethod
    def create(cls, name: str, labels: Sequence[str] | None, description: str) -> Artifact:
        """Return a new artifact, in a new directory."""
        return cls(cls._new(name, labels, description))

    @classmethod
    def _read(cls, folder: str) -> Artifact:
        return cls(cls._checked_metadata(read_own(inside(folder, cls.metadata_file)), folder))

    def __repr__(self) -> str:
        return cut(f"<Artifact {self._alternative_name!r} of {len(self.objects)} objects in {self._local}>")

    @property
    def created_timestamp(self) -> str:
        """When it was made, ISO 8601 with offset."""
        return self._created

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its objects: path, size in bytes, and sha256 or reference."""
        return self._objects.as_list()

    def _own_metadata(self) -> dict[str, Any]:
        return {"created_timestamp": self._created}

    def _parts(self) -> dict[str, Any]:
        return {"objects": self.objects}

    @property
    def _metadata_path(self) -> str:
        return inside(self._local, self.metadata_file)

    def _save(self) -> None:
        write_mapping(self._metadata_path, self._metadata())

    @property
    def digest(self) -> str:
        """The same for the same files, and the one by which trials name them: ``find(store, "model@9f86d081")``.

        NothingThere or FileChanged where a file is not what was added.
        """
        return in_place(*self._objects.standing())[1]

    def name_in(self, recorder: Recorder) -> None:
        """Name it in the manifest of a trial; its files stay where they are."""
        recorder.add_in_place(self._local, *self._objects.standing(), artifact_name(self._local, self._name))

    @property
    def state(self) -> str:
        """What changes with the objects, the labels and the description, and with nothing else."""
        described = flow([self.objects, list(self._labels), self._description])
        return hashlib.sha256(described.encode()).hexdigest()[:32]

    def path_in(self, store: Store) -> str | None:
        """Return where this very state of it is in a store; None when it is not."""
        state = self.state
        for entry in reversed(self._remote):
            if entry.get("host") == store.host and entry.get("state") == state:
                return entry.get("path")
        return None

    def refresh(self) -> None:
        """Read again which objects there are, and where they were uploaded: another object may have written that."""
        self._objects = Objects(self._local)
        self._remote = self._checked_metadata(read_own(self._metadata_path), self._local).get("remote") or []

    def add_file(self, file_path: str | os.PathLike[str], obj_path: str | None = None) -> None:
        """Copy a file into the artifact.

        Parameters
        ----------
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
            raise ValueError(f"{bounded(repr(uri))} says no name for the object: give obj_path")
        self._objects.refer(object_path(source, obj_path), uri)

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

    def send(self, store: Store, folder: str, make_folder: bool, strategy: str) -> Node | None:
        self._save()
        state = self.state
        files = [*self._objects.local_files(), LocalFile.at(self.metadata_file, self._metadata_path)]
        node = store.upload(self._bundle(files), folder, make_folder, strategy)
        if node is not None:
            self.remember(remote_entry(store.host, node, "upload", state))
        return node
