"""However a training ends, its trial says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.children import ended, start_python
from tests.integrations import frameworks
from tests.integrations.ends import STEPS, WAYS
from track.structure import Status, Trial


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which there is a store for each way to end."""
    folder = tmp_path_factory.mktemp(name)
    program = start_python("-m", "tests.integrations.ends", name, folder, cwd=folder, OMP_NUM_THREADS="1")
    done = ended(program, seconds=300)
    assert all((folder / f"{way}.json").exists() for way in WAYS), done.stderr
    return folder


def _only_trial(folder: Path, way: str) -> Trial:
    (trial,) = track.fetch(f"file:{folder / way}.json")
    return trial


def test_training_that_completes(name: str, folder: Path) -> None:
    """Every number of the framework is there at its step, with its configuration as parameters."""
    framework, trial = frameworks.load(name), _only_trial(folder, "completes")

    assert (trial.status, trial.errors) == (Status.Completed, [])
    assert list(trial.metrics[framework.METRIC]) == framework.expected(STEPS)
    assert trial.parameters


def test_crash_is_the_end_of_the_trial(folder: Path) -> None:
    """An exception that ends the program is the trial's, with its text."""
    trial = _only_trial(folder, "crashes")

    assert trial.status is Status.Exception
    assert "no loss today" in str(trial.errors)


def test_crash_that_the_program_handles_is_no_good_end(folder: Path) -> None:
    """A training that an exception left has not completed, also where the program goes on."""
    trial = _only_trial(folder, "crashes_and_goes_on")

    assert trial.status is Status.Exception
    assert len(trial.errors) == 1


@pytest.mark.parametrize(
    ("way", "said"), [("is_terminated", "SIGTERM"), ("is_interrupted", "KeyboardInterrupt|SIGINT")]
)
def test_signal_interrupts_the_trial(folder: Path, way: str, said: str) -> None:
    """SIGTERM and Ctrl-C are seen as such, whatever the framework makes of them."""
    trial = _only_trial(folder, way)

    assert trial.status is Status.Interrupted, trial.errors
    assert any(word in str(trial.errors) for word in said.split("|"))


def test_early_stopping_is_a_good_end(name: str, folder: Path) -> None:
    """What the framework's own early stopping ends has completed, with the steps there were."""
    trial = _only_trial(folder, "stops_early")

    assert (trial.status, trial.errors) == (Status.Completed, [])
    assert 0 < len(trial.metrics[frameworks.load(name).METRIC]) < 8 * STEPS


def test_exit_with_a_code_is_no_good_end(folder: Path) -> None:
    """``sys.exit(3)`` inside a training is what it is elsewhere."""
    assert _only_trial(folder, "exits").status is Status.Exception


def test_trial_that_is_given_is_ended_by_its_owner(name: str, folder: Path) -> None:
    """What follows a training belongs to the trial that was given to it, and so does the error after it."""
    framework, trial = frameworks.load(name), _only_trial(folder, "is_given")

    assert (trial.name, trial.status) == ("given", Status.Exception)
    assert trial.parameters["lr"] == 0.5
    assert len(trial.parameters) > 1
    assert list(trial.metrics[framework.METRIC]) == framework.expected(STEPS)
    assert list(trial.metrics["after"]) == [1.0]
