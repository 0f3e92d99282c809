"""Trials in MongoDB: documents, buckets of points, filters."""

from __future__ import annotations

from track.persistence.mongo.buckets import read_cells, read_containers
from track.persistence.mongo.client import Document, Mongo
from track.persistence.mongo.filter import Filter, can_hold, render_parts
from track.persistence.mongo.setup import read_address
from track.persistence.mongo.write import Reads, last_number, store

__all__ = [
    "Document",
    "Filter",
    "Mongo",
    "Reads",
    "can_hold",
    "last_number",
    "read_address",
    "read_cells",
    "read_containers",
    "render_parts",
    "store",
]
