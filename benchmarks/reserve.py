"""What it costs to take a trial that waits, and to finish it, with one worker and with many.

One worker: with more and more stored trials, half of which are done. Many workers: processes that take trials with
empty bodies until none waits; then the same, while one of them is killed each second, and another takes its place.
Bodies are counted by what they append to a file, not by what the store says: each trial has one, but for those whose
worker was killed in it, and none begins before the one before has ended, or its worker is dead.

The large row of ``file:`` is ``--workers 32 --trials 10000 --others 0``; its limits are those of that row on two cores.
PostgreSQL is measured where it is installed; 0 trials leave rows out.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import statistics
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, at_most, cores, fresh, run

WAITING = {"status": {"$in": ["submitted", "createdgroup", "broken"]}}
ROUNDS = 60
SECONDS, LONGEST_WAIT, AT_MOST = 60.0, 2.0, 2.0
"""Seconds for 10,000 trials, and of one wait in a hundred; milliseconds of one worker."""


def measure(folder: str, workers: int, trials: int, others: int, stored: int) -> list[Row]:
    rows = [_load(workers)]
    with ExitStack() as stack:
        places = {
            "file": lambda name: f"file:{folder}/{name}.json",
            "sqlite": lambda name: f"sqlite:{folder}/{name}.db",
        }
        if (server := _postgres()) is not None:
            stack.callback(server.close)
            places["PostgreSQL"] = lambda name: server.new_database()
        os.environ["TRACK_LOG_SPILL_FOLDER"] = f"{folder}/spill"
        for kind, place in places.items():
            rows += _alone(kind, place, stored)
        for kind, place in places.items():
            count = trials if kind == "file" else others
            if count:
                rows += _together(kind, place("whole"), folder, workers, count, is_killing=False)
                rows += _together(kind, place("killed"), folder, workers, count, is_killing=True)
    return rows


def _load(workers: int) -> Row:
    load = os.getloadavg()[0]
    return Row("the machine", f"{cores()} cores, load {load:.1f} before", f"{workers} workers")


def _postgres() -> Any:
    try:
        from tests.servers.postgres import Postgres, binaries
    except ImportError:
        return None
    return None if binaries() is None else Postgres()


# one worker


def _alone(kind: str, place: Any, stored: int) -> list[Row]:
    found = {}
    for count in sorted({100, max(100, stored // 10), max(100, stored)}):
        uri = place(f"alone-{count}")
        fresh(_fill, uri, count, count // 2 if count > 2 * ROUNDS else 0)
        found[count] = fresh(_reserve_and_finish, uri)
    rows = []
    for count, milliseconds in found.items():
        what = f"{kind}: reserve and finish, {count:,} stored"
        first = next(iter(found.values()))
        row = at_most(what, milliseconds, AT_MOST, "ms") if kind == "file" else Row(what, f"{milliseconds:.2f} ms")
        rows.append(Row(row.what, row.measured, row.against, f"{milliseconds / first:.2f} x the first", row.verdict))
    return rows


def _fill(uri: str, count: int, done: int) -> None:
    """Store trials that wait, after some that are done."""
    from track.events import ProjectCreated, TrialCreated
    from track.persistence import get_protocol

    protocol = get_protocol(uri)
    at = time.time()
    protocol.apply(ProjectCreated("queue", at, "queue"))
    for number in range(count):
        status = ("Completed", 302) if number < done else ("submitted", 2)
        fields = {"project_id": "queue", "parameters": {"number": number}, "status": status}
        protocol.apply(TrialCreated(f"{number:032x}", 0, at, **fields))
    protocol.flush(300)
    protocol.close()


def _reserve_and_finish(uri: str) -> float:
    """Return the milliseconds that it takes to reserve a trial and to finish it: a median."""
    from track.persistence import get_protocol

    protocol = get_protocol(uri)
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        trial = protocol.fetch_and_update_trial(WAITING, "log_trial_start")
        protocol.log_trial_finish(trial, None, None, None)
        protocol.flush()
        taken.append(time.perf_counter() - start)
    protocol.close()
    return statistics.median(taken) * 1000


# many workers


def _together(kind: str, uri: str, folder: str, workers: int, trials: int, is_killing: bool) -> list[Row]:
    fresh(_fill, uri, trials, 0)
    log = Path(folder) / f"bodies-{kind}-{is_killing}"
    log.touch()
    seconds, killed = _run(uri, str(log), workers, is_killing)
    bodies, waits = _read(log)
    done = fresh(_count_done, uri)
    name = f"{kind}: {trials:,} trials, {workers} workers"
    if is_killing:
        faults = _faults(bodies, killed)
        again = sum(map(len, bodies.values())) - len(bodies)
        is_exact = not faults and len(bodies) == done == trials
        said = f"{again} bodies again, {len(killed)} killed, {len(faults)} wrong"
        return [Row(f"{name}, one killed a second", f"{seconds:.1f} s", said, f"{done:,} done", _verdict(is_exact))]
    once = sum(len(of_trial) == 1 for of_trial in bodies.values())
    limit = SECONDS * trials / 10_000
    slow = sorted(waits)[int(len(waits) * 0.99)]
    turns = _bare(f"{folder}/turns-{kind}", workers, trials)
    time_row = Row(name, f"{seconds:.1f} s", f"turns of a bare flock: {turns:.1f} s", f"{seconds / turns:.1f}")
    wait_row = Row(f"{name}: a wait (p99)", f"{slow:.2f} s, median {statistics.median(waits) * 1000:.0f} ms")
    if kind == "file":
        limited = at_most(name, seconds, limit, "s")
        said = f"{limited.against}; turns of a bare flock: {turns:.1f} s"
        time_row = Row(name, limited.measured, said, f"{limited.ratio}; {seconds / turns:.1f}", limited.verdict)
        wait_row = at_most(wait_row.what, slow, LONGEST_WAIT, "s")
    exact = _verdict(once == len(bodies) == done == trials)
    return [time_row, wait_row, Row(f"{name}: bodies run once", f"{once:,}", f"trials: {trials:,}", "", exact)]


def _bare(path: str, workers: int, turns: int) -> float:
    """Return the seconds that as many processes need to take as many turns, each with a read and three lines.

    It is what the operating system asks for that on this machine, whatever else it has to do just now.
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    Path(path).touch()
    children = [context.Process(target=_take_turns, args=(path, turns, ready)) for _ in range(workers)]
    for child in children:
        child.start()
    ready.wait(300)
    start = time.monotonic()
    for child in children:
        child.join()
    return time.monotonic() - start


def _take_turns(path: str, turns: int, ready: Any) -> None:
    descriptor, line, offset = os.open(path, os.O_RDWR | os.O_APPEND), b"x" * 299 + b"\n", 0
    ready.wait(300)
    while True:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        is_over = size >= 3 * turns * len(line)
        if not is_over:
            os.pread(descriptor, size - offset, offset)
            os.write(descriptor, 3 * line)
        offset = size
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        if is_over:
            return


def _verdict(is_met: bool) -> str:
    return MET if is_met else MISSED


def _run(uri: str, log: str, workers: int, is_killing: bool) -> tuple[float, dict[int, float]]:
    """Return the seconds from the common start to the end, and when which process was killed."""
    context = multiprocessing.get_context("spawn")
    ready, begin = context.Barrier(workers + 1), context.Event()
    children = [context.Process(target=_work, args=(uri, log, ready, begin)) for _ in range(workers)]
    for child in children:
        child.start()
    ready.wait(300)
    begin.set()
    start, killed = time.monotonic(), {}
    next_kill = start + 1.0
    while alive := [child for child in children if child.is_alive()]:
        time.sleep(0.02)
        if is_killing and time.monotonic() >= next_kill:
            next_kill += 1.0
            pid = alive[len(killed) % len(alive)].pid
            os.kill(pid, signal.SIGKILL)
            killed[pid] = time.monotonic()
            children.append(context.Process(target=_work, args=(uri, log, None, None)))
            children[-1].start()
    seconds = time.monotonic() - start
    if is_killing:
        # What the last that was killed has left.
        rest = context.Process(target=_work, args=(uri, log, None, None))
        rest.start()
        rest.join()
    return seconds, killed


def _work(uri: str, log: str, ready: Any, begin: Any) -> None:
    from track.errors import BackendUnavailable
    from track.front import reserve
    from track.persistence import get_protocol

    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    pid, protocol = os.getpid(), get_protocol(uri)
    # What is imported and connected at the first decision.
    protocol.atomically(protocol.fetch_projects)
    # Not one that takes the place of another: who is killed in here keeps the others out for ever.
    if ready is not None:
        ready.wait(300)
        begin.wait(300)
    while True:
        asked = time.monotonic()
        try:
            trial = reserve(protocol, WAITING, 600.0)
        except BackendUnavailable:
            break
        if trial is None:
            break
        now = time.monotonic()
        os.write(descriptor, f"{trial.uid} {pid} begin {now} {now - asked}\n".encode())
        os.write(descriptor, f"{trial.uid} {pid} end {time.monotonic()} 0\n".encode())
        protocol.log_trial_finish(trial, None, None, None)
    protocol.close()


def _read(log: Path) -> tuple[dict[str, list[list[Any]]], list[float]]:
    """Return the bodies of each trial (process, begin, end or None), and how long each reservation took."""
    bodies: dict[str, list[list[Any]]] = defaultdict(list)
    waits = []
    for line in log.read_text(encoding="ascii").splitlines():
        uid, pid, what, at, waited = line.split()
        if what == "begin":
            bodies[uid].append([int(pid), float(at), None])
            waits.append(float(waited))
        else:
            next(body for body in bodies[uid] if body[0] == int(pid))[2] = float(at)
    return bodies, waits


def _faults(bodies: dict[str, list[list[Any]]], killed: dict[int, float]) -> list[str]:
    """Return the trials of which a body ran again though its worker was not killed, or before it was dead."""
    wrong = []
    for uid, of_trial in bodies.items():
        for (pid, _, _), (_, began, _) in pairwise(of_trial):
            # The parent notes the time right after the signal.
            if pid not in killed or began < killed[pid] - 0.1:
                wrong.append(uid)
    return wrong


def _count_done(uri: str) -> int:
    from track.persistence import get_protocol

    protocol = get_protocol(uri)
    done = len(protocol.fetch_trials({"status": "completed"}))
    protocol.close()
    return done


if __name__ == "__main__":
    run(__doc__, measure, workers=(8, 2), trials=(2_000, 20), others=(200, 10), stored=(10_000, 100))
