"""Queries: parsed once, then asked of each object.

A query maps attributes to conditions; all must hold. An attribute is a dotted path
(``parameters.opt.lr``, ``metrics.loss`` for the last value); a condition is a value, or operators:
``$eq $ne $gt $gte $lt $lte $in $nin $exists $regex``, or ``$not`` of them. Whole queries are joined by ``$or`` and
``$and``, and turned around by ``$not``.

Trials that were deleted are found by a store only where the query says so: ``{"deleted": True}``.
"""

from __future__ import annotations

from track.persistence.query.conditions import (
    ALSO_DELETED,
    DEEPEST,
    EXACT,
    JOINING,
    OPERATORS,
    Condition,
    Query,
    parse_query,
    parse_stored,
    resolve,
)
from track.persistence.query.sorting import SortKey, ordered, parse_limit, parse_sort

__all__ = [
    "ALSO_DELETED",
    "DEEPEST",
    "EXACT",
    "JOINING",
    "OPERATORS",
    "Condition",
    "Query",
    "SortKey",
    "ordered",
    "parse_limit",
    "parse_query",
    "parse_sort",
    "parse_stored",
    "resolve",
]
