"""The cost of one log call.

``trial.log_metrics(step=i, loss=..., acc=...)`` on ``file:`` and on ``ephemeral:``, and an empty
``with trial.chrono('x'):``, against ``os.write`` in the same run: of the same line formatted with ``%``, with all
digits and with six (``%g``), and of a constant line. Then the same with very many points in the trial against few.

Medians and means are by the clock; the processor's time of such calls, which other programs disturb little and which
has all work in it that is done once in many calls, is measured after them, in turns.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import (
    Cost,
    Row,
    against,
    at_most,
    cost_of,
    fresh,
    interleaved,
    median_cost,
    new_trial,
    run,
    time_calls,
    timer_cost,
)

LINE = b'{"event":"metrics_logged","trial":"%s","values":{"loss":%a,"acc":%a},"at":%a,"step":%d}\n'
ROUNDED = LINE.replace(b"%a", b"%g")
_random = random.Random(0)
VALUES = [_random.random() for _ in range(1024)]


def measure(folder: str, calls: int, rounds: int, points: int) -> list[Row]:
    # In a process of its own, whose stores are closed before their folder is removed.
    rows: list[Row] = fresh(_measure, folder, calls, rounds, points)
    return rows


def _measure(folder: str, calls: int, rounds: int, points: int) -> list[Row]:
    here = Path(folder)
    trial, memory = new_trial(f"file:{here / 'store.json'}"), new_trial("ephemeral:")
    written = os.open(here / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    constant = os.open(here / "constant", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    uid = trial.trial.uid.encode()
    logging = {"file": _logging(trial), "memory": _logging(memory), "encoded": _encoding(written, uid.decode())}
    cost = interleaved(
        {
            **logging,
            "formatted": _writing(written, uid, LINE),
            "rounded": _writing(written, uid, ROUNDED),
            "constant": _writing_constant(constant, uid),
            "chrono": _timing(trial),
            "chrono in memory": _timing(memory),
        },
        rounds,
        calls,
    )
    spent = _processor(logging, rounds, calls)
    os.close(written)
    os.close(constant)
    line, rounded = cost["formatted"], cost["rounded"]
    rows = [
        against(f"file: {part}", getattr(cost["file"], part), getattr(line, part), "formatted write", "us", limit)
        for part, limit in (("median", 2.5), ("mean", 2.5), ("p99", 5))
    ]
    rows.append(against("file: mean", cost["file"].mean, rounded.mean, "write with %g", "us", 2.5))
    for part in ("median", "mean"):
        mine, memory_only = getattr(cost["file"], part), getattr(cost["memory"], part)
        rows.append(against(f"file: {part}", mine, getattr(cost["encoded"], part), "encode and write(2)", "us", 1.5))
        rows.append(against(f"ephemeral: {part}", memory_only, mine, "file", "us", 0.6))
    file, floor = spent["file"], spent["encoded"]
    rows.append(against("file: processor, mean", file, floor, "encode and write(2)", "us", 1.5))
    rows.append(against("ephemeral: processor, mean", spent["memory"], file, "file", "us", 0.6))
    for part in ("median", "mean"):
        mine = getattr(cost["memory"], part)
        rows.append(against(f"ephemeral: {part}", mine, getattr(line, part), "formatted write", "us", 1.5))
        rows.append(against(f"ephemeral: {part}", mine, getattr(rounded, part), "write with %g", "us", 1.5))
        rows.append(against(f"ephemeral: {part}", mine, getattr(cost["constant"], part), "constant write", "us"))
    rows.append(at_most("file: empty chrono block, median", cost["chrono"].median, 6, "us"))
    rows.append(at_most("file: empty chrono block, mean", cost["chrono"].mean, 6, "us"))
    rows.append(at_most("ephemeral: empty chrono block, mean", cost["chrono in memory"].mean, 6, "us"))
    for scheme in ("file", "ephemeral"):
        many, few = _many_against_few(here, scheme, points, rounds)
        for part in ("median", "mean"):
            limit = 1.1 if scheme == "file" else None
            what = f"{scheme}: {part} at {points:,} points"
            rows.append(against(what, getattr(many, part), getattr(few, part), "at 1,000", "us", limit))
    return rows


def _processor(calls: dict[str, Callable[[int], Any]], rounds: int, count: int) -> dict[str, float]:
    """Return the microseconds of the processor that each call takes, in turns: the median of the rounds."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            start = time.process_time_ns()
            for index in range(number * count, (number + 1) * count):
                call(index)
            found[name].append((time.process_time_ns() - start) / count / 1000)
    return {name: statistics.median(spent) for name, spent in found.items()}


def _logging(trial: Any) -> Callable[[int], None]:
    values = VALUES

    def call(index: int) -> None:
        trial.log_metrics(step=index, loss=values[index & 1023], acc=values[index & 511])

    return call


def _writing(descriptor: int, uid: bytes, line: bytes) -> Callable[[int], None]:
    # The line says when it was written: the clock is part of it.
    from time import time

    write, values = os.write, VALUES

    def call(index: int) -> None:
        write(descriptor, line % (uid, values[index & 1023], values[index & 511], time(), index))

    return call


def _encoding(descriptor: int, uid: str) -> Callable[[int], None]:
    """Return what encodes the facts of a log call, and writes them: the floor of what is kept so."""
    from time import time

    import msgspec

    encode, write, values = msgspec.json.Encoder().encode, os.write, VALUES

    def call(index: int) -> None:
        numbers = {"loss": values[index & 1023], "acc": values[index & 511]}
        facts = {"event": "metrics", "trial": uid, "values": numbers, "at": time(), "step": index}
        write(descriptor, encode(facts) + b"\n")

    return call


def _writing_constant(descriptor: int, uid: bytes) -> Callable[[int], None]:
    write, line = os.write, LINE % (uid, VALUES[0], VALUES[1], 1700000000.123456, 1000)

    def call(index: int) -> None:
        write(descriptor, line)

    return call


def _timing(trial: Any) -> Callable[[int], None]:
    def call(index: int) -> None:
        with trial.chrono("x"):
            pass

    return call


def _many_against_few(folder: Path, scheme: str, points: int, rounds: int) -> tuple[Cost, Cost]:
    """Log in turn to a trial that has `points` points, in a store of its own, and to new ones that have 1,000."""
    places = [f"file:{folder / name}.json" if scheme == "file" else "ephemeral:" for name in ("many", "few")]
    many = _logging(new_trial(places[0]))
    for index in range(points // 2):
        many(index)
    overhead = timer_cost()
    found: dict[bool, list[Cost]] = {True: [], False: []}
    for number in range(rounds):
        few = _logging(new_trial(places[1], number=number))
        for call, start in ((many, points + 1500 * number), (few, 0)):
            # Both begin with 500 calls, 1,000 points, that do not count.
            time_calls(call, start, 500)
            found[call is many].append(cost_of(time_calls(call, start + 500, 1000), overhead))
    return median_cost(found[True]), median_cost(found[False])


if __name__ == "__main__":
    run(__doc__, measure, calls=(5_000, 300), rounds=(15, 2), points=(1_000_000, 4_000))
