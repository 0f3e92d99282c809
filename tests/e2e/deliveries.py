"""Helpers of the tests of delivery: a database behind a proxy, and readers that share no code with the backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg2

from tests.servers.postgres import Postgres
from tests.servers.proxy import FaultProxy
from track.persistence.cockroach import make_cockroach
from track.persistence.delivery import DeliveredProtocol
from track.structure import Project, Trial

IS_FULL = os.environ.get("TRACK_TEST_ROUNDS") == "full"


def rounds(short: int, full: int) -> int:
    """Return how often a test tries: few by default, many where TRACK_TEST_ROUNDS=full."""
    return full if IS_FULL else short


class Place:
    """An empty database of a server, reached through a proxy.

    Parameters
    ----------
    server: Postgres
    proxy: FaultProxy
    direct: str
        The URI without the proxy.
    """

    def __init__(self, server: Postgres, proxy: FaultProxy, direct: str) -> None:
        self.server = server
        self.proxy = proxy
        self.direct = direct
        self.uri = direct.replace(f":{server.port}/", f":{proxy.port}/") + "&connect_timeout=2&timeout=5"
        self._opened: list[DeliveredProtocol] = []

    def open(self, options: str = "") -> DeliveredProtocol:
        """Return a backend as a user gets it, through the proxy."""
        protocol = make_cockroach(self.uri + options)
        self._opened.append(protocol)
        return protocol

    def close(self) -> None:
        """Close the backends."""
        self.proxy.heal()
        for protocol in self._opened:
            protocol.close()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
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
        rows = self.rows(
            "SELECT m.value FROM metrics m JOIN trials t ON t.position = m.trial "
            "WHERE t.uid = %s AND m.name = %s ORDER BY m.seq",
            trial.uid,
            f'"{name}"',
        )
        return [int(value) for (value,) in rows]


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
