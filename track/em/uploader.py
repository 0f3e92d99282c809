"""Uploads a run in the background whenever it has changed: debounced, and with backoff while the network fails."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from track.errors import NothingThere, TrackError, UploadConflict
from track.utils import lifecycle as ending

logger = logging.getLogger(__name__)
_SHORTEST, _LONGEST = 1.0, 30.0
# What of the time may be spent uploading: files that grow are sent again as they are.
_SHARE = 5
_FLUSH = 60.0


class Uploader:
    """Calls `upload` after every change, one call for many that come together, until `close`; messages name `what`.

    An upload that fails is tried again, with exponential backoff and jitter, and said once. What cannot succeed,
    because the name was taken or the folder removed, ends it.

    Attributes
    ----------
    has_ended: bool
        Whether nothing is uploaded any more: it was closed, or cannot succeed.
    """

    def __init__(self, what: str, upload: Callable[[], object]) -> None:
        self.what = what
        self.error: Exception | None = None
        self._upload = upload
        self._changes = 0
        self._done = 0
        self._is_closing = False
        self.has_ended = False
        self._state = threading.Condition()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"upload of {what}", daemon=True)
        ending.add(self)
        self._thread.start()

    def notify(self) -> None:
        """Say that there is something new; returns at once."""
        self._changes += 1
        if not self._wake.is_set():
            self._wake.set()

    @property
    def is_done(self) -> bool:
        """Whether everything is uploaded."""
        return self._done == self._changes

    def _run(self) -> None:
        pause = 0.0
        while not (self._is_closing and (self.is_done or self.has_ended)):
            self._wake.wait()
            self._wake.clear()
            if not self.is_done:
                pause = self._try(pause)
                with self._state:
                    self._state.notify_all()
                if self.has_ended:
                    break
                self._rest(pause)
        with self._state:
            self.has_ended = True
            self._state.notify_all()

    def _try(self, pause: float) -> float:
        """Upload once, and return how long to rest."""
        changes, started = self._changes, time.monotonic()
        try:
            self._upload()
        except (UploadConflict, NothingThere) as error:
            logger.warning("%s is not uploaded any more: %s", self.what, error)
            self.error, self.has_ended = error, True
            return 0.0
        except (OSError, TrackError, ValueError, RuntimeError) as error:
            if self.error is None:
                logger.warning("%s is not uploaded, and tried again: %s", self.what, error)
            self.error = error
            self._wake.set()
            return min(_LONGEST, max(_SHORTEST, 2 * pause)) * random.SystemRandom().uniform(0.5, 1.0)
        if self.error is not None:
            logger.warning("%s is uploaded again", self.what)
            self.error = None
        self._done = changes
        return max(_SHORTEST, _SHARE * (time.monotonic() - started))

    def _rest(self, seconds: float) -> None:
        with self._state:
            self._state.wait_for(lambda: self._is_closing, seconds)
            # While closing there is one more try, and then one a second.
            if self._is_closing and self.error is not None:
                self._state.wait_for(lambda: self.has_ended, min(seconds, _SHORTEST))

    def hurry(self) -> None:
        """Upload what is left without rest."""
        with self._state:
            self._is_closing = True
            self._state.notify_all()
        self._wake.set()

    def close(self, seconds: float = _FLUSH) -> None:
        """Return once everything is uploaded, two tries have failed, or so many seconds are over; a warning says so."""
        failed: list[Exception] = []

        def is_over() -> bool:
            if self.error is not None and (not failed or failed[-1] is not self.error):
                failed.append(self.error)
            return self.has_ended or self.is_done or len(failed) > 1

        self.hurry()
        with self._state:
            self._state.wait_for(is_over, seconds)
            done = self.is_done
            self.has_ended = True
            self._state.notify_all()
        self._wake.set()
        ending.discard(self)
        if not done:
            reason = f": {self.error}" if self.error else f" within {seconds:.0f} s"
            logger.warning("%s is not all uploaded%s; upload() it later, nothing is lost here", self.what, reason)

    def after_fork(self) -> None:
        """In a child: the parent uploads."""
        self.has_ended = self._is_closing = True
        self._state, self._wake = threading.Condition(), threading.Event()
