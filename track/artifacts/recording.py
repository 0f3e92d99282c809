"""From a stored file to a line in its trial's manifest: the bytes are there before anybody can read of them."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from track.artifacts.artifact import Artifact
from track.artifacts.connecting import absolute, look_up
from track.artifacts.content import Source
from track.artifacts.folder import Kept
from track.artifacts.inline import inline_uri
from track.artifacts.inplace import Standing, in_place, list_in_place
from track.artifacts.keys import check_new_name, split_uri
from track.artifacts.leases import note_pending
from track.artifacts.location import Place, check_url, open_folder, place_of, places_of, protocol_of
from track.artifacts.owners import identity_of, register_store
from track.artifacts.packs import SMALL, put_packed
from track.artifacts.spool import put_spooled, spool_folder
from track.artifacts.store import ArtifactStore
from track.artifacts.trees import Listing
from track.containers.columns import hashable
from track.errors import UnsafePath
from track.persistence.contract import artifact_media, plain_step
from track.plain import restore
from track.structure import Trial
from track.utils.once import cached_property

_notes: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()


def artifact_name(path: str, name: str | None) -> str:
    """Return what to call an artifact: `name`, else the last part of its path.

    Raises UnsafePath: that is no name for a file: give another.
    """
    return check_new_name(os.path.basename(os.path.abspath(path)) if name is None else name)


def check_file(path: str) -> None:
    """Raise FileNotFoundError, PermissionError or UnsafePath where there is no file to read."""
    with Source(path):
        return


def check_folder(path: str) -> None:
    """Raise FileNotFoundError, PermissionError or UnsafePath where there is no folder to read."""
    try:
        with os.scandir(path):
            return
    except NotADirectoryError as error:
        raise UnsafePath(f"{path!r} is no folder") from error


class Recorder:
    """Stores content, and says so in the manifest of a trial.

    `told`: the trial's backend. `step`, `media`: what is said of what is stored; see `Artifact`.
    """

    def __init__(self, told: Any, trial: Trial, step: Any = None, media: dict[str, Any] | None = None) -> None:
        # Before the content is stored: nothing of a call that makes no sense is kept.
        said = {"step": None if step is None else plain_step(step), "media": media and artifact_media(media)}
        self._said: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        self._told = told
        self._protocol = protocol_of(told)
        self._trial = trial

    @cached_property
    def _place(self) -> Place:
        return place_of(self._protocol)

    @cached_property
    def store(self) -> ArtifactStore:
        """Where content goes."""
        return ArtifactStore(open_folder(self._place.url))

    def add_file(self, path: str, name: str) -> Artifact:
        """Store a file."""
        with self._storing() as lease:
            return self._record(name, self.store.put_file(path, lease))

    def add_bytes(self, data: bytes, name: str) -> Artifact:
        """Store bytes."""
        with self._storing() as lease:
            return self._record(name, self.store.put_bytes(data, lease))

    def add_inline(self, data: bytes, kind: str, name: str) -> Artifact:
        """Keep bytes in the manifest itself; `kind` is their type, as in ``text/plain``."""
        return self._tell(name, inline_uri(data, kind), hashlib.sha256(data).hexdigest(), len(data))

    def add_small(self, data: bytes, ending: str, name: str) -> Artifact:
        """Store bytes in a pack of the trial, where they are few and the place has packs."""
        if len(data) >= SMALL:
            return self.add_bytes(data, name)
        if not self.store.folder.can_append:
            return self._add_spooled(data, ending, name)
        with self._storing() as lease:
            kept, offset = put_packed(self.store.folder, self._trial.uid, data, ending, lease)
            return self._record(name, kept, f"@{offset}")

    def _add_spooled(self, data: bytes, ending: str, name: str) -> Artifact:
        spool = spool_folder()
        if spool is None:
            return self.add_bytes(data, name)
        register_store(self.store.folder, self._protocol)
        kept, offset = put_spooled(self.store.folder, spool, self._trial.uid, data, ending)
        return self._record(name, kept, f"@{offset}")

    def add_directory(self, path: str, recursive: bool, name: str) -> tuple[Artifact, Listing]:
        """Store the files of a folder."""
        with self._storing() as lease:
            own = map(os.path.realpath, self._told.files)
            kept, listing = self.store.put_tree(path, recursive, lease, own)
            return self._record(name, kept._replace(size=listing.size)), listing

    @property
    def is_here(self) -> bool:
        """Whether content is stored on this machine, so that it may as well stay where it is."""
        return self.store.folder.url.startswith("file:")

    def add_in_place(self, path: str, files: Iterable[Standing], left_out: Mapping[str, str], name: str) -> Artifact:
        """Name files of a folder of somebody's, which stay where they are; see `track.artifacts.inplace`."""
        data, digest, size = in_place(files, left_out)
        return self._tell(name, list_in_place(path, data, digest), digest, size)

    def add_reference(self, url: str, name: str) -> Artifact:
        """Name data that stays where it is; NotFound where nothing is there."""
        url = absolute(check_url(url))
        digest, size = look_up(url)
        return self._tell(name, url, digest, size)

    def _storing(self) -> Any:
        register_store(self.store.folder, self._protocol)
        self._forget_arrived()
        return self.store.storing()

    def _record(self, name: str, kept: Kept, part: str = "") -> Artifact:
        uri = f"{'' if self._place.is_beside else f'{self.store.folder.url}/'}{kept.key}{part}"
        is_immediate = self._protocol.stores_at_once and self._protocol.file is not None
        if not is_immediate:
            self._note(kept.key)
        artifact = self._tell(name, uri, kept.digest, kept.size)
        # Still under the lease: what waits for room on the disk must not lose its content meanwhile.
        if is_immediate and self._protocol.unsaved():
            self._note(kept.key)
        return artifact

    def _note(self, key: str) -> None:
        protocol = self._protocol
        notes = _notes.setdefault(protocol, {})
        if key in notes:
            # Of a pack one is enough.
            return
        spills = [path for path in protocol.files if path != protocol.file]
        known = spills if spills or protocol.stores_at_once or protocol.file is not None else None
        notes[key] = note_pending(self.store.folder, key, identity_of(protocol), known)

    def _forget_arrived(self) -> None:
        """Remove the notes of records that a server has acknowledged."""
        notes = _notes.get(self._protocol)
        if notes and self._protocol.server is not None and not self._protocol.unsaved():
            self.store.folder.remove(notes.values())
            notes.clear()

    def _tell(self, name: str, uri: str, digest: str | None, size: int | None) -> Artifact:
        said = restore(self._said)
        # A backend of somebody else's may know nothing of them.
        self._told.log_trial_artifact(self._trial, name, uri, digest, size, **said)
        at = self._protocol.clock()
        places = places_of(self._protocol, split_uri(uri)[0])
        of = (at, self._trial.uid, self._trial.project_id)
        said["step"] = hashable(said.get("step"))
        return Artifact(name, uri, digest, size, *of, _places=places, **said)
