"""One connection to a SQL database: its transactions, and which failures are tried again."""

from __future__ import annotations

import enum
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from track.errors import BackendUnavailable, InvalidEvent, OutcomeUnknown
from track.utils import lifecycle
from track.utils.lifecycle import backoff

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Row = tuple[Any, ...]
_RECONNECTIONS = 2
_CLOSE = 1.0


class Outcome(enum.Enum):
    """What an error of the driver says about the transaction."""

    AGAIN = "it did not happen; the whole of it may be tried again"
    UNKNOWN = "it may have happened: the connection broke, or the server cannot say"
    REFUSED = "it did not happen and never will: a value cannot be stored"
    FAILED = "it did not happen: something is wrong with the database, the account or the disk"


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

    def watched(self, connection: Any, seconds: float) -> AbstractContextManager[None]:
        """Break the connection when what happens inside takes longer than some seconds."""


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
        self._lock = threading.RLock()
        self._in_transaction = False
        self._is_committing = False
        self._writer = secrets.token_hex(8)
        self._seq = 0
        lifecycle.watch_forks(self)

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

    def transaction(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, run as one transaction; inside another one it joins that.

        The whole of it is run again when the database asks for that, and when the connection breaks, also during
        the commit: what it writes must not depend on how often it is run. `decide` is for what does.

        Raises
        ------
        BackendUnavailable
            The database did not answer within the patience.
        InvalidEvent
            A value can never be stored there.
        """
        return self._persist(action)

    def decide(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, as `transaction` does; its writes happen once, although it may be run again.

        Each run leaves a mark of its own, in the same transaction. When the answer to a commit is lost, the next
        run looks for the mark first, and where it finds it returns what that run returned.

        Raises
        ------
        OutcomeUnknown
            The connection broke during the commit, and did not come back within the patience.
        """
        runs: dict[int, Result] = {}

        def run(is_unsettled: bool) -> Result:
            if is_unsettled:
                found = self.rows("SELECT seq FROM writers WHERE writer = ?", self._writer)
                if found and found[0][0] in runs:
                    return runs[found[0][0]]
            result = action()
            self._seq += 1
            suffix = "ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq"
            self.insert("writers", "writer, seq", [(self._writer, self._seq)], suffix)
            runs[self._seq] = result
            return result

        return self._persist(action, run)

    def _persist(self, action: Callable[[], Result], marked: Callable[[bool], Result] | None = None) -> Result:
        deadline = time.monotonic() + self.patience
        attempt = 0
        while True:
            with self._turn(deadline):
                if self._in_transaction:
                    return action()
                try:
                    return self._settle(action, marked, deadline)
                except self.driver.Error as error:
                    if time.monotonic() > deadline:
                        raise self.driver.translate(error) from error
                    logger.debug("transaction tried again: %s", error)
            # It did not happen, and others may go first.
            attempt += 1
            time.sleep(backoff(attempt))

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise BackendUnavailable(f"the database did not answer another thread within {self.patience:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def _settle(self, action: Callable[[], Result], marked: Callable[[bool], Result] | None, deadline: float) -> Result:
        """Run a transaction until it is known what became of it; an error of the driver says that it did not happen."""
        unsettled: Exception | None = None
        attempt = 0
        while True:
            self._is_committing = False
            try:
                self._connected()
                with self.driver.watched(self._connection, max(0.1, deadline - time.monotonic())):
                    return self._once(action if marked is None else partial(marked, unsettled is not None))
            except BackendUnavailable as error:
                if unsettled is None:
                    raise
                problem: Exception = error
            except self.driver.Error as error:
                problem = error
                outcome = self.driver.outcome(error)
                if outcome is Outcome.UNKNOWN:
                    self._forget()
                    if self._is_committing and marked is not None:
                        unsettled = error
                elif unsettled is None:
                    self._raise_unless_again(error, outcome)
            attempt += 1
            if unsettled is None:
                # The connection broke before the commit. One that had been idle may have broken long ago.
                if attempt > _RECONNECTIONS or time.monotonic() > deadline:
                    raise self.driver.translate(problem) from problem
            elif time.monotonic() > deadline:
                text = f"{self.driver.translate(unsettled)} (what was decided may be stored, or not)"
                raise OutcomeUnknown(text) from problem
            time.sleep(backoff(attempt))

    def _raise_unless_again(self, error: Exception, outcome: Outcome) -> None:
        if outcome is Outcome.REFUSED:
            raise InvalidEvent(f"the database cannot store this: {' '.join(str(error).split())}") from error
        if outcome is Outcome.FAILED:
            raise self.driver.translate(error) from error
        raise error

    def _once(self, action: Callable[[], Result]) -> Result:
        self.run(self.driver.begin)
        self._in_transaction = True
        try:
            result = action()
            self._is_committing = True
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

    # the connection

    def _connected(self) -> None:
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
        # A thread that is stuck with it lets go of it later.
        if self._lock.acquire(timeout=_CLOSE):
            try:
                self._forget()
            finally:
                self._lock.release()

    def after_fork(self) -> None:
        """In a child: the connection is the parent's, and a thread that is not here may hold the lock."""
        if self._connection is not None:
            lifecycle.keep_inherited(self._connection)
        self._connection = None
        self._lock = threading.RLock()
        self._in_transaction = False
        self._writer, self._seq = secrets.token_hex(8), 0
