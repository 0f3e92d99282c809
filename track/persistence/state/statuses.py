"""Which trials have which status, so that the next one that waits is found without looking at each."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from track.persistence.query import OPERATORS, Query
from track.structure import Status


class StatusIndex:
    """The uids of trials by the status that is stored of each, oldest first."""

    def __init__(self) -> None:
        self._uids: list[str] = []
        self._places: dict[str, int] = {}
        self._by_status: dict[Any, list[int]] = {}

    def add(self, uid: str, status: Any) -> None:
        """Take a trial, which is newer than those that are there."""
        self._places[uid] = place = len(self._uids)
        self._uids.append(uid)
        self._by_status.setdefault(status, []).append(place)

    def move(self, uid: str, before: Any, after: Any) -> None:
        """Note that a trial has another status."""
        place, left = self._places[uid], self._by_status[before]
        del left[bisect_left(left, place)]
        if not left:
            del self._by_status[before]
        insort(self._by_status.setdefault(after, []), place)

    def candidates(self, query: Query) -> Iterator[str] | None:
        """Return the trials whose status may be what a query asks for, oldest first; None where it does not ask.

        One that is stored as running may be shown as broken.
        """
        asked = query.of_status
        if not asked:
            return None
        found = [
            # Copied: the status of the first may change while the next one is asked for.
            places.copy()
            for status, places in self._by_status.items()
            if status is Status.Running or all(OPERATORS[one.name](status, one.operand) for one in asked)
        ]
        places: Iterable[int] = found[0] if len(found) == 1 else merge(*found)
        return map(self._uids.__getitem__, places)
