"""What the benchmarks share: fair timing, fresh processes, and the table that each prints."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

# The library beside this folder is measured, in child processes too, whatever else is installed.
ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))

HEADER = ("what", "measured", "limit or peer in the same run", "ratio", "verdict")
MET, MISSED = "met", "missed"


@dataclass(frozen=True)
class Row:
    """One line of a table; `verdict` is empty where there is nothing to reach."""

    what: str
    measured: str
    against: str = ""
    ratio: str = ""
    verdict: str = ""


def at_most(what: str, measured: float, limit: float, unit: str) -> Row:
    """Return the row of a figure that has a limit in the same unit."""
    verdict = MET if measured <= limit else MISSED
    return Row(what, f"{measured:,.3g} {unit}", f"at most {limit:g} {unit}", f"{measured / limit:.2f}", verdict)


def against(what: str, measured: float, peer: float, name: str, unit: str, limit: float | None = None) -> Row:
    """Return the row of a figure compared with another of the same run, maybe with a largest ratio."""
    ratio = measured / peer
    verdict = "" if limit is None else MET if ratio <= limit else MISSED
    allowed = "" if limit is None else f" (at most {limit:g})"
    return Row(what, f"{measured:,.2f} {unit}", f"{name}: {peer:,.2f} {unit}", f"{ratio:.2f}{allowed}", verdict)


def print_table(title: str, rows: Iterable[Any], header: tuple[str, ...] = HEADER) -> None:
    """Print the rows, whose fields are texts, below their header, in aligned columns."""
    lines = [header, *map(astuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}\n")
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    sys.stdout.flush()


def run(
    document: str,
    measure: Callable[..., list[Any]],
    header: tuple[str, ...] = HEADER,
    **sizes: tuple[int, int],
) -> None:
    """Read the command line, print the table of `measure`, and exit: 1 with ``--strict`` when a row is missed.

    Parameters
    ----------
    document: str
        The script's docstring; its first line is the title.
    measure: callable
        Gets the folder to work in and each size, and returns the rows: each a `Row`, or what `header` is above.
    header: tuple of str
        Of the columns.
    **sizes
        Option by name: its value, and its value with ``--quick``.
    """
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: seconds, and figures that mean little")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--folder", default=None, help="where the stores are written; a temporary one by default")
    for name, (full, quick) in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=None, help=f"{full:,} by default, {quick:,} with --quick")
    options = vars(parser.parse_args())
    quick, strict, parent = options.pop("quick"), options.pop("strict"), options.pop("folder")
    chosen = {name: sizes[name][1 if quick else 0] if value is None else value for name, value in options.items()}
    with tempfile.TemporaryDirectory(prefix="track-benchmark-", dir=parent) as folder:
        rows = measure(folder, **chosen)
    said = ", ".join(f"{name} {value:,}" for name, value in chosen.items())
    print_table(f"{document.splitlines()[0].rstrip('.')} ({said})", rows, header)
    sys.exit(1 if strict and any(MISSED in astuple(row) for row in rows) else 0)


# Timing


@dataclass(frozen=True)
class Cost:
    """Microseconds a call: what most calls take, what they take together, and the slowest in a hundred."""

    median: float
    mean: float
    p99: float


def cost_of(nanoseconds: list[int], overhead: float = 0.0) -> Cost:
    """Return the cost of calls that took so long, less the timer's own."""
    ordered = sorted(nanoseconds)
    parts = (ordered[len(ordered) // 2], sum(ordered) / len(ordered), ordered[int(len(ordered) * 0.99)])
    return Cost(*((part - overhead) / 1000 for part in parts))


def time_calls(call: Callable[[int], Any], first: int, count: int) -> list[int]:
    """Return the nanoseconds of each of ``call(first)``, ``call(first + 1)``, ..."""
    clock = time.perf_counter_ns
    taken = [0] * count
    for index in range(count):
        start = clock()
        call(first + index)
        taken[index] = clock() - start
    return taken


def timer_cost() -> float:
    """Return the nanoseconds that `time_calls` adds to each call."""
    return statistics.median(time_calls(lambda _: None, 0, 20_000))


def interleaved(calls: dict[str, Callable[[int], Any]], rounds: int, count: int) -> dict[str, Cost]:
    """Return the cost of each call: medians over rounds of `count` calls, A B C A B C ...

    What else the machine does falls on all of them, and the timer's own cost is subtracted from all.
    """
    overhead = timer_cost()
    found: dict[str, list[Cost]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = time_calls(call, number * count, count)
            # The first round warms up.
            if number:
                found[name].append(cost_of(taken, overhead))
    return {name: median_cost(costs) for name, costs in found.items()}


def median_cost(costs: list[Cost]) -> Cost:
    """Return the median of each part."""
    parts = ([getattr(cost, part) for cost in costs] for part in ("median", "mean", "p99"))
    return Cost(*(statistics.median(values) for values in parts))


# Processes


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)``, called in a new Python process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def fresh_and_killed(function: Callable[..., Any], *arguments: Any) -> None:
    """Call ``function(*arguments)`` in a new process that dies by SIGKILL right after: nothing is tidied up."""
    child = multiprocessing.get_context("spawn").Process(target=_call_and_die, args=(function, *arguments))
    child.start()
    child.join()
    if child.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"{function.__name__} failed in its process")


def _call_and_die(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


def median_fresh(rounds: int, function: Callable[..., float], *arguments: Any) -> float:
    """Return the median of what `function` returns in `rounds` new processes."""
    return statistics.median(fresh(function, *arguments) for _ in range(rounds))


def resident_bytes() -> int:
    """Return the memory of this process that is in use now (Linux), or its largest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return pages * os.sysconf("SC_PAGE_SIZE")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Track


def new_trial(uri: str, **parameters: Any) -> Any:
    """Return a running trial in the store at `uri`."""
    from track import TrackClient

    client = TrackClient(uri)
    client.set_project(name="benchmark")
    trial = client.new_trial(parameters=parameters)
    trial.start()
    return trial
