"""One connection to a SQL database: its transactions, and which failures are tried again."""

from __future__ import annotations

import enum
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from track.errors import BackendUnavailable, InvalidEvent, OutcomeUnknown
from track.utils import lifecycle
from track.utils.clocks import StoreClock
from track.utils.lifecycle import backoff

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Row = tuple[Any, ...]
_RECONNECTIONS = 2
_CLOSE = 1.0
_REST = 5.0
"""Seconds, at most, that a fork waits for the transaction of another thread."""


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
    begin_reading: str = ""
    """A statement that begins a transaction which only reads, '' where it begins as any other."""
    is_certain: bool = False
    """Whether nothing is ever `Outcome.UNKNOWN`."""
    rests_at_forks: bool = False
    """Whether a child can make no connection of its own where one of its parent was open when it was forked."""
    unstorable: frozenset[str]
    """Characters that no text can have there."""
    has_table: str
    """A statement that returns a row where there is a table of a name."""
    numbering: str
    """A statement that makes what numbers changes, '' where nothing is needed."""
    next_number: str
    """A statement that returns the number of the next change."""
    settling: float
    """Seconds, at least, after which a number that was given shows or never will; 0 where they show in their order."""

    take_turn: str
    """A statement that begins a transaction which waits for others of its kind; '' where all wait for each other."""

    def connect(self) -> Any:
        """Return a new connection that commits only when told; BackendUnavailable when there is none."""

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """Run one statement, its values as ``?``, and return its rows."""

    def insert(self, connection: Any, sql: str, rows: Sequence[Row], suffix: str) -> None:
        """Run ``INSERT INTO table (columns)`` for many rows, with what follows the values."""

    def is_current(self, connection: Any) -> bool:
        """Return whether the connection is still to what has the name now; one to a server is, or breaks."""
        return True

    def is_there(self) -> bool:
        """Return whether there is something to read; a server is, or the connection tells."""
        return True

    def home(self, connection: Any) -> str:
        """Return what is another for a database that is a copy: where it is, or the number that the server gave it."""

    def is_copy(self, connection: Any, home: str, identity: str) -> bool:
        """Return whether the store that has another home is still there."""

    def origin(self, connection: Any) -> dict[str, str]:
        """Return what a copy on another machine has otherwise, see `is_elsewhere`; inside the transaction that runs."""

    def time(self, connection: Any) -> float | None:
        """Return what time it is on the server, unix seconds; None where the clock is this machine's."""
        return None

    def outcome(self, error: Exception) -> Outcome:
        """Return what an error means for the transaction."""

    def translate(self, error: Exception) -> Exception:
        """Return the error of this library that says the same, with the way out."""

    def watched(self, connection: Any, seconds: float) -> AbstractContextManager[None]:
        """Break the connection when what happens inside takes longer than some seconds."""


class Home(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a database is, as its driver says it, and by what it is told from a copy on another machine."""

    place: str
    origin: dict[str, str] = {}

    @staticmethod
    def read(text: str) -> Home:
        """Return what was noted; of before there were origins that is a place alone."""
        try:
            return msgspec.json.decode(text, type=Home)
        except msgspec.MsgspecError:
            return Home(text)

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode() if self.origin else self.place


_REFUSED = (OverflowError, UnicodeError)
"""What a driver refuses before the database sees it: whole numbers of too many bits, text that is none."""


def _refusal(error: Exception) -> InvalidEvent:
    return InvalidEvent(f"the database cannot hold this: {' '.join(str(error).split())}")


@dataclass
class _Tried:
    """How often a transaction was tried, and what is not settled: a commit whose answer was lost."""

    deadline: float
    attempts: int = 0
    broken: int = 0
    unsettled: Exception | None = None


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
        self.clock = StoreClock()
        self.on_connect: Callable[[], None] | None = None
        self._connection: Any = None
        self._lock = threading.RLock()
        self._inside = 0
        """The thread whose transaction runs."""
        self._forking = 0
        """The thread that forks, where the others wait for it."""
        self._taking_turns: set[int] = set()
        self._is_committing = False
        self._writer = secrets.token_hex(8)
        self._seq = 0
        lifecycle.watch_forks(self)
        if driver.rests_at_forks:
            lifecycle.rest_at_forks(self)

    # statements

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Run a statement, inside the transaction that runs, and return its rows."""
        try:
            return self.driver.execute(self._connection, sql, parameters)
        except _REFUSED as error:
            raise _refusal(error) from error

    def insert(self, table: str, columns: str, suffix: str = "", *, rows: Sequence[Row]) -> None:
        """Insert many rows, with what follows the values, inside the transaction that runs."""
        if not rows:
            return
        try:
            self.driver.insert(self._connection, f"INSERT INTO {table} ({columns})", rows, suffix)
        except _REFUSED as error:
            raise _refusal(error) from error

    def home(self) -> Home:
        """Return where the database is, inside the transaction that runs."""
        return Home(self.driver.home(self._connection), self.driver.origin(self._connection))

    def is_copy(self, home: str, identity: str) -> bool:
        """Return whether the store that has another home is still there, inside the transaction that runs."""
        return self.driver.is_copy(self._connection, home, identity)

    def has_table(self, name: str) -> bool:
        """Return whether there is a table, inside the transaction that runs."""
        return bool(self.rows(self.driver.has_table, name))

    def mark(self, writer: str, seq: int) -> None:
        """Note how far a writer came, inside the transaction that runs."""
        suffix = "ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq"
        self.insert("writers", "writer, seq", suffix, rows=[(writer, seq)])

    def marked(self, writer: str) -> int | None:
        """Return how far a writer came, None when it has no mark, inside the transaction that runs."""
        found = self.rows("SELECT seq FROM writers WHERE writer = ?", writer)
        return int(found[0][0]) if found else None

    # transactions

    @property
    def is_inside(self) -> bool:
        """Whether this thread is in the middle of a transaction."""
        return self._inside == threading.get_ident()

    @property
    def is_there(self) -> bool:
        """Whether there is something to read: to connect may make it."""
        return self.is_inside or self.driver.is_there()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, to what has the name now."""
        return self._connection is not None and self.driver.is_current(self._connection)

    def transaction(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, run as one transaction; inside another one it joins that.

        The whole of it is run again after a serialization failure, and when the connection breaks, also during the
        commit: `action` must be idempotent. `decide` is for what is not.

        Raises
        ------
        BackendUnavailable
            The database did not answer within the patience.
        InvalidEvent
            A value can never be stored there.
        """
        if self.is_inside:
            return action()
        return self._persist(lambda _: action(), is_decision=False)

    def reading(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, as `transaction` does: it writes nothing, and waits for nobody who writes if it can."""
        if self.is_inside:
            return action()
        return self._persist(lambda _: action(), is_decision=False, only_reads=True)

    def decide(self, action: Callable[[], Result]) -> Result:
        """Return ``action()``, as `transaction` does; its writes happen once, although it may be run again.

        Each run leaves a mark of its own, in the same transaction. When the answer to a commit is lost, the next
        run looks for the mark first, and where it finds it returns what that run returned.

        Raises
        ------
        OutcomeUnknown
            The connection broke during the commit, and did not come back within the patience.
        """
        if self.is_inside or self.driver.is_certain:
            return self.transaction(action)
        runs: dict[int | None, Result] = {}

        def run(is_unsettled: bool) -> Result:
            if is_unsettled and (seq := self.marked(self._writer)) in runs:
                return runs[seq]
            result = action()
            self._seq += 1
            self.mark(self._writer, self._seq)
            runs[self._seq] = result
            return result

        return self._persist(run, is_decision=True)

    @contextmanager
    def turns(self) -> Iterator[None]:
        """Let this thread's transactions wait for those of others that are in such a block, instead of failing."""
        self._taking_turns.add(threading.get_ident())
        try:
            yield
        finally:
            self._taking_turns.discard(threading.get_ident())

    def _persist(self, run: Callable[[bool], Result], is_decision: bool, only_reads: bool = False) -> Result:
        """Run a transaction until it is known what became of it; `run` is told whether the last commit is unsettled."""
        tried = _Tried(time.monotonic() + self.patience)
        try:
            while True:
                with lifecycle.turn(self._lock, "the database", self.patience, tried.deadline):
                    try:
                        return self._once(partial(run, tried.unsettled is not None), tried.deadline, only_reads)
                    except (BackendUnavailable, self.driver.Error) as error:
                        self._note(tried, error, is_decision)
                # It did not happen, and others may go first; unless it is unsettled.
                time.sleep(backoff(tried.attempts))
        finally:
            if tried.unsettled is not None:
                self._lock.release()

    def _once(self, action: Callable[[], Result], deadline: float, only_reads: bool) -> Result:
        if not self.is_connected:
            self._forget()
            self._connect()
        self._is_committing = False
        with self.driver.watched(self._connection, max(0.1, deadline - time.monotonic())):
            self.rows((only_reads and self.driver.begin_reading) or self.driver.begin)
            self._inside = threading.get_ident()
            try:
                if self._inside in self._taking_turns and self.driver.take_turn:
                    self.rows(self.driver.take_turn)
                result = action()
                self._is_committing = True
                self.rows("COMMIT")
                self._require_current()
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._inside = 0
        return result

    def _require_current(self) -> None:
        """Return if what was committed is where it will be found; BackendUnavailable where it is not."""
        if not self.driver.is_current(self._connection):
            raise self.driver.translate(FileNotFoundError("it was removed or replaced while it was written to"))

    def _note(self, tried: _Tried, error: Exception, is_decision: bool) -> None:
        """Take note of an attempt that failed, and raise where another one would be vain, or too late."""
        outcome = None if isinstance(error, BackendUnavailable) else self.driver.outcome(error)
        is_broken, is_late = outcome is Outcome.UNKNOWN, time.monotonic() > tried.deadline
        tried.attempts += 1
        tried.broken = tried.broken + 1 if is_broken else 0
        if is_broken:
            self._forget()
            if self._is_committing and is_decision:
                if tried.unsettled is None:
                    # Until it is settled: nobody else may leave a mark.
                    self._lock.acquire()
                tried.unsettled = error
        if tried.unsettled is not None:
            if is_late:
                text = f"{self.driver.translate(tried.unsettled)} (what was decided may be stored, or not)"
                raise OutcomeUnknown(text) from error
        elif outcome is None:
            raise error
        # A connection that had been idle may have broken long ago.
        elif is_late or outcome in (Outcome.REFUSED, Outcome.FAILED) or tried.broken > _RECONNECTIONS:
            raise self._said(error, outcome) from error
        logger.debug("transaction tried again: %s", error)

    def _said(self, error: Exception, outcome: Outcome) -> Exception:
        if outcome is Outcome.REFUSED:
            return InvalidEvent(f"the database cannot store this: {' '.join(str(error).split())}")
        said = self.driver.translate(error)
        if isinstance(said, BackendUnavailable):
            said.needs_repair = outcome is Outcome.FAILED
        return said

    def _roll_back(self) -> None:
        try:
            self.rows("ROLLBACK")
        except self.driver.Error:
            self._forget()

    # the connection

    def _connect(self) -> None:
        self._connection = self.driver.connect()
        if (now := self.driver.time(self._connection)) is not None:
            self.clock.note(now)
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
        with suppress(BackendUnavailable), lifecycle.turn(self._lock, "the database", _CLOSE):
            self._forget()

    def before_fork(self) -> None:
        """Part from the connection, and let nobody make another until the process has forked."""
        if self.is_inside:
            return
        if not self._lock.acquire(timeout=_REST):
            text = "%s is in use by another thread while this process forks: the child may find it locked"
            logger.warning(text, self.driver.home(self._connection))
            return
        self._forget()
        self._forking = threading.get_ident()

    def after_fork_here(self) -> None:
        """In the parent: let others go on, with a connection of their own making."""
        if self._forking == threading.get_ident():
            self._forking = 0
            self._lock.release()

    def after_fork(self) -> None:
        """In a child: the connection is the parent's, and a thread that is not here may hold the lock."""
        if self._connection is not None:
            lifecycle.keep_inherited(self._connection)
        self._connection = None
        self._lock = threading.RLock()
        self._inside = self._forking = 0
        self._writer, self._seq = secrets.token_hex(8), 0
