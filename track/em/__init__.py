"""Experiment management: runs and artifacts in directories, in folders of an upload store, and as trials."""

from __future__ import annotations

from track.em.artifact import Artifact
from track.em.containers import Params
from track.em.functions import create_artifact, create_run, load_artifact, load_run, upload
from track.em.run import Run
from track.em.session import CONFIG, login, logout

__all__ = [
    "CONFIG", "Artifact", "Params", "Run", "create_artifact", "create_run", "load_artifact", "load_run", "login",
    "logout", "upload",
]  # fmt: skip
