"""A server, or a client, that is killed: nothing is lost, doubled or in another order."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess

import pytest

from tests.children import fork, python, run_all, wait
from tests.e2e.deliveries import Place, log, new_trial, open_protocol, rounds
from tests.servers import wait_until
from track.persistence.delivery.spill import spill_folder
from track.structure import Trial

pytestmark = pytest.mark.network


def test_server_killed_during_a_run(durable_place: Place) -> None:
    """A server that is killed again and again has every number once, in order."""
    place = durable_place
    protocol = place.open()
    trial = new_trial(protocol)
    number = 1

    for _ in range(rounds(2, 20)):
        stored = len(place.numbers(trial))
        log(protocol, trial, number, 3000)
        # In the middle of a transaction, more often than not.
        wait_until(lambda before=stored: len(place.numbers(trial)) > before)
        place.server.kill()
        log(protocol, trial, number + 3000, 1000)
        place.server.start()
        log(protocol, trial, number + 4000, 1000)
        number += 5000
    protocol.flush(60)

    assert protocol.unsaved() == 0
    assert place.numbers(trial) == list(range(1, number))


def _log_until_killed(uri: str, trial: Trial, name: str, shared: mmap.mmap) -> None:
    protocol = open_protocol(uri)
    assert protocol.get_trial(trial)
    shared[8:] = b"?"
    wait_until(lambda: shared[8:] == b"!")
    number = 0
    while True:
        number += 1
        protocol.log_trial_metrics(trial, **{name: float(number)})
        shared[:8] = number.to_bytes(8, "little")


def _killed_client(place: Place, trial: Trial, name: str, calls: int, is_away: bool = False) -> int:
    """Kill a client after about so many calls, all while the server is away if so; return how many had returned."""
    shared = mmap.mmap(-1, 9)
    pid = fork(_log_until_killed, place.uri, trial, name, shared)
    wait_until(lambda: shared[8:] == b"?")
    if is_away:
        place.proxy.refuse()
    shared[8:] = b"!"
    wait_until(lambda: int.from_bytes(shared[:8], "little") >= calls)
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    place.end_abandoned()
    return int.from_bytes(shared[:8], "little")


def _sync(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "track", "sync", *arguments)


def test_client_killed_at_any_call(place: Place) -> None:
    """What a killed client had logged is sent by the next process, or by ``track sync``."""
    choice = random.Random(7)
    protocol = place.open()
    trial = new_trial(protocol)

    for turn in range(rounds(6, 50)):
        returned = _killed_client(place, trial, f"n{turn}", choice.randint(1, 4000))
        if turn % 2:
            done = _sync(place.uri)
            assert (done.returncode, done.stderr) == (0, "")
        else:
            later = place.open()
            log(later, trial, 1, 1, f"later{turn}")
            wait_until(lambda name=f"n{turn}", count=returned: len(place.numbers(trial, name)) >= count)

        stored = place.numbers(trial, f"n{turn}")
        assert stored == list(range(1, len(stored) + 1))
        assert returned <= len(stored) <= returned + 1


def _sync_in_child(uri: str) -> None:
    assert _sync(uri).returncode in (0, 1)


def test_two_processes_sync_the_same_spill(place: Place) -> None:
    """Syncing the same spill at the same time, beside a live run, stores everything once."""
    protocol = place.open()
    trial = new_trial(protocol)
    returned = _killed_client(place, trial, "killed", 20_000, is_away=True)
    place.proxy.heal()

    log(protocol, trial, 1, 5000)
    codes = run_all(_sync_in_child, [(place.uri,)] * 3)
    log(protocol, trial, 5001, 5000)
    protocol.flush(60)
    last = _sync(place.uri)

    assert codes == [0, 0, 0]
    assert last.returncode == 0, last.stderr
    stored = place.numbers(trial, "killed")
    assert stored == list(range(1, len(stored) + 1))
    assert returned <= len(stored) <= returned + 1
    assert place.numbers(trial) == list(range(1, 10_001))


def test_spill_sent_twice_is_stored_once(place: Place) -> None:
    """A spill whose notes of what was sent are lost is sent again, and nothing is doubled."""
    protocol = place.open()
    trial = new_trial(protocol)
    _killed_client(place, trial, "killed", 15_000, is_away=True)
    place.proxy.heal()
    folder = spill_folder(place.uri)
    kept = {path: path.read_bytes() for path in folder.glob("*.journal")}
    first = _sync(place.uri)
    stored = place.numbers(trial, "killed")

    folder.mkdir(exist_ok=True)
    for path, content in kept.items():
        path.write_bytes(content)
    second = _sync(place.uri)

    assert (first.returncode, second.returncode) == (0, 0)
    assert stored == list(range(1, len(stored) + 1))
    assert place.numbers(trial, "killed") == stored


def test_status_lists_what_waits_and_sends_nothing(place: Place) -> None:
    """``--status`` names the server, the spill and the number of events; nothing is sent."""
    protocol = place.open()
    trial = new_trial(protocol)
    returned = _killed_client(place, trial, "killed", 100, is_away=True)

    shown = _sync("--status")
    away = _sync(place.uri)

    assert shown.returncode == 1
    assert place.uri.partition("?")[0] in shown.stdout
    assert "left behind" in shown.stdout
    assert any(f"{count} events unsent" in shown.stdout for count in (returned, returned + 1))
    assert away.returncode == 1
    assert "Connection refused" in away.stderr
    assert place.numbers(trial, "killed") == []
