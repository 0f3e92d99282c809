"""A SQLite file of somebody else's, for reading: nothing is written beside it, and no value is believed to be small."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

from track.errors import UnsafePath
from track.importing.files import Folder, open_file
from track.importing.report import Report

_LONGEST = 1 << 26
_LIMIT_LENGTH = 0
"""The number of SQLite's limit of the bytes of a value."""
_PATIENCE = 1.0
"""Seconds to wait for who writes."""
_STEPS = 1_000_000
"""Steps of SQLite's machine between two looks at whether a query goes on for ever."""
_MOST_STEPS = 200_000


@contextmanager
def opened(path: str, report: Report) -> Iterator[Database | None]:
    """Give the database; None where it is none, which is counted."""
    try:
        # SQLite would wait for somebody to write to a pipe.
        open_file(path).close()
    except (OSError, UnsafePath) as error:
        report.damage("cannot be opened", f"{path}: {error}")
        yield None
        return
    # A log or a journal beside it has what is not in the file yet, or not for good: then SQLite looks at both, and for
    # who writes. Without one, nothing is made beside the file.
    is_changing = any(os.path.exists(log) and os.path.getsize(log) for log in (f"{path}-wal", f"{path}-journal"))
    mode = "mode=ro" if is_changing else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?{mode}", timeout=_PATIENCE, uri=True)
    except sqlite3.Error as error:
        report.damage("is no SQLite database", f"{path}: {error}")
        yield None
        return
    with closing(connection):
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        if hasattr(connection, "setlimit"):
            connection.setlimit(_LIMIT_LENGTH, _LONGEST)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            database = Database(connection, path, report)
        except (sqlite3.Error, OverflowError) as error:
            report.damage("is no SQLite database", f"{path}: {error}")
            yield None
            return
        yield database


def databases(
    path: str, report: Report, tracker: str, endings: tuple[str, ...], **needed: Sequence[str]
) -> Iterator[tuple[Database, Folder, str]]:
    """Yield a tracker's database, or each in a folder: with the folder, and its name there.

    `needed`: the columns of each table without which it is another program's, which is counted.
    """
    if os.path.isdir(path):
        folder = Folder(path, report)
        names = [one.name for one in folder.entries() if one.name.endswith(endings) and folder.has(one.name)]
    else:
        folder, names = Folder(os.path.dirname(path), report), [os.path.basename(path)]
    for name in names:
        with opened(folder.at(name), report) as database:
            if database is None:
                continue
            if not all(database.has(table, *columns) for table, columns in needed.items()):
                report.leave("file", f"is no database of {tracker}", name)
                continue
            yield database, folder, name


class Database:
    """Its tables: views are none, for they may be anything."""

    def __init__(self, connection: sqlite3.Connection, path: str, report: Report) -> None:
        self._connection, self._path, self._report = connection, path, report
        self._tables: dict[str, list[str]] = {}
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if isinstance(name, str) and name.isidentifier():
                columns = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                self._tables[name] = [column[1] for column in columns]

    def has(self, table: str, *columns: str) -> bool:
        """Return whether there is a table with these columns."""
        return table in self._tables and set(columns) <= set(self._tables[table])

    def chunks(self, table: str, columns: tuple[str, ...], rest: str = "", *values: Any) -> Iterator[list[Any]]:
        """Yield rows, some of them at a time; columns that are not there are None. What cannot be read is counted."""
        known = self._tables.get(table, [])
        chosen = ", ".join(f'"{name}"' if name in known else "NULL" for name in columns)
        self._bound()
        try:
            query = f'SELECT {chosen} FROM "{table}" {rest}'  # noqa: S608 - names are constants of ours
            cursor = self._connection.execute(query, values)
            while rows := cursor.fetchmany(8192):
                yield rows
                self._bound()
        except (sqlite3.Error, OverflowError) as error:
            self._report.damage(f"the table {table} cannot be read ({error})", self._path)

    def rows(self, table: str, columns: tuple[str, ...], rest: str = "", *values: Any) -> Iterator[Any]:
        """Yield one row after another, as `chunks` does."""
        for rows in self.chunks(table, columns, rest, *values):
            yield from rows

    def _bound(self) -> None:
        left = _MOST_STEPS

        def is_too_long() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        self._connection.set_progress_handler(is_too_long, _STEPS)
