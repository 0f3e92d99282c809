"""Results under keys, one small map each: in files that anybody can read, or in a track store."""

from __future__ import annotations

from track.errors import ResultTimeout
from track.tracking.base import KeyType, ResultTracker, ResultType
from track.tracking.files import FsspecResultTracker
from track.tracking.trials import TrackResultTracker, import_results

__all__ = [
    "FsspecResultTracker", "KeyType", "ResultTimeout", "ResultTracker", "ResultType", "TrackResultTracker",
    "import_results",
]  # fmt: skip
