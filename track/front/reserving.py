"""Taking the next trial that waits: what a worker asks a store for."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from track.errors import BackendUnavailable, ConcurrentWrite, InvalidQuery, ItemNotFound, LockTimeout, NotFound
from track.persistence.contract import RESERVING
from track.persistence.protocol import Protocol
from track.persistence.utils import is_stored, mask_secrets
from track.shown import shown
from track.structure import Project, Trial, TrialGroup
from track.utils.lifecycle import backoff

WAITING = ("submitted", "createdgroup", "broken")
"""What a trial is that a worker may take: it was never begun, or its process is gone."""
_PAUSE, _LONGEST_PAUSE = 0.02, 5.0


def require_queue(protocol: Protocol) -> None:
    """Return if there is a store to take trials from; NotFound where it is a file that nobody has made."""
    file = protocol.file
    if file is not None and not is_stored(file):
        raise NotFound(
            f"there is no store at {mask_secrets(protocol.uri)}: no file {os.path.realpath(file)}. Whoever creates "
            "trials makes it"
        )


def waiting_query(query: Any, project: Project | None, group: TrialGroup | None) -> Any:
    """Return the query for the trials that wait, with what else is asked of them."""
    if isinstance(query, str):
        raise InvalidQuery(f"next_trial takes a query, such as {{'name': {shown(query)}}}, not a name")
    asked = list(query.items() if isinstance(query, Mapping) else query or ())
    owners = [("project_id", project and project.uid), ("group_id", group and group.uid)]
    is_said = any(attribute == "status" for attribute, _ in asked)
    waiting = [] if is_said else [("status", {"$in": list(WAITING)})]
    return [*waiting, *((name, uid) for name, uid in owners if uid is not None), *asked]


def reserve(protocol: Protocol, query: Any, patience: float) -> Trial | None:
    """Return the oldest trial that matches, which is this process's now; None where none does.

    `patience`: seconds for which a store that is busy or away is asked again, with pauses that grow.
    """
    deadline, failures = time.monotonic() + patience, 0
    while True:
        try:
            return protocol.fetch_and_update_trial(query, RESERVING)
        except ItemNotFound:
            return None
        except (BackendUnavailable, LockTimeout, ConcurrentWrite):
            failures += 1
            pause = backoff(failures, _PAUSE, _LONGEST_PAUSE)
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
