"""Each trial of a study is a trial of the store."""

from __future__ import annotations

from typing import Any

import pytest

import track
from track import TrackClient
from track.structure import Status

optuna = pytest.importorskip("optuna")

from track.integrations.optuna import TrackCallback, track_objective  # noqa: E402 - once Optuna is there


@pytest.fixture
def study() -> Any:
    """Give a study that tries two values and prunes what reports more than 1."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.GridSampler({"x": [0.5, 2.0, -1.0]}, seed=1)
    return optuna.create_study(study_name="squares", sampler=sampler)


def _objective(trial: Any) -> float:
    x: float = trial.suggest_float("x", -4, 4)
    trial.report(x, step=3)
    if x > 1:
        raise optuna.TrialPruned
    if x < 0:
        raise ArithmeticError("negative")
    return x**2


def _found(uri: str) -> dict[float, Any]:
    return {trial.parameters["x"]: trial for trial in track.fetch(uri)}


def test_trial_is_recorded_as_it_ended(study: Any, uri: str) -> None:
    """One that completed has its value, one that was pruned is no failure, one that failed is one."""
    study.optimize(_objective, callbacks=[TrackCallback()], catch=ArithmeticError)

    found = _found(uri)
    assert {x: str(trial.status) for x, trial in found.items()} == {0.5: "completed", 2.0: "pruned", -1.0: "exception"}
    assert list(found[0.5].metrics["value"]) == [0.25]
    assert dict(found[2.0].metrics["intermediate"]) == {3: 2.0}
    assert found[0.5].metadata["study"] == "squares"


def test_objective_runs_in_the_block_of_its_trial(study: Any, uri: str) -> None:
    """What the objective logs, and how it fails, is its trial's; the callback records nothing twice."""
    client = TrackClient(uri)

    @track_objective(client, metric_name="square", tags={"kind": "live"})
    def objective(trial: Any) -> float:
        client.log_metrics(step=0, own=1.0)
        return _objective(trial)

    study.optimize(objective, callbacks=[TrackCallback(client)], catch=ArithmeticError)

    found = _found(uri)
    assert {x: str(trial.status) for x, trial in found.items()} == {0.5: "completed", 2.0: "pruned", -1.0: "exception"}
    assert all(dict(trial.metrics["own"]) == {0: 1.0} and trial.tags == {"kind": "live"} for trial in found.values())
    assert list(found[0.5].metrics["square"]) == [0.25]
    assert dict(found[2.0].metrics["intermediate"]) == {3: 2.0}
    assert found[2.0].errors == []
    assert "negative" in str(found[-1.0].errors)


def test_trials_of_threads_are_not_mixed(uri: str) -> None:
    """With ``n_jobs`` each trial has its own numbers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    client = TrackClient(uri)

    @track_objective(client)
    def objective(trial: Any) -> float:
        x: float = trial.suggest_float("x", 0, 1)
        client.log_metrics(step=0, own=x)
        return x

    optuna.create_study().optimize(objective, n_trials=12, n_jobs=3)

    found = track.fetch(uri)
    assert len(found) == 12
    assert all(dict(trial.metrics["own"]) == {0: trial.parameters["x"]} for trial in found)
    assert {trial.status for trial in found} == {Status.Completed}
