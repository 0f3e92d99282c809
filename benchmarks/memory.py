"""The memory that one logged point takes.

A point is a value with its step and its time. Each case runs in a process of its own and is measured twice: by the
growth of the process's memory (RSS), and by what Python allocated (tracemalloc).
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from _common import Row, at_most, fresh, fresh_and_killed, new_trial, resident_bytes, run

LIMIT = 32


def measure(folder: str, points: int) -> list[Row]:
    uri = f"file:{Path(folder) / 'store.json'}"
    journal = f"file:{Path(folder) / 'journal.json'}"
    fresh(fill, uri, points)
    # Killed at the end, so that nothing is in the snapshot.
    fresh_and_killed(fill_journal, journal, points)
    rows = []
    for what, action, place in (
        ("ephemeral: while logging, then asked", ephemeral, points),
        ("file: while logging (nothing is kept in memory)", logging, (folder, points)),
        ("file: opened from the journal", read, journal),
        ("file: opened from the snapshot, metrics not looked at", open_only, uri),
        ("file: opened from the snapshot, all metrics read", read, uri),
    ):
        for how in ("rss", "tracemalloc"):
            grown = fresh(_grown, action, place, how)
            rows.append(at_most(f"{what}, {how}", grown / points, LIMIT, "bytes"))
    grown = fresh(_grown, look_up, journal, "rss")
    rows.append(Row("the same, and one step looked up: an index", f"{grown / points:,.3g} bytes"))
    return rows


def _grown(action: Any, place: Any, how: str) -> int:
    """Return the bytes by which this process grows, and stays grown while the result is held."""
    import tracemalloc

    import track
    import track.persistence.local  # noqa: F401

    # What the first use imports is not counted.
    trial = new_trial("ephemeral:")
    trial.log_metrics(step=0, loss=0.5)
    assert trial.trial.metrics
    gc.collect()
    if how == "tracemalloc":
        tracemalloc.start()
    before = resident_bytes()
    held = action(place)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] if how == "tracemalloc" else resident_bytes() - before
    del held
    return grown


def log(trial: Any, points: int) -> Any:
    for step in range(points // 2):
        trial.log_metrics(step=step, loss=0.5 + step, acc=1.5 + step)
    return trial


def ephemeral(points: int) -> Any:
    trial = log(new_trial("ephemeral:"), points)
    return trial, trial.trial


def logging(place: tuple[str, int]) -> Any:
    folder, points = place
    # A store of its own each time: opening one that has points is another case.
    return log(new_trial(f"file:{Path(folder) / f'logging-{os.getpid()}.json'}"), points)


def read(uri: str) -> Any:
    trials = _fetch(uri)
    assert sum(len(metric.points) for metric in trials[0].metrics.values()) > 0
    return trials


def open_only(uri: str) -> Any:
    return _fetch(uri)


def look_up(uri: str) -> Any:
    trials = _fetch(uri)
    assert all(metric[0] for metric in trials[0].metrics.values())
    return trials


def _fetch(uri: str) -> Any:
    """Return the trials, and keep the store they come from."""
    from track.persistence.local import FileProtocol

    store = FileProtocol(uri)
    trials = store.fetch_trials()
    trials.append(store)  # type: ignore[arg-type]
    return trials


def fill(uri: str, points: int) -> None:
    log(new_trial(uri), points).save()


def fill_journal(uri: str, points: int) -> None:
    log(new_trial(uri), points)


if __name__ == "__main__":
    run(__doc__, measure, points=(1_000_000, 20_000))
