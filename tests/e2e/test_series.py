"""A series is delivered once and survives a kill: whole events of it, or none."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from tests.children import fork, kill, python, run, wait
from tests.e2e.deliveries import Place, new_trial, open_protocol, rounds
from tests.e2e.processes import attach, start, stored
from tests.e2e.served import backend, client, killable, numbers, reader
from tests.e2e.served import new_trial as new_served_trial
from tests.servers import wait_until
from track.columns import MOST
from track.structure import Trial

_SIZE = 3 * MOST + 5


def _log_without_end(path: Path, uid: str) -> None:
    trial = attach(path, uid)
    first = 0
    while True:
        trial.log_series("loss", [float(number) for number in range(first, first + _SIZE)], range(first, first + _SIZE))
        first += _SIZE


@pytest.mark.parametrize("turn", range(rounds(3, 30)))
def test_killed_in_the_middle_of_a_series_keeps_whole_events(tmp_path: Path, turn: int) -> None:
    """What is kept of a series whose process was killed are its first events, each of them whole."""
    path = tmp_path / "runs.json"
    trial = start(path)
    journal = Path(f"{path}.journal")
    pid = fork(_log_without_end, path, trial.trial.uid)

    wait_until(lambda: journal.stat().st_size > 300_000 * (turn + 1))
    kill(pid)
    wait(pid)

    (found,) = stored(path)
    loss = found.metrics["loss"]
    assert dict(loss) == {step: float(step) for step in range(len(loss))}
    assert len(loss) % _SIZE % MOST == 0
    assert len(loss) >= MOST


def test_torn_event_of_a_series_hides_nothing(tmp_path: Path) -> None:
    """A line that was cut in the middle is no event, and the next writer goes on after it."""
    path = tmp_path / "runs.json"
    run(_log_once, path)
    journal = Path(f"{path}.journal")
    os.truncate(journal, journal.stat().st_size - 20_000)

    run(_log_once, path)

    first, second = stored(path)
    assert list(first.metrics["loss"]) == list(range(MOST))
    assert list(second.metrics["loss"]) == list(range(2 * MOST))


def _log_once(path: Path) -> None:
    start(path).log_series("loss", [0.5] * (2 * MOST), range(2 * MOST))
    os._exit(0)


def _log_series_until_killed(uri: str, trial: Trial, shared: mmap.mmap) -> None:
    protocol = open_protocol(uri)
    assert protocol.get_trial(trial)
    number = 0
    while True:
        protocol.log_trial_series(trial, "n", [float(each) for each in range(number + 1, number + _SIZE + 1)])
        number += _SIZE
        shared[:8] = number.to_bytes(8, "little")


@pytest.mark.network
def test_series_of_a_killed_client_is_delivered_once(place: Place) -> None:
    """What a killed client had logged is sent by ``track sync``, each point once, also when it is sent again."""
    trial = new_trial(place.open())
    shared = mmap.mmap(-1, 8)
    pid = fork(_log_series_until_killed, place.uri, trial, shared)
    wait_until(lambda: int.from_bytes(shared[:8], "little") >= 2 * _SIZE)
    kill(pid)
    wait(pid)
    place.end_abandoned()
    returned = int.from_bytes(shared[:8], "little")

    for _ in range(2):
        done = python("-m", "track", "sync", place.uri)
        assert (done.returncode, done.stderr) == (0, "")

    found = place.numbers(trial)
    assert found == list(range(1, len(found) + 1))
    assert returned <= len(found) <= returned + _SIZE


@pytest.mark.network
@pytest.mark.usefixtures("own_folders")
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_series_to_a_server_that_is_killed(tmp_path: Path, kind: str) -> None:
    """A server that is killed while it stores series has every point once, in order."""
    uri = backend(kind, tmp_path)
    with killable(uri) as server:
        protocol = client(server.port)
        trial = new_served_trial(protocol)
        number = 1

        for _ in range(rounds(2, 20)):
            known = len(numbers(reader(uri), trial))
            for _ in range(5):
                protocol.log_trial_series(trial, "n", [float(each) for each in range(number, number + _SIZE)])
                number += _SIZE
            wait_until(lambda before=known: len(numbers(reader(uri), trial)) > before)
            server.kill()
            server.start()
        protocol.flush(60)

        assert protocol.unsaved() == 0
        assert numbers(reader(uri), trial) == list(range(1, number))
        protocol.close()
