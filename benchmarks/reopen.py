"""The time to open a store again that holds very many points.

From the journal alone, as after a crash, and from the snapshot. Each measurement is a new process, from after
``import track.persistence.local`` on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from _common import MISSED, Row, at_most, fresh, fresh_and_killed, median_fresh, new_trial, run


def measure(folder: str, points: int, rounds: int) -> list[Row]:
    here = Path(folder)
    rows = []
    for names, said in ((("loss",), "one a call"), (("loss", "acc"), "two a call")):
        uri = f"file:{here / f'{len(names)}.json'}"
        # Killed at the end, so that nothing is in the snapshot.
        fresh_and_killed(fill, uri, names, points)
        rows += _rows("journal", said, uri, points, rounds, 2)
        fresh(save, uri)
        rows += _rows("snapshot", said, uri, points, rounds, 0.3)
    return rows


def _rows(source: str, said: str, uri: str, points: int, rounds: int, limit: float) -> list[Row]:
    kept = fresh(count, uri)
    rows = [
        at_most(f"from the {source}, {said}: {what}", median_fresh(rounds, action, uri), limit, "s")
        for what, action in (("open and list", open_and_list), ("and all values", read_values))
    ]
    if kept != points:
        rows.append(Row(f"from the {source}, {said}: points kept", f"{kept:,}", f"logged: {points:,}", "", MISSED))
    return rows


def fill(uri: str, names: tuple[str, ...], points: int) -> None:
    trial = new_trial(uri)
    for step in range(points // len(names)):
        trial.log_metrics(step=step, **dict.fromkeys(names, 1 / (step + 1)))


def save(uri: str) -> None:
    from track import TrackClient

    TrackClient(uri).save()


def _fetch(uri: str) -> tuple[float, Any]:
    import track.persistence.local
    import track.reading

    start = time.perf_counter()
    return start, track.reading.fetch(uri)[0]


def open_and_list(uri: str) -> float:
    start, _ = _fetch(uri)
    return time.perf_counter() - start


def read_values(uri: str) -> float:
    start, trial = _fetch(uri)
    for metric in trial.metrics.values():
        metric.points.values()
    return time.perf_counter() - start


def count(uri: str) -> int:
    _, trial = _fetch(uri)
    return sum(len(metric.points.values()) for metric in trial.metrics.values())


if __name__ == "__main__":
    run(__doc__, measure, points=(1_000_000, 4_000), rounds=(5, 1))
