"""What it costs to record where a trial runs: once a process, and at each start of a trial.

Each part alone, in a new process that imports nothing else; all but git together; git by itself. Then ``new_trial`` and
the start of a trial with everything recorded, against the same with nothing, in turn in one process.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from _common import Row, against, at_most, fresh, run

LIMIT = 10.0
"""Milliseconds of all parts but git."""


def measure(folder: str, rounds: int, trials: int) -> list[Row]:
    from track.utils.environment import PARTS

    others = tuple(part for part in PARTS if part != "git")
    rows = [Row(part, f"{_median(rounds, (part,)):.3f} ms") for part in PARTS]
    rows.append(at_most("all but git, once a process", _median(rounds, others), LIMIT, "ms"))
    for scheme in ("file", "sqlite"):
        on, off = fresh(_pairs, f"{scheme}:{Path(folder) / scheme}", trials)
        rows.append(against(f"{scheme}: new_trial, start and end", on, off, "without", "ms", 1.1))
    return rows


def _median(rounds: int, parts: tuple[str, ...]) -> float:
    return statistics.median(fresh(_once, parts) for _ in range(rounds))


def _once(parts: tuple[str, ...]) -> float:
    # Imported by every program that logs.
    import track.client  # noqa: F401
    from track.utils.environment import environment_of

    start = time.perf_counter()
    environment_of(parts)
    return (time.perf_counter() - start) * 1000


def _pairs(uri: str, trials: int) -> tuple[float, float]:
    from track import TrackClient

    costs: dict[bool, list[float]] = {True: [], False: []}
    clients = {chosen: TrackClient(f"{uri}-{chosen}", environment=chosen) for chosen in costs}
    for number in range(trials):
        for chosen, client in clients.items():
            start = time.perf_counter()
            with client.new_trial(parameters={"number": number}):
                pass
            # The first one finds it out.
            if number > trials // 10:
                costs[chosen].append((time.perf_counter() - start) * 1000)
    for client in clients.values():
        client.protocol.close()
    return statistics.median(costs[True]), statistics.median(costs[False])


if __name__ == "__main__":
    run(__doc__, measure, rounds=(9, 1), trials=(400, 20))
