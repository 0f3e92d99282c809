"""Helpers of the tests of delivery: a database behind a proxy, and readers that share no code with the backend."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg2

from tests.servers.mongo import MongoWire, connected
from tests.servers.postgres import Postgres
from tests.servers.proxy import FaultProxy
from track.persistence.cockroach import make_cockroach
from track.persistence.delivery.protocol import DeliveredProtocol
from track.persistence.mongodb import make_mongodb
from track.structure import Project, Trial

IS_FULL = os.environ.get("TRACK_TEST_ROUNDS") == "full"


def rounds(short: int, full: int) -> int:
    """Return how often a test tries: few by default, many where TRACK_TEST_ROUNDS=full."""
    return full if IS_FULL else short


def open_protocol(uri: str) -> DeliveredProtocol:
    """Return a backend as a user gets it, shared with nobody."""
    return make_mongodb(uri) if uri.startswith("mongodb:") else make_cockroach(uri)


class Place:
    """An empty database of a server, reached through a proxy.

    Parameters
    ----------
    server: Postgres or MongoWire
    direct: str
        The URI without the proxy.
    options: str
        What is added to it for a user.

    Attributes
    ----------
    commit: bytes
        What is in the message that commits.
    """

    commit = b"COMMIT"

    def __init__(self, server: Postgres | MongoWire, direct: str, options: str) -> None:
        self.server = server
        self.proxy = FaultProxy(server.port)
        self.direct = direct
        self.uri = direct.replace(f":{server.port}/", f":{self.proxy.port}/") + options
        self._opened: list[DeliveredProtocol] = []

    def open(self, options: str = "") -> DeliveredProtocol:
        """Return a backend as a user gets it, through the proxy."""
        protocol = open_protocol(self.uri + options)
        self._opened.append(protocol)
        return protocol

    def close(self) -> None:
        """Close the backends, and the proxy."""
        self.proxy.heal()
        for protocol in self._opened:
            protocol.close()
        self.proxy.close()

    def numbers(self, trial: Trial, name: str = "n") -> list[int]:
        """Return the values of a metric as they are stored, in the order they were."""
        raise NotImplementedError

    def trials(self) -> list[tuple[str, str | None, str]]:
        """Return uid, project and status of every trial, by uid."""
        raise NotImplementedError

    def members(self) -> list[str]:
        """Return the uids of the trials that are in a group."""
        raise NotImplementedError

    def end_abandoned(self) -> None:
        """End the transactions of clients that were killed, where the server does not by itself."""


def packed_numbers(body: bytes) -> list[int]:
    """Return the values of a chunk of points, which are whole numbers, read without the library."""
    form, *_, values = msgspec.msgpack.decode(body)[:6]
    if form == 2:
        return list(map(int, values))
    kind, *parts = values
    if kind == "range":
        first, stride, size = parts
        return [first + stride * place for place in range(size)]
    if kind == "same":
        kind, data, size = parts
        return packed_numbers_of(kind, data) * size
    (data,) = parts
    return packed_numbers_of(kind, data)


def packed_numbers_of(kind: str, data: bytes) -> list[int]:
    """Return the doubles (``d``) or integers (``q``) of eight bytes each."""
    return list(map(int, struct.unpack(f"<{len(data) // 8}{kind}", data)))


class SqlPlace(Place):
    """A database of PostgreSQL, which stands in for CockroachDB."""

    def __init__(self, server: Postgres, timeout: int = 5) -> None:
        super().__init__(server, server.new_database(), f"&connect_timeout=2&timeout={timeout}")

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, past proxy and backend."""
        name = self.direct.partition("?")[0].rpartition("/")[2]
        connection = psycopg2.connect(host="127.0.0.1", port=self.server.port, user="postgres", dbname=name)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def numbers(self, trial: Trial, name: str = "n") -> list[int]:
        """Return the values of a metric as they are stored, in the order they were."""
        rows = self._rows(
            "SELECT c.body FROM chunks c JOIN trials t ON t.position = c.trial "
            "WHERE t.uid = %s AND c.name = %s ORDER BY c.seq",
            trial.uid,
            f'"{name}"',
        )
        return [number for (body,) in rows for number in packed_numbers(bytes(body))]

    def trials(self) -> list[tuple[str, str | None, str]]:
        """Return uid, project and status of every trial, by uid."""
        return sorted(self._rows("SELECT uid, project_id, status FROM trials"))  # type: ignore[arg-type]

    def members(self) -> list[str]:
        """Return the uids of the trials that are in a group."""
        return [uid for (uid,) in self._rows("SELECT trial FROM members")]


class MongoPlace(Place):
    """A database of a MongoDB-wire server; a standalone one has no transactions."""

    def __init__(self, server: MongoWire, is_standalone: bool) -> None:
        direct = f"{server.new_database()}?directConnection=true"
        super().__init__(server, direct, "&connect_timeout=2&timeout=5")
        self.commit = b"\x02update\x00" if is_standalone else b"\x10commitTransaction\x00"

    def end_abandoned(self) -> None:
        """Do what a mongod does a minute later (transactionLifetimeLimitSeconds), and SecantusDB never."""
        with connected(self.direct) as database:
            database.client.admin.command("killAllSessions", [])

    def numbers(self, trial: Trial, name: str = "n") -> list[int]:
        """Return the values of a metric as they are stored, in the order they were."""
        with connected(self.direct) as database:
            found = database["trials"].find_one({"_id": trial.uid}) or {"position": None, "series": []}
            counts = [known["count"] for known in found["series"] if known["name"] == f'"{name}"']
            where = {"trial": found["position"], "kind": "metrics", "name": f'"{name}"'}
            buckets = list(database["buckets"].find(where).sort("number", 1))
        values = [number for bucket in buckets for body, _ in bucket["parts"] for number in packed_numbers(body)]
        # A bucket may be ahead of its trial for a moment where there are no transactions.
        return values[: sum(counts)]

    def trials(self) -> list[tuple[str, str | None, str]]:
        """Return uid, project and status of every trial, by uid."""
        with connected(self.direct) as database:
            documents = [json.loads(found["document"]) for found in database["trials"].find()]
        return sorted((found["uid"], found["project_id"], found["status"]["name"]) for found in documents)

    def members(self) -> list[str]:
        """Return the uids of the trials that are in a group."""
        with connected(self.direct) as database:
            return [found["trial"] for found in database["members"].find()]


def new_trial(protocol: DeliveredProtocol, **parameters: Any) -> Trial:
    """Return a trial in the project ``digits``."""
    protocol.new_project(Project(name="digits"))
    trial = protocol.new_trial(Trial(parameters=parameters or {"lr": 0.1}, project_id="digits"))
    assert trial is not None
    return trial


def log(protocol: DeliveredProtocol, trial: Trial, first: int, count: int, name: str = "n") -> None:
    """Log the numbers from `first` on, one a call."""
    for number in range(first, first + count):
        protocol.log_trial_metrics(trial, step=number, **{name: float(number)})


def settled(action: Callable[[], Any], attempts: int = 50) -> Any:
    """Return what a decision returns, asked again while the server is away."""
    from track.errors import BackendUnavailable

    for _ in range(attempts - 1):
        try:
            return action()
        except BackendUnavailable:
            continue
    return action()
