"""A trial of a store that nobody has looked at yet: its document is read when somebody does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from track.events import Event, FieldsMerged, StatusChanged, TimeLogged, decode_records, encode
from track.persistence.state.apply import is_overtaken, update
from track.shown import clean, shown
from track.structure import Trial

logger = logging.getLogger(__name__)
_KNOWN = frozenset({"_hash", "hash", "keep", "project_id", "revision", "status", "uid"})
"""What a store asks of every trial: its indexes are made of it."""
_FOLLOWED = frozenset({"attempt", "is_set", "latest", "processes"})
"""What is known, too, of one that nobody has begun before: what other processes do with it is followed."""
_loading = threading.RLock()


class UnreadTrial(Trial):
    """Becomes the `Trial` that `load` returns when anything is asked of it but what its store's indexes need.

    `latest`: when it last changed, where no process has begun it, and nobody has set its status or hidden it; else 0.
    """

    def __init__(  # noqa: PLR0917 - made for each trial of a store
        self,
        digest: str,
        revision: int,
        project: Any,
        status: Any,
        load: Callable[[Any], Trial],
        stored: Any,
        latest: float = 0.0,
    ) -> None:
        fields = object.__getattribute__(self, "__dict__")
        fields["_hash"], fields["revision"] = digest, revision
        fields["project_id"], fields["status"] = project, status
        fields["_load"] = load, stored
        # The lines of events that came since, and what they make of its status; of others nothing is kept.
        fields["_lines"], fields["_ahead"] = [] if latest else None, latest

    def keep(self, event: Event) -> bool:
        """Keep an event for when the trial is read, and return whether that can be done: its status is known then."""
        with _loading:
            fields = object.__getattribute__(self, "__dict__")
            lines = fields.get("_lines")
            if lines is None:
                return False
            is_status = type(event) is StatusChanged
            if not is_status and type(event) is not TimeLogged and not _is_metadata(event):
                return False
            ahead = fields["_ahead"]
            if type(ahead) is float:
                ahead = fields["_ahead"] = _blank(fields["status"], ahead)
            if is_status:
                update(ahead, event)
                fields["status"] = ahead.status
            elif event.at > ahead.latest and not is_overtaken(ahead, event):
                ahead.latest = event.at
            lines.append(encode(event))
            return True

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            if name in _FOLLOWED:
                fields = object.__getattribute__(self, "__dict__")
                if fields.get("_lines"):
                    return getattr(fields["_ahead"], name)
            _read(self)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _read(self)
        object.__setattr__(self, name, value)


def _is_metadata(event: Event) -> bool:
    return type(event) is FieldsMerged and event.field == "metadata"


def _blank(status: Any, latest: float) -> Trial:
    """Return a trial with nothing but what a change of its status depends on."""
    ahead = Trial.__new__(Trial)
    vars(ahead).update(
        status=status, attempt=0, is_set=False, deleted=False, latest=latest, process={}, processes=[], metadata={},
        moments={}, timestamps={}, errors=[],
    )  # fmt: skip
    return ahead


def _read(trial: UnreadTrial) -> None:
    with _loading:
        fields = object.__getattribute__(trial, "__dict__")
        # Again: another thread may have been first.
        if "_load" not in fields:
            return
        load, stored = fields["_load"]
        known = fields["status"], fields["project_id"]
        found = load(stored)
        if fields["_lines"]:
            _catch_up(found, b"".join(fields["_lines"]))
        fields.update(vars(found))
        # The same objects: an index may have them.
        fields["status"], fields["project_id"] = known
        del fields["_load"], fields["_lines"], fields["_ahead"]
        object.__setattr__(trial, "__class__", Trial)


def _catch_up(trial: Trial, lines: bytes) -> None:
    for event in decode_records(lines):
        try:
            update(trial, event)  # type: ignore[arg-type] # no batch was kept
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = (trial.uid, clean(str(error)), shown(event))
            logger.warning("an event of trial %s makes no sense (%s) and is skipped: %s", *what)
