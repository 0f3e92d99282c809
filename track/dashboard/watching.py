"""The rows of a store, kept up to date for all tabs: the store is read once, however many look."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from track.dashboard.rows import Plain, row_of
from track.filters import parse_filter
from track.naming import owners_of, with_uids
from track.persistence.protocol import Protocol
from track.rows import make_rows

_FEW = 500
"""So many trials are asked for by their uids; of more, all."""


class Watched:
    """The rows of all trials of a store, each with the number of its last change.

    Parameters
    ----------
    protocol: Protocol
        The backend.
    interval: float
        Seconds for which the store is not asked again.
    clock: callable
        Returns seconds.
    """

    def __init__(self, protocol: Protocol, interval: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._protocol = protocol
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._cursor: str | None = None
        self._asked: float | None = None
        self._rows: dict[str, Plain | None] = {}
        self._numbers: dict[str, int] = {}
        self._number = 0
        self._name = secrets.token_hex(6)
        self._groups: dict[str, str] = {}

    def since(self, cursor: str | None) -> dict[str, Any] | None:
        """Return the rows that changed since an earlier call, and those that are gone; None where nothing did.

        Without a cursor, or with one of another start, all rows: then ``all`` is true.
        """
        with self._lock:
            self._catch_up()
            name, _, number = (cursor or "").partition(":")
            is_known = name == self._name and number.isdecimal() and int(number) <= self._number
            last = int(number) if is_known else -1
            if last == self._number:
                return None
            changed = [uid for uid, number_of_it in self._numbers.items() if number_of_it > last]
            return {
                "cursor": f"{self._name}:{self._number}",
                "all": not is_known,
                "runs": [row for uid in changed if (row := self._rows[uid]) is not None],
                "gone": [uid for uid in changed if self._rows[uid] is None] if is_known else [],
            }

    def look_again(self) -> None:
        """Ask the store at the next call: it was changed here."""
        with self._lock:
            self._asked = None

    def matching(self, text: str) -> list[str]:
        """Return the uids of the trials that a filter means, oldest first.

        Raises
        ------
        InvalidQuery
            It cannot be understood.
        """
        chosen = parse_filter(text)
        owners = owners_of(self._protocol)
        trials = self._protocol.brief_trials(with_uids(chosen.query, owners))
        return [row.uid for row in make_rows(trials, partial(owners, "group_id")) if chosen.matches(row)]

    def group_name(self, uid: Any) -> str:
        """Return the name of a group."""
        if uid not in self._groups:
            self._groups = {group.uid: str(group.name) for group in self._protocol.fetch_groups()}
            self._groups.setdefault(uid, str(uid))
        return self._groups[uid]

    def _catch_up(self) -> None:
        now = self._clock()
        if self._asked is not None and now < self._asked + self._interval:
            return
        first = self._cursor is None
        self._cursor, changed = self._protocol.changes(self._cursor)
        # That a process died is no change of the store.
        wanted = dict.fromkeys(changed) | dict.fromkeys(
            uid for uid, row in self._rows.items() if row is not None and (row["code"] or 0) // 100 == 1
        )
        if wanted:
            query = None if first or len(wanted) > _FEW else {"uid": {"$in": list(wanted)}}
            found = self._protocol.brief_trials(query)
            self._take({trial.uid: row_of(trial, self.group_name) for trial in found}, wanted)
        self._asked = self._clock()

    def _take(self, found: dict[str, Plain], wanted: dict[str, None]) -> None:
        number = self._number + 1
        for uid in wanted:
            row = found.get(uid)
            if uid in self._rows and self._rows[uid] == row:
                continue
            if row is None and uid not in self._rows:
                continue
            self._rows[uid] = row
            self._numbers[uid] = self._number = number
