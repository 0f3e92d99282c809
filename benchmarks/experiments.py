"""What an experiment costs: importing it, a message, a run that does nothing, a monitored loop.

``message`` in one run whose trial is in a store in a file, by each of its rules: the latest needs no lock, the others
are decided by the store. Then how often ``params.yml`` was written meanwhile, against the seconds that went by; what
it takes to register an experiment and to run one, and a set of a thousand; a suggestion of Optuna after as many
trials, of a worker that has asked before, and of one that begins; a body of a monitored loop, with hooks that are not
due, and with one that logs a number to a trial in a file each time; a queue that holds more and more trials, many
workers of one set (``--workers``, ``--trials``), and how long each waits for a trial; what it takes to run a killed
worker's trial again, of this host, and of another one, which has to be silent for a second (15 minutes by default); and
the import, in new interpreters in turn with ``python -c pass``.

``find`` with one condition: over a set whose experiments have 12 parameters each, and trials in the set's own file
store, registered at random by ``ExperimentManager.register``; the first question of a new process, and later ones of
it. Then the same where no experiment has a trial, so that each ``params.yml`` is read, once.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, against, at_most, fresh, interleaved, run

from track.experiment import Experiment

HEAVY = ("yaml", "numpy", "fsspec", "sqlite3", "asyncio")
PROGRAM = (
    "from track.experiment import Experiment\nfrom track.functional import functional_experiment\nimport track.config\n"
)


def measure(
    folder: str, calls: int, rounds: int, experiments: int, interpreters: int, workers: int, trials: int
) -> list[Row]:
    rows: list[Row] = fresh(_measure_messages, folder, calls, rounds)
    rows += fresh(_measure_runs, folder, rounds) + fresh(_measure_loops, folder, calls, rounds)
    # A thousand, in a whole run.
    rows += fresh(_measure_sets, folder, calls // 20) + fresh(_measure_samplers, folder, calls // 20)
    rows += _measure_find(folder, rounds, experiments)
    rows += fresh(_measure_queue, folder, calls) + fresh(_measure_workers, folder, workers, trials)
    rows += fresh(_measure_death, folder, rounds)
    return rows + _measure_import(interpreters)


class Nothing(Experiment):
    """Does nothing, or waits to be killed."""

    number: int = 0  # @p of the experiment
    hangs: bool = False  # @p whether the first attempt does

    def run(self) -> None:
        if self.hangs and self.trial.trial.attempt == 1:
            time.sleep(3600)


def _declared(root: Path, count: int, hangs: bool = False) -> None:
    os.environ.pop("TRACK_LOG_BACKEND_NAME", None)
    from track.manager import ExperimentManager

    manager = ExperimentManager(root, headless=True)
    manager.initialise(name=Nothing)
    if count == 1:
        manager.register(string_params=f"{{hangs: {str(hangs).lower()}}}", name="x")
    else:
        # In one call, as a grid is: each further one reads and writes experiment.yml.
        manager.register(string_params=f"number: {' | '.join(map(str, range(count)))}")


def _measure_queue(folder: str, calls: int) -> list[Row]:
    """Reserve and finish trials of a store that holds more and more of them."""
    from track.front import reserve
    from track.persistence import get_protocol
    from track.structure import Project, Trial

    protocol = get_protocol(f"file:{Path(folder) / 'queue.json'}")
    protocol.new_project(Project(name="queue"))
    rows, stored = [], 0
    for size in (100, max(calls // 2, 200)):
        for number in range(stored, size):
            protocol.new_trial(Trial(parameters={"number": number}, project_id="queue"))
        stored, times = size, []
        for _ in range(min(50, size // 4)):
            start = time.perf_counter()
            trial = reserve(protocol, {"status": "createdgroup"}, 10.0)
            protocol.log_trial_finish(trial, None, None, None)
            times.append((time.perf_counter() - start) * 1000)
        rows.append(at_most(f"reserve + finish, {size:,} stored: median", statistics.median(times), 2, "ms"))
    protocol.close()
    return rows


def _measure_workers(folder: str, workers: int, trials: int) -> list[Row]:
    """Let many workers drain a set whose bodies do nothing."""
    import track

    root, waits = Path(folder) / "workers", Path(folder) / "waits"
    _declared(root, trials)
    start = time.perf_counter()
    pids = [_forked(lambda: _work_and_tell(root, waits)) for _ in range(workers)]
    codes = {os.waitpid(pid, 0)[1] for pid in pids}
    taken = time.perf_counter() - start
    done = track.fetch(f"file:{root}/.track/report.json", {"status": "completed", "attempt": 1})
    assert codes == {0}, codes
    waited = sorted(map(float, waits.read_text().split()))
    return [
        at_most(f"{workers} workers, {trials:,} empty bodies: a trial", taken / trials * 1000, 6, "ms"),
        at_most("the wait for a trial: 99th percentile", waited[len(waited) * 99 // 100], 2, "s"),
        Row("of them run once", f"{len(done):,}", f"{trials:,}", "", MET if len(done) == trials else MISSED),
    ]


def _work_and_tell(root: Path, waits: Path) -> None:
    """Work, and write how long each trial was waited for."""
    from track.manager import work
    from track.manager.queue import Queue

    reserve, taken = Queue.next, []

    def timed(queue: Queue) -> Any:
        start = time.perf_counter()
        trial = reserve(queue)
        taken.append(time.perf_counter() - start)
        return trial

    Queue.next = timed  # type: ignore[method-assign]
    work(root, isolate=False)
    descriptor = os.open(waits, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, "".join(f"{one:.6f}\n" for one in taken).encode())
    os.close(descriptor)


def _measure_death(folder: str, rounds: int) -> list[Row]:
    """Kill a worker in a body, and see when the next one has run it: at once here, after a silence elsewhere."""
    here = statistics.median(_death(Path(folder) / f"death {number}") for number in range(rounds))
    os.environ["TRACK_LOG_HEARTBEAT_TIMEOUT"] = str(_SILENCE)
    elsewhere = statistics.median(_death(Path(folder) / f"silence {number}", True) for number in range(rounds))
    return [
        at_most("a killed worker's trial has run again: median", here * 1000, 1000, "ms"),
        at_most(f"one of another host, silent for {_SILENCE} s: median", elsewhere, _SILENCE * 1.25 + 1, "s"),
    ]


_SILENCE = 1.0


def _death(root: Path, is_elsewhere: bool = False) -> float:
    """Return the seconds from the death of a worker to the end of its trial in another one."""
    import signal

    from track.manager import work
    from track.utils import system

    def work_and_hang() -> None:
        system.process_identity()
        if is_elsewhere:
            system._own["host"] = "elsewhere"
        work(root, isolate=False)

    _declared(root, 1, hangs=True)
    pid = _forked(work_and_hang)
    while b"_status: running" not in (root / "x" / "params.yml").read_bytes():
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    start = time.perf_counter()
    assert work(root, isolate=False, wait=60, trials=1) == 1
    return time.perf_counter() - start


def _forked(action: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def _measure_messages(folder: str, calls: int, rounds: int) -> list[Row]:
    os.environ["TRACK_LOG_BACKEND_NAME"] = f"file:{Path(folder) / 'messages.json'}"
    from track.experiment import Experiment

    experiment = Experiment(Path(folder) / "messages")
    writes = _counted(experiment)
    start = time.perf_counter()
    with experiment:
        trial = experiment.trial
        simple: dict[str, Callable[[int], Any]] = {
            "latest": lambda index: experiment.message({"loss": index / 7}),
            "logged": lambda index: trial.log_metrics(step=index, curve=index / 7),
        }
        latest, logged = interleaved(simple, rounds, calls).values()
        rules: dict[str, Callable[[int], Any]] = {
            "min": lambda index: experiment.message({"least": 1 / (index + 1)}, "min"),
            "max": lambda index: experiment.message({"greatest": -index}, "max"),
            "leader": lambda index: experiment.message({"best": index, "epoch": index, "text": "x"}, "max", "best"),
        }
        decided = interleaved(rules, rounds, max(calls // 50, 10))
    seconds = time.perf_counter() - start
    rows = [at_most("message, latest: median", latest.median, 15, "us")]
    # Other programs take turns from both.
    rows += [against("message, latest: mean", latest.mean, logged.mean, "trial.log_metrics", "us")]
    rows += [at_most(f"message, {name}: median", cost.median, 500, "us") for name, cost in decided.items()]
    # Beside one a second: the start, the end, and what was due before them.
    return [*rows, at_most(f"params.yml in {seconds:.1f} s", len(writes), seconds + 3, "writes")]


def _counted(experiment: Any) -> list[float]:
    """Return when the file of an experiment is written from now on."""
    file, written = experiment._folder._file, []
    content = file._content

    def counted(read: Any) -> Any:
        written.append(time.perf_counter())
        return content(read)

    file._content = counted
    return written


def _measure_runs(folder: str, rounds: int) -> list[Row]:
    os.environ["TRACK_LOG_BACKEND_NAME"] = f"file:{Path(folder) / 'runs.json'}"
    from track.experiment import Experiment

    made = [Experiment() for _ in range(rounds + 1)]
    steps: dict[str, list[float]] = {"register": [], "with: pass": []}
    for number, experiment in enumerate(made):
        start = time.perf_counter()
        experiment.register(Path(folder) / f"run {number}")
        middle = time.perf_counter()
        with experiment:
            pass
        if number:
            steps["register"].append((middle - start) * 1000)
            steps["with: pass"].append((time.perf_counter() - middle) * 1000)
    return [Row(f"{name}: median", f"{statistics.median(taken):.1f} ms") for name, taken in steps.items()]


def _initialised(folder: Path) -> Any:
    from track.manager import ExperimentManager

    os.environ.pop("TRACK_LOG_BACKEND_NAME", None)
    program = folder / "program"
    program.mkdir(parents=True)
    (program / "defaults.yml").write_text("lr: 0.1\ndepth: 2\n" + "".join(f"p{number}: 0.5\n" for number in range(10)))
    (program / "script.sh").write_text("#!/bin/bash\n")
    manager = ExperimentManager(folder / "root", headless=True)
    manager.initialise(defaults=str(program / "defaults.yml"), script=str(program / "script.sh"))
    return manager


def _measure_sets(folder: str, count: int) -> list[Row]:
    rows = []
    for number in (max(count // 10, 1), count):
        manager = _initialised(Path(folder) / f"set {number}")
        start = time.perf_counter()
        manager.register(string_params=f"depth: {' | '.join(map(str, range(number)))}")
        rows.append(
            at_most(f"register {number:,} combinations", time.perf_counter() - start, max(number / 200, 0.1), "s")
        )
        assert len(manager.experiments) == number
    return rows


def _measure_samplers(folder: str, count: int) -> list[Row]:
    try:
        from track.manager import sampling

        manager = _initialised(Path(folder) / "sweep")
        manager.register(
            string_params="{lr: 1e-5 .. 1e-1 log, depth: 1 .. 8}", trials=count + 20, sampler="tpe", goal="min:loss"
        )
    except ImportError as error:
        return [Row(f"suggestion after {count:,} trials", str(error))]
    protocol, _, group = manager._set.store()
    taken: list[float] = []
    for number in range(count + 20):
        start = time.perf_counter()
        trial = sampling.next_sampled(protocol, group, manager.root)
        taken.append((time.perf_counter() - start) * 1000)
        assert trial is not None
        if number == count:
            # Another worker begins.
            sampling._kept.clear()
        protocol.log_trial_start(trial)
        protocol.log_trial_metrics(trial, loss=abs(trial.parameters["lr"] - 1e-3) + trial.parameters["depth"])
        protocol.log_trial_finish(trial, None, None, None)
    kept = statistics.median(taken[count + 2 :])
    return [
        at_most(f"suggestion after {count:,} trials: median", kept, 50, "ms"),
        Row(f"the first one of a worker that begins after {count:,}", f"{taken[count + 1]:.0f} ms"),
    ]


def _measure_loops(folder: str, calls: int, rounds: int) -> list[Row]:
    from track import TrackClient
    from track.monitor import Monitor

    never = ("^loss$@1000000s", "^a|b@2000000s")
    idle: dict[str, Any] = {"log": never, "metrics": never, "time": "@3000000s"}
    client = TrackClient(f"file:{Path(folder) / 'loops.json'}")
    with client.new_trial(parameters={}):
        monitors: dict[str, Callable[[], Any]] = {
            "bare": lambda: iter,
            "no hook": Monitor,
            "idle": lambda: Monitor(**idle),
            "due": lambda: Monitor(metrics="^loss$@1s"),
        }
        taken: dict[str, list[float]] = {name: [] for name in monitors}
        for _ in range(rounds):
            for name, make in monitors.items():
                taken[name].append(_loop(make(), max(calls // 10, 20)))
    bare, none, waiting, due = (statistics.median(times) for times in taken.values())
    return [
        Row("monitored body, no hook: median", f"{none - bare:.2f} us"),
        at_most("monitored body, 5 hooks, none due: median", waiting - bare, 1.5, "us"),
        at_most("monitored body, a number into the trial: median", due - bare, 10, "us"),
    ]


def _loop(monitor: Any, calls: int) -> float:
    """Return the microseconds from one body to the next, half of the time less, in a function with twenty variables."""
    loss = a = b = c = d = e = f = g = h = i = j = k = n = o = 0.5  # noqa: F841
    times: list[int] = []
    note, clock = times.append, time.perf_counter_ns
    for _ in monitor(range(calls)):
        note(clock())
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(times)) / 1000


def _measure_find(folder: str, rounds: int, experiments: int) -> list[Row]:
    registering = fresh(_make_set, folder, experiments)
    found = [fresh(_find, folder, rounds, experiments) for _ in range(3)]
    firsts, later = [first for first, _ in found], [time for _, times in found for time in times]
    (Path(folder) / "set" / ".track" / "report.json").rename(Path(folder) / "gone.json")
    files, _ = fresh(_find, folder, 1, experiments)
    what = f"{experiments:,} experiments"
    return [
        Row(f"register {what}", f"{registering:.1f} s"),
        at_most(f"find in {what}, first of a process: median", statistics.median(firsts), 2, "s"),
        at_most(f"find in {what}, later: median", statistics.median(later), 0.3, "s"),
        at_most(f"find in {what} without trials, once", files, 12, "s"),
    ]


def _make_set(folder: str, experiments: int) -> float:
    os.environ["TRACK_HOME"] = str(Path(folder) / "home")
    from track.manager import ExperimentManager

    names = [f"p{number}" for number in range(12)]
    (Path(folder) / "defaults.yml").write_text("".join(f"{name}: 0.5\n" for name in names))
    (Path(folder) / "script.sh").write_text("#!/bin/bash\n")
    manager = ExperimentManager(Path(folder) / "set")
    manager.initialise(defaults=str(Path(folder) / "defaults.yml"), script=str(Path(folder) / "script.sh"))
    start = time.perf_counter()
    manager.register(string_params="{p0: 0.0 .. 1.0, p1: 0.0 .. 1.0, p2: 0.0 .. 1.0}", trials=experiments)
    return time.perf_counter() - start


def _find(folder: str, rounds: int, experiments: int) -> tuple[float, list[float]]:
    """Return the seconds of the first question, and of later ones."""
    os.environ["TRACK_HOME"] = str(Path(folder) / "home")
    from track.config import GlobalExperimentManager

    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        found = GlobalExperimentManager().find(param_match="p2 < 0.5")
        taken.append(time.perf_counter() - start)
        assert 0 < len(found["_name"]) < experiments
    return taken[0], taken[1:]


def _measure_import(interpreters: int) -> list[Row]:
    taken: dict[str, list[float]] = {"pass": [], PROGRAM: []}
    for _ in range(interpreters):
        for program, times in taken.items():
            _, status, used = os.wait4(os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ), 0)
            assert status == 0
            # Of the processor: what else the machine does is no business of it.
            times.append((used.ru_utime + used.ru_stime) * 1000)
    bare, imported = (statistics.median(times) for times in taken.values())
    check = f"{PROGRAM}import sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    came = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout.split()
    return [
        at_most("import track.experiment, functional, config: more", imported - bare, 120, "ms"),
        Row("it imports", ", ".join(came) or "neither", "neither " + " nor ".join(HEAVY), "", MISSED if came else MET),
    ]


if __name__ == "__main__":
    run(
        __doc__,
        measure,
        calls=(20_000, 200),
        rounds=(5, 1),
        experiments=(10_000, 30),
        interpreters=(15, 2),
        workers=(32, 2),
        trials=(1_000, 20),
    )
