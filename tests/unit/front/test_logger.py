"""TrialLogger: one trial's verbs, and its life."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from track import TrackClient
from track.aggregators.aggregator import StatAggregator, TimeSeriesAggregator, ValueAggregator
from track.errors import InvalidEvent, TrialDoesNotExist
from track.front.elsewhere import with_password
from track.logger import LoggerChronoContext, LogSignalHandler, TrialLogger
from track.persistence import register, unregister
from track.persistence.ephemeral import EphemeralProtocol
from track.structure import CustomStatus, Status, get_current_trial


@pytest.fixture
def log() -> TrialLogger:
    """Give the logger of a trial that is stored and has not begun."""
    return TrackClient("ephemeral:").new_trial(name="final", parameters={"lr": 0.1})


class _Tensor:
    """What torch calls a scalar, as far as anybody can tell without torch."""

    def __init__(self, value: float, shape: tuple[int, ...] = ()) -> None:
        self.value = value
        self.shape = shape

    def item(self) -> float:
        """Return the number."""
        return self.value


# life


def test_second_start_changes_nothing(log: TrialLogger) -> None:
    """A trial that runs is not started again: its clock and its count go on."""
    log.start()
    changes = log.trial.metadata["_update_count"]

    log.start()

    assert log.trial.metadata["_update_count"] == changes


def test_second_finish_changes_nothing(log: TrialLogger) -> None:
    """A finished trial keeps its status and its run time."""
    log.start()
    log.finish()
    runtime = log.trial.chronos["runtime"].val

    log.finish(ValueError, ValueError("late"), None)

    assert (log.trial.status, log.trial.chronos["runtime"].val) == (Status.Completed, runtime)


def test_finish_without_start_leaves_the_status(log: TrialLogger) -> None:
    """A trial that never ran is not completed by saving it."""
    log.finish()

    assert log.trial.status is Status.CreatedGroup


@pytest.mark.parametrize(
    ("error", "status", "errors"),
    [
        (ValueError("too large"), Status.Exception, "ValueError: too large"),
        (KeyboardInterrupt(), Status.Interrupted, "KeyboardInterrupt"),
        (SystemExit(143), Status.Interrupted, "SystemExit: 143"),
        (SystemExit(2), Status.Exception, "SystemExit: 2"),
        (SystemExit(0), Status.Completed, None),
        (SystemExit(), Status.Completed, None),
    ],
    ids=repr,
)
def test_exception_decides_the_status(
    log: TrialLogger, error: BaseException, status: Status, errors: str | None
) -> None:
    """What leaves the ``with`` block is recorded, and reaches the caller as it is."""
    with pytest.raises(type(error)) as caught, log:
        raise error

    assert caught.value is error
    assert log.trial.status is status
    assert [text.splitlines()[0] for text in log.trial.errors] == ([] if errors is None else [errors])


def test_error_says_where(log: TrialLogger) -> None:
    """An error has the message and the last lines of its traceback."""
    with contextlib.suppress(ValueError), log:
        raise ValueError("too large")

    assert 'raise ValueError("too large")' in log.trial.errors[0]


def test_running_trial_is_the_current_one(log: TrialLogger) -> None:
    """The current trial is set at the start and put back at the end, also when trials nest."""
    inner = TrackClient("ephemeral:").new_trial(parameters={})
    before, seen = get_current_trial(), []

    with log:
        with inner:
            seen.append(get_current_trial())
        seen.append(get_current_trial())
    seen.append(get_current_trial())

    assert seen == [inner.trial, log.trial, before]


def test_trial_runs_again(log: TrialLogger) -> None:
    """A finished trial that is started again is Running, and its run time adds up."""
    with log:
        pass
    first = log.trial.chronos["runtime"].val

    with log:
        status = log.trial.status

    assert status is Status.Running
    assert log.trial.chronos["runtime"].val > first


@pytest.mark.parametrize("status", [Status.Suspended, "suspended", CustomStatus("paused", 310)])
def test_status_is_set(log: TrialLogger, status: Any) -> None:
    """A status is replaced, and what went wrong is added to the errors."""
    log.set_status(status, error=ValueError("bad"))

    assert str(log.trial.status) == str(status)
    assert log.trial.errors == ["bad"]


# logging


def test_first_number_starts_the_trial(log: TrialLogger) -> None:
    """Logging a metric is enough to say that the trial runs."""
    log.log_metrics(step=0, loss=1.0)

    assert log.trial.status is Status.Running


@pytest.mark.parametrize(
    "value", [numpy.float32(0.5), numpy.float64(0.5), numpy.array(0.5), _Tensor(0.5)], ids=lambda v: type(v).__name__
)
def test_scalars_of_others_are_numbers(log: TrialLogger, value: Any) -> None:
    """A scalar of numpy or torch is stored as the Python number in it."""
    log.log_metrics(step=0, loss=value)

    stored = log.trial.metrics["loss"][0]
    assert (stored, type(stored)) == (0.5, float)


@pytest.mark.parametrize("value", [numpy.zeros(2), _Tensor(0.5, (2, 2)), "0.5", None])
def test_what_is_no_number_is_refused(log: TrialLogger, value: Any) -> None:
    """A metric is one number; the message says where other values belong."""
    with pytest.raises(InvalidEvent, match=r"'loss'.*other values belong in log_metadata"):
        log.log_metrics(step=0, loss=value)


@pytest.mark.parametrize("step", [numpy.int64(3), _Tensor(3)], ids=["numpy", "tensor"])
def test_step_of_others_is_a_number(log: TrialLogger, step: Any) -> None:
    """A step of numpy or torch is the same step as the Python number."""
    log.log_metrics(step=step, loss=1.0)
    log.log_metrics(step=3, loss=2.0)

    assert dict(log.trial.metrics["loss"]) == {3: 2.0}


@pytest.mark.parametrize("name", ["self", "trial", "protocol", "name", "aggregator_", "at"])
def test_names_of_ours_are_free(log: TrialLogger, name: str) -> None:
    """A metric, a tag and metadata may be called like an argument of ours."""
    log.log_metrics(None, None, **{name: 1})
    log.add_tags(**{name: 1})
    log.log_metadata(None, **{name: 1})

    trial = log.trial
    assert (trial.metrics[name].val, trial.tags[name], trial.metadata[name]) == ([1], 1, 1)


def test_metadata_with_an_aggregator_is_appended(log: TrialLogger) -> None:
    """Metadata replaces, unless an aggregator says what becomes of the values."""
    for value in (1.0, 3.0):
        log.log_metadata(replaced=value)
        log.log_metadata(aggregator=StatAggregator.lazy(0), observed=value)

    metadata = log.trial.metadata
    assert (metadata["replaced"], metadata["observed"].avg) == (3.0, 2.0)


def test_threads_may_log(log: TrialLogger) -> None:
    """Numbers of several threads are all kept."""
    log.start()

    def work(name: str) -> None:
        for step in range(200):
            log.log_metrics(step=step, **{name: float(step)})

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(log.trial.metrics[name]) for name in "abcd"] == [200] * 4


# time


def test_chrono_gives_what_the_eta_needs(log: TrialLogger) -> None:
    """What ``with`` binds is one aggregator of all blocks of the name, which leaves out the first."""
    with log.chrono("batch") as first:
        pass
    with log.chrono("batch") as second:
        pass

    assert first is second
    assert first.count == 1


def test_chrono_starts_the_trial(log: TrialLogger) -> None:
    """Timing a block is enough to say that the trial runs."""
    with log.chrono("batch"):
        status = log.trial.status

    assert status is Status.Running


def test_exception_leaves_a_chrono_unchanged(log: TrialLogger) -> None:
    """The time of a block that raised is not counted, and its exception is the caller's, whatever callbacks do."""

    def end() -> None:
        raise RuntimeError("the device is gone")

    with pytest.raises(ValueError, match="of the block"), log.chrono("batch", end_callback=end):
        raise ValueError("of the block")

    assert "batch" not in log.trial.chronos


def test_chrono_callbacks_frame_the_clock(log: TrialLogger) -> None:
    """The callbacks run once each, around the block."""
    calls: list[str] = []

    def say(word: str) -> Any:
        return lambda: calls.append(word)

    with log.chrono("batch", ValueAggregator.lazy(), say("start"), say("end")):
        calls.append("block")

    assert calls == ["start", "block", "end"]


def test_chronos_of_threads_do_not_mix(log: TrialLogger) -> None:
    """Blocks of one name that overlap in two threads are two blocks."""
    log.start()
    barrier = threading.Barrier(2)

    def work() -> None:
        with log.chrono("batch", StatAggregator.lazy(0)):
            barrier.wait(10)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.trial.chronos["batch"].count == 2


def test_context_without_a_name_is_the_run_time(log: TrialLogger) -> None:
    """The top-level chrono starts and finishes the trial."""
    with LoggerChronoContext(log.protocol, log.trial):
        status = log.trial.status

    assert (status, log.trial.status) == (Status.Running, Status.Completed)
    assert log.trial.chronos["runtime"].val > 0


def test_blocks_that_overlap_in_tasks_time_themselves(log: TrialLogger) -> None:
    """Blocks of one name in two tasks of a thread do not stop each other's clocks."""
    order: list[str] = []

    async def fetch(name: str, first: asyncio.Event, then: asyncio.Event) -> None:
        with log.chrono("fetch", aggregator=TimeSeriesAggregator.lazy()):
            order.append(f"{name} in")
            then.set()
            await first.wait()
            order.append(f"{name} out")

    async def both() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        long = asyncio.create_task(fetch("long", two, one))
        await one.wait()
        started = time.perf_counter()
        with log.chrono("fetch", aggregator=TimeSeriesAggregator.lazy()):
            pass
        spent.append(time.perf_counter() - started)
        two.set()
        await long

    spent: list[float] = []
    asyncio.run(both())

    short, whole = log.trial.chronos["fetch"].val
    assert short <= spent[0] < whole
    assert order == ["long in", "long out"]


def test_block_of_a_generator_ends_in_another_thread(log: TrialLogger) -> None:
    """A generator with a timed block that another thread finishes is timed, and raises nothing."""

    def batches() -> Iterator[int]:
        with log.chrono("load", aggregator=StatAggregator.lazy(0)):
            yield 1

    iterator = batches()
    next(iterator)
    with ThreadPoolExecutor(1) as pool:
        assert list(pool.submit(list, iterator).result()) == []

    assert log.trial.chronos["load"].count == 1


# in other places


def test_copies_of_a_logger_are_the_logger(log: TrialLogger) -> None:
    """A model with a logger may be copied, as for an average of its weights or by scikit-learn's clone."""
    assert copy.copy(log) is log
    assert copy.deepcopy({"model": [log]})["model"][0] is log


@pytest.fixture
def stored_log(tmp_path: Path) -> TrialLogger:
    """Give a trial in a file."""
    return TrackClient(f"file:{tmp_path}/runs.json").new_trial(parameters={"lr": 0.1})


def test_unpickled_logger_logs_to_the_same_trial(stored_log: TrialLogger) -> None:
    """A logger that went through a pickle reaches its trial, and does not count as having started it."""
    copied: TrialLogger = pickle.loads(pickle.dumps(stored_log))

    copied.log_metrics(step=0, loss=0.5)
    copied.finish()

    found = stored_log.trial
    assert (dict(found.metrics["loss"]), found.status, found.processes) == ({0: 0.5}, Status.CreatedGroup, [])


def test_end_of_an_unpickled_logger_is_not_the_end_of_the_trial(stored_log: TrialLogger) -> None:
    """Neither a good end nor an error of a process that merely logs says how the trial ended."""
    stored_log.start()
    copied: TrialLogger = pickle.loads(pickle.dumps(stored_log))

    copied.log_metrics(loss=1.0)
    copied.finish(ValueError, ValueError("bad"), None)

    assert (stored_log.trial.status, stored_log.trial.errors) == (Status.Running, [])
    stored_log.finish()


def test_unpickled_logger_may_start_the_trial(stored_log: TrialLogger) -> None:
    """``with trial:`` in another process begins a part of its own."""
    copied: TrialLogger = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(stored_log))))

    with copied:
        running = copied.trial.status

    assert (running, copied.trial.status) == (Status.Running, Status.Completed)


def test_unpickling_connects_to_nothing(stored_log: TrialLogger, tmp_path: Path) -> None:
    """A logger connects at its first use; the error of a trial that is gone comes then."""
    copied = pickle.loads(pickle.dumps(stored_log))
    for path in tmp_path.iterdir():
        path.unlink()

    with pytest.raises(TrialDoesNotExist):
        copied.log_metrics(loss=1.0)


def test_pickled_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger finds its file from another folder, with the options of its URI."""
    monkeypatch.chdir(tmp_path)
    log = TrackClient("file:runs.json?fsync=1").new_trial(parameters={})
    data = pickle.dumps(log)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    copied: TrialLogger = pickle.loads(data)
    copied.log_metrics(loss=1.0)

    assert log.trial.metrics["loss"].val == [1.0]
    assert f"file:{tmp_path}/runs.json?fsync=1".encode() in data


@pytest.fixture
def guarded() -> Iterator[TrialLogger]:
    """Give a trial in a store whose URI has a password."""
    store = EphemeralProtocol()
    store.uri = "guarded://ann:***@host/runs"
    opened: list[str] = []
    store.opened = opened  # type: ignore[attr-defined]

    def open_guarded(uri: str) -> EphemeralProtocol:
        opened.append(uri)
        return store

    register("guarded", open_guarded)
    yield TrackClient("guarded://ann:s3cret@host/runs").new_trial(parameters={})
    unregister("guarded")


def test_no_password_is_in_a_pickle(guarded: TrialLogger) -> None:
    """The URI is pickled masked, and opened with the password that the process has for it."""
    data = pickle.dumps(guarded)

    copied: TrialLogger = pickle.loads(data)
    copied.log_metrics(loss=1.0)

    opened: Any = vars(guarded.protocol)["opened"]
    assert b"s3cret" not in data
    assert opened == ["guarded://ann:s3cret@host/runs"] * 2
    assert guarded.trial.metrics["loss"].val == [1.0]


def test_password_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has opened nothing takes the password of its configuration."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "socket://ann:s3cret@host:1")

    assert with_password("socket://ann:***@host:1") == "socket://ann:s3cret@host:1"
    assert with_password("socket://bob:***@host:1?api_key=***") == "socket://bob@host:1"


def test_child_that_is_spawned_gets_the_whole_uri(guarded: TrialLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to a child of multiprocessing alone has the password with it."""
    monkeypatch.setattr("multiprocessing.context.get_spawning_popen", lambda: True)

    assert b"ann:s3cret@host" in pickle.dumps(guarded)


def test_trial_in_memory_is_not_pickled(log: TrialLogger) -> None:
    """A trial that only this process has says so."""
    with pytest.raises(TypeError, match=r"'ephemeral:' cannot be reached from another process"):
        pickle.dumps(log)


def test_heartbeat_is_a_sign_of_life(log: TrialLogger) -> None:
    """A heartbeat changes nothing but when the trial was heard of last."""
    before = log.trial.metadata
    log.heartbeat()

    after = log.trial.metadata
    assert after["_last_change"] > before["_last_change"]
    assert {**after, "_last_change": 0, "_update_count": 0} == {**before, "_last_change": 0, "_update_count": 0}


# signals and the end of the process


@pytest.mark.parametrize(("name", "signum"), [("sigterm", 15), ("sigint", 2)])
def test_signal_is_recorded(log: TrialLogger, name: str, signum: int) -> None:
    """That a process was told to stop is noted by the signal's name; its trial runs on as long as it does."""
    log.start()
    handler = LogSignalHandler(log)

    getattr(handler, name)(signum, None)

    assert log.trial.status is Status.Running
    assert [process["signal"] for process in log.trial.processes] == [name.upper()]
    handler.close()


def test_end_of_the_process_completes_a_running_trial(log: TrialLogger) -> None:
    """A trial that was started and not finished is Completed at the end of a program that ends well."""
    log.start()

    LogSignalHandler(log).atexit()

    assert log.trial.status is Status.Completed


def test_end_after_an_error_is_no_completion(log: TrialLogger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that dies of an exception did not complete its trial."""
    log.start()
    handler = LogSignalHandler(log)
    monkeypatch.setattr(sys, "last_value", ValueError("escaped"), raising=False)

    handler.atexit()

    assert (log.trial.status, log.trial.errors) == (Status.Exception, ["ValueError: escaped"])


def test_end_of_a_trial_that_never_ran(log: TrialLogger) -> None:
    """A trial that was not started is left as it is."""
    LogSignalHandler(log).atexit()

    assert log.trial.status is Status.CreatedGroup


def test_what_is_not_stored_is_said(
    log: TrialLogger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end says how many events could not be stored, and where, without a password."""
    monkeypatch.setattr(log.protocol, "unsaved", lambda: 3)
    monkeypatch.setattr(log.protocol, "uri", "socket://ann:secret@host:1")

    with caplog.at_level(logging.WARNING):
        log.finish()

    assert "3 events are not stored in socket://ann:***@host:1" in caplog.text


def test_numbers_after_the_end_are_kept_and_said_once(log: TrialLogger, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that has finished keeps what is logged late, and its status; one warning says so."""
    with log:
        log.log_metrics(step=0, loss=0.5)
    silent = caplog.text
    for step in (1, 2):
        log.log_metrics(step=step, loss=0.5)
        with log.chrono("late"):
            pass

    assert silent == ""
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("trial 'final' has finished: what is logged now is kept")
    assert dict(log.trial.metrics["loss"]) == {0: 0.5, 1: 0.5, 2: 0.5}
    assert log.trial.status is Status.Completed


def test_facts_after_the_end_are_no_surprise(log: TrialLogger, caplog: pytest.LogCaptureFixture) -> None:
    """Tags, metadata and a status are often known only after the end."""
    with log:
        pass

    log.add_tags(kept="yes")
    log.log_metadata(best=True)
    log.set_status(Status.Suspended)

    assert caplog.text == ""


def test_trial_that_goes_on_is_not_late(log: TrialLogger, caplog: pytest.LogCaptureFixture) -> None:
    """A trial that is started again logs as before."""
    with log:
        pass
    with log:
        log.log_metrics(step=0, loss=0.5)

    assert caplog.text == ""


def test_runtime_is_no_name_for_a_block(log: TrialLogger) -> None:
    """A block cannot have the name of the trial's own run time."""
    with pytest.raises(InvalidEvent, match="give the block another name"):
        log.chrono("runtime")
