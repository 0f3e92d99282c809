"""A metric of very many points in few buckets, as a chart asks for it.

One trial of 10,000,000 points in 1,000 columns, in a store in memory: with steps that rise, asked for first and again,
closer, smoothed, and with steps in any order. Then 1,000 trials of 10,000 points each in 300 columns: in a file, in
SQLite and in PostgreSQL, each by a new process that has opened the store and listed it; beside it what numpy needs for
the same points where they are in memory.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from _common import Row, against, at_most, fresh, run

COLUMNS, SHARED = 1_000, 300
_UNITS = {"s": 1.0, "ms": 1e3}
_PART = 4_096


def measure(folder: str, points: int, trials: int, each: int, rounds: int) -> list[Row]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    try:
        import numpy  # noqa: F401
    except ImportError:
        return [Row("numpy is not installed", "")]
    rows = fresh(long_series, points)
    peer = fresh(in_memory, trials, each)
    stores = [("file:", f"file:{folder}/many.json", 0.25), ("sqlite:", f"sqlite:{folder}/many.db", 1.0)]
    server = _postgres()
    if server is None:
        rows.append(Row("PostgreSQL", "not installed"))
    else:
        stores.append(("PostgreSQL", server.new_database(), 1.0))
    try:
        for name, uri, limit in stores:
            fresh(build, uri, trials, each)
            found = [fresh(ask, uri) for _ in range(rounds)]
            opened, first, again, closer = (Took.median(moments) for moments in zip(*found, strict=True))
            what = f"{trials:,} trials of {each:,} points, {name}"
            rows += [
                Row(f"{what} open and list", opened.text("s")),
                first.at_most(f"{what} first", limit, "s"),
                against("  beside numpy in memory", first.cpu, peer.cpu, "numpy", "s of a core"),
                again.at_most("  again", limit, "s"),
                closer.at_most("  closer", limit, "s"),
            ]
    finally:
        if server is not None:
            server.close()
    return rows


@dataclass(frozen=True)
class Took:
    """Seconds that went by, and those of a core of this process: on a busy machine these are fewer."""

    wall: float
    cpu: float

    @classmethod
    def median(cls, moments: Any) -> Took:
        """Return the median of each."""
        return cls(*(statistics.median(getattr(one, name) for one in moments) for name in ("wall", "cpu")))

    def text(self, unit: str) -> str:
        """Return both as a text."""
        return f"{self.wall * _UNITS[unit]:,.3g} {unit}, {self.cpu * _UNITS[unit]:,.3g} of a core"

    def at_most(self, what: str, limit: float, unit: str) -> Row:
        """Return the row of a figure that has a limit, in seconds."""
        row = at_most(what, self.wall * _UNITS[unit], limit * _UNITS[unit], unit)
        return replace(row, measured=self.text(unit))


def _postgres() -> Any:
    try:
        from tests.servers.postgres import Postgres, binaries
    except ImportError:
        return None
    return Postgres() if binaries() else None


# one long series


def long_series(points: int) -> list[Row]:
    """Return the rows of a trial that has many points."""
    import numpy

    from track.persistence import get_protocol

    store = get_protocol("ephemeral:")
    random = numpy.random.default_rng(0)
    values = random.normal(size=points)
    rising = _filled(store, numpy.arange(points) * 5, values)
    mixed = _filled(store, random.permutation(points), values)
    # The module is imported.
    store.fetch_buckets([], "loss", 1)
    seconds = {
        "direct": _timed(lambda: _reduced(values, COLUMNS)),
        "first": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS)),
        "again": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS)),
        "closer": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS, start=points, end=2 * points)),
        "smoothed": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS, smoothing=0.99)),
        "smoothed again": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS, smoothing=0.99)),
        "in any order": _timed(lambda: store.fetch_buckets([mixed], "loss", COLUMNS)),
        "in any order, smoothed": _timed(lambda: store.fetch_buckets([mixed], "loss", COLUMNS, smoothing=0.999)),
        "by time": _timed(lambda: store.fetch_buckets([rising], "loss", COLUMNS, "time")),
    }
    limits = {"first": 500, "again": 20, "closer": 20, "smoothed": 4000, "smoothed again": 20}
    limits |= {"in any order": 4000, "in any order, smoothed": 4000, "by time": 500}
    what = f"{points:,} points in {COLUMNS:,} columns"
    rows = [seconds[name].at_most(f"{what}: {name}", limit / 1e3, "ms") for name, limit in limits.items()]
    direct, first = (seconds[name].cpu * 1e3 for name in ("direct", "first"))
    return [*rows, against(f"{what}: first", first, direct, "three reductions of numpy", "ms of a core")]


def _filled(store: Any, steps: Any, values: Any) -> str:
    """Return the uid of a new trial with these points, which are logged in columns."""
    from track.structure import Trial

    trial = store.new_trial(Trial(parameters={"first": int(steps[0])}))
    for event in _columns(trial.uid, steps, values):
        store.apply(event)
    return trial.uid


def _columns(uid: str, steps: Any, values: Any) -> Any:
    """Yield events of points of the metric ``loss`` in columns, logged evenly over an hour."""
    import numpy

    from track.columns import Columns, Packed
    from track.events import MetricsLogged

    times = 1.7e9 + numpy.arange(len(values)) * (3600 / len(values))
    edges = [*range(0, len(values), _PART), len(values)]
    for begin, end in pairwise(edges):
        packed = [Packed(code, one[begin:end].tobytes()) for code, one in (("d", values), ("q", steps))]
        columns = Columns("loss", end - begin, *packed, at=times[begin:end].tobytes())
        yield MetricsLogged(uid, {}, float(times[end - 1]), columns=columns)


# many trials


def build(uri: str, trials: int, each: int) -> None:
    """Store trials of some points each."""
    import numpy

    from track.persistence import get_protocol
    from track.structure import Status, Trial

    store = get_protocol(uri)
    random = numpy.random.default_rng(0)
    for number in range(trials):
        trial = store.new_trial(Trial(parameters={"seed": number}))
        assert trial is not None
        for event in _columns(trial.uid, numpy.arange(each), random.normal(size=each)):
            store.apply(event)
        store.set_trial_status(trial, Status.Completed)
    store.flush()
    store.commit()
    store.close()


def ask(uri: str) -> tuple[Took, Took, Took, Took]:
    """Return the times to open a store, and to ask for buckets of all its trials: first, again, and closer."""
    import numpy  # noqa: F401

    from track.persistence.buckets import arrays  # noqa: F401
    from track.reading import open_to_read

    uids: list[str] = []
    store = open_to_read(uri)
    opened = _timed(lambda: uids.extend(trial.uid for trial in store.brief_trials()))
    first, again = (_timed(lambda: store.fetch_buckets(uids, "loss", SHARED)) for _ in range(2))
    closer = _timed(lambda: store.fetch_buckets(uids, "loss", SHARED, start=1000, end=2000))
    return opened, first, again, closer


def in_memory(trials: int, each: int) -> Took:
    """Return the time that numpy needs for as many buckets of arrays that are there."""
    import numpy

    random = numpy.random.default_rng(0)
    series = [random.normal(size=each) for _ in range(trials)]
    return _timed(lambda: [_reduced(values, SHARED) for values in series])


def _reduced(values: Any, columns: int) -> list[Any]:
    import numpy

    places = numpy.arange(columns) * len(values) // columns
    return [reduce.reduceat(values, places) for reduce in (numpy.minimum, numpy.maximum, numpy.add)]


def _timed(action: Any) -> Took:
    start, began = time.perf_counter(), time.process_time()
    action()
    return Took(time.perf_counter() - start, time.process_time() - began)


if __name__ == "__main__":
    run(__doc__, measure, points=(10_000_000, 20_000), trials=(1_000, 10), each=(10_000, 400), rounds=(3, 1))
