"""Files that belong to trials: stored once by content, named in each trial's manifest, versioned, verified."""

from __future__ import annotations

from track.artifacts.artifact import Artifact
from track.artifacts.code import describe_code
from track.artifacts.gc import Swept, gc
from track.artifacts.inplace import Standing, in_place
from track.artifacts.keys import check_name
from track.artifacts.manifest import artifacts, artifacts_in, artifacts_of, find, versions
from track.artifacts.owners import shared
from track.artifacts.recording import Recorder, artifact_name, check_file, check_folder
from track.artifacts.spool import finish_spooled, send_left

__all__ = [
    "Artifact", "Recorder", "Standing", "Swept", "artifact_name", "artifacts", "artifacts_in", "artifacts_of",
    "check_file", "check_folder", "check_name", "describe_code", "find", "finish_spooled", "gc", "in_place",
    "send_left", "shared", "versions",
]  # fmt: skip
