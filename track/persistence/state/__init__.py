"""The state of a store in memory: what an event means to it, and the JSON it is saved as."""

from __future__ import annotations

from track.persistence.state.apply import (
    DELETED,
    LATE,
    RESERVED,
    RESUMES,
    hidden,
    is_forgetting,
    is_overtaken,
    is_resume,
    make_group,
    make_project,
    make_trial,
    update,
)
from track.persistence.state.copies import copy_path, stored_in, write_copy
from track.persistence.state.liveness import Liveness
from track.persistence.state.looking import Measured, buckets_from, buckets_of
from track.persistence.state.order import newer
from track.persistence.state.snapshot import read_head, read_snapshot, snapshot_bytes
from track.persistence.state.state import State
from track.persistence.state.views import resumes_of, shown_fields, shown_points, with_members

__all__ = [
    "DELETED",
    "LATE",
    "RESERVED",
    "RESUMES",
    "Liveness",
    "Measured",
    "State",
    "buckets_from",
    "buckets_of",
    "copy_path",
    "hidden",
    "is_forgetting",
    "is_overtaken",
    "is_resume",
    "make_group",
    "make_project",
    "make_trial",
    "newer",
    "read_head",
    "read_snapshot",
    "resumes_of",
    "shown_fields",
    "shown_points",
    "snapshot_bytes",
    "stored_in",
    "update",
    "with_members",
    "write_copy",
]
