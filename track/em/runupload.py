"""Uploading a run: once, or again and again while it goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from track.em.history import remote_entry
from track.em.nodes import Node
from track.em.parcels import Parcel
from track.em.record import RunRecord
from track.em.rundata import RunData
from track.em.session import current_store
from track.em.store import Store, checked_strategy
from track.em.uploader import Uploader

__all__ = ["UploadedRun"]

logger = logging.getLogger(__name__)


class UploadedRun(RunData):
    """A run that can be uploaded; see `track.em.run.Run`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = threading.RLock()
        self._sending = threading.RLock()
        self._record: RunRecord | None = None
        self._uploader: Uploader | None = None
        self._is_automatic = False
        super().__init__(*args, **kwargs)

    def upload(self, folder: str = "default", make_folder: bool = False, conflict_strategy: str = "new") -> None:
        """Upload the run, and the artifacts that it is associated with, unless they are there as they are now.

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
        """
        self._send(current_store(), folder, make_folder, checked_strategy(conflict_strategy))

    def _send(self, store: Store, folder: str, make_folder: bool, strategy: str) -> Node | None:
        described = ("Run", self._name, self._alternative_name, list(self._labels), self._description)
        with self._sending:
            if not store.accepts(Parcel(*described), folder, make_folder, strategy):
                logger.info("run %r is not uploaded: the name is taken in %s", self._name, folder)
                return None
            self._lineage.send_artifacts(store, folder, make_folder, strategy)
            with self._lock:
                self._save()
            if self._record is not None:
                self._record.set_facts(associations=self.associations)
            node = store.upload(Parcel(*described, self._files.local_files()), folder, make_folder, strategy)
            if node is not None:
                self.remember(remote_entry(store.host, node, "upload"))
            return node

    def remember(self, entry: dict[str, str]) -> None:
        """Note an upload or download."""
        with self._lock:
            # A run that is uploaded again and again is told once, with its last time.
            if self._is_automatic and self._remote and {**self._remote[-1], **_time(entry)} == entry:
                self._remote[-1] = entry
            else:
                self._remote.append(entry)
            self._save()

    def upload_from_now_on(self, folder: str, make_folder: bool, conflict_strategy: str) -> None:
        """Upload the run now, and in the background whenever it has changed, until it finishes.

        Raises
        ------
        UploadConflict, NothingThere
            As for `upload`; a store that does not answer is tried again in the background.
        """
        store, strategy = current_store(), checked_strategy(conflict_strategy)
        self._is_automatic = True
        try:
            if self._send(store, folder, make_folder, strategy) is None:
                return
        except ConnectionError as error:
            logger.warning("%s: the upload of run %r is tried again", error, self._alternative_name)
        again = lambda: self._send(store, folder, make_folder, strategy)  # noqa: E731 - a name for a message
        self._uploader = Uploader(f"run {self._alternative_name!r}", again)
        self._uploader.notify()

    def _notify(self) -> None:
        if self._uploader is not None:
            self._uploader.notify()

    def _end_upload(self) -> None:
        uploader, self._uploader = self._uploader, None
        if uploader is not None:
            uploader.notify()
            uploader.close()


def _time(entry: Mapping[str, str]) -> dict[str, str]:
    return {"timestamp": entry["timestamp"]}
