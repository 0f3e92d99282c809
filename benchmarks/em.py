"""What logging to a run costs, and putting a result.

``run.log("train", {"loss": ..., "acc": ...}, step=i)`` against ``trial.log_metrics(step=i, loss=..., acc=...)`` on
``file:`` in the same run: for a run alone, for one that is a trial in the same store, too, and with numbers that are
not written as Python shows them (1e-07). Then an artifact of many files, added as a directory and one by one, uploaded
to a directory and loaded from it, each against ``cp -r`` of the same files, in turns. Then ``FsspecResultTracker.put``
on a local folder, against what torchx does: a mapping of fsspec and ``json.dumps``, without atomic replacement.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import Row, against, fresh, interleaved, new_trial, run

BYTES = 4096
VALUES = [(number * 7919 % 1000) / 1000 + 0.0005 for number in range(1024)]
SMALL = [value * 1e-7 for value in VALUES]


def measure(folder: str, calls: int, rounds: int, puts: int, files: int) -> list[Row]:
    # In a process of its own, whose stores are closed before their folder is removed.
    rows: list[Row] = fresh(_measure, folder, calls, rounds)
    rows += fresh(_measure_files, folder, files, rounds)
    return rows + fresh(_measure_put, folder, puts, rounds)


def _measure(folder: str, calls: int, rounds: int) -> list[Row]:
    from track import em

    here = Path(folder)
    os.environ["EM_RUN_PARENT_DIR"] = str(here / "runs")
    os.environ["EM_CAPTURE_STDOUT"] = "0"
    trial = new_trial(f"file:{here / 'trial.json'}")
    alone = em.create_run(name="alone")
    os.environ["TRACK_LOG_BACKEND_NAME"] = f"file:{here / 'runs.json'}"
    both = em.create_run(name="both")
    cost = interleaved(
        {
            "trial": _logging(trial),
            "alone": _running(alone, VALUES),
            "small": _running(alone, SMALL),
            "both": _running(both, VALUES),
        },
        rounds,
        calls,
    )
    alone.finish()
    both.finish()
    trial.finish()
    rows = []
    for part in ("median", "mean"):
        peer = getattr(cost["trial"], part)
        mine = {name: getattr(cost[name], part) for name in ("alone", "small", "both")}
        rows.append(against(f"Run.log: {part}", mine["alone"], peer, "trial.log_metrics", "us", 2))
        rows.append(against(f"Run.log of small numbers: {part}", mine["small"], peer, "trial.log_metrics", "us", 2))
        rows.append(against(f"Run.log to the store as well: {part}", mine["both"], peer, "trial.log_metrics", "us", 2))
    return rows


def _logging(trial: Any) -> Callable[[int], None]:
    def call(index: int) -> None:
        trial.log_metrics(step=index, loss=VALUES[index & 1023], acc=VALUES[index & 511])

    return call


def _running(run: Any, values: list[float]) -> Callable[[int], None]:
    def call(index: int) -> None:
        run.log("train", {"loss": values[index & 1023], "acc": values[index & 511]}, step=index)

    return call


def _measure_files(folder: str, files: int, rounds: int) -> list[Row]:
    here = Path(folder, "files")
    source = here / "source"
    for number in range(files):
        place = source / f"{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(BYTES))
    taken: dict[str, list[float]] = {}
    for number in range(rounds):
        _one_round(here / f"{number}", source, taken, number)
    cost = {name: statistics.median(seconds) for name, seconds in taken.items()}
    limits = {"add_dir": 2, "add_file, one by one": 2, "upload": 2.5, "load on another machine": 2.5}
    what = f"{files:,} files of {BYTES:,} bytes"
    return [
        against(f"em, {what}: {name}", cost[name], cost[f"cp {name}"], "cp -r", "s", limit)
        for name, limit in limits.items()
    ]


def _one_round(room: Path, source: Path, taken: dict[str, list[float]], number: int) -> None:
    from track import em

    def load() -> None:
        os.environ["EM_ARTIFACT_PARENT_DIR"] = str(room / "elsewhere")
        em.load_artifact("default/one")

    def add_each() -> None:
        for path in paths:
            two.add_file(path, str(path.relative_to(source)))

    room.mkdir()
    os.environ["EM_ARTIFACT_PARENT_DIR"] = str(room / "artifacts")
    em.login(f"file:{room}/store?user=ann")
    one, two = em.create_artifact("one"), em.create_artifact("two")
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    steps: dict[str, Callable[[], object]] = {
        "add_dir": lambda: one.add_dir(source, "all"),
        "add_file, one by one": add_each,
        "upload": one.upload,
        "load on another machine": load,
    }
    for name, step in steps.items():
        copy = ("cp", "-r", str(source), str(room / f"copy {name}"))
        pair = [(name, step), (f"cp {name}", lambda copy=copy: subprocess.run(copy, check=True))]
        # Who is second writes while the disk is still busy with the first.
        for what, call in pair if number % 2 else reversed(pair):
            start = time.perf_counter()
            call()
            taken.setdefault(what, []).append(time.perf_counter() - start)
    em.logout()
    shutil.rmtree(room)


def _measure_put(folder: str, puts: int, rounds: int) -> list[Row]:
    try:
        import fsspec
    except ImportError:
        return [Row("FsspecResultTracker.put", "", "fsspec is not installed")]
    from track.tracking import FsspecResultTracker

    here = Path(folder)
    tracker = FsspecResultTracker(str(here / "ours"))

    def put(index: int) -> None:
        tracker.put(index & 255, accuracy=VALUES[index & 1023], epochs=index)

    def peer(index: int) -> None:
        mapper = fsspec.get_mapper(str(here / "theirs"), create=True)
        results = {"accuracy": VALUES[index & 1023], "epochs": index}
        mapper[str(index & 255)] = json.dumps(results, indent=2).encode("utf-8")

    cost = interleaved({"ours": put, "theirs": peer}, rounds, puts)
    return [
        against(f"FsspecResultTracker.put: {part}", getattr(cost["ours"], part), getattr(cost["theirs"], part),
                "as torchx does it", "us", 1)
        for part in ("median", "mean")
    ]  # fmt: skip


if __name__ == "__main__":
    run(__doc__, measure, calls=(5_000, 300), rounds=(15, 2), puts=(500, 50), files=(5_000, 100))
