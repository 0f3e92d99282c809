"""What the end of a run costs, however long it was, and many short ones after another.

The end of a long run: what is left to do for the process after the last log call, ``trial.report(style="table")``
included, and the memory that it adds. Then short trials in one file: a client each in one process, measured in seconds
of a core, since others may work beside it; a process each; and listing very many.
"""

from __future__ import annotations

import contextlib
import io
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _common import Row, against, at_most, fresh, resident_bytes, run

MEBIBYTE = 2**20
ROUNDS_OF_ONE = 5


def measure(folder: str, values: int, short: int, listed: int, points: int, rounds: int) -> list[Row]:
    here = Path(folder)
    return [
        *_long_run(here, values),
        *_in_one_process(here, short, rounds),
        *_a_process_each(here, short),
        *_listing(here, listed, points),
    ]


# one long run


def _long_run(here: Path, values: int) -> list[Row]:
    path = here / "long.json"
    logged, ended, added, shown = fresh(log_and_end, f"file:{path}", values // 2)
    left = fresh(time_of_exit, f"file:{here / 'exit.json'}", values // 2)
    size = sum(file.stat().st_size for file in here.glob(f"{path.name}*")) / MEBIBYTE
    return [
        Row(f"{values:,} values logged, two a call", f"{logged:,.2f} s", "", f"{size:,.0f} MiB on disk"),
        at_most("  with trial: its end, and report(style='table')", ended, 1, "s"),
        at_most("  memory added by them", added / MEBIBYTE, 64, "MiB"),
        at_most("  the end of a process that ends without them", left, 1, "s"),
        Row("  lines of the table", f"{shown:,}"),
    ]


def log_and_end(uri: str, calls: int) -> tuple[float, float, int, int]:
    """Return the seconds of logging and of the end, the memory that the end added, and how many lines were shown."""
    from track import TrackClient

    client = TrackClient(uri)
    client.set_project(name="benchmark")
    trial = client.new_trial(parameters={"lr": 0.1})
    start = time.perf_counter()
    with trial, contextlib.redirect_stdout(io.StringIO()) as page:
        for step in range(calls):
            trial.log_metrics(a=0.5 + step, b=1.5 + step)
        before, logged = _highest_memory(), time.perf_counter()
        trial.finish()
        trial.report(style="table")
        trial.protocol.close()
    end = time.perf_counter()
    return logged - start, end - logged, max(0, _highest_memory() - before), len(page.getvalue().splitlines())


def _highest_memory() -> int:
    return max(resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def time_of_exit(uri: str, calls: int) -> float:
    """Return the seconds from the last log call of a process to its end."""
    program = (
        "import time\n"
        "from track import TrackClient\n"
        f"trial = TrackClient({uri!r}).new_trial(parameters={{'lr': 0.1}})\n"
        f"for step in range({calls}):\n"
        "    trial.log_metrics(a=0.5 + step, b=1.5 + step)\n"
        "print(time.time())\n"
    )
    last = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout
    return time.time() - float(last)


# many short ones


def _in_one_process(here: Path, short: int, rounds: int) -> list[Row]:
    counts = [short, 4 * short, 16 * short]
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(rounds):
        for count, seconds in taken.items():
            seconds.append(fresh(run_trials, f"file:{here / f'{count}-{number}.json'}", count))
    few, some, many = (statistics.median(seconds) for seconds in taken.values())
    return [
        Row(
            f"{short:,} trials, a client each in one process",
            f"{few:,.2f} s of a core",
            "",
            f"{few / short * 1e3:,.2f} ms each",
        ),
        against(f"{counts[1]:,} trials", some, few, f"{short:,} trials", "s of a core", 4.4),
        against(f"{counts[2]:,} trials", many, some, f"{counts[1]:,} trials", "s of a core", 4.4),
    ]


def run_trials(uri: str, count: int, first: int = 0) -> float:
    """Run short trials, and return the seconds of a core that took."""
    from track import TrackClient

    start = time.process_time()
    for number in range(first, first + count):
        client = TrackClient(uri)
        client.set_project(name="benchmark")
        with client.new_trial(parameters={"number": number}) as trial:
            trial.log_metrics(step=0, loss=0.5)
    return time.process_time() - start


def _a_process_each(here: Path, short: int) -> list[Row]:
    costs = {}
    for stored in (short, 16 * short):
        uri = f"file:{here / f'each-{stored}.json'}"
        fresh(run_trials, uri, stored)
        costs[stored] = statistics.median(fresh(one_process, uri, stored + number) for number in range(ROUNDS_OF_ONE))
    few, many = costs.values()
    what = f"a trial in a process of its own, {16 * short:,} stored"
    return [against(what, many * 1e3, few * 1e3, f"{short:,} stored", "ms", 2)]


def one_process(uri: str, number: int) -> float:
    """Return the seconds of one trial, from the import to the end of the process."""
    program = (
        "from track import TrackClient\n"
        f"client = TrackClient({uri!r}); client.set_project(name='benchmark')\n"
        f"with client.new_trial(parameters={{'number': {number}}}) as trial: trial.log_metrics(step=0, loss=0.5)\n"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


# many, looked at


def _listing(here: Path, listed: int, points: int) -> list[Row]:
    uri = f"file:{here / 'listed.json'}"
    fresh(build, uri, listed, points)
    found = [fresh(list_all, uri) for _ in range(3)]
    opened, whole, brief = (statistics.median(column) for column in zip(*found, strict=True))
    return [
        at_most(f"open a store of {listed:,} trials and list one", opened, 0.3, "s"),
        at_most("  and list all, 12 parameters and 10 metrics each", whole, 0.5, "s"),
        at_most("  and list all in brief", brief, 0.5, "s"),
    ]


def build(uri: str, trials: int, points: int) -> None:
    from track import TrackClient

    client = TrackClient(uri)
    client.set_project(name="benchmark")
    for number in range(trials):
        with client.new_trial(force=True, parameters={f"p{one}": one + number for one in range(12)}) as trial:
            for step in range(points):
                trial.log_metrics(step=step, **{f"m{one}": 0.5 * step + one for one in range(10)})
    client.save()


def list_all(uri: str) -> tuple[float, float, float]:
    """Return the seconds to open and list one trial, and, anew each, all of them and all in brief."""
    import track
    import track.persistence.local
    import track.reading

    start = time.perf_counter()
    track.fetch(uri, {"uid": "none"})
    opened = time.perf_counter() - start
    start = time.perf_counter()
    found = track.fetch(uri)
    whole = time.perf_counter() - start
    assert not any(trial.metrics.is_loaded for trial in found)
    start = time.perf_counter()
    for trial in track.reading.open_to_read(uri).brief_trials():
        trial.metrics.briefs()
    return opened, opened + whole, opened + time.perf_counter() - start


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        values=(10_000_000, 20_000),
        short=(400, 20),
        listed=(10_000, 40),
        points=(2, 2),
        rounds=(3, 1),
    )
