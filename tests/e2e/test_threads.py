"""Threads share a client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import start, stored
from track import TrackClient


def _run_in_threads(action: Callable[[int], None], count: int) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def guarded(worker: int) -> None:
        try:
            barrier.wait()
            action(worker)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


@pytest.mark.parametrize("shared", [True, False], ids=["one trial", "several"])
def test_eight_threads_lose_nothing(tmp_path: Path, shared: bool) -> None:
    """8 threads log to one trial, or each to its own."""
    path = tmp_path / "runs.json"
    trials = [start(path, lr=0.1)] * 8 if shared else [start(path, lr=worker) for worker in range(8)]

    def log(worker: int) -> None:
        for number in range(1_000):
            trials[worker].log_metrics(**{f"m{worker}": number})

    _run_in_threads(log, 8)

    found = {name: metric.val for trial in stored(path) for name, metric in trial.metrics.items()}
    assert found == {f"m{worker}": list(range(1_000)) for worker in range(8)}


def test_first_calls_of_threads_start_a_trial_once(tmp_path: Path) -> None:
    """A trial that waits is created and started once, whoever of 8 threads is first."""
    path = tmp_path / "runs.json"
    client = TrackClient(f"file:{path}", environment=False)
    client.set_project(name="survival")
    trial = client.new_trial()

    _run_in_threads(lambda worker: trial.log_metrics(**{f"m{worker}": 1}), 8)

    (seen,) = stored(path)
    assert len(seen.metrics) == 8
    assert seen.metadata["_update_count"] == 8 + 1


def test_chronos_of_threads_do_not_mix(tmp_path: Path) -> None:
    """Blocks of one name in two threads, interleaved, are timed each on its own."""
    path = tmp_path / "runs.json"
    trial = start(path)
    turn = threading.Barrier(2)

    def work(worker: int) -> None:
        if worker:
            turn.wait()
        with trial.chrono("block"):
            if worker == 0:
                turn.wait()
            turn.wait()
        turn.wait()

    for _ in range(3):
        _run_in_threads(work, 2)

    journal = Path(f"{path}.journal").read_text(encoding="utf-8")
    assert journal.count('"name":"block"') == 6
