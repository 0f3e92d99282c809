"""The file ``params.yml`` of an experiment, replaced whole under a lock: often changed, seldom written."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from track.configuration import options
from track.errors import LockTimeout, TrackError
from track.persistence.file import StoreLock
from track.utils.files import open_regular, replace_file
from track.utils.lifecycle import at_exit, watch_forks
from track.yaml12 import Commented, dump, load_mapping

logger = logging.getLogger(__name__)
NAME, DEFAULTS = "params.yml", "defaults.yml"
_LOCK, _TEMPORARY = ".lock", ".params.yml.tmp"
_SECONDS = 1.0

Content = Callable[[Mapping[str, Any]], Commented]
"""Makes what is to be in the file of what is in it."""

_waiting: weakref.WeakSet[ParamsFile] = weakref.WeakSet()


class ParamsFile:
    """The ``params.yml`` of one folder.

    Parameters
    ----------
    folder: str
        Its absolute path.
    content: callable
        Makes what is to be in the file, given what is in it: others may have written it.
    """

    def __init__(self, folder: str, content: Content) -> None:
        self.folder = folder
        self.path = os.path.join(folder, NAME)
        self._content = content
        self._renew()

    def _renew(self) -> None:
        # Never deleted, and not the file that is replaced: a lock that is replaced can be held twice.
        self.lock = StoreLock(os.path.join(self.folder, _LOCK), float(options("log.backend.lock_timeout", 30)))
        self._timer: threading.Timer | None = None
        self._is_due = False

    def after_fork(self) -> None:
        """In a child: what waits to be written is the parent's."""
        self._renew()

    def exists(self) -> bool:
        """Return whether the file is there."""
        return os.path.exists(self.path)

    def write(self) -> None:
        """Write the file."""
        with self.lock:
            self._is_due = False
            found: Mapping[str, Any] = load_file(self.path) if self.exists() else {}
            replace_file(
                self.path,
                [dump(self._content(found)).encode()],
                os.path.join(self.folder, _TEMPORARY),
                sync=False,
                follow=False,
            )

    def write_soon(self) -> None:
        """Let the file be written within a second, once for all that changes until then."""
        if self._is_due:
            return
        self._is_due = True
        _waiting.add(self)
        watch_forks(self)
        at_exit(_write_all, is_early=True)
        self._timer = threading.Timer(_SECONDS, self.write_if_due)
        self._timer.daemon = True
        self._timer.start()

    def write_if_due(self) -> None:
        """Write the file if it waits for that; a folder that is full or gone is said, and raises nothing."""
        if not self._is_due:
            return
        try:
            self.write()
        except (OSError, LockTimeout, TrackError) as error:
            self._is_due = False
            logger.warning("%s is not written: %s", self.path, error)

    def close(self) -> None:
        """Write what waits, now."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.write_if_due()


def load_file(path: str) -> Commented:
    """Return what is in a file of parameters; IncompatibleYmlException where it is none."""
    with open_regular(path) as opened:
        return load_mapping(opened.readall() or b"", path)


def _write_all() -> None:
    for file in list(_waiting):
        file.close()
