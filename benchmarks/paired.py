"""A log call, a decision and a whole trial, against another version of the library.

``TRACK_BEFORE`` names the folder of the other version, a checkout of an earlier commit (``git worktree add ../before
COMMIT``). Processes of the two take turns, and each row is a median over them. Without it the library is compared with
itself, which shows how much the machine itself makes of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _common import ROOT, Row, against, run

LIMIT = 1.05
URIS = {"ephemeral": "ephemeral:", "file": "file://store.json", "sqlite": "sqlite:///store.db"}


def measure(folder: str, rounds: int, calls: int) -> list[Row]:
    before = str(Path(os.environ.get("TRACK_BEFORE", ROOT)).resolve())
    taken: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
    for number in range(rounds):
        turns = [("before", before), ("now", ROOT)]
        for name, root in turns if number % 2 else reversed(turns):
            place = Path(folder) / f"{name}-{number}"
            place.mkdir()
            taken[name].append(_in_process(root, place, calls))
    return [
        _row(what, *([each[what] for each in taken[name]] for name in ("before", "now"))) for what in taken["now"][0]
    ]


def _row(what: str, before: list[float], now: list[float]) -> Row:
    return against(what, statistics.median(now), statistics.median(before), "before", "us", LIMIT)


def _in_process(root: str, place: Path, calls: int) -> dict[str, float]:
    environment = {**os.environ, "TRACK_LOG_SPILL_FOLDER": str(place / "spill")}
    command = [sys.executable, __file__, "measured", root, str(calls)]
    done = subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(root: str, calls: int) -> dict[str, float]:
    """Return the microseconds of each call in this process, with the library in the folder `root`."""
    sys.path.insert(0, root)
    import track
    from track import TrackClient

    if not Path(track.__file__).is_relative_to(Path(root).resolve()):
        raise RuntimeError(f"{root} has no library: {track.__file__} would be measured")
    taken = {}
    for name, uri in URIS.items():
        client = TrackClient(uri)
        client.set_project(name="paired")
        trials = (client.new_trial(parameters={"number": number}, force=True) for number in range(10**9))
        taken[f"new_trial, {name}"] = _median(trials.__next__, calls)
        taken[f"new_trial and an empty with, {name}"] = _median(lambda trials=trials: _whole(next(trials)), calls)
        trial = next(trials)
        taken[f"log_metrics, {name}"] = _median(lambda trial=trial: trial.log_metrics(step=3, loss=0.5), calls * 20)
        client.protocol.flush()
    return taken


def _whole(trial: object) -> None:
    with trial:  # type: ignore[attr-defined]
        pass


def _median(call: Callable[[], object], count: int) -> float:
    costs = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            call()
        costs.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(costs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measured"]:
        print(json.dumps(_measured(sys.argv[2], int(sys.argv[3]))))
    else:
        run(__doc__, measure, rounds=(8, 1), calls=(40, 5))
