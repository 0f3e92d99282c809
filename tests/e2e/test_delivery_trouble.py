"""A full disk under the spill, and events that the server refuses: nothing else is lost, and the counts are true."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.e2e.deliveries import Place, log, new_trial
from tests.e2e.disks import full, mounted
from track.client import TrackClient
from track.errors import BackendUnavailable
from track.structure import CustomStatus

pytestmark = pytest.mark.network
_LONG = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))


@pytest.fixture
def small_disk(sql_place: Place, spills: Path) -> Iterator[Path]:
    """Give a folder of spills with room for one megabyte."""
    spills.mkdir(exist_ok=True)
    with mounted(spills):
        yield spills
        sql_place.close()


def test_disk_full_in_the_spill(sql_place: Place, small_disk: Path) -> None:
    """What does not fit waits in memory and is stored once there is room, in order."""
    protocol = sql_place.open()
    trial = new_trial(protocol)
    log(protocol, trial, 1, 10)
    protocol.flush(30)

    with full(small_disk):
        log(protocol, trial, 11, 500)
        counted = protocol.unsaved() + len(sql_place.numbers(trial))
        with pytest.raises(BackendUnavailable):
            protocol.fetch_trials()
    log(protocol, trial, 511, 10)
    protocol.flush(30)

    # A batch may be stored and not yet acknowledged.
    assert counted >= 510
    assert protocol.unsaved() == 0
    assert sql_place.numbers(trial) == list(range(1, 521))


def test_disk_full_from_the_start(sql_place: Place, small_disk: Path) -> None:
    """A spill that cannot even be begun raises nothing; its events are stored once there is room."""
    protocol = sql_place.open()
    trial = new_trial(protocol)

    with full(small_disk):
        log(protocol, trial, 1, 500)
        counted = protocol.unsaved()
    protocol.flush(30)

    assert counted == 500
    assert protocol.unsaved() == 0
    assert sql_place.numbers(trial) == list(range(1, 501))


def test_table_that_was_removed_is_named(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Events for a database without one of its tables wait, and nobody is told to create what track creates."""
    protocol = sql_place.open()
    trial = new_trial(protocol)
    protocol.flush()
    address = sql_place.direct.replace("cockroach:", "postgresql:")
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE chunks CASCADE")

    log(protocol, trial, 1, 3)
    protocol.flush(3)

    assert protocol.unsaved() == 3
    assert "a table of the store was removed" in caplog.text
    assert "create it first" not in caplog.text


def test_event_that_the_server_cannot_store(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """An event that no index of PostgreSQL takes is put aside; others are stored, whatever their texts and numbers."""
    client = TrackClient(sql_place.uri)
    client.set_project(name="digits")
    trial = client.new_trial(parameters={"lr": 0.1})
    trial.log_metrics(step=0, n=1.0)
    trial.set_status(CustomStatus("no\0text", 5))
    trial.log_metrics(step=0, **{_LONG: 1.0})
    trial.log_metrics(step=1, n=2.0)
    trial.set_status(CustomStatus("too large", 2**63))
    trial.log_metrics(step=1, **{_LONG: 2.0})
    trial.log_metrics(step=2, n=3.0)
    client.protocol.flush(30)

    assert sql_place.numbers(trial.trial) == [1, 2, 3]
    assert client.protocol.unsaved() == 2
    assert caplog.text.count("can never be stored") == 2
    assert client.protocol.fetch_trials()[0].status == CustomStatus("too large", 2**63)
    client.protocol.close()
