"""What a person may change of a run on its page: tags, a note, its status."""

from __future__ import annotations

from typing import Any

import msgspec

from track.dashboard.answers import Refused
from track.persistence.protocol import Protocol
from track.structure import status as make_status

STATUSES = ("completed", "interrupted", "suspended", "exception", "broken", "pruned", "submitted")
"""Statuses that a person may set: that a run runs only it can say."""
_LONGEST_NOTE, _LONGEST_TAG, _MOST_TAGS = 100_000, 1_000, 100


class Edit(msgspec.Struct, forbid_unknown_fields=True):
    """What shall change; a tag whose value is null is taken away."""

    uid: str
    tags: dict[str, str | bool | int | float | None] = {}
    note: str | None = None
    status: str | None = None


def read_edit(said: bytes) -> Edit:
    """Return what a page has sent.

    Raises
    ------
    Refused
        It is nothing that may be changed.
    msgspec.MsgspecError
        It is no change at all.
    """
    asked = msgspec.json.decode(said, type=Edit)
    names = [*asked.tags, *(value for value in asked.tags.values() if isinstance(value, str))]
    if len(asked.tags) > _MOST_TAGS or any(len(name) > _LONGEST_TAG for name in names):
        raise Refused(400, f"at most {_MOST_TAGS} tags of at most {_LONGEST_TAG:,} characters at once")
    if not all(name.strip() for name in asked.tags):
        raise Refused(400, "a tag has a name")
    if asked.note is not None and len(asked.note) > _LONGEST_NOTE:
        raise Refused(400, f"a note has at most {_LONGEST_NOTE:,} characters")
    if asked.status is not None and asked.status not in STATUSES:
        raise Refused(400, f"a status is one of {', '.join(STATUSES)}")
    return asked


def edit(protocol: Protocol, asked: Edit) -> None:
    """Change a trial.

    Raises
    ------
    Refused
        It is not there.
    TrackError
        The store cannot be written to.
    """
    trials = protocol.brief_trials({"uid": asked.uid})
    if not trials:
        raise Refused(404, "there is no such run")
    protocol.check_writable()
    if asked.tags:
        tags: dict[str, Any] = asked.tags
        protocol.add_trial_tags(trials[0], **tags)
    if asked.note is not None:
        protocol.log_trial_metadata(trials[0], note=asked.note)
    if asked.status is not None:
        protocol.set_trial_status(trials[0], make_status(asked.status))
    protocol.flush()
    if protocol.unsaved():
        usual = "that is done once the store can be written to again, if this program still runs"
        raise Refused(502, f"the change waits to be stored: {protocol.remedy or usual}")
