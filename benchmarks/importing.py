"""Points a second of ``track import``, against the source's own reader in the same run.

A source of as many points as given is made for each: csv (ten metrics a line), tensorboard (a scalar an event), wandb
(rows of ten metrics, with the summaries that it writes beside them), mlflow (its SQLite store). The peer is the csv
module, TensorBoard's `EventAccumulator`, wandb's protobuf messages with `json`, and `MlflowClient`; where a package is
not installed, ours stands alone. Beside it stands how much more memory the process had at most than when it began.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import resource
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from _common import Row, against, fresh, run

_METRICS = 10
_LIMIT = 2.0
_BLOCK = 1 << 15


def measure(folder: str, points: int) -> list[Row]:
    rows = []
    for name, (make, read, package) in _SOURCES.items():
        place = Path(folder) / name
        place.mkdir()
        path = str(make(place, points))
        seconds, memory = fresh(_import, folder, name, path, points)
        what = f"{name}: {points:,} points, {memory:,.0f} MB more"
        if importlib.util.find_spec(package) is None:
            rows.append(Row(what, f"{seconds:,.2f} s", f"{package} is not installed"))
            continue
        peer = fresh(_timed, read, path, points)
        rows.append(against(what, seconds, peer, package, "s", _LIMIT))
    return rows


def _import(folder: str, name: str, path: str, points: int) -> tuple[float, float]:
    from track.importing import import_runs

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    report = import_runs(name, path, f"file:{folder}/{name}.json")
    seconds = time.perf_counter() - start
    if report.taken["points"] != points:
        raise SystemExit(f"{name}: {report.taken['points']} of {points} points")
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _timed(read: Callable[[str], int], path: str, points: int) -> float:
    start = time.perf_counter()
    found = read(path)
    seconds = time.perf_counter() - start
    if found != points:
        raise SystemExit(f"the peer has read {found} of {points} points of {path}")
    return seconds


# csv


def _make_csv(folder: Path, points: int) -> Path:
    names = [f"metric{number}" for number in range(_METRICS)]
    with open(folder / "runs.csv", "w", encoding="utf-8") as file:
        file.write(",".join(["run", "step", "time", *names]) + "\n")
        for step in range(points // _METRICS):
            values = [repr((step + number) / 7) for number in range(_METRICS)]
            file.write(f"a,{step},{1.7e9 + step},{','.join(values)}\n")
    return folder / "runs.csv"


def _read_csv(path: str) -> int:
    found: dict[str, list[tuple[int, float, float]]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step, at = int(row.pop("step")), float(row.pop("time"))
            row.pop("run")
            for name, text in row.items():
                found.setdefault(name, []).append((step, float(text), at))
    return sum(map(len, found.values()))


# tensorboard


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _make_tfevents(folder: Path, points: int) -> Path:
    from track.importing.crc32c import masked_crc

    path = folder / "events.out.tfevents.1700000000.host.1.0"
    with open(path, "wb") as file:
        for number in range(-1, points):
            step, tag = divmod(max(number, 0), _METRICS)
            data = b"\x09" + struct.pack("<d", 1.7e9 + step) + b"\x10" + _varint(step)
            if number < 0:
                data += _field(3, b"brain.Event:2")
            else:
                value = _field(1, b"metric%d" % tag) + b"\x15" + struct.pack("<f", number / 7)
                data += _field(5, _field(1, value))
            head = struct.pack("<Q", len(data))
            crcs = [struct.pack("<I", masked_crc(part)) for part in (head, data)]
            file.write(head + crcs[0] + data + crcs[1])
    return folder


def _read_tfevents(path: str) -> int:
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    accumulator = EventAccumulator(path, size_guidance={SCALARS: 0})
    accumulator.Reload()
    return sum(len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"])


# wandb


def _make_wandb(folder: Path, points: int) -> Path:
    def item(key: str, value: object) -> bytes:
        return _field(2, key.encode()) + _field(16, json.dumps(value).encode())

    path = folder / "run-abc.wandb"
    with open(path, "wb") as file:
        file.write(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
        begun = _field(1, b"abc") + _field(3, b"digits") + _field(17, b"\x08" + _varint(1_700_000_000))
        _write_record(file, _field(17, begun))
        for step in range(points // _METRICS):
            values = {f"metric{number}": (step + number) / 7 for number in range(_METRICS)}
            row = {**values, "_step": step, "_timestamp": 1.7e9 + step, "_runtime": step / 10}
            items = [item(key, value) for key, value in row.items()]
            _write_record(file, _field(3, b"".join(_field(1, one) for one in items)))
            _write_record(file, _field(2, b"".join(_field(1, one) for one in items)))
        _write_record(file, _field(18, b""))
    return folder


def _write_record(file: object, data: bytes) -> None:
    kind = 1
    while True:
        room = _BLOCK - file.tell() % _BLOCK  # type: ignore[attr-defined]
        if room < 7:
            file.write(bytes(room))  # type: ignore[attr-defined]
            continue
        piece, data = data[: room - 7], data[room - 7 :]
        code = (1 if kind == 1 else 4) if not data else (2 if kind == 1 else 3)
        crc = zlib.crc32(bytes([code]) + piece)
        file.write(struct.pack("<IHB", crc, len(piece), code) + piece)  # type: ignore[attr-defined]
        kind = 3
        if not data:
            return


def _read_wandb(path: str) -> int:
    from wandb.proto import wandb_internal_pb2

    found: dict[str, list[tuple[object, object, object]]] = {}
    waiting = b""
    with open(f"{path}/run-abc.wandb", "rb") as file:
        file.seek(7)
        while True:
            room = _BLOCK - file.tell() % _BLOCK
            if room < 7:
                file.read(room)
                continue
            head = file.read(7)
            if len(head) < 7:
                break
            crc, size, kind = struct.unpack("<IHB", head)
            data = file.read(size)
            if zlib.crc32(head[6:] + data) != crc:
                raise SystemExit("a checksum is wrong")
            waiting += data
            if kind not in (1, 4):
                continue
            record = wandb_internal_pb2.Record()
            record.ParseFromString(waiting)
            waiting = b""
            if record.WhichOneof("record_type") == "summary":
                for one in record.summary.update:
                    json.loads(one.value_json)
            if record.WhichOneof("record_type") == "history":
                row = {".".join(one.nested_key) or one.key: json.loads(one.value_json) for one in record.history.item}
                for name, value in row.items():
                    if not name.startswith("_"):
                        found.setdefault(name, []).append((row["_step"], value, row["_timestamp"]))
    return sum(map(len, found.values()))


# mlflow

_SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), artifact_location VARCHAR(256),
    lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT);
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), source_type VARCHAR(20), status VARCHAR(9),
    start_time BIGINT, end_time BIGINT, lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
CREATE TABLE tags (key VARCHAR(250), value VARCHAR(5000), run_uuid VARCHAR(32));
CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
    run_uuid VARCHAR(32) NOT NULL, step BIGINT NOT NULL, is_nan BOOLEAN NOT NULL,
    PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
"""


def _make_mlflow(folder: Path, points: int) -> Path:
    path = folder / "mlflow.db"
    if importlib.util.find_spec("mlflow") is not None:
        fresh(_begin_mlflow, str(path))
    database = sqlite3.connect(path)
    if not path.stat().st_size:
        database.executescript(_SCHEMA)
        database.execute("INSERT INTO experiments VALUES (1, 'digits', '', 'active', 1700000000000, 0)")
        database.execute("INSERT INTO runs VALUES ('abc', 'a', '', 'FINISHED', 1700000000000, 0, 'active', '', 1)")
    uid = database.execute("SELECT run_uuid FROM runs").fetchone()[0]
    steps = range(points // _METRICS)
    rows = (
        (f"metric{number}", (step + number) / 7, 1_700_000_000_000 + step, uid, step, False)
        for number in range(_METRICS)
        for step in steps
    )
    names = "key, value, timestamp, run_uuid, step, is_nan"
    database.executemany(f"INSERT INTO metrics ({names}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()
    return path


def _begin_mlflow(path: str) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{path}"
    from mlflow import MlflowClient

    client = MlflowClient()
    client.set_terminated(client.create_run(client.create_experiment("digits")).info.run_id)


def _read_mlflow(path: str) -> int:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{path}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "digits"]
    (found,) = client.search_runs([experiment.experiment_id])
    names = [f"metric{number}" for number in range(_METRICS)]
    return sum(len(client.get_metric_history(found.info.run_id, name)) for name in names)


_SOURCES = {
    "csv": (_make_csv, _read_csv, "csv"),
    "tensorboard": (_make_tfevents, _read_tfevents, "tensorboard"),
    "wandb": (_make_wandb, _read_wandb, "wandb"),
    "mlflow": (_make_mlflow, _read_mlflow, "mlflow"),
}


if __name__ == "__main__":
    run(__doc__, measure, points=(1_000_000, 20_000))
