"""Artifacts: sets of files that runs read or write, in directories that anybody can look into."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from track.em.errors import NothingThere
from track.em.folders import (
    alternative_name,
    artifact_parent,
    checked_labels,
    checked_name,
    make_directory,
    timestamp,
)
from track.em.objects import Objects, checked_object_path, object_path, walk
from track.em.session import current_store
from track.em.store import LocalFile, Node, Parcel, Store, checked_strategy, remote_entry
from track.em.texts import flow, read_mapping, write_mapping

METADATA = ".em/metadata.yaml"
"""Where an artifact notes who it is, in its directory."""
_FIELDS = ("name", "labels", "description", "created_timestamp", "alternative_name", "remote")
_Self = TypeVar("_Self", bound="ArtifactData")


class ArtifactData:
    """An artifact without its verbs; see `track.em.artifact.Artifact`."""

    def __init__(
        self, metadata: Mapping[str, Any], objects: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None
    ) -> None:
        self._take(metadata, objects)

    def _take(self, metadata: Mapping[str, Any], objects: Any) -> None:
        if not isinstance(metadata, Mapping) or not metadata.get("name"):
            raise ValueError("the metadata of an artifact need a 'name'")
        self._name = checked_name(metadata["name"])
        self._alternative_name = checked_name(metadata.get("alternative_name") or alternative_name(self._name))
        self._created = str(metadata.get("created_timestamp") or timestamp())
        self._remote = [dict(entry) for entry in metadata.get("remote") or ()]
        self._labels = checked_labels(metadata.get("labels"))
        self.description = str(metadata.get("description") or "")
        self._extra = {key: value for key, value in metadata.items() if key not in (*_FIELDS, "local")}
        self._local = self._found_local(metadata.get("local"))
        is_new = not self.is_in(self._local)
        os.makedirs(self._local, exist_ok=True)
        self._objects = Objects(self._local)
        if objects is not None:
            self._objects.replace_all(objects)
        if is_new or self._metadata() != read_mapping(self._metadata_path):
            self._save()

    def _found_local(self, local: str | None) -> str:
        # A directory of another machine may be no directory here.
        if local and os.path.isdir(local):
            return os.path.abspath(local)
        return os.path.join(artifact_parent(), self._alternative_name)

    @classmethod
    def create(cls: type[_Self], name: str, labels: Sequence[str] | None, description: str) -> _Self:
        """Return a new artifact, in a new directory."""
        fields = {"name": checked_name(name), "labels": checked_labels(labels), "description": description}
        folder = make_directory(artifact_parent(), name)
        return cls({**fields, "alternative_name": os.path.basename(folder), "local": folder})

    @classmethod
    def load(cls: type[_Self], folder: str) -> _Self:
        """Return the artifact in a directory.

        Raises
        ------
        NothingThere
            There is none.
        """
        if not cls.is_in(folder):
            raise NothingThere(f"{folder} holds no artifact: there is no {METADATA} in it")
        return cls({**read_mapping(os.path.join(folder, METADATA)), "local": os.path.abspath(folder)})

    @staticmethod
    def is_in(folder: str) -> bool:
        """Return whether a directory holds an artifact."""
        return os.path.isfile(os.path.join(folder, METADATA))

    # facts

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def labels(self) -> list[str]:
        """Words to find it by; assign a list to change them."""
        return self._labels

    @labels.setter
    def labels(self, labels: Sequence[str]) -> None:
        self._labels = checked_labels(labels)

    @property
    def alternative_name(self) -> str:
        """What it alone is called: the name, when it was made, six letters or digits."""
        return self._alternative_name

    @property
    def created_timestamp(self) -> str:
        """When it was made, ISO 8601 with offset."""
        return self._created

    @property
    def local(self) -> str:
        """The directory it is in."""
        return self._local

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its objects: path, size in bytes, and sha256 or reference."""
        return self._objects.as_list()

    @property
    def remote(self) -> list[dict[str, str]]:
        """Where and when it was uploaded and downloaded."""
        return copy.deepcopy(self._remote)

    def __repr__(self) -> str:
        return f"<Artifact {self._alternative_name!r} of {len(self._objects)} objects in {self._local}>"

    # as data

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "labels": list(self.labels),
            "description": self.description,
            "created_timestamp": self._created,
            "alternative_name": self._alternative_name,
            "remote": self.remote,
            **copy.deepcopy(self._extra),
        }

    @property
    def _metadata_path(self) -> str:
        return os.path.join(self._local, *METADATA.split("/"))

    def _save(self) -> None:
        write_mapping(self._metadata_path, self._metadata())

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the files' content, as JSON-like data of its own."""
        metadata = {**self._metadata(), "local": self._local}
        return {"type": "Artifact", "metadata": metadata, "objects": self.objects}

    def parse_from_dict(self, data: Mapping[str, Any]) -> None:
        """Become what `to_dict` gave.

        Raises
        ------
        ValueError
            It is no artifact's.
        """
        is_one = isinstance(data, Mapping) and data.get("type", "Artifact") == "Artifact"
        if not is_one or "metadata" not in data:
            raise ValueError("this is no artifact's data: it needs 'metadata', and the type 'Artifact'")
        self._take(data["metadata"], data.get("objects") or ())

    # what is known elsewhere

    def remember(self, entry: dict[str, str]) -> None:
        """Note an upload or download."""
        self._remote.append(entry)
        self._save()

    @property
    def state(self) -> str:
        """What changes with the objects, the labels and the description, and with nothing else."""
        described = flow([self.objects, list(self.labels), self.description])
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
        self._remote = read_mapping(self._metadata_path).get("remote") or []


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
