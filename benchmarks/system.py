"""What it costs to look at the machine while a trial runs: processor time of a look and of a record, in microseconds.

A look is what `trial.monitor` does each second: all parts together, each alone, and what psutil takes for the same
numbers in the same run. A record is what a tick logs, to memory and to a file; with a tick of ten seconds it comes once
for ten looks. Last, a training that logs as fast as it can with a monitor and without one, in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import Row, against, at_most, fresh, run

LIMIT = 100.0
"""Microseconds of the processor of a tick."""
_LOOKS = 10


def measure(folder: str, looks: int, steps: int) -> list[Row]:
    parts, theirs = fresh(_looks, looks)
    rows = [Row(f"look: {name}", f"{cost:.1f} us") for name, cost in parts.items()]
    whole = sum(parts.values())
    rows.append(at_most("look, all of it", whole, LIMIT, "us"))
    if theirs is None:
        rows.append(Row("psutil", "not installed"))
    else:
        rows.append(against("look, the same numbers by psutil", whole, theirs, "psutil", "us", 1.0))
    for uri in ("ephemeral:", f"file:{Path(folder) / 'ticks'}"):
        cost = fresh(_record, uri, looks)
        rows.append(Row(f"record to {uri.partition(':')[0]}", f"{cost:.1f} us"))
        rows.append(at_most(f"a second to {uri.partition(':')[0]}", whole + cost / _LOOKS, LIMIT, "us"))
    on, off = fresh(_training, str(Path(folder) / "training"), steps)
    rows.append(against("log call beside a monitor", on, off, "without", "us", 1.05))
    return rows


def _cost(action: Callable[[], Any], count: int) -> float:
    """Return the processor time of a call in microseconds: the median of some rounds."""
    action()
    found = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            action()
        found.append((time.process_time() - start) / count * 1e6)
    return statistics.median(found)


def _looks(count: int) -> tuple[dict[str, float], float | None]:
    from track.utils.usage import Usage

    usage = Usage()
    parts = {
        part.__name__.strip("_"): _cost(lambda part=part: part({}, time.monotonic()), count)  # type: ignore[misc]
        for part in usage._parts
    }
    try:
        import psutil
    except ImportError:
        return parts, None
    process = psutil.Process()

    def look() -> None:
        psutil.cpu_times()
        psutil.virtual_memory()
        process.cpu_times()
        process.memory_info()
        process.io_counters()
        psutil.disk_io_counters()
        psutil.disk_usage(".")
        psutil.net_io_counters()

    return parts, _cost(look, count)


def _record(uri: str, count: int) -> float:
    from track import TrackClient
    from track.front.system import Monitored, recorder
    from track.utils.usage import Usage

    usage = Usage()
    usage.read()
    seen = usage.read()
    with TrackClient(uri).new_trial(parameters={"a": 1}) as trial:
        monitored = Monitored(recorder(trial.protocol, trial.trial), 0.0)

        def tick() -> None:
            monitored.take(seen, 1.0)

        return _cost(tick, count)


def _training(path: str, steps: int) -> tuple[float, float]:
    from track import TrackClient

    costs: dict[float, list[float]] = {1.0: [], 0.0: []}
    for number in range(6):
        for every, found in costs.items():
            client = TrackClient(f"file:{path}-{number}-{every}")
            with client.new_trial(parameters={"number": number}).monitor(every=every) as trial:
                start = time.process_time()
                for step in range(steps):
                    trial.log_metrics(step=step, loss=0.5)
                found.append((time.process_time() - start) / steps * 1e6)
    return statistics.median(costs[1.0]), statistics.median(costs[0.0])


if __name__ == "__main__":
    run(__doc__, measure, looks=(500, 5), steps=(100_000, 500))
