"""Every error the library raises on purpose, in one tree.

::

    TrackError
    ├── NotFound                (LookupError)
    │   ├── TrialDoesNotExist
    │   ├── ItemNotFound
    │   ├── MetricNotFound      (KeyError)
    │   ├── NothingThere        (RuntimeError)
    │   ├── CheckpointNotFound  (RuntimeWarning, ValueError)
    │   ├── InvalidExperimentRoot (ValueError)
    │   └── ResultTimeout       (TimeoutError)
    ├── AlreadyExists           (ValueError)
    │   ├── SetExists           (FileExistsError)
    │   └── UploadConflict      (RuntimeError)
    ├── AlreadyRegistered       (AssertionError, AttributeError, ValueError)
    ├── AlreadyRuns             (RuntimeError, ValueError)
    ├── AmbiguousName           (LookupError, ValueError)
    ├── MissingIdentity         (AssertionError, ValueError)
    ├── UnknownBackend          (ValueError)
    ├── MissingExtra            (ImportError)
    ├── InvalidUri              (ValueError)
    ├── InvalidQuery            (RuntimeError, ValueError)
    ├── InvalidEvent            (ValueError)
    │   └── UnknownSubject
    ├── InvalidKeep             (AssertionError, ValueError)
    ├── InvalidSpec             (AssertionError, NotImplementedError, ValueError)
    ├── InvalidCall             (TypeError, ValueError)
    ├── UnknownAttribute        (AttributeError)
    ├── NotChosen               (RuntimeError)
    ├── NotLoggedIn             (RuntimeError)
    ├── RunFinished             (RuntimeError)
    ├── Pruned                  (RuntimeError)
    ├── UploadFailed            (RuntimeError)
    ├── LockTimeout             (TimeoutError)
    ├── ConcurrentWrite         (RuntimeError)
    ├── EventsMissing           (RuntimeError)
    ├── CorruptJournal          (ValueError)
    ├── CorruptArtifact         (ValueError)
    ├── UnsafeCheckpoint        (ValueError)
    ├── IncompatibleYmlException (ValueError)
    ├── FileChanged             (RuntimeError)
    ├── UnsafePath              (ValueError)
    └── BackendUnavailable      (ConnectionError)
        ├── RPCCallFailure
        └── UntrustedServer

Each is also the builtin a person expects, so ``except LookupError`` works for someone who has never
read this page.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from track.shown import bounded, shown

__all__ = [
    "DISTRIBUTION",
    "AlreadyExists",
    "AlreadyRegistered",
    "AlreadyRuns",
    "AmbiguousName",
    "AnotherStore",
    "BackendUnavailable",
    "CheckpointNotFound",
    "ConcurrentWrite",
    "CorruptArtifact",
    "CorruptJournal",
    "EventsMissing",
    "FileChanged",
    "IncompatibleYmlException",
    "InvalidCall",
    "InvalidEvent",
    "InvalidExperimentRoot",
    "InvalidKeep",
    "InvalidQuery",
    "InvalidSpec",
    "InvalidUri",
    "ItemNotFound",
    "LockTimeout",
    "MetricNotFound",
    "MissingExtra",
    "MissingIdentity",
    "NotChosen",
    "NotFound",
    "NotLoggedIn",
    "NothingThere",
    "OutcomeUnknown",
    "Pruned",
    "RPCCallFailure",
    "ResultTimeout",
    "RunFinished",
    "SetExists",
    "TrackError",
    "TrialDoesNotExist",
    "UnknownAttribute",
    "UnknownBackend",
    "UnknownSubject",
    "UnsafeCheckpoint",
    "UnsafePath",
    "UntrustedServer",
    "UploadConflict",
    "UploadFailed",
    "missing_extra",
    "refuse_unnamed",
    "suggestion",
]

DISTRIBUTION = "track-trials"
"""What an installer calls this library; the index's ``track`` is another project."""


class TrackError(Exception):
    """Base of every error raised on purpose by this library."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*(bounded(one) if isinstance(one, str) else one for one in args))


class NotFound(TrackError, LookupError):
    """What was asked for is not stored."""


class TrialDoesNotExist(NotFound):
    """No stored trial has this uid."""


class ItemNotFound(NotFound):
    """No stored object matches the query of a ``fetch_and_update_*`` call."""


class MetricNotFound(NotFound, KeyError):
    """A trial has measured nothing of this name, or none of some trials has."""

    # A KeyError shows its text in quotes.
    __str__ = Exception.__str__


class NothingThere(NotFound, RuntimeError):
    """There is no run, artifact, file or folder at this path."""


class CheckpointNotFound(NotFound, RuntimeWarning, ValueError):
    """There is no checkpoint of this object, or none at this step."""


class InvalidExperimentRoot(NotFound, ValueError):
    """A folder is not the root of a set of experiments: one of its three files is missing."""


class ResultTimeout(NotFound, TimeoutError):
    """Nothing was put under a key in the time that somebody waited."""


class AlreadyExists(TrackError, ValueError):
    """Something with this name or uid is there already."""


class SetExists(AlreadyExists, FileExistsError):
    """There is a set of experiments in a folder already."""


class UploadConflict(AlreadyExists, RuntimeError):
    """The name is taken in the folder, and the strategy is not to go on."""


class AlreadyRegistered(TrackError, AssertionError, AttributeError, ValueError):
    """An experiment has its folder: its parameters and its defaults stay as they are."""


class AlreadyRuns(TrackError, RuntimeError, ValueError):
    """Another process runs the experiment, or has run it."""


class AmbiguousName(TrackError, LookupError, ValueError):
    """Several trials go by this name, or their uids begin so."""


class MissingIdentity(TrackError, AssertionError, ValueError):
    """A project or group lacks the field its uid is computed from."""


class UnknownBackend(TrackError, ValueError):
    """No backend is registered for this URI scheme."""


class MissingExtra(TrackError, ImportError):
    """An optional package is needed for this and is not installed."""


class InvalidUri(TrackError, ValueError):
    """A URI cannot be parsed, or carries an option its backend does not know."""


class InvalidQuery(TrackError, RuntimeError, ValueError):
    """A query names an unknown attribute or operator."""


class InvalidEvent(TrackError, ValueError):
    """A value cannot be recorded: not a number in a metric, an unknown status, a broken record."""


class UnknownSubject(InvalidEvent):
    """Events are about a trial, group or project that the store does not know; nothing of their batch was stored.

    Parameters
    ----------
    numbers: sequence of int
        Which events of the batch these are.
    """

    def __init__(self, message: str, numbers: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.numbers = list(numbers)


class EventsMissing(TrackError, RuntimeError):
    """The store does not have events that it has acknowledged: it was put back to an older state."""


class InvalidKeep(TrackError, AssertionError, ValueError):
    """There is no such rule for messages."""


class InvalidSpec(TrackError, AssertionError, NotImplementedError, ValueError):
    """A specification does not say which variables a monitor looks at, or when."""


class InvalidCall(TrackError, TypeError, ValueError):
    """A call cannot be understood: a value without its name, a field that does not exist."""


class UnknownAttribute(TrackError, AttributeError):
    """A verb or attribute that does not exist was asked for."""


class NotChosen(TrackError, RuntimeError):
    """There is no trial, or no project, to work on yet."""


class NotLoggedIn(TrackError, RuntimeError):
    """An upload store is needed, and `track.em.login` was not called."""


class RunFinished(TrackError, RuntimeError):
    """The run has ended, and takes no more metrics."""


class Pruned(TrackError, RuntimeError):
    """A trial is worth no more time: raised in a block, it ends that with the status ``pruned``, and goes no further.

    Attributes
    ----------
    trial: str or None
        The uid of the trial that is meant, where blocks are inside each other; None is the innermost one.
    """

    trial: str | None = None

    def ends(self, uid: str) -> bool:
        """Return whether it ends the block of this trial."""
        return self.trial in (None, uid)


class UploadFailed(TrackError, RuntimeError):
    """One or several uploads failed; the others were done."""


class LockTimeout(TrackError, TimeoutError):
    """Another process held the store's lock for longer than the time-out."""


class ConcurrentWrite(TrackError, RuntimeError):
    """A write was based on a state that somebody else has changed since."""


class CorruptJournal(TrackError, ValueError):
    """A stored file cannot be read: not ours, damaged, or written by a newer version."""


class CorruptArtifact(TrackError, ValueError):
    """Bytes of an artifact are not those that were stored."""


class IncompatibleYmlException(TrackError, ValueError):
    """A text is no YAML, or holds more than plain data: a tag, a key twice."""


class UnsafeCheckpoint(TrackError, ValueError):
    """A checkpoint is damaged, or could only be read by running what is in it."""


class FileChanged(TrackError, RuntimeError):
    """A file changed while it was read, so there is no content to store."""


class UnsafePath(TrackError, ValueError):
    """A path is no plain file, or does not stay below its folder."""


class BackendUnavailable(TrackError, ConnectionError):
    """The server behind a backend cannot be reached or does not answer, or cannot be used as it is."""

    needs_repair = False
    """Whether it has answered, and will not do otherwise before somebody has changed something there."""
    is_full = False
    """Whether what it wants is room on a disk, which somebody may make at any time."""


class RPCCallFailure(BackendUnavailable):
    """A track server answered a call with an error.

    Parameters
    ----------
    message: str
        What the server said.
    trace: str, optional
        The server's traceback, when it sent one.
    """

    def __init__(self, message: str, trace: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.trace = trace


class AnotherStore(BackendUnavailable):
    """What is at an address, or at a path, is not the store that is meant; nothing was stored in it."""


class UntrustedServer(BackendUnavailable):
    """Who answers is not, or cannot be shown to be, the server that is meant; nothing was sent to it."""


def missing_extra(what: str, extra: str) -> MissingExtra:
    """Return the error that `what` is not installed ("reports need rich"), and says how to install its extra.

    Examples
    --------
    >>> missing_extra("data frames need pandas", "pandas")
    MissingExtra('data frames need pandas: run pip install ".[pandas]" in a checkout of track-trials')
    """
    return MissingExtra(f'{what}: run pip install ".[{extra}]" in a checkout of {DISTRIBUTION}')


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant, ready to follow a message; '' where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def refuse_unnamed(value: Any, verb: str, example: str) -> None:
    """Raise the error of a value that was given to `verb` without a name.

    Raises
    ------
    InvalidCall
        Always.
    """
    raise InvalidCall(
        f"{verb} wants each value by its name, not {shown(value)}: write {verb}({example}), "
        f"or {verb}(**values) for a dict"
    )


class OutcomeUnknown(BackendUnavailable):
    """A decision was sent, and the database went away before it could say whether it was stored."""
