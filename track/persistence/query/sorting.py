"""The order that is asked for: by attributes, what is missing and what is no number last."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from track.errors import InvalidQuery
from track.persistence.query.conditions import parse_query, resolve
from track.shown import shown, text_of
from track.structure import CustomStatus, Status

Item = TypeVar("Item")


@dataclass(frozen=True)
class SortKey:
    """One attribute to sort by: `path` is split at its dots."""

    path: tuple[str, ...]
    is_descending: bool = False


def parse_sort(sort: Any, kind: type) -> tuple[SortKey, ...]:
    """Return what to sort objects of `kind` by, the first one first.

    Parameters
    ----------
    sort: str, list of str, tuple of SortKey or None
        Dotted attributes, as in a query; from the largest where a ``-`` stands before it. An empty text is no order.

    Raises
    ------
    InvalidQuery
        An attribute is unknown, or it is no text.

    Examples
    --------
    >>> from track.structure import Trial
    >>> parse_sort("-metrics.loss", Trial)
    (SortKey(path=('metrics', 'loss'), is_descending=True),)
    """
    if sort is None or sort == "":
        return ()
    keys = []
    for one in sort if isinstance(sort, (list, tuple)) else [sort]:
        if isinstance(one, SortKey):
            keys.append(one)
            continue
        if not isinstance(one, str):
            raise InvalidQuery(f"trials are sorted by attributes, as in '-metrics.loss', not by {shown(one)}")
        name = one.removeprefix("-")
        parse_query({name: {"$exists": True}}, kind)
        keys.append(SortKey(tuple(name.split(".")), one != name))
    return tuple(keys)


def parse_limit(limit: Any) -> int | None:
    """Return how many are asked for, None for all.

    Raises InvalidQuery: it is no number of trials.
    """
    if limit is None:
        return None
    if type(limit) is int and limit >= 0:
        # More than any store has, and as much as any of them can be told.
        return min(limit, sys.maxsize)
    raise InvalidQuery(f"limit is how many trials to return, a whole number from 0 on, not {shown(limit)}")


def ordered(items: Iterable[Item], keys: tuple[SortKey, ...]) -> list[Item]:
    """Return items in the order that is asked for: equal ones stay as they are, missing values and NaN come last.

    Numbers come before texts, and statuses are sorted by their codes.
    """
    found = list(items)
    for key in reversed(keys):
        ranked = [(rank(resolve(item, key.path)), item) for item in found]
        known = [one for one in ranked if one[0] is not None]
        known.sort(key=lambda one: one[0], reverse=key.is_descending)  # type: ignore[arg-type, return-value]
        found = [item for _, item in known] + [item for place, item in ranked if place is None]
    return found


def rank(value: Any) -> tuple[int, Any] | None:
    """Return what to compare a value by: numbers before texts; None where it is missing or a NaN."""
    if issubclass(type(value), (Status, CustomStatus)):
        value = value.value
    if value is None or value != value:
        return None
    return (0, value) if isinstance(value, (int, float)) else (1, text_of(value))
