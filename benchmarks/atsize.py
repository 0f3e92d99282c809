"""A store that is too large to be loaded: what it costs to fold it, to open it, and to read one metric of it.

A process logs two values a call and is killed, so that all of it is in the journal; the next one folds it; others open
the result. The memory is the largest that each process had, less what it had before. What must take less than some
seconds is measured in those of a core: what others do on a busy machine is not in them. A hundred million
values: ``--points 100000000``, which takes a quarter of an hour and 12 GB of disk.
"""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, against, at_most, fresh, fresh_and_killed, new_trial, run

MEBIBYTE = 2**20


def measure(folder: str, points: int, rounds: int) -> list[Row]:
    path = Path(folder) / "store.json"
    uri = f"file:{path}"
    told = Path(folder) / "seconds"
    # Killed at the end, so that nothing is in the snapshot.
    fresh_and_killed(log, uri, points // 2, str(told))
    logging = float(told.read_text(encoding="ascii"))
    journal = path.with_name("store.json.journal").stat().st_size
    reading, _, peak_reading = fresh(measured, "list_it", uri)
    folding, _, peak = fresh(measured, "fold", uri)
    size = sum(file.stat().st_size for file in path.parent.glob("store.json*"))
    taken = {name: [fresh(measured, name, uri) for _ in range(rounds)] for name in READS}
    kept = fresh(count, uri)
    return [
        Row(f"logging {points:,} values, two a call", f"{logging:,.1f} s", f"{journal:,} B of journal"),
        against("listed before it is folded", reading, logging, "logging", "s"),
        at_most("listed before it is folded: memory", peak_reading / MEBIBYTE, 256, "MiB"),
        against("folded once", folding, logging, "logging", "s", 1),
        at_most("folded once: memory", peak / MEBIBYTE, 256, "MiB"),
        at_most("bytes a value on disk", size / points, 17, "B"),
        *(row for name, (what, limit) in READS.items() for row in _rows(what.format(points // 2), taken[name], limit)),
        Row("points kept", f"{kept:,}", f"logged: {points:,}", "", MET if kept == points else MISSED),
    ]


def _rows(what: str, taken: list[tuple[float, float, int]], limit: float) -> list[Row]:
    walls, cores, _ = zip(*taken, strict=True)
    return [
        at_most(what, statistics.median(cores), limit, "s of a core"),
        Row("  as it went by", f"{statistics.median(walls):,.3g} s"),
    ]


def log(uri: str, calls: int, told: str) -> None:
    """Log, and write how many seconds that took to a file."""
    trial = new_trial(uri)
    start = time.perf_counter()
    for step in range(calls):
        trial.log_metrics(step=step, loss=1 / (step + 1), accuracy=1 - 1 / (step + 1))
    Path(told).write_text(str(time.perf_counter() - start), encoding="ascii")


def measured(name: str, uri: str) -> tuple[float, float, int]:
    """Return the seconds that something takes, those of a core, and by how many bytes the process grew at most."""
    import numpy  # noqa: F401
    import pandas  # noqa: F401

    import track.persistence.local
    import track.reading  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, began = time.perf_counter(), time.process_time()
    globals()[name](uri)
    taken, used = time.perf_counter() - start, time.process_time() - began
    return taken, used, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def fold(uri: str) -> None:
    from track import TrackClient

    TrackClient(uri).save()


def list_it(uri: str) -> Any:
    from track.reading import fetch

    return repr(fetch(uri))


def briefs(uri: str) -> Any:
    from track.metrics import briefs_of
    from track.reading import fetch

    return [briefs_of(trial.metrics) for trial in fetch(uri)]


def arrays(uri: str) -> Any:
    from track.reading import fetch

    return fetch(uri)[0].metrics["loss"].to_numpy()


def frame(uri: str) -> Any:
    from track.frames import to_pandas
    from track.reading import fetch

    return to_pandas(fetch(uri)[0], "loss")


def count(uri: str) -> int:
    from track.reading import fetch

    return sum(len(series) for trial in fetch(uri) for series in trial.metrics.values())


READS = {
    "list_it": ("open and list", 0.3),
    "briefs": ("open, and what each metric comes to", 0.3),
    "arrays": ("open, and one metric of {:,} points as arrays", 0.2),
    "frame": ("open, and the same as a data frame", 0.5),
}

if __name__ == "__main__":
    run(__doc__ or "", measure, points=(10_000_000, 400_000), rounds=(3, 1))
