"""Trials in MongoDB: documents, buckets of points, filters."""

from __future__ import annotations

from track.persistence.mongo.buckets import brief_known, made_of, read_containers, read_points, read_series
from track.persistence.mongo.client import MUCH, Document, Mongo
from track.persistence.mongo.filter import Filter, can_hold, render_parts
from track.persistence.mongo.measured import briefs_said, is_measured, times_said
from track.persistence.mongo.setup import TIMEOUTS, read_address, refused_by_driver, translate
from track.persistence.mongo.write import Reads, last_number, store

__all__ = [
    "MUCH",
    "TIMEOUTS",
    "Document",
    "Filter",
    "Mongo",
    "Reads",
    "brief_known",
    "briefs_said",
    "can_hold",
    "is_measured",
    "last_number",
    "made_of",
    "read_address",
    "read_containers",
    "read_points",
    "read_series",
    "refused_by_driver",
    "render_parts",
    "store",
    "times_said",
    "translate",
]
