"""A log call, a decision, a whole trial and a server's part of them, against another version of the library.

``TRACK_BEFORE`` names the folder of the other version, a checkout of an earlier commit (``git worktree add ../before
COMMIT``). Processes of the two take turns. Without it the library is compared with itself, which shows how much the
machine itself makes of it.

Two times are measured. The wall's is that of the call, as the program waits for it. The processor's is that of all
threads of the process, until what was logged is delivered: other programs disturb it little, so the target is for this
one. Of each process the best of some repetitions counts. Shown are the least of all rounds, and as the ratio the median
of the ratios of the rounds.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _common import MET, MISSED, ROOT, run

LIMIT = 1.05
REPETITIONS = 5
URIS = {"ephemeral": "ephemeral:", "file": "file:store.json", "sqlite": "sqlite:store.db"}
SERVED = {"ephemeral": "ephemeral:", "file": "file:served.json"}
HEADER = ("what", "wall", "before", "ratio", "processor", "before", "ratio", "verdict")
Call = Callable[[], object]
Found = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Compared:
    """One line of the table."""

    what: str
    wall: str
    wall_before: str
    wall_ratio: str
    processor: str
    processor_before: str
    processor_ratio: str
    verdict: str


def measure(folder: str, rounds: int, calls: int) -> list[Compared]:
    other = str(Path(os.environ.get("TRACK_BEFORE", ROOT)).resolve())
    taken: dict[str, list[Found]] = {"before": [], "now": []}
    for number in range(rounds):
        turns = [("before", other), ("now", ROOT)]
        for name, root in turns if number % 2 else reversed(turns):
            place = Path(folder) / f"{name}-{number}"
            place.mkdir()
            taken[name].append(_in_process(root, place, calls))
    rounds_of = list(zip(taken["now"], taken["before"], strict=True))
    return [_row(what, [(now[what], before[what]) for now, before in rounds_of]) for what in rounds_of[0][0]]


def _row(what: str, pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> Compared:
    texts: list[str] = []
    for clock in range(2):
        texts += [f"{min(each[side][clock] for each in pairs):,.2f} us" for side in range(2)]
        ratio = statistics.median(now[clock] / before[clock] for now, before in pairs)
        texts.append(f"{ratio:.3f}")
    return Compared(what, *texts, MET if ratio <= LIMIT else MISSED)


def _in_process(root: str, place: Path, calls: int) -> Found:
    environment = {**os.environ, "PYTHONPATH": root, "TRACK_LOG_SPILL_FOLDER": str(place / "spill")}
    command = [sys.executable, __file__, "measured", root, str(calls)]
    done = subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: Found = json.loads(done.stdout)
    return found


def _measured(root: str, calls: int) -> Found:
    """Return the microseconds of each call in this process, by both clocks, with the library in the folder `root`."""
    sys.path.insert(0, root)
    import track

    if not Path(track.__file__).is_relative_to(Path(root).resolve()):
        raise RuntimeError(f"{root} has no library: {track.__file__} would be measured")
    taken = {}
    for name, uri in URIS.items():
        for what, call, flush, count in _calls(uri, calls):
            taken[f"{what}, {name}"] = _least(call, flush, count, time.process_time)
    for name, uri in SERVED.items():
        with _serving(uri) as (port, processor):
            for what, call, flush, count in _calls(f"socket://127.0.0.1:{port}", calls):
                taken[f"{what}, a server's part into {name}"] = _least(call, flush, count, processor)
    return taken


def _calls(uri: str, calls: int) -> Iterator[tuple[str, Call, Call, int]]:
    """Yield what is called, how, what ends its delivery, and how often."""
    from track import TrackClient

    client = TrackClient(uri)
    client.set_project(name="paired")
    flush = client.protocol.flush
    trials = (client.new_trial(parameters={"number": number}, force=True) for number in range(10**9))
    yield "new_trial", trials.__next__, flush, calls
    yield "new_trial and an empty with", lambda: _whole(next(trials)), flush, calls
    trial = next(trials)
    yield "log_metadata", lambda: trial.log_metadata(note=3), flush, calls * 10
    yield "log_metrics", lambda: trial.log_metrics(step=3, loss=0.5), flush, calls * 50
    trial.finish()
    client.protocol.close()


def _whole(trial: object) -> None:
    with trial:  # type: ignore[attr-defined]
        pass


def _least(call: Call, flush: Call, count: int, processor: Callable[[], float]) -> tuple[float, float]:
    call()
    flush()
    costs = []
    for _ in range(REPETITIONS):
        spent, start = processor(), time.perf_counter()
        for _ in range(count):
            call()
        wall = time.perf_counter() - start
        flush()
        costs.append((wall / count * 1e6, (processor() - spent) / count * 1e6))
    return min(wall for wall, _ in costs), min(spent for _, spent in costs)


@contextlib.contextmanager
def _serving(uri: str) -> Iterator[tuple[int, Callable[[], float]]]:
    """Give the port of a server of the same version, and the seconds of the processor that it has used."""
    command = [sys.executable, "-m", "track", "serve", uri, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2]), lambda: _processor_of(process.pid)
    finally:
        process.terminate()
        process.communicate()


def _processor_of(process: int) -> float:
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    if sys.argv[1:2] == ["measured"]:
        print(json.dumps(_measured(sys.argv[2], int(sys.argv[3]))))
    else:
        run(__doc__, measure, header=HEADER, rounds=(12, 1), calls=(40, 5))
