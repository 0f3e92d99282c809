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


def _fail(*arguments: Any, **named: Any) -> None:
    raise OSError("the disk is on fire")


@pytest.mark.parametrize(("method", "does"), [("new_trial", _fail), ("numbers_taker", lambda trial: _fail)])
def test_store_that_fails_does_not_stop_the_study(
    method: str, does: Any, study: Any, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each trial comes to its end as without us, and a warning says what is not recorded."""
    client = TrackClient(uri)
    monkeypatch.setattr(client.protocol, method, does)

    study.optimize(track_objective(client)(_objective), catch=ArithmeticError)

    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "FAIL", "PRUNED"]
    assert "the disk is on fire" in caplog.text


def test_numbers_of_a_trial_are_those_of_optuna(study: Any, uri: str) -> None:
    """Of a step that is reported twice Optuna keeps the first number, and what is no value has failed."""

    @track_objective()
    def objective(trial: Any) -> Any:
        x = trial.suggest_float("x", -4, 4)
        for value in (1.0, 2.0):
            trial.report(value, 3)
        return {0.5: 0.25, 2.0: float("nan"), -1.0: None}[x]

    study.optimize(objective)

    found = _found(uri)
    for trial in study.trials:
        stored = found[trial.params["x"]]
        assert dict(stored.metrics["intermediate"]) == trial.intermediate_values == {3: 1.0}
        assert str(stored.status) == {"COMPLETE": "completed", "FAIL": "exception"}[trial.state.name]
    assert "returned None" in str(found[-1.0].errors)


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
