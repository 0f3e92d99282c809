"""The state of a store in memory: what an event means to it, and the JSON it is saved as."""

from __future__ import annotations

from track.persistence.state.apply import make_trial, update
from track.persistence.state.liveness import Liveness
from track.persistence.state.snapshot import read_snapshot, snapshot_bytes, stored_in, write_copy
from track.persistence.state.state import State

__all__ = [
    "Liveness",
    "State",
    "make_trial",
    "read_snapshot",
    "snapshot_bytes",
    "stored_in",
    "update",
    "write_copy",
]
