"""The cost of other trackers, and how many points each keeps when the process is killed.

The same workload on each that is installed: ``loss`` and ``acc`` with a step, so many times. One process is timed;
another sends SIGKILL to itself right after its last call, and what a reader then finds is counted. Nothing leaves
the machine: all work offline, with telemetry switched off.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Cost, Row, cost_of, new_trial, run, time_calls, timer_cost

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


def measure(folder: str, points: int) -> list[Row]:
    os.environ |= QUIET
    rows: list[Row] = []
    mine: Cost | None = None
    for name, (package, *_) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            rows.append(Row(name, "not installed"))
            continue
        try:
            cost, kept = _measured(name, Path(folder), points)
        except Exception as error:
            lines = str(error).strip().splitlines()
            rows.append(Row(name, f"failed: {lines[-1][:100] if lines else type(error).__name__}"))
            continue
        mine = mine or cost
        measured = f"median {cost.median:,.1f} us, mean {cost.mean:,.1f} us, p99 {cost.p99:,.1f} us"
        verdict = (MET if kept == points else MISSED) if name == "track" else ""
        rows.append(Row(name, measured, f"track: mean {mine.mean:,.1f} us", f"{cost.mean / mine.mean:,.1f}", verdict))
        rows.append(Row("  points kept after SIGKILL", f"{kept:,}", f"logged: {points:,}", f"{kept / points:.2f}"))
    return rows


def _measured(name: str, folder: Path, points: int) -> tuple[Cost, int]:
    timed, killed = folder / f"{name}-timed", folder / f"{name}-killed"
    *_, line = _child(name, "time", timed, points).splitlines()
    *_, whole = _child(name, "count", timed, points).splitlines()
    if int(whole) != points:
        raise RuntimeError(f"after a clean end {whole} of {points} points are found")
    _child(name, "kill", killed, points)
    time.sleep(_SETTLE)
    *_, kept = _child(name, "count", killed, points).splitlines()
    return Cost(*map(float, line.split())), int(kept)


def _child(name: str, action: str, folder: Path, points: int) -> str:
    """Return what a new process of this script prints; the end by SIGKILL is expected of ``kill``."""
    folder.mkdir(exist_ok=True)
    places = {"AIM_REPO": folder, "TRACKIO_DIR": folder, "WANDB_DIR": folder, "HOME": folder, "XDG_CACHE_HOME": folder}
    environment = {**os.environ, **{variable: str(place) for variable, place in places.items()}}
    command = [sys.executable, os.path.abspath(__file__), "--child", name, action, str(folder), str(points)]
    # To files: a helper process that outlives the killed one would hold a pipe open.
    with (folder / "stdout").open("w+") as output, (folder / "stderr").open("w+") as errors:
        ended = subprocess.call(command, cwd=folder, env=environment, stdout=output, stderr=errors, timeout=900)
        output.seek(0)
        errors.seek(0)
        if ended != (-signal.SIGKILL if action == "kill" else 0):
            raise RuntimeError(errors.read())
        return output.read()


def child(name: str, action: str, folder: str, points: str) -> None:
    """Do one of time, kill, count, in the process that `_child` started."""
    _, logging, count = PEERS[name]
    if action == "count":
        print(count(Path(folder)))
        return
    number = int(points)
    with logging(Path(folder)) as call:
        if action == "time":
            cost = cost_of(time_calls(call, 0, number), timer_cost())
        else:
            for step in range(number):
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
        run(__doc__, measure, points=(3_000, 20))
