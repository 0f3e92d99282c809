"""One connection to a SQL database: its transactions, and which failures are tried again."""

from __future__ import annotations

import enum
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from track.errors import BackendUnavailable

__all__ = ["Database", "Driver", "Outcome"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

Row = tuple[Any, ...]


class Outcome(enum.Enum):
    """What an error of the driver says about the transaction."""

    AGAIN = "it did not happen; the whole of it may be tried again"
    UNKNOWN = "it may have happened: the connection broke, or the server cannot say"
    FAILED = "it did not happen and will not"


class Driver(Protocol):
    """What a kind of database knows: how to connect, how it speaks, what its errors mean."""

    Error: type[Exception]
    begin: str

    def connect(self) -> Any:
        """Return a new connection that commits only when told; BackendUnavailable when there is none."""

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """Run one statement, its values as ``?``, and return its rows."""

    def insert(self, connection: Any, sql: str, rows: Sequence[Row], suffix: str) -> None:
        """Run ``INSERT INTO table (columns)`` for many rows, with what follows the values."""

    def outcome(self, error: Exception) -> Outcome:
        """Return what an error means for the transaction."""

    def translate(self, error: Exception) -> Exception:
        """Return the error of this library that says the same, with the way out."""

    def watched(self, connection: Any) -> AbstractContextManager[None]:
        """Break the connection when what happens inside takes too long."""


class Database:
    """Transactions over one connection, which is made when it is needed and made again when it breaks.

    Parameters
    ----------
    driver: Driver
    patience: float
        Seconds to go on trying, > 0.
    """

    def __init__(self, driver: Driver, patience: float) -> None:
        self.driver = driver
        self.patience = patience
        self.on_connect: Callable[[], None] | None = None
        self._connection: Any = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._in_transaction = False

    # statements

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Return the rows of a statement, inside the transaction that runs."""
        return self.driver.execute(self._connection, sql, parameters)

    def run(self, sql: str, *parameters: Any) -> None:
        """Run a statement, inside the transaction that runs."""
        self.driver.execute(self._connection, sql, parameters)

    def insert(self, table: str, columns: str, rows: Iterable[Row], suffix: str = "") -> None:
        """Insert many rows, inside the transaction that runs."""
        rows = list(rows)
        if rows:
            self.driver.insert(self._connection, f"INSERT INTO {table} ({columns})", rows, suffix)

    # transactions

    def transaction(self, action: Callable[[], Result], mark: tuple[str, int] | None = None) -> Result:
        """Return ``action()``, run as one transaction; inside another one it joins that.

        The whole of it is run again when the database asks for that. When the connection breaks during the
        commit, the mark tells whether it happened.

        Parameters
        ----------
        action: callable
        mark: (str, int), optional
            Writer and sequence number, stored with it.

        Raises
        ------
        BackendUnavailable
            The database did not answer within the patience.
        """
        with self._lock:
            if self._in_transaction:
                return action()
            return self._persist(action, mark)

    def _persist(self, action: Callable[[], Result], mark: tuple[str, int] | None) -> Result:
        deadline = time.monotonic() + self.patience
        attempt = 0
        while True:
            results: list[Result] = []
            try:
                self._connected()
                with self.driver.watched(self._connection):
                    return self._once(action, mark, results)
            except self.driver.Error as error:
                outcome = self.driver.outcome(error)
                if outcome is Outcome.FAILED:
                    raise self.driver.translate(error) from error
                if outcome is Outcome.UNKNOWN:
                    self._forget()
                    if results and mark is not None and self._settled(mark, deadline):
                        return results[0]
                if time.monotonic() > deadline:
                    raise self.driver.translate(error) from error
                logger.debug("transaction tried again: %s", error)
            attempt += 1
            _pause(attempt)

    def _once(self, action: Callable[[], Result], mark: tuple[str, int] | None, results: list[Result]) -> Result:
        self.run(self.driver.begin)
        self._in_transaction = True
        try:
            result = action()
            if mark is not None:
                suffix = "ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq"
                self.insert("writers", "writer, seq", [mark], suffix)
            results.append(result)
            self.run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._in_transaction = False
        return result

    def _roll_back(self) -> None:
        try:
            self.run("ROLLBACK")
        except self.driver.Error:
            self._forget()

    def _settled(self, mark: tuple[str, int], deadline: float) -> bool:
        """Return whether a transaction whose commit was not answered happened."""
        attempt = 0
        while True:
            try:
                self._connected()
                return self._is_marked(mark)
            except (self.driver.Error, BackendUnavailable):
                self._forget()
                if time.monotonic() > deadline:
                    raise
            attempt += 1
            _pause(attempt)

    def _is_marked(self, mark: tuple[str, int]) -> bool:
        found = self._read("SELECT seq FROM writers WHERE writer = ?", mark[0])
        return bool(found) and int(found[0][0]) >= mark[1]

    def _read(self, sql: str, *parameters: Any) -> list[Row]:
        self.run(self.driver.begin)
        try:
            return self.rows(sql, *parameters)
        finally:
            self._roll_back()

    # the connection

    def _connected(self) -> None:
        if self._process != os.getpid():
            # A forked child must not speak on its parent's connection, nor close it.
            self._connection, self._process = None, os.getpid()
        if self._connection is None:
            self._connection = self.driver.connect()
            if self.on_connect is not None:
                try:
                    self.on_connect()
                except BaseException:
                    self._forget()
                    raise

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except self.driver.Error as error:
                logger.debug("closing a broken connection: %s", error)

    def close(self) -> None:
        """Close the connection; the next transaction makes a new one."""
        with self._lock:
            if self._process == os.getpid():
                self._forget()


def _pause(attempt: int) -> None:
    """Wait a little longer at each attempt, by chance, so that clients do not meet again."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.002 * 2**attempt, 0.5))  # noqa: S311 - no secret
