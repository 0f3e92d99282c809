"""The page of a store that runs already: who starts it again is told its link, and no second one is started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket

from track import __version__, home
from track.errors import InvalidCall


class Running:
    """A file of this user alone, which a page keeps locked as long as it runs: its link is in there.

    Parameters
    ----------
    page: str
        What tells a page from others of this user on this machine: its store, and what may be done there.
    """

    def __init__(self, *page: object) -> None:
        self._page = json.dumps([socket.gethostname(), __version__, *page], default=str)
        self._path = ""
        self._descriptor: int | None = None

    def link(self) -> str | None:
        """Return the link of the one that runs; None, and this one is it until `close`, where there is none.

        Where a lock or a file cannot be had, each is its own.
        """
        with contextlib.suppress(OSError, InvalidCall):
            self._path = _path_of(self._page)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # It says nothing yet where it has only just begun.
                said = os.pread(descriptor, 1 << 16, 0).decode()
                os.close(descriptor)
                return said or None
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            os.ftruncate(descriptor, 0)
        return None

    def say(self, link: str) -> None:
        """Tell those who come later."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, link.encode(), 0)

    def close(self) -> None:
        """Be the one no longer."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._descriptor)
            self._descriptor = None


def _path_of(page: str) -> str:
    import hashlib

    folder = os.path.join(home.folder(), "pages")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, hashlib.sha256(page.encode()).hexdigest()[:32])
