"""SQLite: ``sqlite:///runs.db``, an indexed store in one file, on the standard library."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from track.configuration import options
from track.errors import AnotherStore, BackendUnavailable, CorruptJournal, InvalidUri
from track.persistence.delivery import DELIVERY_OPTIONS, DeliveredProtocol, deliver
from track.persistence.sql import Database, Driver, Outcome, Row, SqlProtocol
from track.persistence.utils import read_bool, read_options, store_path, uri_path
from track.utils.files import name_aside
from track.utils.mounts import file_system_of, keeps_numbers, numbers_of

__all__ = ["SqliteDriver", "SqliteProtocol", "make_sqlite"]

logger = logging.getLogger(__name__)
_TURN = 0.5
"""Seconds that an attempt waits for a file that others write to; other threads, and forks, have their turn between."""
_LEAST_ROOM = 1 << 16
"""Bytes: what the files beside the database take when it is opened."""


class SqliteDriver(Driver):
    """One SQLite file, in WAL mode: readers do not wait for writers."""

    Error: type[Exception] = sqlite3.Error
    begin, begin_reading = "BEGIN IMMEDIATE", "BEGIN"
    is_certain = True
    # The library keeps the locks of a process in its memory: a child would take those of its parent for its own.
    rests_at_forks = True
    take_turn = ""
    unstorable: frozenset[str] = frozenset()
    has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    numbering = ""
    next_number = "SELECT COALESCE(MAX(changed), 0) + 1 FROM trials"
    settling = 0.0

    def __init__(self, path: str, timeout: float, durable: bool) -> None:
        self.path = path
        self.timeout = timeout
        self.durable = durable
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        # The file that was opened, and its log: whoever has their names now may be another.
        self._opened_file: tuple[int, int] | None = None
        self._opened_log: tuple[int, int] | None = None

    def connect(self) -> sqlite3.Connection:
        """Return a new connection; one that only reads where this user may not write."""
        self._part_from_log()
        try:
            connection = self._connected()
        finally:
            self._opened_file, self._opened_log = _number_of(self.path), _number_of(f"{self.path}-wal")
        return connection

    def _part_from_log(self) -> None:
        """Put the log of a file aside that was replaced: it is not the new one's, and would damage it."""
        log, found = f"{self.path}-wal", _number_of(self.path)
        if found in (None, self._opened_file) or _number_of(log) is None or _number_of(log) != self._opened_log:
            return
        left = name_aside(log)
        logger.warning("%s was replaced while in use: the log of the old one is kept as %s", self.path, left)
        os.rename(log, left)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}-shm")

    def is_current(self, connection: Any) -> bool:
        """Return whether the file that was opened still has its name: nobody removed or replaced it."""
        return self._copy is not None or _number_of(self.path) == self._opened_file

    def is_there(self) -> bool:
        return os.path.lexists(self.path)

    def home(self, connection: Any) -> str:
        return os.path.realpath(self.path)

    def is_copy(self, connection: Any, home: str, identity: str) -> bool:
        path = self.home(connection)
        with contextlib.suppress(OSError, sqlite3.Error, BackendUnavailable):
            if home == path or not os.path.exists(home) or os.path.samefile(home, path):
                return False
            with contextlib.closing(self._opened(_uri_of(home, "mode=ro"))) as other:
                return identity in other.execute("SELECT uid FROM store ORDER BY position DESC LIMIT 1").fetchone()
        return False

    def origin(self, connection: Any) -> dict[str, str]:
        path = self.home(connection)
        return numbers_of(os.path.dirname(path), file=path) if keeps_numbers(file_system_of(path)) else {}

    def _connected(self) -> sqlite3.Connection:
        is_writable = self._is_writable()
        self.begin = "BEGIN IMMEDIATE" if is_writable else "BEGIN"
        try:
            if is_writable:
                return self._opened(self._created(), "PRAGMA journal_mode = WAL", self._synchronous)
            return self._opened_to_read()
        except (OSError, sqlite3.OperationalError) as error:
            if isinstance(error, sqlite3.Error) and self.outcome(error) is Outcome.AGAIN:
                raise
            text = f"{self.path} cannot be opened ({error}): choose another folder"
            raise _unusable(text, self._is_full(error)) from error
        except sqlite3.DatabaseError as error:
            raise self.translate(error) from error

    @property
    def _synchronous(self) -> str:
        return f"PRAGMA synchronous = {'FULL' if self.durable else 'NORMAL'}"

    def _is_writable(self) -> bool:
        if not os.path.exists(self.path):
            return True
        # Those who only write to the files that are there need no right to the folder.
        beside = (f"{self.path}-wal", f"{self.path}-shm")
        return os.access(self.path, os.W_OK) and (
            os.access(os.path.dirname(self.path), os.W_OK) or all(os.access(path, os.W_OK) for path in beside)
        )

    def _created(self) -> str:
        """Make the file as the umask says, for those who share the folder; the ones beside it get what it has."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        if not os.path.exists(self.path):
            _make_file(self.path)
        return _uri_of(self.path, "mode=rwc")

    def _opened_to_read(self) -> sqlite3.Connection:
        """Read beside writers; where that needs files that cannot be made, nobody writes, and a copy has the rest."""
        check = "SELECT count(*) FROM sqlite_master"
        try:
            return self._opened(_uri_of(self.path, "mode=ro"), check)
        except sqlite3.OperationalError:
            if os.path.exists(f"{self.path}-shm") and os.access(f"{self.path}-shm", os.R_OK):
                raise
        log = f"{self.path}-wal"
        if not os.path.exists(log) or not os.path.getsize(log):
            return self._opened(_uri_of(self.path, "mode=ro&immutable=1"), check)
        self._copy = tempfile.TemporaryDirectory(prefix="track-sqlite-")
        copy = os.path.join(self._copy.name, "runs.db")
        shutil.copyfile(self.path, copy)
        shutil.copyfile(log, f"{copy}-wal")
        return self._opened(_uri_of(copy, "mode=rw"), "PRAGMA query_only = 1", check)

    def _opened(self, uri: str, *statements: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=min(self.timeout, _TURN),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            for statement in statements:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
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
        if isinstance(error, FileNotFoundError):
            return _unusable(f"{self.path}: {error}; put it back, or make a new client")
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return CorruptJournal(f"{self.path} is no SQLite database and was left as it is")
        return _unusable(f"{self.path} cannot be used: {error}", self._is_full(error))

    def _is_full(self, error: Exception) -> bool:
        """Return whether the disk is full, which SQLite does not say of its files in shared memory."""
        if "disk I/O error" in str(error):
            with contextlib.suppress(OSError):
                return shutil.disk_usage(os.path.dirname(self.path)).free < _LEAST_ROOM
        return "is full" in str(error)


def _unusable(text: str, is_full: bool = False) -> BackendUnavailable:
    """Return an error that stays: a file is never away."""
    error = BackendUnavailable(text)
    error.needs_repair, error.is_full = True, is_full
    return error


def _number_of(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one that has its name; None where there is none."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _make_file(path: str) -> None:
    """Make an empty file as the umask says, unless there is one.

    It must not be opened: to close a file gives up all locks that this process, SQLite included, has on it.
    """
    try:
        os.mknod(path, 0o666)
    except FileExistsError:
        return
    except PermissionError:
        # Where only root makes files so: one that is closed before it has its name.
        descriptor, unnamed = tempfile.mkstemp(dir=os.path.dirname(path))
        os.close(descriptor)
        os.chmod(unnamed, 0o666 & ~_umask())
        with contextlib.suppress(FileExistsError):
            os.link(unnamed, path)
        os.unlink(unnamed)


def _umask() -> int:
    present = os.umask(0o077)
    os.umask(present)
    return present


def _uri_of(path: str, options: str) -> str:
    return f"file:{quote(path)}?{options}"


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

    def require_store(self, identity: str) -> None:
        # Nothing is created for events of a store that was there, and is not.
        if identity and not os.path.exists(self._file):
            raise AnotherStore(f"{self._file} was removed: put it back, and what waits for it is sent")
        super().require_store(identity)


def _read(uri: str) -> dict[str, Any]:
    timeout = float(options("log.backend.lock_timeout", 30.0))
    return read_options(uri, {"fsync": (read_bool, False), "timeout": (float, timeout), **DELIVERY_OPTIONS})


def _escaped(path: str) -> str:
    """Return a path as a URI has it, with no more changed than must be."""
    return re.sub("[%#?;]", lambda found: quote(found[0]), path)


def make_sqlite(uri: str) -> DeliveredProtocol:
    """Return the backend of a ``sqlite:`` URI: a log call returns at once, and a thread delivers."""
    where = f"sqlite://{_escaped(os.path.abspath(uri_path(uri)))}" if uri_path(uri) else uri
    return deliver(where, partial(SqliteProtocol, uri), _read(uri))
