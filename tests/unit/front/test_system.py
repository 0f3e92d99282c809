"""What a trial uses of its machine is recorded while it runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from track import TrackClient
from track.errors import BackendUnavailable, InvalidCall
from track.front import system
from track.front.system import Monitored, SystemMonitor
from track.metrics import briefs_of
from track.utils.system import process_identity

SECONDS = 30.0


class Clock:
    """Tells the time that a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """A monitor without a thread, on a machine of which a test says what it does."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cpu = 0.0
        self.monitor = SystemMonitor(lambda: [lambda: {"cpu": self.cpu}], self.clock)
        self.monitor._thread = threading.current_thread()
        self.monitor.look()

    def pass_second(self, cpu: float) -> None:
        """Look once more, a second later."""
        self.clock.now += 1
        self.cpu = cpu
        self.monitor.look()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Give the machine on which this process is."""
    machine = Machine()
    monkeypatch.setattr(system, "_monitor", machine.monitor)
    return machine


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test hear what is said once a process, and meet no thread of an earlier test."""
    monkeypatch.setattr(system, "_told", set())
    _end(system.monitor())


def _end(monitor: SystemMonitor) -> None:
    """Wait for the end of a thread that has nothing to look for any more."""
    thread = monitor._thread
    if thread is not None:
        monitor._wake.set()
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def recorded() -> Iterator[Callable[[], bool]]:
    """Give what tells, within some seconds, whether a thread has recorded something."""
    done = threading.Event()
    monitored = Monitored(lambda values: done.set(), 0.01)
    system.monitor().add(monitored)
    yield lambda: done.wait(SECONDS)
    system.monitor().remove(monitored)


def _threads() -> int:
    return sum(thread.name == "track-monitor" for thread in threading.enumerate())


def _values(client: TrackClient, name: str) -> list[float]:
    (trial,) = client.protocol.fetch_trials({})
    return list(trial.metrics[name].val) if name in trial.metrics else []


def test_mean_and_maximum_of_each_tick(client: TrackClient, machine: Machine) -> None:
    """Each tick is a point without a step, and what is left at the end is one, too."""
    with client.new_trial(parameters={"lr": 1}).monitor(every=3):
        for cpu in (10, 20, 60, 1, 2, 3, 70):
            machine.pass_second(cpu)

    assert _values(client, "system/cpu") == [30.0, 2.0, 70.0]
    assert _values(client, "system/cpu.peak") == [60.0, 3.0, 70.0]


def test_points_keep_their_times(client: TrackClient, machine: Machine) -> None:
    """A point without a step is still on the clock."""
    with client.new_trial(parameters={"lr": 1}).monitor(every=1) as trial:
        machine.pass_second(5)

    assert trial.to_pandas("system/cpu", times=True)["system/cpu.time"].notna().all()


def test_table_of_steps_has_no_rows_of_the_machine(client: TrackClient, machine: Machine) -> None:
    """A tick is no step of the training: a data frame has it only where it is named."""
    with client.new_trial(parameters={"lr": 1}).monitor(every=1) as trial:
        trial.log_metrics(step=0, loss=0.5)
        machine.pass_second(5)

    assert list(trial.to_pandas()) == ["loss"]
    assert trial.to_pandas("system/cpu")["system/cpu"].tolist() == [5.0]


@pytest.mark.parametrize("said", ["2", "2.0", " 2 "])
def test_option_is_for_every_trial(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """`TRACK_MONITOR` asks for it without a line in the program; a trial may have its own pace, or none."""
    monkeypatch.setenv("TRACK_MONITOR", said)
    trials = [client.new_trial(parameters={"lr": lr}, force=True) for lr in range(3)]
    trials[1].monitor(every=0)
    for trial in trials:
        trial.start()
    trials[2].monitor(every=4)
    for cpu in range(4):
        machine.pass_second(cpu)
    counts = [briefs_of(trial.trial.metrics) for trial in trials]
    for trial in trials:
        trial.finish()

    assert [found["system/cpu"].count if found else 0 for found in counts] == [2, 0, 1]


@pytest.mark.parametrize(("said", "ticks"), [("on", 1), ("true", 1), ("off", 0), ("0", 0), ("", 0), ("no", 0)])
def test_words_for_the_option(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, said: str, ticks: int
) -> None:
    """Who only wants it on gets a tick of ten seconds."""
    monkeypatch.setenv("TRACK_MONITOR", said)
    with client.new_trial(parameters={"lr": 1}):
        for _ in range(10):
            machine.pass_second(1)

    assert len(_values(client, "system/cpu")) == ticks


@pytest.mark.parametrize(("said", "ticks"), [("10", 1), ('"5"', 2), ("true", 1), ("false", 0), ("null", 0), ("{}", 0)])
def test_option_in_the_configuration_file(
    client: TrackClient,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: str,
    ticks: int,
) -> None:
    """The file says it as JSON has it; what is no pace is said, and nothing else."""
    (tmp_path / "track.config").write_text(f'{{"monitor": {said}}}')
    monkeypatch.setenv("TRACK_CONFIG", str(tmp_path / "track.config"))
    with client.new_trial(parameters={"lr": 1}):
        for _ in range(10):
            machine.pass_second(1)

    assert len(_values(client, "system/cpu")) == ticks


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "0.001"])
def test_option_that_is_no_number(
    client: TrackClient,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
) -> None:
    """It is said once, and no training stops for it."""
    monkeypatch.setenv("TRACK_MONITOR", said)
    for lr in range(2):
        with client.new_trial(parameters={"lr": lr}):
            machine.pass_second(1)

    assert [record.message for record in caplog.records if "TRACK_MONITOR" in record.message] == [
        f"what the system does is not recorded (the option monitor (TRACK_MONITOR) is {said!r}: every={said!r}: "
        "give the seconds between two records, 0.01 or more, or 0 for none)"
    ]


@pytest.mark.parametrize("every", [-1, "soon", None, float("nan"), float("inf"), 0.001])
def test_a_pace_that_is_none_is_refused(client: TrackClient, every: object) -> None:
    """A mistake in the program is said where it is made."""
    with pytest.raises(InvalidCall, match="give the seconds between two records"):
        client.new_trial(parameters={"lr": 1}).monitor(every=every)  # type: ignore[arg-type]


def test_ranks_that_join_follow_no_option(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the processes of one trial the first follows the option, and any does what its program says."""
    monkeypatch.setenv("TRACK_MONITOR", "1")
    monkeypatch.setattr(system, "runs_elsewhere", lambda trial, but: True)
    with client.new_trial(parameters={"lr": 1}) as trial:
        machine.pass_second(1)
        followed = len(_values(client, "system/cpu"))
        trial.monitor(every=1)
        machine.pass_second(1)

    assert (followed, len(_values(client, "system/cpu"))) == (0, 1)


@pytest.mark.parametrize(("is_of_a_worker", "ticks"), [(True, 1), (False, 0)])
def test_body_of_a_worker_follows_the_option(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, is_of_a_worker: bool, ticks: int
) -> None:
    """A worker holds the trial of a body that it has started: it is no rank that records the machine already."""
    monkeypatch.setenv("TRACK_MONITOR", "1")
    if is_of_a_worker:
        monkeypatch.setenv("TRACK_ATTEMPT", "1")
    with client.new_trial(parameters={"lr": 1}) as trial:
        worker = {**process_identity(), "pid": os.getppid(), "started": "x", "status": ["Running", 101]}
        trial._trial.processes.append(worker)
        trial._begin_monitor()
        machine.pass_second(1)

    assert len(_values(client, "system/cpu")) - 1 == ticks


def test_store_that_is_away(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be recorded is said once, and the next is tried again."""
    with client.new_trial(parameters={"lr": 1}).monitor(every=1):
        with monkeypatch.context() as patch:

            def away(*_: object, **__: object) -> None:
                raise BackendUnavailable("no answer")

            patch.setattr(client.protocol, "log_trial_metrics", away)
            machine.pass_second(1)
            machine.pass_second(2)
        machine.pass_second(3)

    assert _values(client, "system/cpu") == [3.0]
    assert [record.message for record in caplog.records] == [
        "what the system does is not recorded (BackendUnavailable: no answer)"
    ]


def test_machine_that_slept(client: TrackClient, machine: Machine) -> None:
    """After an hour of sleep there is one point, and not one for each tick of that hour."""
    with client.new_trial(parameters={"lr": 1}).monitor(every=2):
        machine.clock.now += 3600
        for cpu in (1, 2, 3, 4):
            machine.pass_second(cpu)

    assert _values(client, "system/cpu") == [1.0, 2.5, 4.0]


def test_trial_that_goes_on_is_monitored_again(client: TrackClient, machine: Machine) -> None:
    """Nothing is recorded between two lives of a trial."""
    trial = client.new_trial(parameters={"lr": 1}).monitor(every=1)
    for _ in range(2):
        with trial:
            machine.pass_second(1)
        machine.pass_second(50)

    assert _values(client, "system/cpu") == [1.0, 1.0]


def test_end_during_a_look(client: TrackClient, machine: Machine) -> None:
    """A trial that ends while another thread is about to record something of it is not told afterwards."""
    told: list[dict[str, float]] = []
    monitored = Monitored(told.append, 1.0)
    machine.monitor.add(monitored)
    machine.pass_second(1)
    machine.monitor.remove(monitored)
    monitored.take({"cpu": 5.0}, 1e9)

    assert told == [{"system/cpu": 1.0, "system/cpu.peak": 1.0}]


def test_end_during_the_beginning(
    client: TrackClient, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial that the handler of a signal ends while its monitor begins leaves none behind."""
    trial = client.new_trial(parameters={"lr": 1}).monitor(every=1)
    real = machine.monitor.add

    def add(monitored: Monitored) -> None:
        trial.finish()
        real(monitored)

    monkeypatch.setattr(machine.monitor, "add", add)
    trial.start()

    assert (machine.monitor._monitored, caplog.records) == ([], [])


def test_end_waits_for_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the thread waits for a store, the end of a trial does not wait for the thread."""
    monkeypatch.setattr(system, "_PATIENCE", 0.01)
    monitored = Monitored(lambda values: pytest.fail("it was recorded"), 1.0)
    monitored.take({"cpu": 1.0}, -1.0)
    with monitored._lock:
        other = threading.Thread(target=monitored.close)
        other.start()
        other.join(SECONDS)

    assert not other.is_alive()


def test_no_thread_unless_asked_for(client: TrackClient) -> None:
    """The library has no thread of its own."""
    with client.new_trial(parameters={"lr": 1}):
        assert _threads() == 0


def test_one_thread_for_all_trials(client: TrackClient, recorded: Callable[[], bool]) -> None:
    """However many trials are monitored, there is one thread, which does not keep the process alive."""
    trials = [client.new_trial(parameters={"lr": lr}, force=True).monitor(every=60) for lr in range(20)]
    for trial in trials:
        trial.start()

    assert recorded()
    assert _threads() == 1
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "track-monitor")
    for trial in trials:
        trial.finish()


def test_thread_ends_with_the_last_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing is monitored any more the thread ends, and the next trial has another."""
    monkeypatch.setattr(system, "_LOOK", 0.01)
    monitor = SystemMonitor(lambda: [lambda: {"cpu": 1.0}], time.monotonic)
    for _ in range(2):
        done = threading.Event()
        monitored = Monitored(lambda values, done=done: done.set(), 0.01)  # type: ignore[misc]
        monitor.add(monitored)
        thread = monitor._thread
        assert done.wait(SECONDS)
        monitor.remove(monitored)
        assert thread is not None
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_reader_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A driver that raises what nobody has heard of ends neither the thread nor the program."""
    again = threading.Event()
    calls: list[int] = []

    def read() -> dict[str, float]:
        calls.append(1)
        if len(calls) > 3:
            again.set()
        raise RuntimeError("GPU is lost")

    monitor = SystemMonitor(lambda: [read], time.monotonic)
    monitored = Monitored(lambda values: None, 0.01)
    monitor.add(monitored)
    assert again.wait(SECONDS)
    monitor.remove(monitored)
    _end(monitor)

    assert [record.message for record in caplog.records] == [
        "what the system does is not recorded (RuntimeError: GPU is lost)"
    ]


def test_system_without_proc(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no /proc, that is one message for all trials."""
    monkeypatch.setattr("track.utils.usage.can_be_read", lambda: False)
    for lr in range(2):
        with client.new_trial(parameters={"lr": lr}).monitor():
            assert _threads() == 0

    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "what the system does is not recorded (it is read from /proc, as Linux has it)"
    ]


@pytest.mark.parametrize("backend", ["file", "sqlite"])
def test_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine, backend: str) -> None:
    """It comes back from a store on the disk."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    uri = f"{backend}:{tmp_path}/runs"
    with TrackClient(uri).new_trial(parameters={"lr": 1}).monitor(every=1):
        machine.pass_second(12.5)

    assert _values(TrackClient(uri), "system/cpu") == [12.5]


def test_child_has_no_monitor_unless_asked_for(client: TrackClient, recorded: Callable[[], bool]) -> None:
    """A forked child says nothing of its parent's trial, and may ask for a monitor of its own."""
    from tests.children import run

    trial = client.new_trial(parameters={"lr": 1}).monitor(every=0.01)
    trial.start()
    assert recorded()

    def child() -> None:
        assert (_threads(), system.monitor()._monitored) == (0, [])
        trial.finish()
        done = threading.Event()
        system.monitor().add(Monitored(lambda values: done.set(), 0.01))
        assert done.wait(SECONDS)
        assert _threads() == 1

    code = run(child)
    trial.finish()

    assert code == 0
    assert trial._monitored is None
    assert os.getpid() != 0
