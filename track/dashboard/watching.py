"""The rows of a store, kept up to date for all tabs: the store is read once, however many look."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from track.dashboard.columns import packed
from track.dashboard.rows import Kept, Plain, kept_of
from track.errors import NotFound
from track.filters import parse_filter
from track.naming import owners_of, with_uids
from track.persistence.protocol import Protocol
from track.persistence.utils import is_stored, mask_secrets
from track.rows import make_rows
from track.utils.collecting import making

_FEW = 500
"""So many trials are asked for by their uids; of more, all."""

_MANY, _LATEST = 2000, 100
"""Of more than so many trials, so many are shown while the others are read."""

_DRAWN, _CHARTS, _POINTS = 2000, 2, 20_000_000
"""Of so many runs, in so many charts, at most so many points are read before they are asked for."""


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
        self._lock, self._beginning = threading.Lock(), threading.Lock()
        self._begun: tuple[str, list[str]] | None = None
        self._latest: bytes | None = None
        self._cursor: str | None = None
        self._asked: float | None = None
        self._rows: dict[str, Kept | None] = {}
        self._everything: tuple[int, bytes] | None = None
        self._numbers: dict[str, int] = {}
        self._number = 0
        self._name = secrets.token_hex(6)
        self._groups: dict[str, str] = {}
        self._was_there = False

    def require_store(self) -> None:
        """Return where the file of the store is there, or never was; NotFound where it is gone.

        What was read of it stays: once it is back, all goes on.
        """
        file = self._protocol.file
        if file is None or is_stored(file):
            self._was_there = True
        elif self._was_there:
            raise NotFound(f"{file} is gone: it was moved or removed")

    def since(self, cursor: str | None) -> bytes | None:
        """Return the rows that changed since an earlier call, and those that are gone; None where nothing did.

        They are columns, as `packed` says. Without a cursor, or with one of another start, all rows: then ``all`` is
        true. Where these are very many and not read yet, the latest of them: then ``more`` is true, too.

        Raises
        ------
        NotFound
            The file of the store is not there any more.
        """
        latest = None if cursor else self._latest_rows()
        if latest is not None:
            return latest
        with self._lock:
            self._catch_up()
            name, _, number = (cursor or "").partition(":")
            is_known = name == self._name and number.isdecimal() and len(number) < 20 and int(number) <= self._number
            last = int(number) if is_known else -1
            if last == self._number:
                return None
            if not is_known:
                return self._all()
            changed = [uid for uid, number_of_it in self._numbers.items() if number_of_it > last]
            rows = [row for uid in changed if (row := self._rows[uid]) is not None]
            return packed(rows, self._about(False, [uid for uid in changed if self._rows[uid] is None]))

    def _latest_rows(self) -> bytes | None:
        """Return the latest rows of very many; None where all are read, or they are few."""
        with self._beginning:
            if self._number:
                return None
            if self._begun is None:
                self._begun = self._protocol.changes(None)
                uids = self._begun[1]
                if len(uids) > _MANY:
                    found = self._protocol.brief_trials({"uid": {"$in": uids[-_LATEST:]}})
                    # Its cursor is none that is known: what is said after it is all.
                    about = {**self._about(True, []), "cursor": f"{self._name}:", "more": True}
                    self._latest = packed([kept_of(trial, self.group_name) for trial in found], about)
            return self._latest

    def _all(self) -> bytes:
        """Return all rows: they are packed once, for all tabs that open."""
        if self._everything is None or self._everything[0] != self._number:
            rows = [row for row in self._rows.values() if row is not None]
            self._everything = self._number, packed(rows, self._about(True, []))
        return self._everything[1]

    def _about(self, is_all: bool, gone: list[str]) -> Plain:
        cursor = f"{self._name}:{self._number}"
        return {"cursor": cursor, "all": is_all, "gone": gone, "store": mask_secrets(self._protocol.uri)}

    def first_charts(self) -> list[tuple[str, list[str]]]:
        """Read all rows, and return which charts are drawn first: metrics, and the uids of the runs that have them."""
        self._latest_rows()
        with self._lock:
            self._catch_up()
            self._all()
            rows = [row for row in self._rows.values() if row is not None]
        latest = sorted(rows, key=lambda row: row.created)[-_DRAWN:]
        counts: dict[str, int] = {}
        for row in latest:
            for name, brief in row.metrics.items():
                counts[name] = counts.get(name, 0) + brief.count
        left, found = _POINTS, []
        for name, count in [one for one in counts.items() if one[1] > len(latest)][:_CHARTS]:
            left -= count
            if left >= 0:
                found.append((name, [row.uid for row in latest if name in row.metrics]))
        return found

    @property
    def stamp(self) -> tuple[str | None, int]:
        """What is another one when a change was noticed: of the store, or of a row, which is read after that."""
        return self._cursor, self._number

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
        begun, self._begun = (self._begun, None) if first else (None, None)
        cursor, changed = begun or self._protocol.changes(self._cursor)
        # That a process died is no change of the store.
        wanted = dict.fromkeys(changed) | dict.fromkeys(
            uid for uid, row in self._rows.items() if row is not None and row.is_running
        )
        if wanted:
            query = None if first or len(wanted) > _FEW else {"uid": {"$in": list(wanted)}}
            with making(len(wanted)):
                found = self._protocol.brief_trials(query)
                self.require_store()
                self._take({trial.uid: kept_of(trial, self.group_name) for trial in found}, wanted)
        if cursor != self._cursor:
            self.require_store()
            self._forget_others(set(changed))
        # Only now: what could not be read is asked for again.
        self._cursor, self._asked = cursor, self._clock()

    def _forget_others(self, named: set[str]) -> None:
        """Forget the rows of a store in whose place there is another one by now: its changes do not name them."""
        unnamed = [uid for uid, row in self._rows.items() if row is not None and uid not in named]
        if unnamed and not self._protocol.brief_trials({"uid": unnamed[-1]}):
            there = {trial.uid for trial in self._protocol.brief_trials()}
            self._take({}, {uid: None for uid in unnamed if uid not in there})

    def _take(self, found: dict[str, Kept], wanted: dict[str, None]) -> None:
        number = self._number + 1
        for uid in wanted:
            row = found.get(uid)
            if uid in self._rows and _same(self._rows[uid], row):
                continue
            if row is None and uid not in self._rows:
                continue
            self._rows[uid] = row
            self._numbers[uid] = self._number = number


def _same(before: Kept | None, now: Kept | None) -> bool:
    """Return whether two rows show the same; to Python no NaN is another."""
    if before is None or now is None:
        return before is now
    return before == now or packed([before], {}) == packed([now], {})
