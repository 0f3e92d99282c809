"""The state of a store in memory: what an event means to it, and the JSON it is saved as."""

from __future__ import annotations

from track.persistence.state.apply import (
    DEATHS,
    DELETED,
    LATE,
    RESERVED,
    RESUMES,
    hidden,
    identity_of,
    is_end,
    is_forgetting,
    is_overtaken,
    is_resume,
    make_group,
    make_project,
    make_trial,
    update,
)
from track.persistence.state.cells import (
    Column,
    PointColumns,
    chunk_of_cells,
    comparable,
    container_of,
    measure_into,
    merge_into_owner,
    owner_document,
    parameter_cells,
    text,
    trial_document,
)
from track.persistence.state.copies import copy_path, stored_in, write_copy
from track.persistence.state.liveness import Liveness
from track.persistence.state.looking import Measured, buckets_from, buckets_of
from track.persistence.state.order import newer
from track.persistence.state.outside import points_files, put_aside_points
from track.persistence.state.placing import Placing, gather, lacking_points, place_for, placing_of, spill, unread_points
from track.persistence.state.snapshot import names_points, read_head, read_snapshot, snapshot_bytes
from track.persistence.state.state import State
from track.persistence.state.views import is_hidden, resumes_of, shown_fields, shown_points, with_members

__all__ = [
    "DEATHS",
    "DELETED",
    "LATE",
    "RESERVED",
    "RESUMES",
    "Column",
    "Liveness",
    "Measured",
    "Placing",
    "PointColumns",
    "State",
    "buckets_from",
    "buckets_of",
    "chunk_of_cells",
    "comparable",
    "container_of",
    "copy_path",
    "gather",
    "hidden",
    "identity_of",
    "is_end",
    "is_forgetting",
    "is_hidden",
    "is_overtaken",
    "is_resume",
    "lacking_points",
    "make_group",
    "make_project",
    "make_trial",
    "measure_into",
    "merge_into_owner",
    "names_points",
    "newer",
    "owner_document",
    "parameter_cells",
    "place_for",
    "placing_of",
    "points_files",
    "put_aside_points",
    "read_head",
    "read_snapshot",
    "resumes_of",
    "shown_fields",
    "shown_points",
    "snapshot_bytes",
    "spill",
    "stored_in",
    "text",
    "trial_document",
    "unread_points",
    "update",
    "with_members",
    "write_copy",
]
