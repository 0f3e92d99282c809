"""The file store: a journal that is appended to, the snapshot that shortens it, and a lock for decisions."""

from __future__ import annotations

from track.persistence.file.backlog import Backlog
from track.persistence.file.journal import Journal
from track.persistence.file.lines import TORN
from track.persistence.file.lock import StoreLock, claim
from track.persistence.file.memory import BufferedStore, MemoryStore
from track.persistence.file.shared import open_store
from track.persistence.file.store import FileStore

__all__ = [
    "TORN",
    "Backlog",
    "BufferedStore",
    "FileStore",
    "Journal",
    "MemoryStore",
    "StoreLock",
    "claim",
    "open_store",
]
