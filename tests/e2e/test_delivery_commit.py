"""A connection that breaks at a commit: the batch, or the decision, is stored once."""

from __future__ import annotations

import random
from functools import partial

import pytest

from tests.e2e.deliveries import Place, log, new_trial, rounds, settled
from tests.servers import wait_until
from tests.servers.proxy import Direction, Moment
from track.structure import Trial

pytestmark = pytest.mark.network
MOMENTS: list[Moment] = ["before", "after"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_batch_is_stored_once(place: Place, moment: Moment) -> None:
    """A batch whose commit is lost, or its answer, is there once and in order."""
    protocol = place.open()
    trial = new_trial(protocol)

    place.proxy.cut_at("to server", place.commit, moment)
    log(protocol, trial, 1, 300)
    wait_until(lambda: place.proxy.cuts == 1)
    protocol.flush(30)

    assert protocol.unsaved() == 0
    assert place.numbers(trial) == list(range(1, 301))


@pytest.mark.parametrize("moment", MOMENTS)
def test_new_trial_is_created_once(place: Place, moment: Moment) -> None:
    """A trial whose creation is not answered is one trial, and the caller is told which."""
    protocol = place.open()
    new_trial(protocol)

    place.proxy.cut_at("to server", place.commit, moment)
    made = protocol.new_trial(Trial(parameters={"lr": 0.1}), auto_increment=True)

    assert place.proxy.cuts == 1
    assert made is not None
    assert [uid for uid, _, _ in place.trials()] == [f"{made.hash}_0", f"{made.hash}_1"]
    assert made.revision == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_change_is_made_once(place: Place, moment: Moment) -> None:
    """A change of the first match that is not answered is made once."""
    protocol = place.open()
    trial = new_trial(protocol)

    place.proxy.cut_at("to server", place.commit, moment)
    changed = protocol.fetch_and_update_trial({"uid": trial.uid}, "log_trial_metrics", step=0, n=7.0)

    assert place.proxy.cuts == 1
    assert place.numbers(trial) == [7]
    assert changed.metrics["n"] == {0: 7.0}


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_cut_at_any_byte(place: Place, direction: Direction) -> None:
    """Wherever the connection breaks, every number is stored once, in order."""
    choice = random.Random(direction)
    protocol = place.open()
    trial = new_trial(protocol)
    number = 1

    for _ in range(rounds(4, 100)):
        count, cuts = choice.randint(1, 60), place.proxy.cuts
        place.proxy.cut_after(direction, choice.randint(0, 3000))
        while place.proxy.cuts == cuts:
            log(protocol, trial, number, count)
            number += count
            protocol.flush(30)
            assert protocol.unsaved() == 0

    assert place.numbers(trial) == list(range(1, number))


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_decision_cut_at_any_byte(place: Place, direction: Direction) -> None:
    """Wherever the connection breaks, a decision is made once; or it raises, and was not made."""
    choice = random.Random(direction)
    protocol = place.open()
    trial = new_trial(protocol)
    made = 0

    for _ in range(rounds(4, 100)):
        cuts = place.proxy.cuts
        place.proxy.cut_after(direction, choice.randint(0, 3000))
        while place.proxy.cuts == cuts:
            made += 1
            query, number = {"uid": trial.uid}, float(made)
            settled(partial(protocol.fetch_and_update_trial, query, "log_trial_metrics", n=number))

    assert place.numbers(trial) == list(range(1, made + 1))
