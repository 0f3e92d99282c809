"""What can go wrong with runs, artifacts and their upload; each is a RuntimeError too, as it always was."""

from __future__ import annotations

from typing import TypeVar

from track.errors import AlreadyExists, BackendUnavailable, NotFound, TrackError

_Error = TypeVar("_Error", bound=Exception)


class NotLoggedIn(TrackError, RuntimeError):
    """An upload store is needed, and `login` was not called."""


class NothingThere(NotFound, RuntimeError):
    """There is no run, artifact or folder at this path."""


class RunFinished(TrackError, RuntimeError):
    """The run has ended, and takes no more metrics."""


class UploadConflict(AlreadyExists, RuntimeError):
    """The name is taken in the folder, and the strategy is not to go on."""


class UploadFailed(TrackError, RuntimeError):
    """One or several uploads failed; the others were done."""


def unreachable(message: str) -> Exception:
    """Return the error of a store that does not answer: a ConnectionError, and with requests an HTTPError of theirs."""
    try:
        from requests import HTTPError  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return BackendUnavailable(message)

    class Unreachable(BackendUnavailable, HTTPError):  # type: ignore[misc, unused-ignore]
        """The store cannot be reached."""

    return Unreachable(message)
