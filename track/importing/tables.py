"""Parquet as trackio exports it: made into the database that it was, in a folder for a while."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from track.errors import UnsafePath, missing_extra
from track.importing.database import Database, opened
from track.importing.files import Folder
from track.importing.report import Report

_ENDING = ".parquet"
_BESIDE = {"metrics": "", "system_metrics": "_system", "configs": "_configs"}
_JSON = {"metrics": "metrics", "system_metrics": "metrics", "configs": "config"}
_OTHERS = (
    "_traces",
    "_artifacts",
    "_artifact_versions",
    "_artifact_aliases",
    "_external_run_artifact_links",
    "_run_artifact_links",
)
_COLUMNS = ("run_id", "timestamp", "run_name", "step")
_OURS = frozenset(("id", "log_id", "space_id", "created_at", *_COLUMNS))
_LARGEST = 1 << 30
_ROWS = 4096


def projects(path: str, report: Report) -> Iterator[tuple[Database, Folder, str]]:
    """Yield what a project has in Parquet as a database, the folder, and the name; none that has its database there.

    Raises MissingExtra: pyarrow is not installed.
    """
    folder = Folder(path if os.path.isdir(path) else os.path.dirname(path), report)
    names = [one.name for one in folder.entries()] if os.path.isdir(path) else [os.path.basename(path)]
    projects = [name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and folder.has(name)]
    for project in projects:
        endings = (*filter(None, _BESIDE.values()), *_OTHERS)
        ending = next((end for end in endings if project.endswith(end) and project.removesuffix(end) in projects), None)
        if ending in _OTHERS:
            report.leave("file", "has no place here", f"{project}{_ENDING}")
        if ending is not None or folder.has(f"{project}.db"):
            continue
        with tempfile.TemporaryDirectory(prefix="track-trackio-") as place:
            made = os.path.join(place, "made.db")
            if not _make(made, folder, project, report):
                continue
            with opened(made, report) as database:
                if database is not None:
                    yield database, folder, project


def _make(path: str, folder: Folder, project: str, report: Report) -> bool:
    """Write the database, and return whether there is one."""
    with closing(sqlite3.connect(path)) as database:
        for table, ending in _BESIDE.items():
            columns = (*_COLUMNS, _JSON[table])
            database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(columns)})")
            database.execute(f"CREATE INDEX runs_of_{table} ON {table} (run_id)")
            name = f"{project}{ending}{_ENDING}"
            if not folder.has(name):
                continue
            marks = ", ".join("?" * (len(columns) + 1))
            insert = f"INSERT OR IGNORE INTO {table} (id, {', '.join(columns)}) VALUES ({marks})"  # noqa: S608
            try:
                for rows in _rows(folder, name):
                    database.executemany(insert, [_row(row, _JSON[table]) for row in rows])
            except (OSError, ValueError, TypeError, KeyError, NotImplementedError, sqlite3.Error, UnsafePath) as error:
                report.damage("is no Parquet of trackio, or damaged", f"{name}: {error}")
                if not ending:
                    return False
        database.commit()
    return True


def _rows(folder: Folder, name: str) -> Iterator[list[dict[str, Any]]]:
    try:
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise missing_extra("reading Parquet needs pyarrow", "pyarrow") from error
    with folder.open(name) as file:
        source = parquet.ParquetFile(file)
        about = source.metadata
        for number in range(about.num_row_groups):
            if about.row_group(number).total_byte_size > _LARGEST:
                raise ValueError(f"has more than {_LARGEST:,} bytes in a group of rows")
        if "run_name" not in source.schema_arrow.names:
            raise ValueError("has no column run_name")
        for batch in source.iter_batches(batch_size=_ROWS):
            yield batch.to_pylist()


def _row(row: dict[str, Any], column: str) -> tuple[Any, ...]:
    """Return a row of the database: what is in no column of its own, is what was logged."""
    logged = (
        row[column]
        if isinstance(row.get(column), str)
        else json.dumps(
            {key: value for key, value in row.items() if key not in _OURS and value is not None}, default=str
        )
    )
    name = row.get("run_name")
    return row.get("id"), row.get("run_id") or name, row.get("timestamp"), name, row.get("step"), logged
