"""Where uploaded runs and artifacts live: a tree of records in any object store."""

from __future__ import annotations

from track.em.store.download import download
from track.em.store.nodes import Bundle, LocalFile, Node, remote_entry
from track.em.store.places import failed, open_place
from track.em.store.store import Store, checked_strategy
from track.em.store.sweep import find_uploads, sweep, uploads

__all__ = [
    "Bundle", "LocalFile", "Node", "Store", "checked_strategy", "download", "failed", "find_uploads", "open_place",
    "remote_entry", "sweep", "uploads",
]  # fmt: skip
