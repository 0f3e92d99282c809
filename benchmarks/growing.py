"""What a point costs in a trial that has millions of them, in a database: the same as the first ones.

Events of one metric are received in batches, and the rate in the first tenth is compared with the rate in the last.
The largest row, or document, says whether anything grows with the trial. PostgreSQL, in SERIALIZABLE, stands in for
CockroachDB, and SecantusDB for MongoDB; where one is not installed its rows say so.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from _common import MET, MISSED, Row, against, run
from databases import _mongo, _postgres, _store

BATCH = 5_000
MEBIBYTE = 2**20


def measure(folder: str, points: int) -> list[Row]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    path = f"{folder}/grow.db"
    rows = _rows("SQLite", f"sqlite:{path}", points, lambda: _largest_of_sqlite(path))
    for name, start, largest in (
        ("PostgreSQL", _postgres, _largest_of_postgres),
        ("MongoDB wire", _mongo, _largest_of_mongo),
    ):
        server = start()
        if server is None:
            rows.append(Row(name, "not installed"))
            continue
        try:
            uri = server.new_database()
            rows += _rows(name, uri, points, lambda uri=uri, server=server, largest=largest: largest(server, uri))
        finally:
            server.close()
    return rows


def _rows(name: str, uri: str, points: int, largest: Callable[[], int]) -> list[Row]:
    costs = _costs(uri, points)
    tenth = max(1, len(costs) // 10)
    first, last = (sum(part) / (len(part) * BATCH) * 1e6 for part in (costs[:tenth], costs[-tenth:]))
    size = largest()
    return [
        against(f"{name}: a point, after {points:,} of them", last, first, "the first tenth", "us", 1.25),
        Row(
            f"{name}: largest row or document",
            f"{size:,} B",
            f"at most {MEBIBYTE:,} B",
            f"{size / MEBIBYTE:.3f}",
            MET if size <= MEBIBYTE else MISSED,
        ),
    ]


def _costs(uri: str, points: int) -> list[float]:
    """Return the seconds of each batch."""
    from track.structure import Project, Trial

    store = _store(uri)
    store.new_project(Project(name="p"))
    trial = store.new_trial(Trial(parameters={"lr": 0.1}))
    costs = []
    for first, events in _batches(trial.uid, points):
        start = time.perf_counter()
        store.receive("writer", first, events)
        costs.append(time.perf_counter() - start)
    store.close()
    return costs


def _batches(trial: str, points: int) -> Iterator[tuple[int, list]]:
    from track.events import MetricsLogged

    for first in range(0, points, BATCH):
        steps = range(first, min(points, first + BATCH))
        yield first, [MetricsLogged(trial, {"loss": 0.1234567 * step + 0.1}, 1e9 + step, step) for step in steps]


def _largest_of_sqlite(path: str) -> int:
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    sizes = []
    for name in names:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        total = " + ".join(f"COALESCE(LENGTH(CAST({column} AS BLOB)), 0)" for column in columns)
        sizes += [size or 0 for (size,) in connection.execute(f"SELECT MAX({total}) FROM {name}")]
    connection.close()
    return max(sizes)


def _largest_of_postgres(server, uri: str) -> int:
    import psycopg2

    name = uri.rpartition("/")[2].partition("?")[0]
    connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres", dbname=name)
    cursor = connection.cursor()
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    sizes = []
    for (table,) in cursor.fetchall():
        cursor.execute(f"SELECT MAX(PG_COLUMN_SIZE(t.*)) FROM {table} t")
        sizes.append(cursor.fetchone()[0] or 0)
    connection.close()
    return max(sizes)


def _largest_of_mongo(server, uri: str) -> int:
    import bson

    from tests.servers.mongo import connected

    with connected(uri) as database:
        return max(
            len(document.raw)
            for name in database.list_collection_names()
            for document in database.get_collection(
                name, codec_options=bson.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)
            ).find()
        )


if __name__ == "__main__":
    run(__doc__, measure, points=(5_000_000, 20_000))
