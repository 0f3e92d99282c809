"""How much 8 processes log to one trial, against one.

Each process calls ``log_metrics`` as fast as it can, all to the same trial; rounds of one process and of all
alternate. The limit is one process's rate, times the cores there are. Plain appends of the same line by as many
processes show what the operating system allows: to one file, whose appends it does one after another, and to a file
each.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, cores, fresh, new_trial, run

LINE = b'{"event":"metrics_logged","trial":"%s","values":{"loss":%a,"acc":0.5},"at":%a,"step":%d}\n'


def measure(folder: str, processes: int, calls: int, rounds: int) -> list[Row]:
    here = Path(folder)
    uri = f"file:{here / 'store.json'}"
    uid = fresh(_create, uri)
    (here / "lines").touch()
    rates: dict[tuple[str, int], list[float]] = {}
    logged = 0
    for _ in range(rounds):
        for number in (1, processes):
            for name, work, place in (
                ("track", _log, (uri, uid)),
                ("write", _write, str(here / "lines")),
                ("apart", _write_apart, str(here)),
            ):
                rates.setdefault((name, number), []).append(_rate(work, place, number, calls, logged))
            logged += number * calls
    rate = {key: statistics.median(values) for key, values in rates.items()}
    usable = min(cores(), processes)
    kept = fresh(_count, uri)
    lines = (here / "lines").read_bytes().count(b"\n")
    return [
        _scaling("track", rate["track", 1], rate["track", processes], processes, usable, is_target=True),
        _scaling("os.write, one file", rate["write", 1], rate["write", processes], processes, usable, is_target=False),
        _scaling(
            "os.write, a file each", rate["apart", 1], rate["apart", processes], processes, usable, is_target=False
        ),
        _share(rate, processes),
        _kept("track: points kept", kept, logged),
        _kept("os.write: lines kept", lines, logged),
    ]


def _scaling(name: str, one: float, together: float, processes: int, usable: int, is_target: bool) -> Row:
    ratio = together / (one * usable)
    verdict = (MET if ratio >= 1 else MISSED) if is_target else ""
    peer = f"1 process: {one:,.0f} calls/s x {usable} cores"
    measured = f"{together:,.0f} calls/s"
    return Row(f"{name}: {processes} processes together", measured, peer, f"{ratio:.2f} (at least 1)", verdict)


def _share(rate: dict[tuple[str, int], float], processes: int) -> Row:
    """Compare how many times one process's rate the processes reach: with track, and with a file each."""
    mine, machine = (rate[name, processes] / rate[name, 1] for name in ("track", "apart"))
    what = f"track: {processes} processes, times one"
    return Row(what, f"{mine:.2f}", f"a file each: {machine:.2f}", f"{mine / machine:.2f}")


def _kept(what: str, kept: int, logged: int) -> Row:
    return Row(what, f"{kept:,}", f"logged: {logged:,}", f"{kept / logged:.4f}", MET if kept == logged else MISSED)


def _rate(work: Callable[..., Any], place: Any, processes: int, calls: int, first: int) -> float:
    """Return the calls a second of `processes` processes that start together."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.Queue()
    children = [
        context.Process(target=work, args=(place, first + number * calls, calls, barrier, times))
        for number in range(processes)
    ]
    for child in children:
        child.start()
    spans = [times.get(timeout=300) for _ in children]
    for child in children:
        child.join()
    return processes * calls / (max(end for _, end in spans) - min(start for start, _ in spans))


def _log(place: tuple[str, str], first: int, calls: int, barrier: Any, times: Any) -> None:
    from track import TrackClient

    client = TrackClient(place[0])
    trial = client.set_trial(uid=place[1])
    trial.log_metrics(step=-1, loss=0.0)
    barrier.wait()
    start = time.monotonic()
    for step in range(first, first + calls):
        trial.log_metrics(step=step, loss=0.25 * step, acc=0.5)
    times.put((start, time.monotonic()))


def _write(path: str, first: int, calls: int, barrier: Any, times: Any) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    uid = b"b" * 66
    barrier.wait()
    start = time.monotonic()
    for step in range(first, first + calls):
        os.write(descriptor, LINE % (uid, 0.25 * step, time.time(), step))
    times.put((start, time.monotonic()))


def _write_apart(folder: str, first: int, calls: int, barrier: Any, times: Any) -> None:
    path = Path(folder) / f"lines-{os.getpid()}"
    path.touch()
    _write(str(path), first, calls, barrier, times)


def _create(uri: str) -> str:
    return new_trial(uri).trial.uid


def _count(uri: str) -> int:
    import track

    steps = track.fetch(uri)[0].metrics["loss"]
    return sum(step >= 0 for step in steps)


if __name__ == "__main__":
    run(__doc__, measure, processes=(8, 2), calls=(50_000, 200), rounds=(5, 1))
