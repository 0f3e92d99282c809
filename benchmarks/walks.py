"""How much of the library a logged number and a new trial pass through.

Nothing is timed: the figures say how much code is read by a person who follows one call. Six walks: one
``trial.log_metrics`` (with ``flush``, where a thread delivers it) and one ``client.new_trial``, on ``file:``, on
PostgreSQL, and on a track server with a ``file:`` behind it, which runs in a thread of the same process.

- calls: of Python functions of the package ``track``, in all threads of client and server. As the interpreter has it,
  a resumed generator is one more, and so is a comprehension (until Python 3.12).
- files, classes: distinct ones that these functions are written in. (Classes are counted from Python 3.11 on.)
- moves: a call in another file than the call before it, counted for each thread and added up.
- transactions, statements: of the database, from its own log; BEGIN and COMMIT are no statements.

What is counted is a steady state: each walk is done once before, so that modules are imported, connections open and
caches filled, and everything is delivered and all threads are still when it begins. A log call ends when it is
delivered and all threads are still again, a new trial when its logger is returned. Each figure is the median of its
rounds: threads that wake up meanwhile are in some of them.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from _common import ROOT, fresh, run

PACKAGE = os.path.join(ROOT, "track", "")
STILL = 0.03
STATEMENT = re.compile(r"\[(\d+)\] LOG:  (?:statement|execute [^:]*): (\w+)")
HEADER = ("walk", "calls", "files", "classes", "moves", "transactions", "statements")


@dataclass(frozen=True)
class Passed:
    """One line of the table; what is not counted in a walk is empty."""

    walk: str
    calls: str = ""
    files: str = ""
    classes: str = ""
    moves: str = ""
    transactions: str = ""
    statements: str = ""


def measure(folder: str, rounds: int) -> list[Passed]:
    # In a process of its own: what follows every call cannot be left on, and the stores are closed at its end.
    rows: list[Passed] = fresh(_measure, folder, rounds)
    return rows


def _measure(folder: str, rounds: int) -> list[Passed]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    os.environ["TRACK_SOCKET_FOLDER"] = str(Path(folder) / "certificate")
    calls = Calls()
    rows = walks("file:", f"file:{folder}/store.json", calls, rounds)
    rows += on_postgres(calls, rounds)
    return rows + on_server(folder, calls, rounds)


# Counting calls


class Calls:
    """Counts calls in this thread and in all that begin later."""

    def __init__(self) -> None:
        self._is_counting = False
        self._seen: list[tuple[int, CodeType]] = []
        self._last = 0.0
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self._last = time.monotonic()
            if self._is_counting:
                self._seen.append((threading.get_ident(), frame.f_code))

    def until_still(self) -> None:
        """Return once no thread calls anything any more."""
        while (left := self._last + STILL - time.monotonic()) > 0:
            time.sleep(left)

    def during(self, walk: Callable[[], Any]) -> tuple[int, int, int, int]:
        """Return calls, files, classes and moves of one walk."""
        self._seen = []
        self._is_counting = True
        walk()
        self._is_counting = False
        codes = [code for _, code in self._seen]
        classes = {(code.co_filename, name) for code in codes if (name := _class_of(code))}
        return len(codes), len({code.co_filename for code in codes}), len(classes), self._moves()

    def _moves(self) -> int:
        files: dict[int, list[str]] = {}
        for thread, code in self._seen:
            files.setdefault(thread, []).append(code.co_filename)
        return sum(one != other for passed in files.values() for one, other in itertools.pairwise(passed))


def _class_of(code: CodeType) -> str:
    """Return the class whose method this is, or is inside of; empty for a function of a module."""
    method, _, _ = getattr(code, "co_qualname", "").partition(".<locals>")
    return method.rpartition(".")[0]


# The walks


def walks(place: str, uri: str, calls: Calls, rounds: int, log: Path | None = None) -> list[Passed]:
    """Return the rows of both walks on the store at `uri`; `log` is that of its database."""
    from track import TrackClient

    is_delivered = not uri.startswith("file:")
    client = TrackClient(uri)
    client.set_project(name="benchmark")
    trial = client.new_trial(parameters={"number": -1})

    def deliver() -> None:
        if is_delivered:
            client.protocol.flush()
            calls.until_still()

    def log_metrics(number: int) -> None:
        trial.log_metrics(step=number, loss=0.1234567 * number, acc=0.7654321)
        deliver()

    def new_trial(number: int) -> None:
        client.new_trial(parameters={"number": number}, force=True)

    title = "log_metrics + flush" if is_delivered else "log_metrics"
    found = [
        _row(f"{title}, {place}", log_metrics, deliver, calls, rounds, log),
        _row(f"new_trial, {place}", new_trial, deliver, calls, rounds, log),
    ]
    trial.finish()
    client.protocol.close()
    return found


def _row(
    title: str,
    walk: Callable[[int], None],
    deliver: Callable[[], None],
    calls: Calls,
    rounds: int,
    log: Path | None,
) -> Passed:
    walk(0)
    found: list[tuple[int, ...]] = []
    for number in range(1, rounds + 1):
        deliver()
        begin = 0 if log is None else log.stat().st_size
        counted = calls.during(lambda number=number: walk(number))
        found.append(counted if log is None else counted + _in_database(log, begin))
    return Passed(title, *(str(statistics.median_low(column)) for column in zip(*found, strict=True)))


def on_postgres(calls: Calls, rounds: int) -> list[Passed]:
    server = _postgres()
    if server is None:
        return [Passed("no PostgreSQL here: its walks are skipped")]
    try:
        _log_statements(server.port)
        return walks("PostgreSQL", server.new_database(), calls, rounds, server.log)
    finally:
        server.close()


def on_server(folder: str, calls: Calls, rounds: int) -> list[Passed]:
    from tests.servers.track import serving

    with serving(f"file:{folder}/served.json") as port:
        return walks("socket: into file:", f"socket://127.0.0.1:{port}", calls, rounds)


# The database's side


def _postgres():
    try:
        from tests.servers.postgres import Postgres, binaries
    except ImportError:
        return None
    return Postgres() if binaries() and importlib.util.find_spec("psycopg2") else None


def _log_statements(port: int) -> None:
    """Have the server log each statement of connections that are made from now on."""
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE postgres SET log_statement = 'all'")
    connection.close()


def _in_database(log: Path, begin: int) -> tuple[int, int]:
    """Return the transactions and statements that the log of the server has behind its first bytes."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode(errors="replace")
    transactions = statements = 0
    inside: set[str] = set()
    for session, word in STATEMENT.findall(text):
        if word in ("COMMIT", "ROLLBACK"):
            inside.discard(session)
            continue
        # A statement by itself is a transaction too.
        transactions += session not in inside
        if word == "BEGIN":
            inside.add(session)
        else:
            statements += 1
    return transactions, statements


if __name__ == "__main__":
    run(__doc__, measure, header=HEADER, rounds=(15, 3))
