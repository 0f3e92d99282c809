"""What runs and artifacts share: a name, a directory with a file of metadata, and where they were uploaded."""

from __future__ import annotations

import abc
import copy
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from track.em.folders import alternative_name, checked_labels, checked_name, make_directory, with_article
from track.em.session import current_store
from track.em.store import Bundle, LocalFile, Node, Store, checked_strategy
from track.errors import CorruptJournal, NothingThere, TrackError

if TYPE_CHECKING:
    from typing_extensions import Self

_FIELDS = ("name", "labels", "description", "alternative_name", "remote", "local")


class _Metadata(msgspec.Struct):
    """What a file of metadata says, whoever wrote it; it may say more."""

    name: str
    alternative_name: str | None = None
    labels: list[str | int | float | bool] | None = None
    remote: list[dict[str, str]] | None = None
    associations: dict[str, list[dict[str, str]] | None] | None = None


class Item(abc.ABC):
    """A run or an artifact: what both are."""

    kind: ClassVar[str]
    """``"Run"`` or ``"Artifact"``."""
    metadata_file: ClassVar[str]
    """The file in its directory that says who it is."""

    @classmethod
    def parent(cls) -> str:
        """Return the folder for new ones: ``EM_RUN_PARENT_DIR``, else ``.em/runs``; of artifacts alike."""
        named = os.environ.get(f"EM_{cls.kind.upper()}_PARENT_DIR")
        return os.path.abspath(named or os.path.join(".em", f"{cls.kind.lower()}s"))

    def _identify(self, metadata: Mapping[str, Any], *own: str) -> None:
        """Become the one that the metadata describe; `own` are the fields that the subclass reads."""
        if not isinstance(metadata, Mapping) or not metadata.get("name"):
            raise ValueError(f"the metadata of {with_article(self.kind.lower())} need a 'name'")
        self._name = checked_name(metadata["name"])
        self._alternative_name = checked_name(metadata.get("alternative_name") or alternative_name(self._name))
        self._labels = checked_labels(metadata.get("labels"))
        self._description = str(metadata.get("description") or "")
        self._remote = [dict(entry) for entry in metadata.get("remote") or ()]
        self._extra = {key: value for key, value in metadata.items() if key not in (*_FIELDS, *own)}
        local = metadata.get("local")
        if not local or not os.path.isdir(local):
            # A directory of another machine may be no directory here.
            local = os.path.join(self.parent(), self._alternative_name)
        self._local = os.path.abspath(local)

    @classmethod
    def _new(cls, name: str, labels: Sequence[str] | None, description: str) -> dict[str, Any]:
        """Return the metadata of a new one, whose directory is made."""
        fields = {"name": checked_name(name), "labels": checked_labels(labels), "description": description}
        local = make_directory(cls.parent(), name)
        return {**fields, "alternative_name": os.path.basename(local), "local": local}

    @classmethod
    def is_in(cls, folder: str) -> bool:
        """Return whether a directory holds one."""
        return os.path.isfile(os.path.join(folder, cls.metadata_file))

    @classmethod
    def load(cls, folder: str) -> Self:
        """Return the one in a directory, in which nothing is changed; NothingThere where there is none."""
        if not cls.is_in(folder):
            raise NothingThere(f"{folder} holds no {cls.kind.lower()}: there is no {cls.metadata_file} in it")
        try:
            return cls._read(os.path.abspath(folder))
        except (TypeError, ValueError) as error:
            if isinstance(error, TrackError):
                raise
            raise CorruptJournal(f"{os.path.join(folder, cls.metadata_file)} cannot be used: {error}") from error

    @classmethod
    def _checked_metadata(cls, metadata: dict[str, Any], folder: str) -> dict[str, Any]:
        """Return what the file of metadata says, whoever wrote it, as of a directory; CorruptJournal where it lies."""
        try:
            msgspec.convert(metadata, _Metadata)
        except msgspec.ValidationError as error:
            raise CorruptJournal(f"{os.path.join(folder, cls.metadata_file)} cannot be used: {error}") from error
        return {**metadata, "local": folder}

    @classmethod
    @abc.abstractmethod
    def _read(cls, folder: str) -> Self:
        """Return the one that is in a directory."""

    @abc.abstractmethod
    def _save(self) -> None:
        """Write the file of metadata."""

    @abc.abstractmethod
    def _own_metadata(self) -> dict[str, Any]:
        """Return the metadata that only this kind has."""

    @abc.abstractmethod
    def _parts(self) -> dict[str, Any]:
        """Return what `to_dict` gives beside the metadata, a copy."""

    @abc.abstractmethod
    def _become(self, data: Mapping[str, Any]) -> None:
        """Become what the data describe."""

    @abc.abstractmethod
    def send(self, store: Store, folder: str, make_folder: bool, strategy: str) -> Node | None:
        """Upload to a store, and return what is there; None when it was skipped."""

    def _described(self) -> None:  # noqa: B027 - most have nothing to do
        """React to new labels or a new description."""

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
        self._described()

    @property
    def description(self) -> str:
        """What it is about."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._description = str(description or "")
        self._described()

    @property
    def alternative_name(self) -> str:
        """What it alone is called: the name, when it was made, six letters or digits."""
        return self._alternative_name

    @property
    def remote(self) -> list[dict[str, str]]:
        """Where and when it was uploaded and downloaded."""
        return copy.deepcopy(self._remote)

    @property
    def local(self) -> str:
        """The directory it is in."""
        return self._local

    @property
    def state(self) -> str:
        """What changes with its content, where that is told from its ups and downs; else ''."""
        return ""

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "labels": list(self._labels),
            "description": self._description,
            "alternative_name": self._alternative_name,
            **self._own_metadata(),
            "remote": self.remote,
            **copy.deepcopy(self._extra),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the content of files, as JSON-like data of its own."""
        return {"type": self.kind, "metadata": {**self._metadata(), "local": self._local}, **self._parts()}

    def parse_from_dict(self, data: Mapping[str, Any]) -> None:
        """Become what `to_dict` gave.

        Raises
        ------
        ValueError
            The data are of something else.
        """
        if not isinstance(data, Mapping) or data.get("type", self.kind) != self.kind or "metadata" not in data:
            kind = self.kind.lower()
            raise ValueError(f"this is no {kind}'s data: it needs 'metadata', and the type {self.kind!r}")
        self._become(data)

    def upload(self, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
        """Upload it, in place of an earlier state of it; files that are there are not sent again.

        With a run go the artifacts that it is associated with, unless they are there as they are now.

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
            A file in an artifact's directory is not what was added.
        """
        self.send(current_store(), folder, make_folder, checked_strategy(conflict_strategy))

    def _bundle(self, files: Sequence[LocalFile] = ()) -> Bundle:
        return Bundle(self.kind, self._name, self._alternative_name, list(self._labels), self._description, list(files))

    def remember(self, entry: dict[str, str]) -> None:
        """Note an upload or download."""
        self._remote.append(entry)
        self._save()
