"""A server that refuses or never answers: logging goes on, decisions end, the counts are true."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.deliveries import Place, log, new_trial
from tests.servers import wait_until
from tests.servers.proxy import FaultProxy
from track.client import TrackClient
from track.errors import BackendUnavailable
from track.structure import Project, Trial

pytestmark = pytest.mark.network
FAULTS: list[Callable[[FaultProxy], None]] = [FaultProxy.refuse, FaultProxy.reset, FaultProxy.blackhole]
faults = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)


@faults
def test_logging_goes_on(sql_place: Place, fault: Callable[[FaultProxy], None]) -> None:
    """Every call returns while the server is away, all are counted, and all are stored once it is back."""
    protocol = sql_place.open()
    trial = new_trial(protocol)
    log(protocol, trial, 1, 1)
    protocol.flush(30)

    fault(sql_place.proxy)
    log(protocol, trial, 2, 5000)
    counted = protocol.unsaved()
    stored = len(sql_place.numbers(trial))
    sql_place.proxy.heal()
    protocol.flush(60)

    assert (counted, stored) == (5000, 1)
    assert protocol.unsaved() == 0
    assert sql_place.numbers(trial) == list(range(1, 5002))


@faults
def test_decision_ends_with_an_error(sql_place: Place, fault: Callable[[FaultProxy], None]) -> None:
    """A decision does not wait for ever: one error names the server."""
    protocol = sql_place.open()
    new_trial(protocol)

    fault(sql_place.proxy)

    with pytest.raises(BackendUnavailable, match=f"127.0.0.1:{sql_place.proxy.port}"):
        protocol.new_trial(Trial(parameters={"lr": 5}))


def test_threads_that_wait_for_a_silent_server_all_end(sql_place: Place) -> None:
    """Several threads that decide at once all get their error, none of them waits for the others' sum."""
    protocol = sql_place.open()
    new_trial(protocol)
    errors: list[BaseException] = []

    def decide(number: int) -> None:
        try:
            protocol.new_trial(Trial(parameters={"lr": number}))
        except BackendUnavailable as error:
            errors.append(error)

    sql_place.proxy.blackhole()
    threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(errors) == 4


def test_start_is_an_error_within_seconds(sql_place: Place) -> None:
    """A program whose server is silent hears of it at once."""
    sql_place.proxy.blackhole()
    begin = time.monotonic()

    with pytest.raises(BackendUnavailable, match="is the server running"):
        TrackClient(sql_place.uri).set_project(name="digits")

    # 3 s are promised; a machine that is busy takes longer, and not as long as a driver waits by itself.
    assert time.monotonic() - begin < 25


@faults
def test_finish_says_what_is_unsent(
    sql_place: Place, fault: Callable[[FaultProxy], None], caplog: pytest.LogCaptureFixture
) -> None:
    """`finish` returns, and one warning says how many events wait and what sends them."""
    client = TrackClient(sql_place.uri)
    client.set_project(name="digits")
    trial = client.new_trial(parameters={"lr": 0.1})
    trial.start()
    client.protocol.flush(30)

    fault(sql_place.proxy)
    trial.log_metrics(step=0, loss=0.5)
    trial.finish()

    warnings = [record.getMessage() for record in caplog.records if "track sync" in record.getMessage()]
    assert len(warnings) == 1
    # The metric, the run time and the status.
    assert warnings[0].startswith("3 events are not stored in cockroach://")
    sql_place.proxy.heal()
    client.protocol.flush(60)
    assert client.protocol.unsaved() == 0
    client.protocol.close()


def test_finish_waits_as_long_as_it_is_told(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """With a time-out, a server that comes back meanwhile has everything."""
    client = TrackClient(sql_place.uri)
    client.set_project(name="digits")
    trial = client.new_trial(parameters={"lr": 0.1})
    trial.log_metrics(step=0, loss=0.5)
    client.protocol.flush(30)
    sql_place.proxy.reset()
    trial.log_metrics(step=1, loss=0.4)
    wait_until(lambda: "training goes on" in caplog.text)
    attempts = sql_place.proxy.accepted

    def heal_later() -> None:
        wait_until(lambda: sql_place.proxy.accepted > attempts + 1)
        sql_place.proxy.heal()

    healer = threading.Thread(target=heal_later)
    healer.start()
    trial.finish(timeout=60)
    healer.join()

    assert client.protocol.unsaved() == 0
    client.protocol.close()


def test_close_leaves_the_rest(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Closing while the server is silent returns, counts what is left, and the next one sends it."""
    protocol = sql_place.open()
    protocol.patience = 0.5
    trial = new_trial(protocol)
    log(protocol, trial, 1, 1)
    protocol.flush(30)

    sql_place.proxy.blackhole()
    log(protocol, trial, 2, 100)
    protocol.close()
    left = protocol.unsaved()
    sql_place.proxy.heal()
    log(protocol, trial, 102, 1)
    wait_until(lambda: len(sql_place.numbers(trial)) == 102)

    assert left == 100
    assert sorted(sql_place.numbers(trial)) == list(range(1, 103))


def test_strict_raises_while_the_server_is_known_to_be_away(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """With ``strict=1`` a logging call raises instead of counting, and works again afterwards."""
    protocol = sql_place.open("&strict=1")
    trial = new_trial(protocol)
    sql_place.proxy.refuse()
    log(protocol, trial, 1, 1)
    wait_until(lambda: "training goes on" in caplog.text)

    with pytest.raises(BackendUnavailable, match="strict=1"):
        log(protocol, trial, 2, 1)
    counted = protocol.unsaved()
    sql_place.proxy.heal()
    protocol.flush(60)
    log(protocol, trial, 3, 1)
    protocol.flush(60)

    assert counted == 1
    assert sql_place.numbers(trial) == [1, 3]


def test_trial_is_shown_as_this_process_knows_it(sql_place: Place) -> None:
    """While the server is away a trial shows what it had when last seen, and what was logged since: nothing twice."""
    protocol = sql_place.open()
    trial = new_trial(protocol)
    log(protocol, trial, 1, 10)
    (seen,) = protocol.get_trial(trial)
    assert len(seen.metrics["n"]) == 10
    sql_place.proxy.refuse()
    log(protocol, trial, 11, 5)
    for _ in range(3):
        protocol.log_trial_metrics(trial, unstepped=1.0)

    protocol.refresh(trial)
    protocol.refresh(trial)

    assert trial.metrics["n"] == {number: float(number) for number in range(1, 16)}
    assert list(trial.metrics["unstepped"].val) == [1.0] * 3
    assert trial.metadata["_update_count"] == 18


def test_trial_is_shown_without_those_that_were_not_looked_at(
    sql_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """While the server is away one trial is shown, and nothing is said of others that this process has logged to."""
    protocol = sql_place.open()
    trial, *others = [new_trial(protocol, lr=number) for number in range(70)]
    protocol.get_trial(trial)
    sql_place.proxy.refuse()
    for one in [trial, *others]:
        log(protocol, one, 1, 1)

    protocol.refresh(trial)

    assert dict(trial.metrics["n"]) == {1: 1.0}
    assert "is skipped" not in caplog.text


# offline


@faults
def test_offline_run_arrives_later(sql_place: Place, fault: Callable[[FaultProxy], None]) -> None:
    """With ``offline=1`` a whole run works without the server, and is stored once it is back."""
    fault(sql_place.proxy)
    client = TrackClient(sql_place.uri + "&offline=1")
    client.set_project(name="digits")
    client.set_group(name="idea")
    trial = client.new_trial(parameters={"lr": 0.1})
    for step in range(50):
        trial.log_metrics(step=step, n=float(step + 1))
    trial.add_tags(paper=True)
    trial.finish()
    seen = client.trial

    sql_place.proxy.heal()
    client.protocol.flush(60)

    assert seen.metrics["n"] == {step: float(step + 1) for step in range(50)}
    assert seen.revision < 0
    assert client.protocol.unsaved() == 0
    assert sql_place.trials() == [(seen.uid, "digits", "Completed")]
    assert sql_place.numbers(seen) == list(range(1, 51))
    assert sql_place.members() == [seen.uid]
    client.protocol.close()


def test_offline_trial_takes_no_online_revision(sql_place: Place) -> None:
    """Trials made offline and online, with the same parameters, never have the same uid."""
    online, offline = sql_place.open(), sql_place.open("&offline=1")
    online.new_project(Project(name="digits"))
    sql_place.proxy.refuse()
    away = [offline.new_trial(Trial(parameters={"lr": 1}), auto_increment=True) for _ in range(3)]
    sql_place.proxy.heal()
    first = online.new_trial(Trial(parameters={"lr": 1}), auto_increment=True)
    offline.flush(60)
    second = online.new_trial(Trial(parameters={"lr": 1}), auto_increment=True)

    revisions = [trial.revision for trial in [*away, first, second] if trial is not None]

    assert revisions[3:] == [0, 1]
    assert len(set(revisions)) == 5
    assert len(sql_place.trials()) == 5


def test_offline_trial_is_found_by_its_uid(sql_place: Place) -> None:
    """A trial that was made offline is opened again by its uid, here and online."""
    sql_place.proxy.refuse()
    client = TrackClient(sql_place.uri + "&offline=1")
    uid = client.new_trial(parameters={"lr": 1}).trial.uid

    again = client.set_trial(uid=uid, force=True).trial.uid
    sql_place.proxy.heal()
    client.protocol.flush(60)
    online = TrackClient(sql_place.direct)

    assert again == uid
    assert online.set_trial(uid=uid).trial.parameters == {"lr": 1}
    client.protocol.close()
    online.protocol.close()


def test_server_back_is_asked_again(sql_place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Once the server is back, decisions are its own again, after what was logged offline."""
    caplog.set_level(logging.INFO)
    protocol = sql_place.open("&offline=1")
    sql_place.proxy.refuse()
    trial = new_trial(protocol)
    log(protocol, trial, 1, 10)

    sql_place.proxy.heal()
    protocol.flush(60)
    made = protocol.new_trial(Trial(parameters={"lr": 3}))

    assert made is not None
    assert made.revision == 0
    assert sql_place.numbers(trial) == list(range(1, 11))
