"""A track server that is killed, stopped, or behind a connection that breaks: every event is stored once."""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.deliveries import Place, rounds, settled
from tests.e2e.served import backend, client, count_up, killable, new_trial, numbers, proxied, reader
from tests.servers import wait_until
from tests.servers.proxy import Direction
from tests.servers.track import serving
from track.errors import OutcomeUnknown
from track.persistence import get_protocol
from track.structure import Trial

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("own_folders")]


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_server_killed_during_a_run(tmp_path: Path, kind: str) -> None:
    """A server that is killed again and again has every number once, in order."""
    uri = backend(kind, tmp_path)
    with killable(uri) as server:
        protocol = client(server.port)
        trial = new_trial(protocol)
        number = 1

        for _ in range(rounds(3, 50)):
            stored = len(numbers(reader(uri), trial))
            count_up(protocol, trial, number, 3000)
            # In the middle of a batch, more often than not.
            wait_until(lambda before=stored: len(numbers(reader(uri), trial)) > before)
            server.kill()
            count_up(protocol, trial, number + 3000, 500)
            server.start()
            count_up(protocol, trial, number + 3500, 500)
            number += 4000
        protocol.flush(60)

        assert protocol.unsaved() == 0
        assert numbers(reader(uri), trial) == list(range(1, number))
        protocol.close()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_decisions_with_a_server_that_is_killed(tmp_path: Path, kind: str) -> None:
    """Whenever the server is killed, a decision is made once, and its caller knows what became of it."""
    uri = backend(kind, tmp_path)
    with killable(uri) as server:
        protocol = client(server.port)
        trial = new_trial(protocol)
        made = 0

        for _ in range(rounds(3, 50)):
            for _ in range(5):
                made += 1
                settled(
                    partial(protocol.fetch_and_update_trial, {"uid": trial.uid}, "log_trial_metrics", n=float(made))
                )
            server.kill()
            server.start()
        created = [
            settled(partial(protocol.new_trial, Trial(parameters={"lr": 0.1}), auto_increment=True)) for _ in range(3)
        ]

        assert numbers(reader(uri), trial) == list(range(1, made + 1))
        assert [one.revision for one in created] == [1, 2, 3]
        protocol.close()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_told_to_stop(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    """A server that is told to stop ends well, and what it acknowledged is stored."""
    uri = backend(kind, tmp_path)
    with killable(uri) as server:
        protocol = client(server.port)
        trial = new_trial(protocol)
        count_up(protocol, trial, 1, 20_000)
        wait_until(lambda: protocol.unsaved() < 20_000)

        code, printed = server.end(number)
        acknowledged = 20_000 - protocol.unsaved()

        stored = numbers(reader(uri), trial)
        assert (code, printed.splitlines()[-1]) == (0, "stopped: everything that was acknowledged is stored")
        assert stored == list(range(1, len(stored) + 1))
        assert len(stored) >= acknowledged
        server.start()
        protocol.flush(60)
        assert numbers(reader(uri), trial) == list(range(1, 20_001))
        protocol.close()


@pytest.mark.parametrize("layer", [None, "AES"])
@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_cut_at_any_byte(tmp_path: Path, layer: str | None, direction: Direction) -> None:
    """Wherever the connection breaks, every number is stored once, in order."""
    choice = random.Random(f"{layer} {direction}")
    uri = backend("file", tmp_path)
    with proxied(uri, layer) as (proxy, protocol):
        trial = new_trial(protocol)
        number = 1

        for _ in range(rounds(6, 200)):
            count, cuts = choice.randint(1, 60), proxy.cuts
            proxy.cut_after(direction, choice.randint(0, 4000))
            while proxy.cuts == cuts:
                count_up(protocol, trial, number, count)
                number += count
                protocol.flush(30)
                assert protocol.unsaved() == 0

        assert numbers(reader(uri), trial) == list(range(1, number))


@pytest.mark.parametrize("layer", [None, "AES"])
@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_decision_cut_at_any_byte(tmp_path: Path, layer: str | None, direction: Direction) -> None:
    """Wherever the connection breaks, a decision is made once; or it raises, and was not made."""
    choice = random.Random(f"{layer} {direction}")
    with proxied("ephemeral:", layer) as (proxy, protocol):
        trial = new_trial(protocol)
        made = 0

        for _ in range(rounds(6, 200)):
            cuts = proxy.cuts
            proxy.cut_after(direction, choice.randint(0, 4000))
            while proxy.cuts == cuts:
                made += 1
                query, number = {"uid": trial.uid}, float(made)
                settled(partial(protocol.fetch_and_update_trial, query, "log_trial_metrics", n=number))

        assert numbers(protocol, trial) == list(range(1, made + 1))


def test_commit_of_the_database_that_is_lost(sql_place: Place) -> None:
    """When the database behind the server is lost during a commit, a client with offline=1 does not decide again."""
    with serving(sql_place.uri.replace("&timeout=5", "&timeout=1")) as port:
        protocol = client(port, options="&offline=1")
        new_trial(protocol)
        sql_place.proxy.admit_no_more()
        sql_place.proxy.cut_at("to server", sql_place.commit, "after")

        with pytest.raises(OutcomeUnknown, match="may be stored, or not"):
            protocol.new_trial(Trial(parameters={"lr": 0.2}))

        assert protocol.unsaved() == 0
        sql_place.proxy.heal()
        protocol.close()
    found = get_protocol(sql_place.direct).fetch_trials()
    assert [(trial.parameters["lr"], trial.revision) for trial in found] == [(0.1, 0), (0.2, 0)]
