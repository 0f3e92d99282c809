"""What the status of an experiment is called, and which status of a trial that is."""

from __future__ import annotations

from typing import Any

from track.structure import CustomStatus, Status

DEFAULT, REGISTERED, RUNNING, DETACHED = "default", "registered", "running", "detached"
_STATUSES: dict[str, Any] = {
    DEFAULT: Status.CreatedGroup,
    REGISTERED: CustomStatus(REGISTERED, 1),
    "submitted": CustomStatus("submitted", 2),
    RUNNING: Status.Running,
    "finished": Status.Completed,
    "error": Status.Exception,
    "stopped": Status.Interrupted,
    "timeout": CustomStatus("timeout", 204),
    "requeue": CustomStatus("requeue", 205),
}
NAMES = tuple(_STATUSES)
"""What an experiment may be."""
_NAMES = {status: name for name, status in _STATUSES.items()} | {Status.Suspended: REGISTERED}
OPEN = (DEFAULT, DETACHED)
"""An experiment that has no folder may still become another one."""
WAITING = (REGISTERED, "submitted", "requeue", "broken")
"""What waits to be run: the last is one whose process is gone."""


def status_of(name: str) -> Any:
    """Return the status of a trial for the name of one of an experiment; a custom one for a name that is not known.

    Examples
    --------
    >>> status_of("finished"), status_of("registered"), status_of("paused")
    (<Status.Completed: 302>, CStatus<registered>, CStatus<paused>)
    """
    return _STATUSES.get(name) or CustomStatus(name, None)


def name_of(status: Any) -> str:
    """Return what an experiment calls the status of a trial.

    Examples
    --------
    >>> name_of(Status.Exception), name_of(Status.Broken)
    ('error', 'broken')
    """
    return _NAMES.get(status) or str(status)
