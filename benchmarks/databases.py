"""What a database costs: log calls in front of it, delivery, listing, reading.

PostgreSQL, in SERIALIZABLE, stands in for CockroachDB; it is started for the run, on this machine. Where there is no
PostgreSQL its rows say so. Log calls are timed with the server healthy, stalled (it accepts and never answers) and
refused, against the same calls on ``file:``.
"""

from __future__ import annotations

import io
import os
import sqlite3
import statistics
import time
from pathlib import Path

from _common import MET, MISSED, Row, against, at_most, interleaved, run

BATCH = 5_000
READ = {"SQLite": 0.3, "PostgreSQL": 0.5, "MongoDB wire": 0.8}
"""Seconds to read a metric of 1,000,000 points."""


def measure(folder: str, calls: int, points: int, trials: int, rounds: int) -> list[Row]:
    os.environ["TRACK_LOG_SPILL_FOLDER"] = str(Path(folder) / "spill")
    rows = deliver_sqlite(folder, points, rounds) + list_and_read("SQLite", f"sqlite:{folder}/list.db", trials, points)
    for name, start in (("PostgreSQL", _postgres), ("MongoDB wire", _mongo)):
        server = start()
        if server is None:
            rows.append(Row(name, "not installed"))
            continue
        try:
            rows += log_calls(folder, server, name, calls, rounds)
            if name == "PostgreSQL":
                rows += deliver_postgres(server, points, rounds)
            rows += list_and_read(name, server.new_database(), trials, points)
        finally:
            server.close()
    return rows


def _postgres():
    try:
        from tests.servers.postgres import Postgres, binaries
    except ImportError:
        return None
    return Postgres() if binaries() else None


def _mongo():
    try:
        from tests.servers.mongo import MongoWire, is_installed
    except ImportError:
        return None
    return MongoWire() if is_installed() else None


def _store(uri: str):
    """Return the backend of a URI, without delivery."""
    from track.persistence.cockroach import Cockroach
    from track.persistence.mongodb import MongoProtocol
    from track.persistence.sqlite import SqliteProtocol

    return {"sqlite": SqliteProtocol, "cockroach": Cockroach, "mongodb": MongoProtocol}[uri.partition(":")[0]](uri)


# Log calls


def log_calls(folder: str, server, name: str, calls: int, rounds: int) -> list[Row]:
    from tests.servers.proxy import FaultProxy
    from track import TrackClient

    proxies = {state: FaultProxy(server.port) for state in ("healthy", "stalled", "refused")}
    trials = {"file": TrackClient(f"file:{folder}/calls-{server.port}.json").new_trial(parameters={"lr": 0.1})}
    for state, proxy in proxies.items():
        trials[state] = TrackClient(_through(server, proxy)).new_trial(parameters={"lr": 0.1})
    logs = {state: _log_call(trial) for state, trial in trials.items()}
    proxies["stalled"].blackhole()
    proxies["refused"].refuse()
    costs = interleaved(logs, rounds, calls)
    rows = []
    for state in proxies:
        title = f"{name}: log call, server {state}"
        rows.append(against(f"{title}, median", costs[state].median, costs["file"].median, "file", "us", 1.5))
        rows.append(against(f"{title}, mean", costs[state].mean, costs["file"].mean, "file", "us", 1.5))
    rows += [_time_to_error(server, proxies[state], name, state) for state in ("stalled", "refused")]
    for proxy in proxies.values():
        proxy.heal()
    for trial in trials.values():
        trial.finish()
    return rows


def _through(server, proxy) -> str:
    """Return the URI of an empty database behind a proxy."""
    uri = server.new_database().replace(f":{server.port}/", f":{proxy.port}/")
    # The driver of MongoDB would ask the server for its own address, past the proxy.
    return f"{uri}?directConnection=true" if uri.startswith("mongodb:") else uri


def _log_call(trial):
    trial.start()
    return lambda index: trial.log_metrics(step=index, loss=0.1234567 * index, acc=0.7654321)


def _time_to_error(server, proxy, name: str, state: str) -> Row:
    from track import TrackClient
    from track.errors import BackendUnavailable

    uri = _through(server, proxy)
    start = time.perf_counter()
    try:
        TrackClient(uri).new_trial(parameters={"lr": 0.1})
    except BackendUnavailable:
        return at_most(f"{name}: new_trial, server {state}, to the error", time.perf_counter() - start, 3, "s")
    return Row(f"{name}: new_trial, server {state}", "no error", verdict=MISSED)


# Delivery


def _events(trial: str, points: int):
    from track.events import MetricsLogged

    return [MetricsLogged(trial, {"loss": 0.1234567 * i + 0.1}, 1e9 + i, i) for i in range(points)]


def _rate_of_receive(protocol, points: int) -> float:
    from track.structure import Project, Trial

    protocol.new_project(Project(name="p"))
    trial = protocol.new_trial(Trial(parameters={"lr": 0.1}))
    events = _events(trial.uid, points)
    start = time.perf_counter()
    for first in range(0, points, BATCH):
        protocol.receive("writer", first, events[first : first + BATCH])
    return points / (time.perf_counter() - start)


def _delivered(name: str, rates: list[float], peers: list[float], peer: str, least: float, share: float) -> list[Row]:
    rate, other = statistics.median(rates), statistics.median(peers)
    return [
        Row(
            f"{name}: points delivered a second",
            f"{rate:,.0f}",
            f"at least {least:,.0f}",
            f"{rate / least:.2f}",
            MET if rate >= least else MISSED,
        ),
        Row(
            f"{name}: points delivered a second",
            f"{rate:,.0f}",
            f"{peer}: {other:,.0f}",
            f"{rate / other:.2f} (at least {share:.2f})",
            MET if rate / other >= share else MISSED,
        ),
    ]


def _cells(points: int) -> list[tuple]:
    return [(1, '"loss"', i, i, 0.1234567 * i + 0.1, 1e9 + i, None) for i in range(points)]


def deliver_sqlite(folder: str, points: int, rounds: int) -> list[Row]:
    from track.persistence.sql.rows import MIGRATIONS
    from track.persistence.sqlite import SqliteProtocol

    table = next(statement for statement in MIGRATIONS[0] if "TABLE metrics" in statement)
    rates, peers = [], []
    for number in range(rounds):
        rates.append(_rate_of_receive(SqliteProtocol(f"sqlite:{folder}/ours-{number}.db"), points))
        connection = sqlite3.connect(f"{folder}/plain-{number}.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(table)
        cells = _cells(points)
        start = time.perf_counter()
        for first in range(0, points, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO metrics VALUES (?,?,?,?,?,?,?)", cells[first : first + BATCH])
            connection.execute("COMMIT")
        peers.append(points / (time.perf_counter() - start))
        connection.close()
    return _delivered("SQLite", rates, peers, "executemany", 150_000, 1 / 2)


def deliver_postgres(server, points: int, rounds: int) -> list[Row]:
    import psycopg2

    from track.persistence.cockroach import Cockroach

    rates, peers = [], []
    for _ in range(rounds):
        uri = server.new_database()
        rates.append(_rate_of_receive(Cockroach(uri), points))
        name = uri.rpartition("/")[2].partition("?")[0]
        connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="postgres", dbname=name)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE plain (LIKE metrics INCLUDING ALL)")
        lines = [f'1\t"loss"\t{i}\t{i}\t{0.1234567 * i + 0.1!r}\t{1e9 + i!r}\t\\N\n' for i in range(points)]
        start = time.perf_counter()
        for first in range(0, points, BATCH):
            cursor.copy_expert("COPY plain FROM STDIN", io.StringIO("".join(lines[first : first + BATCH])))
        peers.append(points / (time.perf_counter() - start))
        connection.close()
    return _delivered("PostgreSQL", rates, peers, "COPY", 60_000, 1 / 2)


# Listing and reading


def list_and_read(name: str, uri: str, trials: int, points: int) -> list[Row]:
    _fill(_store(uri), trials, points)
    reader = _store(uri)
    reader.fetch_projects()
    query = {"parameters.lr": {"$lte": 0.01}, "metrics.loss": {"$lt": 0.5}}
    start = time.perf_counter()
    listed = reader.fetch_trials(query)
    listing = time.perf_counter() - start
    start = time.perf_counter()
    long = reader.fetch_trials({"name": "long"})[0]
    read = len(long.metrics["loss"].points)
    reading = time.perf_counter() - start
    changes = unchanged(reader)
    return [
        at_most(f"{name}: changes, when nothing has changed, {trials:,} trials", changes, 5, "ms"),
        at_most(f"{name}: list {len(listed):,} of {trials:,} trials by a parameter and a metric", listing, 1, "s"),
        at_most(f"{name}: read one metric of {read:,} points", reading, READ[name], "s"),
    ]


def unchanged(reader) -> float:
    """Return how long it takes to hear that nothing has changed, milliseconds."""
    cursor, _ = reader.changes()
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        cursor, uids = reader.changes(cursor)
        taken.append(time.perf_counter() - start)
        assert not uids
    return statistics.median(taken) * 1e3


def _fill(protocol, trials: int, points: int) -> None:
    from track.events import MetricsLogged, ProjectCreated, TrialCreated

    events = [ProjectCreated("p", 1.0, "p")]
    for number in range(trials):
        digest = f"{number:064x}"
        parameters = {"lr": (0.1, 0.01)[number % 2], "seed": number, "model": "mlp", "width": 64, "dropout": 0.5}
        events.append(TrialCreated(digest, 0, 1e9, project_id="p", parameters=parameters))
        events.append(MetricsLogged(f"{digest}_0", {"loss": (number % 10) / 10 + 0.05, "acc": 0.5}, 1e9, 0))
    events.append(TrialCreated("f" * 64, 0, 1e9, "long", project_id="p"))
    events += _events("f" * 64 + "_0", points)
    for first in range(0, len(events), BATCH):
        protocol.receive("writer", first, events[first : first + BATCH])
    protocol.close()


if __name__ == "__main__":
    run(__doc__, measure, calls=(20_000, 200), points=(1_000_000, 3_000), trials=(10_000, 40), rounds=(5, 1))
