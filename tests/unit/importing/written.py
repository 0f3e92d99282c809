"""Small files as other trackers write them, made by hand: their frames, checksums and messages."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from track.importing.crc32c import masked_crc


def varint(number: int) -> bytes:
    """Return an integer as protobuf writes it."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: Any) -> bytes:
    """Return a field of a message: an int, a float (a double), text or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def single(number: int, value: float) -> bytes:
    """Return a field with a float of four bytes."""
    return varint(number << 3 | 5) + struct.pack("<f", value)


def record(data: bytes) -> bytes:
    """Return a record of a TFRecord file."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


def event(at: float, step: int, *values: bytes) -> bytes:
    """Return an event of TensorBoard, with values of a summary."""
    summary = b"".join(field(1, value) for value in values)
    return field(1, at) + field(2, step) + (field(5, summary) if values else field(3, "brain.Event:2"))


def scalar(tag: str, value: float) -> bytes:
    """Return a value of a summary."""
    return field(1, tag) + single(2, value)


def image(tag: str, content: bytes) -> bytes:
    """Return an image of a summary."""
    return field(1, tag) + field(4, field(1, 8) + field(2, 8) + field(3, 3) + field(4, content))


def histogram(tag: str, low: float, high: float, limits: list[float], counts: list[float]) -> bytes:
    """Return a histogram of a summary, as TensorBoard for torch writes it."""
    packed = [struct.pack(f"<{len(numbers)}d", *numbers) for numbers in (limits, counts)]
    return field(1, tag) + field(5, field(1, low) + field(2, high) + field(6, packed[0]) + field(7, packed[1]))


def histogram_tensor(tag: str, rows: list[tuple[float, float, float]]) -> bytes:
    """Return a histogram of a summary, as TensorFlow writes it: a tensor of beginnings, ends and counts."""
    content = b"".join(struct.pack("<3d", *row) for row in rows)
    return field(1, tag) + field(9, field(1, field(1, "histograms"))) + field(8, field(1, 2) + field(4, content))


def hparams(**values: Any) -> bytes:
    """Return the hyperparameters of a session, as a value of a summary."""
    said = b""
    for name, value in values.items():
        one = field(3, value) if isinstance(value, str) else field(2, float(value))
        said += field(1, field(1, name) + field(2, one))
    plugin = field(1, "hparams") + field(2, field(3, said))
    return field(1, "_hparams_/session_start_info") + field(9, field(1, plugin))


def tfevents(folder: Path, *events: bytes, name: str = "events.out.tfevents.1700000000.host.1.0") -> Path:
    """Write a file of TensorBoard, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(map(record, (event(1700000000.0, 0), *events))))
    return path


# wandb


def item(key: str, value: Any, number: int = 2) -> bytes:
    """Return an item of wandb: a name, or several with dots between, and a value as JSON."""
    keys = b"".join(field(number, part) for part in key.split("."))
    return keys + field(16, json.dumps(value))


def wandb_run(uid: str = "abc123", **config: Any) -> bytes:
    """Return the record of a run."""
    said = b"".join(field(1, item(name, value, 1)) for name, value in config.items())
    texts = field(1, uid) + field(3, "digits") + field(6, "ablation") + field(8, "baseline") + field(9, "what it is")
    return field(
        17, texts + field(4, said) + field(10, "paper") + field(17, field(1, 1_700_000_000) + field(2, 500_000_000))
    )


def wandb_row(**values: Any) -> bytes:
    """Return the record of a row of the history."""
    return field(2, b"".join(field(1, item(name, value)) for name, value in values.items()))


def wandb_summary(**values: Any) -> bytes:
    """Return the record of a summary."""
    return field(3, b"".join(field(1, item(name, value, 1)) for name, value in values.items()))


def wandb_artifact(kind: str, name: str) -> bytes:
    """Return a record of wandb that begins an artifact."""
    return field(8, field(4, kind) + field(5, name))


def wandb_exit(code: int) -> bytes:
    """Return the record of an end."""
    return field(18, field(1, code) if code else b"")


def wandb(folder: Path, *records: bytes, uid: str = "abc123") -> Path:
    """Write the file of a run, in blocks of 32 KiB, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for data in records:
        rest, first = data, True
        while first or rest:
            room = 32768 - len(content) % 32768
            if room < 7:
                content += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            content += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            first = False
    path = folder / f"run-{uid}.wandb"
    path.write_bytes(content)
    return path


# SQLite


def mlflow(folder: Path) -> Path:
    """Write a store of MLflow with a run, its child, one that failed and one that was deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
                artifact_uri TEXT, experiment_id INTEGER, lifecycle_stage TEXT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
            INSERT INTO experiments VALUES (1, 'digits');
            """
        )
        runs = [
            ("aaa", "parent", "FINISHED", 1_700_000_000_500, 1_700_000_100_000, f"{folder}/mlruns/1/aaa/artifacts", 1),
            ("bbb", "child", "KILLED", 1_700_000_001_000, 1_700_000_002_000, "s3://bucket/bbb", 1),
            ("ccc", "failed", "FAILED", 1_700_000_002_000, 1_700_000_003_000, "/etc", 1),
        ]
        database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, 'active')", runs)
        database.execute("INSERT INTO runs VALUES ('ddd', 'gone', 'FINISHED', 1, 2, '', 1, 'deleted')")
        pairs = [("lr", "0.1", "aaa"), ("api_key", "abc", "aaa"), ("zip", "007", "aaa"), ("on", "True", "aaa")]
        database.executemany("INSERT INTO params VALUES (?, ?, ?)", pairs)
        tags = [
            ("mlflow.parentRunId", "aaa", "bbb"),
            ("mlflow.note.content", "what it is", "aaa"),
            ("team", "x", "aaa"),
        ]
        database.executemany("INSERT INTO tags VALUES (?, ?, ?)", tags)
        points = [("loss", 1 / (step + 1), 1_700_000_000_500 + step, "aaa", step, 0) for step in range(5)]
        points += [
            ("bad", 0.0, 1_700_000_001_000, "aaa", 1, 1),
            ("bad", 1.7976931348623157e308, 1_700_000_001_001, "aaa", 2, 0),
        ]
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", points)
        database.commit()
    artifacts = folder / "mlruns" / "1" / "aaa" / "artifacts"
    (artifacts / "images").mkdir(parents=True)
    (artifacts / "note.txt").write_text("hello")
    image = "img#deep+step+3+timestamp+1700000000000+7fc08bd9-8d44-436c-a5ba-98232a861332"
    (artifacts / "images" / f"{image}.png").write_bytes(b"\x89PNG\r\n\x1a\n-pixels")
    return path


def mlruns(folder: Path) -> Path:
    """Write a store of MLflow in files, with a run."""
    run = folder / "mlruns" / "17" / "aaa"
    for name, text in {
        "../meta.yaml": "name: digits\nexperiment_id: '17'\nlifecycle_stage: active\n",
        "meta.yaml": "run_name: first\nstatus: 3\nstart_time: 1700000000500\nend_time: 1700000100000\nrun_id: aaa\n"
        "lifecycle_stage: active\nartifact_uri: file:///etc\n",
        "params/lr": "0.1",
        "params/deep/api_key": "abc",
        "tags/team": "x",
        "metrics/loss": "1700000000500 1.0 0\n1700000000600 0.5 1\n",
        "metrics/val/acc": "1700000000700 nan 1\n1700000000800 inf 2\n",
        "artifacts/note.txt": "hello",
    }.items():
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mlruns"


def trackio(folder: Path) -> Path:
    """Write a database of trackio, with a run."""
    (folder / "media" / "digits").mkdir(parents=True)
    (folder / "media" / "digits" / "img.png").write_bytes(b"\x89PNG\r\n\x1a\n-pixels")
    path = folder / "digits.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT, timestamp TEXT, run_name TEXT,
                step INTEGER, metrics TEXT);
            CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT, config TEXT, created_at TEXT);
            CREATE TABLE system_metrics (id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, run_name TEXT,
                metrics TEXT);
            CREATE TABLE alerts (id INTEGER PRIMARY KEY, run_id TEXT, title TEXT);
            INSERT INTO alerts VALUES (1, 'u1', 'look');
            """
        )
        config = {
            "lr": 0.1,
            "api_key": "abc",
            "_Group": "g",
            "_Created": "2023-11-14T22:13:20.5+00:00",
            "_Username": "ann",
        }
        database.execute("INSERT INTO configs VALUES (1, 'u1', 'first', ?, '')", (json.dumps(config).encode(),))
        rows: list[dict[str, Any]] = [{"loss": 1.0}, {"loss": 0.5, "deep": {"x": 1}}, {"loss": "NaN", "note": "hi"}]
        rows.append({"img": {"_type": "trackio.image", "file_path": "digits/img.png", "caption": "c"}})
        rows.append({"out": {"_type": "trackio.image", "file_path": "../../outside.png"}})
        insert = "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES ('u1', ?, 'first', ?, ?)"
        for step, row in enumerate(rows):
            database.execute(insert, (f"2023-11-14T22:13:2{step + 1}+00:00", step, json.dumps(row).encode()))
        stats = json.dumps({"cpu": 5})
        database.execute(
            "INSERT INTO system_metrics VALUES (1, 'u1', '2023-11-14T22:13:30+00:00', 'first', ?)", (stats,)
        )
        database.commit()
    return path


# folders of texts


def dvclive(folder: Path) -> Path:
    """Write a folder of dvclive."""
    for name, text in {
        "plots/metrics/loss.tsv": "step\tloss\n0\t1.0\n1\t0.5\n",
        "plots/metrics/val/acc.tsv": "timestamp\tstep\tacc\n1700000000500\t0\t0.25\n",
        "params.yaml": "lr: 0.1\napi_key: abc\nnested:\n  depth: 2\n",
        "metrics.json": '{"loss": 0.5, "val": {"acc": 0.25}, "final": 3, "step": 1}',
        "plots/images/img.png": "pixels",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def sacred(folder: Path) -> Path:
    """Write the folder of an observer, with a run that failed."""
    about = {
        "status": "FAILED",
        "start_time": "2023-11-14T22:13:20.500000",
        "stop_time": "2023-11-14T22:13:30.000000",
        "experiment": {"name": "digits", "sources": [["main.py", "_sources/main.py"], ["out.py", "../out.py"]]},
        "fail_trace": ["Traceback\n", "ValueError: boom\n"],
        "command": "main",
        "result": None,
    }
    times = [f"2023-11-14T22:13:2{second}.000000" for second in (1, 2)]
    metrics = {"loss": {"steps": [0, 1], "values": [1.0, 0.5], "timestamps": times}}
    for name, text in {
        "1/run.json": json.dumps(about),
        "1/config.json": json.dumps({"lr": 0.1, "api_key": "abc", "seed": 7}),
        "1/metrics.json": json.dumps(metrics),
        "1/cout.txt": "hello\n",
        "_sources/main.py": "pass\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def observed() -> dict[str, list[dict[str, Any]]]:
    """Return the documents of a MongoObserver, by collection: a run that failed, two of its metrics, and its files."""
    moments = [datetime(2023, 11, 14, 22, 13, second, 500_000, timezone.utc) for second in (20, 21, 22, 30)]
    run = {
        "_id": 1,
        "status": "FAILED",
        "start_time": moments[0],
        "heartbeat": moments[2],
        "stop_time": moments[3],
        "experiment": {
            "name": "digits",
            "sources": [["main.py", "file-main"], ["gone.py", "file-gone"]],
            "repositories": [{"url": "https://ann:secret@host/digits", "commit": "abc", "dirty": False}],
        },
        "config": {"lr": 0.1, "api_key": "abc", "seed": 7},
        "host": {"hostname": "here", "ENV": {"HOME": "/home/ann"}},
        "meta": {"comment": "first"},
        "info": {"best": 0.5, "metrics": [{"name": "loss", "id": "metric-loss"}]},
        "fail_trace": ["Traceback\n", "ValueError: boom\n"],
        "command": "main",
        "result": None,
        "captured_out": "hello\n",
        "artifacts": [{"name": "note.txt", "file_id": "file-note"}],
        "resources": [["/data/old.csv", "md5"], ["/data/new.csv", "other"]],
        "omniboard": {"tags": ["good"], "notes": "look at this"},
    }
    metric = {"run_id": 1, "steps": [0, 5], "values": [1.0, 0.5], "timestamps": moments[1:3]}
    files = [
        {"_id": "file-main", "filename": "/main.py", "data": b"pass\n"},
        {"_id": "file-note", "filename": "artifact://runs/1/note.txt", "data": b"note"},
        {"_id": "file-old", "filename": "/data/old.csv", "md5": "md5", "data": b"1,2"},
    ]
    metrics = [{**metric, "_id": "metric-loss", "name": "loss"}, {**metric, "_id": "metric-acc", "name": "val/acc"}]
    return {"runs": [run], "metrics": metrics, "fs.files": files}
