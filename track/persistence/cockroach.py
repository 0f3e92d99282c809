"""CockroachDB, and PostgreSQL: ``cockroach://user:password@host:port/database``, through psycopg2."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from typing import Any

from track.errors import BackendUnavailable, InvalidEvent, missing_extra
from track.persistence.delivery import DELIVERY_OPTIONS, DeliveredProtocol, deliver
from track.persistence.sql import Database, Driver, Outcome, Row, SqlProtocol
from track.persistence.utils import fixed_place, mask_secrets, parse_uri, read_options

__all__ = ["OPTIONS", "Cockroach", "PostgresDriver", "make_cockroach"]

_OUTCOMES = {
    "40001": Outcome.AGAIN,  # serialization failure: the documented way is to run the whole transaction again
    "40P01": Outcome.AGAIN,  # deadlock
    "23505": Outcome.AGAIN,  # two transactions created the same row at once; run again, the second one sees the first
    "42P07": Outcome.AGAIN,  # the same for a table
    "42710": Outcome.AGAIN,  # the same for the type of a table's rows, which PostgreSQL creates first
    "42701": Outcome.AGAIN,  # the same for a column
    "55P03": Outcome.AGAIN,  # lock not available
    "40003": Outcome.UNKNOWN,  # statement completion unknown
    "57P01": Outcome.UNKNOWN,  # the server is shutting down
    "57P02": Outcome.UNKNOWN,
    "57P03": Outcome.UNKNOWN,
    "08": Outcome.UNKNOWN,  # the connection
    "22": Outcome.REFUSED,  # the data itself: out of range, not text
    "23": Outcome.REFUSED,  # against a constraint
    "54": Outcome.REFUSED,  # too large, too many
}
"""What an SQLSTATE, or its class, says about the transaction."""
_PORT = "26257"
_COPY_FROM = 50
# A statement may be of 16 MiB in CockroachDB; a row of points is much smaller than 1 MiB.
_SURELY, _COPY_BYTES = 8, 2**20
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ADDRESS = re.compile(r"^connection to server (at|on) .*? failed: ")
_WAYS_OUT = (
    ("permission denied", "this user may read it, or not even that: GRANT it the right to write, or name another user"),
    ("read-only transaction", "it is a replica, or only to be read: name the server that is written to"),
    ("password authentication failed", "give user and password in the URI, cockroach://user:password@host"),
    ("no password supplied", "give user and password in the URI, cockroach://user:password@host"),
    ("relation ", "a table of the store was removed: restore the database, or name another one"),
    ("does not exist", "create it first, or name another one in the URI, cockroach://host/database"),
    ("could not translate host name", "check the host's name"),
    ("SSL", "add ?sslmode=require, or ?sslmode=disable, as the server wants it"),
    ("no pg_hba.conf entry", "the server's pg_hba.conf must allow this client; it may want ?sslmode=require"),
    ("Connection refused", "is the server running, on this host and port?"),
    ("timeout", "is the server running, on this host and port?"),
)


# What a server was given when it was set up: its replicas have it too.
_SYSTEM = "SELECT system_identifier FROM pg_control_system()"
_CLUSTER = "SELECT crdb_internal.cluster_id()"
_TIME = "SELECT EXTRACT(EPOCH FROM clock_timestamp())"
_BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"
# It keeps nobody else waiting, and comes first: what is seen is as of the first statement after it.
_TAKE_TURN = "LOCK TABLE format IN SHARE UPDATE EXCLUSIVE MODE"
# A replica knows no other one; what is read there was serializable when it was written.
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresDriver(Driver):
    """How servers that speak PostgreSQL's protocol are spoken to, with the options of the URI."""

    unstorable = frozenset("\0")
    begin = _BEGIN
    take_turn = ""
    has_table = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
    # Not a row that everybody changes: transactions would wait for one another, or fail.
    numbering = "CREATE SEQUENCE IF NOT EXISTS trial_changes"
    next_number = "SELECT nextval('trial_changes')"
    settling = 60.0

    def __init__(self, uri: str, options: dict[str, Any]) -> None:
        try:
            import psycopg2
            import psycopg2.extras
        except ImportError as error:
            raise missing_extra("'cockroach:' needs psycopg2", "cockroach") from error
        self.uri = uri
        self._psycopg2: Any = psycopg2
        self.Error: type[Exception] = psycopg2.Error
        self._origin: dict[str, str] = {}
        parts = parse_uri(uri)
        self._arguments = {
            "host": parts.get("address") or "127.0.0.1",
            "port": parts.get("port", _PORT),
            "user": parts.get("username", "track_client"),
            "password": parts.get("password", "track_password" if "username" not in parts else None),
            "dbname": parts["path"].strip("/") or "track",
            "connect_timeout": max(2, round(options["connect_timeout"])),
            "application_name": "track",
            **{name: options[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey") if options[name]},
        }

    def connect(self) -> Any:
        try:
            connection = self._psycopg2.connect(**self._arguments)
            connection.autocommit = True
            self.begin = _BEGIN_READING if _is_read_only(connection) else _BEGIN
            # Not in a transaction, which a refusal would end; and not of those who only read.
            self._origin = self._ask_origin(connection) if self.begin == _BEGIN else {}
            # CockroachDB knows no such lock, and lets others wait for a row that is being changed.
            self.take_turn = "" if connection.info.parameter_status("crdb_version") else _TAKE_TURN
        except self.Error as error:
            raise self.translate(error) from error
        return connection

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[Row]:
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql.replace("?", "%s"), parameters)
            except ValueError as error:
                _refuse_nul(error, parameters)
                raise
            return [] if cursor.description is None else list(cursor.fetchall())

    def insert(self, connection: Any, sql: str, rows: Sequence[Row], suffix: str) -> None:
        """Insert many rows: by COPY, or a thousand a statement where some may be there already."""
        with connection.cursor() as cursor:
            if not suffix and (len(rows) > _COPY_FROM or (len(rows) > _SURELY and _bytes_in(rows) > _COPY_BYTES)):
                table = sql.removeprefix("INSERT INTO ")
                cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("".join(map(_copy_line, rows))))
                return
            try:
                self._psycopg2.extras.execute_values(cursor, f"{sql} VALUES %s {suffix}", rows, page_size=1000)
            except ValueError as error:
                _refuse_nul(error, chain.from_iterable(rows))
                raise

    def home(self, connection: Any) -> str:
        # The server's number of it: it stays when the database is renamed, and a copy has another.
        return str(self.execute(connection, "SELECT oid FROM pg_database WHERE datname = current_database()", ())[0][0])

    def is_copy(self, connection: Any, home: str, identity: str) -> bool:
        return bool(self.execute(connection, "SELECT 1 FROM pg_database WHERE oid = ?", (int(home),)))

    def origin(self, connection: Any) -> dict[str, str]:
        return self._origin

    def _ask_origin(self, connection: Any) -> dict[str, str]:
        """Return the server's number of itself; nothing where it does not tell this user, or there is none."""
        is_cockroach = connection.info.parameter_status("crdb_version") is not None
        with suppress(self.Error), self.watched(connection, self._arguments["connect_timeout"]):
            return {"server": str(self.execute(connection, _CLUSTER if is_cockroach else _SYSTEM, ())[0][0])}
        return {}

    def time(self, connection: Any) -> float | None:
        with suppress(self.Error), self.watched(connection, self._arguments["connect_timeout"]):
            return float(self.execute(connection, _TIME, ())[0][0])
        return None

    def outcome(self, error: Exception) -> Outcome:
        """Return what an error means, by its SQLSTATE; without one the connection broke."""
        code = getattr(error, "pgcode", None)
        if code is not None:
            return _OUTCOMES.get(code) or _OUTCOMES.get(code[:2], Outcome.FAILED)
        broke = isinstance(error, (self._psycopg2.OperationalError, self._psycopg2.InterfaceError))
        return Outcome.UNKNOWN if broke else Outcome.FAILED

    def translate(self, error: Exception) -> Exception:
        text = _reason(str(error))
        way_out = next((way for sign, way in _WAYS_OUT if sign in text), "see the server's log")
        return BackendUnavailable(f"{mask_secrets(self.uri)} cannot be used ({text}): {way_out}")

    @contextmanager
    def watched(self, connection: Any, seconds: float) -> Iterator[None]:
        """Break the connection when a transaction takes too long: a server may accept and never answer."""
        watchdog = threading.Timer(seconds, _break, [connection])
        watchdog.daemon = True
        # No thread can be started while the interpreter ends; nobody waits for the sender then.
        with suppress(RuntimeError):
            watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


def _is_read_only(connection: Any) -> bool:
    """Return whether a server says that it is a replica, or that whoever connects so may only read."""
    told = ("in_hot_standby", "default_transaction_read_only")
    return any(connection.info.parameter_status(name) == "on" for name in told)


def _refuse_nul(error: ValueError, values: Iterable[Any]) -> None:
    """Say which of the values the driver cannot send, where it is one that holds a NUL."""
    text = next((value for value in values if isinstance(value, str) and "\0" in value), None)
    if text is not None:
        raise InvalidEvent(f"{text!r} holds a NUL, which a text in PostgreSQL cannot: leave it out") from error


def _reason(text: str) -> str:
    """Return what libpq says, once where it says it for each address of a host, and without its own question."""
    lines = (_ADDRESS.sub("", line.strip()) for line in text.splitlines())
    reasons = dict.fromkeys(line for line in lines if line and not line.startswith("Is the server running"))
    return " ".join(" ".join(reasons).split())


def _bytes_in(rows: Iterable[Row]) -> int:
    return sum(len(value) for row in rows for value in row if type(value) is bytes)


def _copy_line(row: Row) -> str:
    return "\t".join(map(_copy_field, row)) + "\n"


def _copy_field(value: Any) -> str:
    if value is None:
        return "\\N"
    if type(value) is str:
        return value.translate(_ESCAPED)
    if type(value) is bytes:
        return f"\\\\x{value.hex()}"
    return repr(value)


def _break(connection: Any) -> None:
    try:
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
    except Exception:  # noqa: BLE001 - the connection is gone already
        return
    try:
        duplicate.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        duplicate.close()


class Cockroach(SqlProtocol):
    """A store in CockroachDB, or PostgreSQL, in SERIALIZABLE transactions; `make_cockroach` adds delivery.

    Parameters
    ----------
    uri: str
        ``cockroach://[user[:password]@]host[:port][/database][?sslmode=...]``. By default user
        ``track_client``, password ``track_password``, port 26257, database ``track``.
    """

    def __init__(self, uri: str) -> None:
        given = read_options(uri, OPTIONS)
        super().__init__(uri, Database(PostgresDriver(uri, given), given["timeout"]))


OPTIONS: dict[str, Any] = {
    "connect_timeout": (float, 2.0),
    "sslcert": (fixed_place, ""),
    "sslkey": (fixed_place, ""),
    "sslmode": (str, ""),
    "sslrootcert": (lambda path: path if path == "system" else fixed_place(path), ""),
    "timeout": (float, 30.0),
    **DELIVERY_OPTIONS,
}
"""What may follow the ``?`` of a ``cockroach:`` URI."""


def make_cockroach(uri: str) -> DeliveredProtocol:
    """Return the backend of a ``cockroach:`` URI: a log call returns at once, and a thread delivers."""
    return deliver(mask_secrets(uri), partial(Cockroach, uri), read_options(uri, OPTIONS))
