"""What trials have measured, read from the rows of a database: containers, what they come to, what is new of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from track.briefs import Brief, brief_of
from track.persistence.contract import FetchedPoints, Growing, Since, start_of
from track.persistence.sql.chunks import Stored, is_timeless, read_columns, read_points
from track.persistence.sql.database import Database, Row
from track.persistence.sql.measured import stored_briefs, stored_containers
from track.persistence.sql.rows import RESUMED
from track.persistence.state import container_of, shown_points, text
from track.plain import utf8

_decode = msgspec.json.decode


class PointsReader:
    """Reads what trials have measured; a reader is good for as long as the connection is.

    `measured` is what the row of a trial says of it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._growing = Growing()

    def clear(self) -> None:
        """Forget how far metrics were read: it may be another store now."""
        self._growing.clear()

    def containers(self, stored: Stored, measured: str | None, kind: str) -> dict[str, Any]:
        """Return the containers of a trial, as they were when it had this many points."""
        known = stored_containers(measured, stored.end, kind)
        if known is not None and None not in known.values():
            return known

        def read() -> dict[str, Any]:
            series = "SELECT name, spec FROM series WHERE trial = ? AND kind = ?"
            return self._containers(kind, stored, self._database.rows(series, stored.position, kind))

        found = self._database.reading(read)
        if known is None:
            return found
        named = ((name, found.get(name) if one is None else one) for name, one in known.items())
        return {name: one for name, one in named if one is not None}

    def _containers(self, kind: str, stored: Stored, series: Sequence[Row]) -> dict[str, Any]:
        """Return containers by name, in the order of their first points, as in every backend."""
        specs = {name: None if spec is None else _decode(spec) for name, spec in series}
        found = read_points(self._database, kind, stored, list(specs))
        ordered = sorted(found.items(), key=lambda item: item[1].first)
        named = ((str(_decode(name)), specs[name], chunk) for name, chunk in ordered)
        return {name: container_of(kind, name, spec, chunk) for name, spec, chunk in named}

    def briefs(self, stored: Stored, measured: str | None) -> dict[str, Brief]:
        """Return what the metrics of a trial come to; the points say it of those of which it is not stored."""
        briefs = stored_briefs(measured, stored.end)
        unknown = None if briefs is None else {text(name) for name, brief in briefs.items() if brief is None}

        def read() -> dict[str, Brief]:
            known = "SELECT name, spec FROM series WHERE trial = ? AND kind = 'metrics'"
            series = self._database.rows(known, stored.position)
            wanted = [row for row in series if unknown is None or row[0] in unknown]
            found = self._containers("metrics", stored, wanted)
            return {name: brief_of(container) for name, container in found.items()}

        found = self._database.reading(read) if unknown is None or unknown else {}
        if briefs is None:
            return found
        known = ((name, brief or found.get(name)) for name, brief in briefs.items())
        return {name: brief for name, brief in known if brief is not None}

    def of_trials(self, name: str, stored: Mapping[str, Stored], times: bool) -> tuple[dict[str, Any], list[str]]:
        """Return one metric of many trials, by uid, and those trials that must be read on their own.

        These were resumed, or a version before has stored their points. Times that are not asked for may be 0.
        """
        key = text(utf8(name))
        specs, resumed = self._specs_of(key, [one.position for one in stored.values()])
        plain = [one for one in stored.values() if one.is_whole and one.position in specs.keys() - resumed]
        chunks = read_columns(self._database, plain, key, times)
        # Of several values of a step the one that was logged last counts, and others may be kept by time, too.
        odd = [one for one in plain if not is_timeless(specs[one.position], chunks.get(one.position))]
        chunks |= {} if times else read_columns(self._database, odd, key, has_times=True)
        named = {uid: one.position for uid, one in stored.items() if one.position in specs}
        found = {
            uid: container_of("metrics", name, specs[position], chunks[position])
            for uid, position in named.items()
            if position in chunks
        }
        return found, [uid for uid in named if uid not in found]

    def _specs_of(self, key: str, positions: Sequence[int]) -> tuple[dict[int, list[Any] | None], set[int]]:
        """Return the aggregators of a metric in those trials that have it, and which trials were resumed."""
        marks = ", ".join("?" * len(positions))
        known = (
            f"SELECT trial, kind, spec FROM series WHERE trial IN ({marks})"  # noqa: S608
            " AND ((kind = 'metrics' AND name = ?) OR kind = ?)"
        )
        rows = self._database.rows(known, *positions, key, RESUMED) if positions else []
        specs = {trial: None if spec is None else _decode(spec) for trial, kind, spec in rows if kind != RESUMED}
        return specs, {trial for trial, kind, _ in rows if kind == RESUMED}

    def since(
        self, stored: Stored, names: Iterable[str] | None, since: Since, resumes: Callable[[], Any]
    ) -> dict[str, FetchedPoints]:
        """Return the points of metrics from a position on; `resumes` returns from which steps the trial began again."""
        known = "SELECT name, spec, kind FROM series WHERE trial = ? AND (kind = 'metrics' OR kind = ?)"
        series = self._database.rows(known, stored.position, RESUMED)
        rules = resumes() if any(kind == RESUMED for _, _, kind in series) else None
        wanted = None if names is None else set(map(text, map(utf8, names)))
        found = []
        for name, spec, kind in series:
            if kind == RESUMED or (wanted is not None and name not in wanted):
                continue
            if spec is None or _decode(spec)[0] == "series":
                found.append(self._since(stored, name, spec, since, rules))
        return {name: read for _, name, read in sorted(found, key=itemgetter(0)) if read is not None}

    def _since(
        self, stored: Stored, key: str, spec: str | None, since: Since, resumes: Any
    ) -> tuple[int, str, FetchedPoints | None]:
        """Return the number of a metric's first point that was read, its name, and its points from a position on."""
        place = stored.position, key
        name = str(_decode(key))
        start = start_of(since, name)
        end = self._growing.end(place, start, stored.end) if resumes is None else None
        if end is not None:
            new = read_points(self._database, "metrics", stored, [key], end).get(key)
            tail = self._growing.tail(place, start, new)
            if tail is not None:
                return end if new is None else new.first, name, tail
        whole = read_points(self._database, "metrics", stored, [key]).get(key)
        if whole is None:
            return -1, name, None
        if resumes is None:
            self._growing.note(place, whole)
        container = container_of("metrics", name, None if spec is None else _decode(spec), whole)
        return whole.first, name, shown_points(container, resumes, start)
