"""The time to open a store again that holds very many points.

From the journal alone, as after a crash, and from the snapshot. Each measurement is a new process, from after
``import track.persistence.local`` on. Then one metric, read from the snapshot, as arrays and as a data frame, beside
the same made point by point.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from _common import MISSED, Row, against, at_most, fresh, fresh_and_killed, median_fresh, new_trial, run


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
    uri = f"file:{here / '1.json'}"
    taken = [fresh(forms, uri) for _ in range(rounds)]
    values, lists, arrays, by_point, frame = (statistics.median(column) * 1e3 for column in zip(*taken, strict=True))
    return [
        *rows,
        Row(f"decoding the metric of {points:,} points", f"{values:,.1f} ms"),
        against("as arrays, times too", arrays, lists, "as lists", "ms"),
        against("as a data frame", frame, by_point, "point by point", "ms", 1),
    ]


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


def forms(uri: str) -> tuple[float, ...]:
    """Return the seconds to decode a metric, and then for it as lists, as arrays, and as a frame in two ways."""
    import pandas

    import track

    _, trial = _fetch(uri)
    loss, taken = None, []

    def rows_of_frame() -> Any:
        rows = loss.rows()
        return pandas.Series([value for _, value, _ in rows], index=[step for step, _, _ in rows]).to_frame("loss")

    def decode() -> None:
        nonlocal loss
        loss = trial.metrics["loss"]

    forms = (
        decode,
        lambda: (loss.points.steps(), loss.points.values(), loss.points.times()),
        lambda: loss.to_numpy(times=True),
        rows_of_frame,
        lambda: track.to_pandas(trial, "loss"),
    )
    for form in forms:
        start = time.perf_counter()
        form()
        taken.append(time.perf_counter() - start)
    return tuple(taken)


def count(uri: str) -> int:
    _, trial = _fetch(uri)
    return sum(len(metric.points.values()) for metric in trial.metrics.values())


if __name__ == "__main__":
    run(__doc__, measure, points=(1_000_000, 4_000), rounds=(5, 1))
