"""The cost of other trackers, and how many points each keeps when the process is killed.

The same workload on each that is installed: ``loss`` and ``acc`` with a step, so many times. Processes are timed; two
others send SIGKILL to themselves right after their last call, one after as many calls at once, one after fewer at 100 a
second, and what a reader then finds is counted. Nothing leaves the machine: all work offline, without telemetry.

Two floors are measured in the same run, which are no trackers: the same facts encoded by msgspec, and given to
``write(2)``, or copied into a shared mapping of a file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import mmap
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from _common import MET, MISSED, Cost, cost_of, median_cost, new_trial, run, time_calls, timer_cost

QUIET = {
    "AIM_UI_TELEMETRY_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB__DISABLE_STATS": "true",
    "WANDB__DISABLE_META": "true",
}
_SETTLE = 3.0
"""Seconds that a helper process of a peer has, after the kill, to write what it was given."""
_TIMED = 3
"""Processes that are timed: the medians of what they measure count."""
_PACE = 0.01
"""Seconds between two calls of a training that logs at 100 a second."""
HEADER = ("tracker", "median", "mean", "p99", "against track", "kept at once", "kept at 100 a second", "verdict")


@dataclass(frozen=True)
class Peer:
    """One line of the table."""

    name: str
    median: str
    mean: str = ""
    p99: str = ""
    ratio: str = ""
    kept: str = ""
    kept_paced: str = ""
    verdict: str = ""


class Measured(NamedTuple):
    """What a call of a tracker costs, and how many points it kept."""

    cost: Cost
    kept: int
    kept_paced: int


def measure(folder: str, points: int, paced: int) -> list[Peer]:
    os.environ |= QUIET
    rows: list[Peer] = []
    mine: Cost | None = None
    for name, (package, *_) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            rows.append(Peer(name, "not installed"))
            continue
        try:
            found = _measured(name, Path(folder), points, paced)
        except Exception as error:
            lines = str(error).strip().splitlines()
            rows.append(Peer(name, f"failed: {lines[-1][:100] if lines else type(error).__name__}"))
            continue
        cost, mine = found.cost, mine or found.cost
        kept = f"{found.kept:,} of {points:,}", f"{found.kept_paced:,} of {paced:,}"
        verdict = (MET if (found.kept, found.kept_paced) == (points, paced) else MISSED) if name == "track" else ""
        times = (f"{part:,.2f} us" for part in (cost.median, cost.mean, cost.p99))
        rows.append(Peer(name, *times, f"{cost.mean / mine.mean:,.2f}", *kept, verdict))
    return rows


def _measured(name: str, folder: Path, points: int, paced: int) -> Measured:
    costs = []
    for number in range(_TIMED):
        timed = folder / f"{name}-timed-{number}"
        *_, line = _child(name, "time", timed, points).splitlines()
        *_, whole = _child(name, "count", timed, points).splitlines()
        if int(whole) != points:
            raise RuntimeError(f"after a clean end {whole} of {points} points are found")
        costs.append(Cost(*map(float, line.split())))
    kept = [_kept(name, action, folder, number) for action, number in (("kill", points), ("pace", paced))]
    return Measured(median_cost(costs), *kept)


def _kept(name: str, action: str, folder: Path, points: int) -> int:
    killed = folder / f"{name}-{action}"
    _child(name, action, killed, points)
    time.sleep(_SETTLE)
    *_, kept = _child(name, "count", killed, points).splitlines()
    return int(kept)


def _child(name: str, action: str, folder: Path, points: int) -> str:
    """Return what a new process of this script prints; the end by SIGKILL is expected of ``kill`` and ``pace``."""
    folder.mkdir(exist_ok=True)
    places = {"AIM_REPO": folder, "TRACKIO_DIR": folder, "WANDB_DIR": folder, "HOME": folder, "XDG_CACHE_HOME": folder}
    environment = {**os.environ, **{variable: str(place) for variable, place in places.items()}}
    command = [sys.executable, os.path.abspath(__file__), "--child", name, action, str(folder), str(points)]
    # To files: a helper process that outlives the killed one would hold a pipe open.
    with (folder / "stdout").open("w+") as output, (folder / "stderr").open("w+") as errors:
        ended = subprocess.call(command, cwd=folder, env=environment, stdout=output, stderr=errors, timeout=900)
        output.seek(0)
        errors.seek(0)
        if ended != (-signal.SIGKILL if action in ("kill", "pace") else 0):
            raise RuntimeError(errors.read())
        return output.read()


def child(name: str, action: str, folder: str, points: str) -> None:
    """Do one of time, kill, pace, count, in the process that `_child` started."""
    _, logging, count = PEERS[name]
    if action == "count":
        print(count(Path(folder)))
        return
    number = int(points)
    with logging(Path(folder)) as call:
        if action == "time":
            cost = cost_of(time_calls(call, 0, number), timer_cost())
        else:
            start = time.monotonic()
            for step in range(number):
                if action == "pace":
                    time.sleep(max(0.0, start + step * _PACE - time.monotonic()))
                call(step)
            os.kill(os.getpid(), signal.SIGKILL)
    print(cost.median, cost.mean, cost.p99)


# Each peer: how to log, as a context manager that gives the call and ends the run; and how to count.


@contextlib.contextmanager
def _track(folder: Path) -> Iterator[Callable[[int], Any]]:
    trial = new_trial(f"file:{folder / 'store.json'}")
    with trial:
        yield lambda step: trial.log_metrics(step=step, loss=1 / (step + 1), acc=0.37 + step)


def _count_track(folder: Path) -> int:
    import track

    return len(track.fetch(f"file:{folder / 'store.json'}")[0].metrics["loss"])


def _facts(step: int) -> dict[str, Any]:
    """Return what a line of a journal says, of a trial whose uid has as many letters."""
    values = {"loss": 1 / (step + 1), "acc": 0.37 + step}
    return {"event": "metrics", "trial": "0" * 66, "values": values, "at": time.time(), "step": step}


@contextlib.contextmanager
def _write(folder: Path) -> Iterator[Callable[[int], Any]]:
    import msgspec

    encode, write = msgspec.json.Encoder().encode, os.write
    descriptor = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    yield lambda step: write(descriptor, encode(_facts(step)) + b"\n")
    os.close(descriptor)


def _count_lines(folder: Path) -> int:
    return (folder / "lines").read_bytes().count(b"\n")


_LENGTH = struct.Struct("<Q")
_MAPPED = 16 << 20


@contextlib.contextmanager
def _mapping(folder: Path) -> Iterator[Callable[[int], Any]]:
    """Copy lines into a file that has its room already; its first eight bytes say how far it is whole."""
    import msgspec

    encode, commit, end = msgspec.json.Encoder().encode, _LENGTH.pack_into, _LENGTH.size
    descriptor = os.open(folder / "lines", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, _MAPPED)
    memory = mmap.mmap(descriptor, _MAPPED)

    def call(step: int) -> None:
        nonlocal end
        line = encode(_facts(step)) + b"\n"
        start, end = end, end + len(line)
        memory[start:end] = line
        commit(memory, 0, end)

    yield call
    memory.close()
    os.close(descriptor)


def _count_mapped(folder: Path) -> int:
    data = (folder / "lines").read_bytes()
    return data.count(b"\n", _LENGTH.size, _LENGTH.unpack_from(data)[0])


@contextlib.contextmanager
def _goodseed(folder: Path) -> Iterator[Callable[[int], Any]]:
    import goodseed

    names = ("hardware_metrics", "stdout", "stderr", "traceback")
    options: dict[str, Any] = {f"capture_{name}": False for name in names}
    place = {"storage": "local", "goodseed_home": folder / "goodseed", "run_id": "run"}
    started = goodseed.Run(project="benchmark", git_ref=False, **place, **options)
    yield lambda step: started.log_metrics({"loss": 1 / (step + 1), "acc": 0.37 + step}, step=step)
    started.close()


def _count_goodseed(folder: Path) -> int:
    """Count the rows of its database: its own questions are asked of its server."""
    (file,) = folder.rglob("run.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as database:
        query = "select count(*) from metric_points join metric_series on id = series_id where path = 'loss'"
        return int(database.execute(query).fetchone()[0])


@contextlib.contextmanager
def _expman(folder: Path) -> Iterator[Callable[[int], Any]]:
    from expman import Experiment

    options = {"redirect_console": False, "capture_provenance": False, "system_metrics_interval_secs": 0}
    started = Experiment("benchmark", run_name="run", base_dir=str(folder / "expman"), **options)
    yield lambda step: started.log_vector({"loss": 1 / (step + 1), "acc": 0.37 + step}, step=step)
    started.close()


def _count_expman(folder: Path) -> int:
    from expman import read_metrics

    return sum(row.get("loss") is not None for row in read_metrics(str(folder / "expman" / "benchmark" / "run")))


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[Callable[[int], Any]]:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "events")) as writer:

        def call(step: int) -> None:
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalar("acc", 0.37 + step, step)

        yield call


def _count_tensorboard(folder: Path) -> int:
    """Count the scalars in the records: length (8 bytes), its sum (4), the event, its sum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    kept = 0
    for file in (folder / "events").iterdir():
        data, position = file.read_bytes(), 0
        while position + 12 <= len(data):
            end = position + 12 + int.from_bytes(data[position : position + 8], "little")
            if end + 4 > len(data):
                break
            kept += any(value.tag == "loss" for value in Event.FromString(data[position + 12 : end]).summary.value)
            position = end + 4
    return kept


@contextlib.contextmanager
def _wandb(folder: Path) -> Iterator[Callable[[int], Any]]:
    import wandb

    with wandb.init(project="benchmark", mode="offline", dir=str(folder)) as started:
        yield lambda step: started.log({"loss": 1 / (step + 1), "acc": 0.37 + step}, step=step)


def _count_wandb(folder: Path) -> int:
    from wandb.proto.wandb_internal_pb2 import Record

    kept = 0
    for file in folder.rglob("run-*.wandb"):
        for record in _wandb_records(file.read_bytes()):
            names = [item.key or "".join(item.nested_key) for item in Record.FromString(record).history.item]
            kept += "loss" in names
    return kept


def _wandb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of LevelDB's log format: blocks of 32 KiB, parts with sum (4 bytes), size (2) and kind."""
    position, record = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        end = position + 7 + size
        if kind not in (1, 2, 3, 4) or end > len(data):
            return
        record += data[position + 7 : end]
        # Whole (1) or last (4): the record is complete.
        if kind in (1, 4):
            yield record
            record = b""
        position = end


@contextlib.contextmanager
def _trackio(folder: Path) -> Iterator[Callable[[int], Any]]:
    import trackio

    options = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
    started = trackio.init(project="benchmark", name="run", **options)
    yield lambda step: started.log({"loss": 1 / (step + 1), "acc": 0.37 + step}, step=step)
    trackio.finish()


def _count_trackio(folder: Path) -> int:
    from trackio.sqlite_storage import SQLiteStorage

    return sum("loss" in line for line in SQLiteStorage.get_logs("benchmark", "run"))


def _mlflow_client(folder: Path) -> Any:
    import logging

    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


@contextlib.contextmanager
def _mlflow(folder: Path) -> Iterator[Callable[[int], Any]]:
    client = _mlflow_client(folder)
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))
    mlflow.set_experiment("benchmark")
    with mlflow.start_run():
        yield lambda step: mlflow.log_metrics({"loss": 1 / (step + 1), "acc": 0.37 + step}, step=step)


def _count_mlflow(folder: Path) -> int:
    client = _mlflow_client(folder)
    experiment = client.get_experiment_by_name("benchmark")
    return sum(
        len(client.get_metric_history(found.info.run_id, "loss"))
        for found in client.search_runs([experiment.experiment_id])
    )


@contextlib.contextmanager
def _aim(folder: Path) -> Iterator[Callable[[int], Any]]:
    from aim import Run

    options = {"system_tracking_interval": None, "log_system_params": False, "capture_terminal_logs": False}
    started = Run(repo=str(folder), experiment="benchmark", **options)

    def call(step: int) -> None:
        started.track(1 / (step + 1), name="loss", step=step)
        started.track(0.37 + step, name="acc", step=step)

    yield call
    started.close()


def _count_aim(folder: Path) -> int:
    """Count the stored series themselves: the index that queries use is made by aim's server, which does not run."""
    from aim import Repo, Run
    from aim.storage.context import Context

    repo, loss = Repo(str(folder)), (Context({}).idx, "loss")
    return sum(
        len(list(tree.subtree(loss).array("val").values()))
        for uid in repo.list_all_runs()
        for tree in Run(uid, repo=repo, read_only=True).series_run_trees.values()
    )


PEERS: dict[str, tuple[str, Any, Callable[[Path], int]]] = {
    "track": ("track", _track, _count_track),
    "floor: encode and write(2)": ("msgspec", _write, _count_lines),
    "floor: encode and mapping": ("msgspec", _mapping, _count_mapped),
    "expman-rs": ("expman", _expman, _count_expman),
    "goodseed": ("goodseed", _goodseed, _count_goodseed),
    "tensorboardX": ("tensorboardX", _tensorboard, _count_tensorboard),
    "wandb": ("wandb", _wandb, _count_wandb),
    "trackio": ("trackio", _trackio, _count_trackio),
    "mlflow": ("mlflow", _mlflow, _count_mlflow),
    "aim": ("aim", _aim, _count_aim),
}
"""Name: package, logging, counting."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        run(__doc__, measure, header=HEADER, points=(3_000, 20), paced=(300, 10))
