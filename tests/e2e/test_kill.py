"""A process that is killed keeps every line it logged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.children import die, run
from tests.e2e.processes import start, stored
from track.logger import TrialLogger

_CALLS = 40


def _log(trial: TrialLogger, number: int) -> None:
    """Make the log call of this number."""
    match number % 5:
        case 0:
            trial.log_metrics(step=number, loss=number / 2)
        case 1:
            trial.log_metrics(value=number)
        case 2:
            with trial.chrono("batch"):
                pass
        case 3:
            trial.log_metadata(**{f"fact{number}": number})
        case 4:
            trial.add_tags(**{f"tag{number}": number})


def _log_and_die(path: Path, calls: int) -> None:
    trial = start(path)
    for number in range(calls):
        _log(trial, number)
    die()


@pytest.mark.parametrize("block", range(10))
def test_killed_process_keeps_every_call(tmp_path: Path, block: int) -> None:
    """SIGKILL right after the n-th call loses none of the n (20 random n a block)."""
    randomness = random.Random(block)
    for case in range(20):
        calls = randomness.randint(1, _CALLS)
        path = tmp_path / f"{case}.json"

        run(_log_and_die, path, calls)

        (trial,) = stored(path)
        numbers = {kind: [n for n in range(calls) if n % 5 == kind] for kind in range(5)}
        assert dict(trial.metrics.get("loss", {})) == {n: n / 2 for n in numbers[0]}
        assert (trial.metrics["value"].val if numbers[1] else []) == numbers[1]
        assert ("batch" in trial.chronos) == bool(numbers[2])
        assert {name: value for name, value in trial.metadata.items() if name.startswith("fact")} == {
            f"fact{n}": n for n in numbers[3]
        }
        assert trial.tags == {f"tag{n}": n for n in numbers[4]}


def test_next_writer_goes_on_after_a_kill(tmp_path: Path) -> None:
    """The store of a killed process takes more trials."""
    path = tmp_path / "runs.json"
    run(_log_and_die, path, 10)

    code = run(start, path)

    assert code == 0
    assert [trial.revision for trial in stored(path)] == [0, 1]
