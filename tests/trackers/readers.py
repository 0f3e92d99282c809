"""What the trackers' own packages read of the runs that they have written: points as steps, values and times."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.servers.mongo import connected

Points = list[tuple[Any, Any, float]]


def wandb_run(path: Path) -> dict[str, Any]:
    """Return what a file of wandb has of its run, decoded by its own classes."""
    from wandb.proto import wandb_internal_pb2

    run: dict[str, Any] = {"rows": [], "config": {}, "summary": {}}
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run |= {"name": record.run.display_name, "project": record.run.project, "tags": list(record.run.tags)}
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "summary":
            run["summary"] |= {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update
            }
        elif kind == "history":
            items = record.history.item
            run["rows"].append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
        elif kind == "exit":
            run["exit"] = record.exit.exit_code
    return run


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log as LevelDB writes them, in blocks of 32 KiB, after 7 bytes that say whose it is."""
    place, begun = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        part = data[place + 7 : place + 7 + length]
        place += 7 + length
        begun = part if kind in (1, 2) else begun + part
        if kind in (1, 4):
            yield begun


def _wandb(folder: Path, mode: str, name: str) -> Points:
    runs = [wandb_run(path) for path in folder.glob("wandb/offline-run-*/*.wandb")]
    (run,) = [run for run in runs if run["name"] == mode]
    return [(row["_step"], row[name], row["_timestamp"]) for row in run["rows"] if name in row]


def _mlflow(uri: str, mode: str, name: str) -> Points:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    place = client.get_experiment_by_name("digits").experiment_id
    (run,) = [one for one in client.search_runs([place]) if one.info.run_name == mode]
    history = client.get_metric_history(run.info.run_id, name)
    return [(one.step, one.value, one.timestamp / 1000) for one in history]


def _tensorboard(folder: Path, mode: str, name: str) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    accumulator = EventAccumulator(str(folder / "logs" / mode), size_guidance={SCALARS: 0})
    accumulator.Reload()
    return [(one.step, one.value, one.wall_time) for one in accumulator.Scalars(name)]


def _trackio(folder: Path, mode: str, name: str) -> Points:
    # It looks where its folder is when it is imported.
    program = "import json, sys\nfrom trackio.sqlite_storage import SQLiteStorage\n"
    program += "print(json.dumps(SQLiteStorage.get_logs('digits', sys.argv[1]), default=str))"
    said = subprocess.check_output(
        [sys.executable, "-c", program, mode], env={**os.environ, "TRACKIO_DIR": str(folder)}, text=True, timeout=60
    )
    return [(row["step"], row[name], _moment(row["timestamp"])) for row in json.loads(said) if name in row]


def exported(folder: Path, target: Path) -> Path:
    """Return a copy of a folder of trackio in which the databases are Parquet, as its package makes it of them."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.json*", "*.lock"))
    program = "from trackio.sqlite_storage import SQLiteStorage\n"
    program += "SQLiteStorage._dataset_import_attempted = True\nSQLiteStorage.export_to_parquet()"
    subprocess.check_call([sys.executable, "-c", program], env={**os.environ, "TRACKIO_DIR": str(target)}, timeout=60)
    for path in target.glob("digits.db*"):
        path.unlink()
    return target


def _sacred(folder: Path, mode: str, name: str) -> Points:
    place = {"finished": 1, "failed": 2, "killed": 3, "stopped": 4}[mode]
    # It has no reader of its own.
    said = json.loads((folder / "runs" / str(place) / "metrics.json").read_text())[name]
    columns = zip(said["steps"], said["values"], said["timestamps"], strict=True)
    return [(step, value, _moment(at)) for step, value, at in columns]


def _sacred_database(folder: Path, mode: str, name: str) -> Points:
    with connected((folder / "uri").read_text()) as database:
        run = {"finished": 1, "failed": 2, "killed": 3, "stopped": 4}[mode]
        (said,) = database["metrics"].find({"run_id": run, "name": name})
    columns = zip(said["steps"], said["values"], said["timestamps"], strict=True)
    return [(step, value, _moment(at.isoformat())) for step, value, at in columns]


def _dvclive(folder: Path, mode: str, name: str) -> Points:
    from dvclive.utils import parse_tsv

    rows = parse_tsv(folder / "runs" / mode / "plots" / "metrics" / f"{name}.tsv")
    return [(int(row["step"]), float(row[name]), int(row["timestamp"]) / 1000) for row in rows]


def _aim(folder: Path, mode: str, name: str) -> Points:
    from aim import Repo, Run

    # It finds what it has put into its index, which it writes.
    repo = Repo(str(shutil.copytree(folder, folder.with_name(f"{mode}-{name}"))))
    repo._recreate_index()
    runs = [Run(digest, repo=repo, read_only=True) for digest in repo.list_all_runs()]
    (run,) = [run for run in runs if run.name == mode]
    (metric,) = [metric for metric in run.metrics() if metric.name == name]
    steps, (values, _, times) = metric.data.numpy()
    return list(zip(steps.tolist(), values.tolist(), times.tolist(), strict=True))


def _csv(folder: Path, mode: str, name: str) -> Points:
    with open(folder / f"{mode}.csv", newline="", encoding="utf-8") as file:
        return [(int(row["step"]), float(row[name]), float(row["time"])) for row in csv.DictReader(file)]


def _moment(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


READERS: dict[str, Callable[[Path, str, str], Points]] = {
    "wandb": _wandb,
    "mlflow": lambda folder, mode, name: _mlflow(f"sqlite:///{folder}/mlflow.db", mode, name),
    "mlruns": lambda folder, mode, name: _mlflow(f"file://{folder}/mlruns", mode, name),
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "sacred": _sacred,
    "sacred in mongodb": _sacred_database,
    "dvclive": _dvclive,
    "aim": _aim,
    "csv": _csv,
}
