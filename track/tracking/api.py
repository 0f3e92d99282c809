"""The names of `track.tracking` where programs written for torchx look for them."""

from __future__ import annotations

from track.tracking.base import KeyType, ResultTracker, ResultType
from track.tracking.files import FsspecResultTracker

__all__ = ["FsspecResultTracker", "KeyType", "ResultTracker", "ResultType"]
