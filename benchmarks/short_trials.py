"""The cost of many short trials, one after another in one file.

Each trial has a client of its own, one parameter and one number. Twice the trials may take 2.2 times as long.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from _common import Row, against, fresh, run


def measure(folder: str, trials: int, rounds: int) -> list[Row]:
    taken: dict[int, list[float]] = {trials: [], 2 * trials: []}
    sizes: dict[int, int] = {}
    for number in range(rounds):
        for count, seconds in taken.items():
            path = Path(folder) / f"{count}-{number}.json"
            seconds.append(fresh(run_trials, f"file:{path}", count))
            sizes[count] = sum(file.stat().st_size for file in Path(folder).glob(f"{path.name}*"))
    few, many = (statistics.median(seconds) for seconds in taken.values())
    return [
        Row(f"{trials:,} trials", f"{few:,.2f} s", "", f"{few / trials * 1e6:,.0f} us a trial"),
        against(f"{2 * trials:,} trials", many, few, f"{trials:,} trials", "s", 2.2),
        Row(
            f"bytes on disk after {2 * trials:,} trials",
            f"{sizes[2 * trials] / 1e6:,.1f} MB",
            f"after {trials:,}: {sizes[trials] / 1e6:,.1f} MB",
            f"{sizes[2 * trials] / sizes[trials]:.2f}",
        ),
    ]


def run_trials(uri: str, count: int) -> float:
    from track import TrackClient

    start = time.perf_counter()
    for number in range(count):
        client = TrackClient(uri)
        client.set_project(name="benchmark")
        with client.new_trial(parameters={"number": number}) as trial:
            trial.log_metrics(step=0, loss=0.5)
    return time.perf_counter() - start


if __name__ == "__main__":
    run(__doc__, measure, trials=(10_000, 50), rounds=(3, 1))
