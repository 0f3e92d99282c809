"""A store is a queue among processes: each trial has one owner, whoever is killed, paused or away.

A few trials by default; many by ``TRACK_TEST_ROUNDS=full python -m pytest tests/e2e/test_queue.py``.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.children import deadline, die, fork, python, wait
from tests.e2e.deliveries import Place, open_protocol, rounds
from tests.e2e.served import shared_store
from track.errors import ItemNotFound
from track.front import reserve
from track.persistence import get_protocol
from track.persistence.protocol import Protocol
from track.structure import Project, Status, Trial
from track.utils import system

_WAITING = {"status": {"$in": ["submitted", "createdgroup", "broken"]}}
_PATIENCE = 50.0
_WORKERS = rounds(6, 32)
_TRIALS = {"mongodb": rounds(20, 200)}
_KILLS = rounds(3, 20)
# Many workers and trials on a machine with few cores.
_SECONDS = rounds(60, 300)
_slow = pytest.mark.timeout(2 * _SECONDS)


@pytest.fixture(params=["file", "sqlite", "postgresql", "socket", "mongodb"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path) -> Iterator[str]:
    """Give an empty store that processes share."""
    with shared_store(request, request.param, tmp_path) as uri:
        yield uri


def _submit(uri: str, count: int) -> list[str]:
    """Store trials that wait, and return their uids."""
    protocol = get_protocol(uri)
    protocol.new_project(Project(name="queue"))
    made = []
    for number in range(count):
        trial = protocol.new_trial(Trial(parameters={"number": number}, project_id="queue"))
        assert trial is not None
        protocol.set_trial_status(trial, "submitted")
        made.append(trial.uid)
    protocol.close()
    return made


def _stored(uri: str) -> list[Trial]:
    protocol = get_protocol(uri)
    found = protocol.fetch_trials()
    # Read now: the connection is closed.
    assert all(trial.metrics.items() for trial in found)
    protocol.close()
    return found


def _work(uri: str, log: Path, stops: int | None = None) -> None:
    """Take trials until none waits; each body is a line. One for which `stops` has a byte stops at that place."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    protocol = get_protocol(uri)
    while (trial := reserve(protocol, _WAITING, _PATIENCE)) is not None:
        place = _next_byte(stops)
        _stop_at(0, place)
        os.write(descriptor, f"{trial.uid} {trial.attempt} {os.getpid()} {time.monotonic()}\n".encode())
        _stop_at(1, place)
        protocol.log_trial_metrics(trial, step=0, worker=float(os.getpid()))
        _stop_at(2, place)
        protocol.log_trial_finish(trial, None, None, None)
    protocol.close()


def _next_byte(pipe: int | None) -> int | None:
    try:
        return None if pipe is None else next(iter(os.read(pipe, 1)), None)
    except BlockingIOError:
        return None


def _stop_at(place: int, wanted: int | None) -> None:
    if place == wanted:
        os.kill(os.getpid(), signal.SIGSTOP)


def _bodies(log: Path) -> dict[str, list[tuple[int, int, float]]]:
    """Return attempt, process and beginning of each body, by the trial."""
    found = defaultdict(list)
    for line in log.read_text(encoding="ascii").splitlines():
        uid, attempt, pid, at = line.split()
        found[uid].append((int(attempt), int(pid), float(at)))
    return found


def _run_workers(uri: str, log: Path, kills: int) -> dict[int, float]:
    """Let workers take everything, and return when which of them was killed, in a body; another one takes its place."""
    log.touch()
    stops, killer = os.pipe()
    os.set_blocking(stops, False)
    # After the reservation, after the line, after the metric; in turn.
    os.write(killer, bytes(number % 3 for number in range(kills)))
    alive, killed = {fork(_work, uri, log, stops) for _ in range(_WORKERS)}, {}
    while len(killed) < kills:
        pid = _stopped_one(alive)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed[pid] = time.monotonic()
        alive ^= {pid, fork(_work, uri, log, stops)}
    codes = [wait(pid, _SECONDS) for pid in alive]
    assert codes == [0] * len(codes)
    # What the last that was killed has left.
    assert wait(fork(_work, uri, log), _SECONDS) == 0
    os.close(stops)
    os.close(killer)
    return killed


def _stopped_one(pids: set[int]) -> int:
    """Wait until one of some children has stopped itself, and return it; others may have ended meanwhile."""
    with deadline(min(pids), _SECONDS):
        while True:
            for pid in pids:
                # An ended child would be an error to who asks for stopped ones only.
                state = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if state is not None and state.si_code == os.CLD_STOPPED:
                    return pid
            time.sleep(0.002)


def _trials(request: pytest.FixtureRequest) -> int:
    return _TRIALS.get(request.node.callspec.params["uri"], rounds(60, 2_000))


@_slow
def test_each_trial_is_run_once(uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Workers that take what waits run each body exactly once, counted by what the bodies have written."""
    uids = _submit(uri, _trials(request))

    _run_workers(uri, tmp_path / "bodies", kills=0)

    bodies = _bodies(tmp_path / "bodies")
    assert {uid: len(of_trial) for uid, of_trial in bodies.items()} == dict.fromkeys(uids, 1)
    found = _stored(uri)
    assert {(trial.status, trial.attempt, trial.metadata.get("late_events")) for trial in found} == {
        (Status.Completed, 1, None)
    }


@_slow
def test_only_bodies_of_killed_workers_run_again(uri: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Workers are killed meanwhile: every trial ends, and none has a second owner while the first one lives."""
    uids = _submit(uri, _trials(request))

    killed = _run_workers(uri, tmp_path / "bodies", _KILLS)

    bodies = _bodies(tmp_path / "bodies")
    assert (len(killed), sorted(bodies)) == (_KILLS, sorted(uids))
    for of_trial in bodies.values():
        for (attempt, pid, _), (following, _, began) in pairwise(of_trial):
            # The body of a worker that died before it could say so has no line: its attempt is counted all the same.
            assert following > attempt
            assert began > killed[pid] - 0.5
    found = _stored(uri)
    assert {trial.status for trial in found} == {Status.Completed}
    owners = {trial.uid: {0: float(bodies[trial.uid][-1][1])} for trial in found}
    assert {trial.uid: dict(trial.metrics["worker"]) for trial in found} == owners


def _reserve_elsewhere(uri: str, then: Callable[[Protocol, Trial], None]) -> None:
    """Reserve a trial in a process of which nobody here can say whether it lives, and go on."""
    system.process_identity()
    system._own["host"] = "elsewhere"
    protocol = get_protocol(uri)
    trial = reserve(protocol, _WAITING, _PATIENCE)
    assert trial is not None
    protocol.log_trial_metrics(trial, step=0, loss=1.0)
    protocol.flush()
    then(protocol, trial)
    protocol.close()


def _pause_and_go_on(protocol: Protocol, trial: Trial) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    for step in range(3):
        protocol.log_trial_metrics(trial, step=step, loss=9.0)
    protocol.log_trial_metadata(trial, said="too late")
    protocol.log_trial_finish(trial, ValueError, ValueError("too late"), None)


def _taken_over(uri: str, pid: int) -> Protocol:
    """Wait until a worker is silent for too long, and take its trial."""
    protocol = get_protocol(uri)
    with deadline(pid):
        while True:
            try:
                protocol.fetch_and_update_trial(_WAITING, "log_trial_start")
            except ItemNotFound:
                time.sleep(0.05)
            else:
                return protocol


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker of another host be taken for dead after half a second, by servers too."""
    monkeypatch.setenv("TRACK_LOG_HEARTBEAT_TIMEOUT", "0.5")


@pytest.mark.usefixtures("_impatient")
def test_paused_worker_that_wakes_changes_nothing(uri: str) -> None:
    """A worker that was paused until its trial was taken goes on with its body, and nothing of that is stored."""
    (uid,) = _submit(uri, 1)
    pid = fork(_reserve_elsewhere, uri, _pause_and_go_on)
    with deadline(pid):
        os.waitid(os.P_PID, pid, os.WSTOPPED)

    protocol = _taken_over(uri, pid)
    (trial,) = protocol.fetch_trials({"uid": uid})
    protocol.log_trial_metrics(trial, step=0, loss=2.0)
    os.kill(pid, signal.SIGCONT)
    code = wait(pid)
    protocol.log_trial_finish(trial, None, None, None)

    (found,) = protocol.fetch_trials({"uid": uid})
    assert (code, found.attempt, found.status, found.errors) == (0, 2, Status.Completed, [])
    assert dict(found.metrics["loss"]) == {0: 2.0}
    # Three numbers, the run time, the end, and metadata.
    assert (found.metadata["late_events"], "said" in found.metadata) == (6, False)
    protocol.close()


def test_silence_of_another_host_is_what_the_option_says(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of another host is not taken before ``log.heartbeat_timeout`` is over."""
    monkeypatch.setenv("TRACK_LOG_HEARTBEAT_TIMEOUT", "3600")
    _submit(uri, 1)
    assert wait(fork(_reserve_elsewhere, uri, lambda *_: die())) == -signal.SIGKILL

    protocol = get_protocol(uri)
    with pytest.raises(ItemNotFound):
        protocol.fetch_and_update_trial(_WAITING, "log_trial_start")
    protocol.close()


# What waits for a server that is away.


def _end_and_die(protocol: Protocol, trial: Trial) -> None:
    protocol.log_trial_finish(trial, None, None, None)
    die()


def _log_and_die(protocol: Protocol, trial: Trial) -> None:
    for step in range(3):
        protocol.log_trial_metrics(trial, step=step, loss=9.0)
    die()


def _left_by(place: Place, then: Callable[[Protocol, Trial], None]) -> None:
    """Let a worker reserve a trial, and say something of it and die while the server is away."""

    def work() -> None:
        protocol = open_protocol(place.uri)
        trial = reserve(protocol, _WAITING, _PATIENCE)
        assert trial is not None
        os.kill(os.getpid(), signal.SIGSTOP)
        then(protocol, trial)

    pid = fork(work)
    with deadline(pid):
        os.waitid(os.P_PID, pid, os.WSTOPPED)
    place.proxy.refuse()
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == -signal.SIGKILL
    place.proxy.heal()


def test_trial_whose_end_waits_here_is_not_run_again(sql_place: Place) -> None:
    """A worker that died before its end could be sent has finished its trial: who asks here sends it first."""
    _submit(sql_place.direct, 1)
    _left_by(sql_place, _end_and_die)

    protocol = sql_place.open()
    with pytest.raises(ItemNotFound):
        protocol.fetch_and_update_trial(_WAITING, "log_trial_start")

    assert [(trial.status, trial.attempt) for trial in protocol.fetch_trials()] == [(Status.Completed, 1)]


def test_points_that_a_dead_worker_left_are_refused_after_the_next_attempt(
    sql_place: Place, spills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `track sync` delivers of an attempt that was followed by another replaces nothing, and is counted."""
    _submit(sql_place.direct, 1)
    _left_by(sql_place, _log_and_die)

    # As on another machine, on which the points do not wait.
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "other"))
    protocol = sql_place.open()
    trial = protocol.fetch_and_update_trial(_WAITING, "log_trial_start")
    protocol.log_trial_metrics(trial, step=0, loss=2.0)
    protocol.flush()
    synced = python("-m", "track", "sync", TRACK_LOG_SPILL_FOLDER=str(spills))
    protocol.log_trial_finish(trial, None, None, None)

    (found,) = protocol.fetch_trials()
    assert synced.returncode == 0, synced.stderr
    assert (found.status, found.attempt, dict(found.metrics["loss"])) == (Status.Completed, 2, {0: 2.0})
    assert found.metadata["late_events"] == 3
