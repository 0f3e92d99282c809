"""Files that belong to trials: stored once by content, named in each trial's manifest, versioned, verified."""

from __future__ import annotations

from track.artifacts.artifact import Artifact
from track.artifacts.gc import Swept, gc
from track.artifacts.manifest import artifacts, find, versions

__all__ = ["Artifact", "Swept", "artifacts", "find", "gc", "versions"]
