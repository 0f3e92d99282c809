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
from track.experiment.params import NAME, load_file
from track.persistence.file import StoreLock
from track.utils.files import replace_file
from track.utils.lifecycle import at_exit
from track.yaml12 import Commented, dump

logger = logging.getLogger(__name__)
_LOCK, _TEMPORARY = ".lock", ".params.yml.tmp"
_SECONDS = 1.0

Content = Callable[[Callable[[], Mapping[str, Any]]], Commented]
"""Makes what is to be in the file; it is given what reads the file, where that matters."""

_waiting: weakref.WeakSet[ParamsFile] = weakref.WeakSet()


class ParamsFile:
    """The ``params.yml`` of one folder.

    Parameters
    ----------
    folder: str
        Its absolute path.
    content: callable
        Makes what is to be in the file, given what reads it: others may have written it.
    """

    def __init__(self, folder: str, content: Content) -> None:
        self.folder = folder
        self.path = os.path.join(folder, NAME)
        self._content = content
        self.renew()

    def renew(self) -> None:
        """Begin with nothing that waits to be written, as in a child, where it is the parent's."""
        # Never deleted, and not the file that is replaced: a lock that is replaced can be held twice.
        self.lock = StoreLock(os.path.join(self.folder, _LOCK), float(options("log.backend.lock_timeout", 30)))
        self._timer: threading.Timer | None = None
        self._is_due = self._has_failed = False

    def exists(self) -> bool:
        """Return whether the file is there."""
        return os.path.exists(self.path)

    def write(self) -> None:
        """Write the file, now; what cannot be written raises. A folder that was moved away is not made again."""
        os.stat(self.folder)
        with self.lock:
            self._is_due = False
            replace_file(
                self.path,
                [dump(self._content(self._read)).encode()],
                os.path.join(self.folder, _TEMPORARY),
                sync=False,
                follow=False,
            )

    def _read(self) -> Mapping[str, Any]:
        return load_file(self.path) if self.exists() else {}

    def save(self) -> None:
        """Write the file; a folder that is full or gone is said, once, and raises nothing: a training goes on."""
        try:
            self.write()
            self._has_failed = False
        except (OSError, LockTimeout, TrackError) as error:
            self._is_due = False
            if not self._has_failed:
                logger.warning("%s is not written: %s", self.path, error)
            self._has_failed = True

    def write_soon(self) -> None:
        """Let the file be written within a second, once for all that changes until then."""
        if self._is_due:
            return
        self._is_due = True
        _waiting.add(self)
        at_exit(_write_all, is_early=True)
        self._timer = threading.Timer(_SECONDS, self._save_if_due)
        self._timer.daemon, self._timer.name = True, "track-params"
        self._timer.start()

    def _save_if_due(self) -> None:
        if self._is_due:
            self.save()

    def close(self) -> None:
        """Write what waits, now."""
        self._stop_waiting()
        self._save_if_due()

    def finish(self) -> None:
        """Write the file, with what waits."""
        self._stop_waiting()
        self.save()

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _write_all() -> None:
    for file in list(_waiting):
        file.close()
