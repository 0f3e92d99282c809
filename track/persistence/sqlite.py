"""SQLite: ``sqlite:///runs.db``, an indexed store in one file, on the standard library."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from track.configuration import options
from track.errors import BackendUnavailable, CorruptJournal, InvalidUri
from track.persistence.delivery import DELIVERY_OPTIONS, DeliveredProtocol, deliver
from track.persistence.sql import Database, Driver, Outcome, Row, SqlProtocol
from track.persistence.utils import read_bool, read_options, store_path, uri_path

__all__ = ["SqliteDriver", "SqliteProtocol", "make_sqlite"]


class SqliteDriver(Driver):
    """One SQLite file, in WAL mode: readers do not wait for writers."""

    Error: type[Exception] = sqlite3.Error
    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: str, timeout: float, durable: bool) -> None:
        self.path = path
        self.timeout = timeout
        self.durable = durable

    def connect(self) -> sqlite3.Connection:
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}")
        except (OSError, sqlite3.OperationalError) as error:
            raise BackendUnavailable(f"{self.path} cannot be opened ({error}): choose another folder") from error
        except sqlite3.DatabaseError as error:
            raise self.translate(error) from error
        return connection

    def execute(self, connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[Row]:
        return connection.execute(sql, parameters).fetchall()

    def insert(self, connection: sqlite3.Connection, sql: str, rows: Sequence[Row], suffix: str) -> None:
        values = ", ".join("?" * len(rows[0]))
        connection.executemany(f"{sql} VALUES ({values}) {suffix}", rows)

    def outcome(self, error: Exception) -> Outcome:
        """A file that is busy may be free later; nothing is ever unknown."""
        name = getattr(error, "sqlite_errorname", "")
        text = str(error)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "locked" in text or "busy" in text:
            return Outcome.AGAIN
        if isinstance(error, (sqlite3.DataError, sqlite3.IntegrityError)) or name == "SQLITE_TOOBIG":
            return Outcome.REFUSED
        return Outcome.FAILED

    def watched(self, connection: sqlite3.Connection, seconds: float) -> AbstractContextManager[None]:
        """Nothing to watch: a file answers."""
        return nullcontext()

    def translate(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return CorruptJournal(f"{self.path} is no SQLite database and was left as it is")
        return BackendUnavailable(f"{self.path} cannot be used: {error}")


class SqliteProtocol(SqlProtocol):
    """A store in one SQLite file, for many trials and many processes.

    Parameters
    ----------
    uri: str
        ``sqlite:///abs/runs.db``, ``sqlite://runs.db`` or ``sqlite:runs.db`` (relative).
    strict: bool
        Whether parents must be stored before their children.
    """

    def __init__(self, uri: str, strict: bool = True) -> None:
        given = _read(uri)
        path = store_path(uri)
        if not path:
            raise InvalidUri(f"{uri!r} names no file: write sqlite://runs.db or sqlite:///abs/runs.db")
        driver = SqliteDriver(os.path.abspath(path), given["timeout"], given["fsync"])
        super().__init__(uri, Database(driver, given["timeout"]), strict)
        self._file = os.path.realpath(path)

    @property
    def file(self) -> str | None:
        return self._file


def _read(uri: str) -> dict[str, Any]:
    timeout = float(options("log.backend.lock_timeout", 30.0))
    return read_options(uri, {"fsync": (read_bool, False), "timeout": (float, timeout), **DELIVERY_OPTIONS})


def make_sqlite(uri: str) -> DeliveredProtocol:
    """Return the backend of a ``sqlite:`` URI: a log call returns at once, and a thread delivers."""
    where = f"sqlite://{os.path.abspath(uri_path(uri))}" if uri_path(uri) else uri
    return deliver(where, partial(SqliteProtocol, uri), _read(uri))
