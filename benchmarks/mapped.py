"""What a mapped file would save a log call (on Linux).

The same facts, encoded by msgspec, are handed over in several ways that all survive SIGKILL, in turns in one process:
``write(2)`` to a file that is appended to, and a copy into a shared mapping of a file whose room was made before
(``fallocate``: a full disk is an error there, not a SIGBUS), under a lock that threads need, with a length that says
how far the lines are whole. Room is made in blocks, whose pages are made ready at once, or each when it is first
touched. The last way copies into a few pages that stay ready, and writes these when they are full. ``track``'s own call
on ``file:`` stands beside them.

Once with one call after another, where the mean is that of all calls, with those that make room, and by the processor's
time, which other programs disturb little; once at 100 calls a second, where each way has a second of its own in turn,
and pages were written back by the system meanwhile.
"""

from __future__ import annotations

import functools
import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import MET, MISSED, cost_of, fresh, new_trial, run, time_calls, timer_cost

HEADER = ("what", "calls", "median", "mean", "p99", "against write(2)", "processor", "against write(2)", "verdict")
_POPULATE = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which Python does not name."""
_START = 8
_PACE = 0.01
_FLOOR, _TRACK, _LIMIT = "write(2)", "track, file:", 1.5
Call = Callable[[int], Any]


@dataclass(frozen=True)
class Way:
    """One line of the table."""

    what: str
    calls: str
    median: str
    mean: str
    p99: str
    ratio: str
    processor: str
    processor_ratio: str
    verdict: str


class Mapped:
    """A file of lines that is mapped, a block more at a time; its first eight bytes say how far it is whole."""

    def __init__(self, path: Path, block: int, are_ready: bool) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._block = block
        self._are_ready = are_ready
        self._lock = threading.RLock()
        self._end, self._room = _START, 0
        self._grow()

    def write(self, line: bytes) -> None:
        with self._lock:
            start = self._end
            end = start + len(line)
            if end > self._room:
                self._grow()
            self._memory[start:end] = line
            # Only now: what is beyond does not exist.
            self._end = self._length[0] = end

    def _grow(self) -> None:
        os.posix_fallocate(self._file, self._room, self._block)
        room = self._room + self._block
        self._memory = mmap.mmap(self._file, room)
        if self._are_ready:
            self._memory.madvise(_POPULATE, self._room, self._block)
        self._length, self._room = memoryview(self._memory).cast("Q"), room


class Emptied:
    """A few mapped pages that are written to the file of lines when they are full, and begin again."""

    def __init__(self, path: Path, pages: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._tail = Mapped(path.with_suffix(".tail"), pages, are_ready=True)
        self._room = pages

    def write(self, line: bytes) -> None:
        tail = self._tail
        with tail._lock:
            if tail._end + len(line) > self._room:
                os.write(self._file, memoryview(tail._memory)[_START : tail._end])
                tail._end = tail._length[0] = _START
            tail.write(line)


def measure(folder: str, calls: int, rounds: int, paced: int) -> list[Way]:
    rows: list[Way] = fresh(_measure, folder, calls, rounds, paced)
    return rows


def _measure(folder: str, calls: int, rounds: int, paced: int) -> list[Way]:
    ways = _ways(Path(folder))
    overhead = timer_cost()
    taken, spent = _at_once(ways, calls, rounds)
    slow = _at_a_pace(ways, 2 * calls * (rounds + 1), paced)
    return _rows("one after another", taken, overhead, spent) + _rows("100 a second", slow, overhead)


def _rows(calls: str, taken: dict[str, list[int]], overhead: float, spent: dict[str, float] | None = None) -> list[Way]:
    """Return the row of each way: the nanoseconds of its calls, and maybe the processor's microseconds of one."""
    costs = {name: cost_of(times, overhead) for name, times in taken.items()}
    rows = []
    for name, cost in costs.items():
        median, mean, p99 = (f"{part:,.2f} us" for part in (cost.median, cost.mean, cost.p99))
        ratio = f"{cost.mean / costs[_FLOOR].mean:.2f}"
        if spent is None:
            rows.append(Way(name, calls, median, mean, p99, ratio, "", "", ""))
            continue
        by_processor = spent[name] / spent[_FLOOR]
        verdict = "" if name != _TRACK else MET if by_processor <= _LIMIT else MISSED
        rows.append(Way(name, calls, median, mean, p99, ratio, f"{spent[name]:.2f} us", f"{by_processor:.2f}", verdict))
    return rows


def _at_once(ways: dict[str, Call], calls: int, rounds: int) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Return the nanoseconds of each call, and what calls that are not timed one by one take of the processor."""
    taken: dict[str, list[int]] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    for number in range(rounds + 1):
        for name, call in ways.items():
            first = 2 * number * calls
            times, start = time_calls(call, first, calls), time.process_time_ns()
            for step in range(first + calls, first + 2 * calls):
                call(step)
            # The first round warms up.
            if number:
                spent[name] += (time.process_time_ns() - start) / calls / rounds / 1000
                taken[name] += times
    return taken, spent


def _at_a_pace(ways: dict[str, Call], first: int, paced: int) -> dict[str, list[int]]:
    """Return the times of calls at 100 a second, so many of each way."""
    taken: dict[str, list[int]] = {name: [] for name in ways}
    names, turn = list(ways), max(1, min(100, paced))
    start = time.monotonic()
    for number in range(paced * len(names)):
        name = names[number // turn % len(names)]
        time.sleep(max(0.0, start + number * _PACE - time.monotonic()))
        taken[name] += time_calls(ways[name], first + number, 1)
    return taken


def _ways(folder: Path) -> dict[str, Call]:
    lines = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    trial = new_trial(f"file:{folder / 'store.json'}")
    return {
        _FLOOR: _encoding(functools.partial(os.write, lines)),
        "mapping, 16 MB, pages when touched": _encoding(Mapped(folder / "touched", 16 << 20, are_ready=False).write),
        "mapping, 256 kB, pages at once": _encoding(Mapped(folder / "small", 1 << 18, are_ready=True).write),
        "mapping, 4 MB, pages at once": _encoding(Mapped(folder / "large", 1 << 22, are_ready=True).write),
        "64 kB mapped, and written when full": _encoding(Emptied(folder / "emptied", 1 << 16).write),
        _TRACK: lambda step: trial.log_metrics(step=step, loss=1 / (step + 1), acc=0.37 + step),
    }


def _encoding(write: Callable[[bytes], Any]) -> Call:
    """Return what encodes the facts of a log call, and hands them over."""
    import msgspec

    encode, clock = msgspec.json.Encoder().encode, time.time

    def call(step: int) -> None:
        values = {"loss": 1 / (step + 1), "acc": 0.37 + step}
        facts = {"event": "metrics", "trial": "0" * 66, "values": values, "at": clock(), "step": step}
        write(encode(facts) + b"\n")

    return call


if __name__ == "__main__":
    run(__doc__, measure, header=HEADER, calls=(5_000, 300), rounds=(40, 2), paced=(500, 3))
