"""Where uploaded runs and artifacts live: a tree of records in any object store."""

from __future__ import annotations

from track.em.store.download import download, inside
from track.em.store.nodes import LocalFile, Node, Parcel, digest_of, remote_entry
from track.em.store.places import CHUNK, DirectoryPlace, RemotePlace, StorePlace
from track.em.store.store import Store, checked_strategy

__all__ = [
    "CHUNK",
    "DirectoryPlace",
    "LocalFile",
    "Node",
    "Parcel",
    "RemotePlace",
    "Store",
    "StorePlace",
    "checked_strategy",
    "digest_of",
    "download",
    "inside",
    "remote_entry",
]
