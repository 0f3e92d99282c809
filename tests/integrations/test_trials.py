"""Which trial a training writes to, and that nothing of it is in the way of the training."""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import logging
import multiprocessing
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import track
from tests.integrations.ends import trains
from tests.integrations.frameworks import Framework
from track import TrackClient
from track.errors import InvalidCall, Pruned
from track.monitor import Hook
from track.persistence.protocol import Protocol
from track.structure import Status


def test_trial_whose_block_the_program_is_in_gets_the_numbers(framework: Framework, uri: str, tmp_path: Path) -> None:
    """It is not ended by the training: its block ends it."""
    client = TrackClient(uri)
    with client.new_trial(name="mine") as trial:
        framework.fit(framework.callback(), tmp_path / "out", 2)
        assert not trial.has_finished

    (stored,) = track.fetch(uri)
    assert (stored.name, stored.status) == ("mine", Status.Completed)
    assert list(stored.metrics[framework.METRIC]) == framework.expected(2)


def test_each_training_has_a_trial_of_its_own(framework: Framework, uri: str, tmp_path: Path) -> None:
    """Several trainings of one process, with the same configuration, are as many trials."""
    for number in range(2):
        framework.fit(framework.callback(name=f"run {number}"), tmp_path / f"out{number}", 2)

    found = track.fetch(uri)
    assert [trial.name for trial in found] == ["run 0", "run 1"]
    assert all(list(trial.metrics[framework.METRIC]) == framework.expected(2) for trial in found)


def test_training_after_one_that_was_left_is_another_trial(framework: Framework, uri: str, tmp_path: Path) -> None:
    """With the same callback, too: the numbers of both are not mixed, and the first has not completed."""

    def crash(step: int) -> None:
        if step == framework.expected(4)[1]:
            raise ArithmeticError("no loss today")

    callback = framework.callback()
    with pytest.raises(Exception, match="no loss today"):
        framework.fit(callback, tmp_path / "left", 4, crash)
    framework.fit(callback, tmp_path / "again", 4)

    left, again = track.fetch(uri)
    assert (left.status, again.status) == (Status.Exception, Status.Completed)
    assert 0 < len(left.metrics[framework.METRIC]) < 4
    assert list(again.metrics[framework.METRIC]) == framework.expected(4)


def test_exception_that_was_there_before_is_none_of_the_training(
    framework: Framework, uri: str, tmp_path: Path
) -> None:
    """A training may be begun where an exception is handled, as after a batch that was too large."""
    try:
        raise MemoryError("the batch was too large")
    except MemoryError:
        framework.fit(framework.callback(), tmp_path / "out", 2)

    (stored,) = track.fetch(uri)
    assert (stored.status, stored.errors) == (Status.Completed, [])


def test_store_that_fails_does_not_stop_the_training(
    framework: Framework, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The training comes to its end, and a warning says once what is not recorded."""
    client = TrackClient(uri)

    def fails(*arguments: Any, **named: Any) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(client.protocol, "numbers_taker", lambda trial: fails)
    reached = []
    with caplog.at_level(logging.WARNING):
        framework.fit(framework.callback(client=client), tmp_path / "out", 3, reached.append)

    assert reached == framework.expected(3)
    assert sum("the disk is on fire" in record.getMessage() for record in caplog.records) == 1


def test_copy_writes_to_the_same_trial(framework: Framework, uri: str, tmp_path: Path) -> None:
    """``copy.deepcopy`` and pickling, as `clone` and workers do, begin no other trial."""
    client = TrackClient(uri)
    trial = client.new_trial(name="mine")
    callback = framework.callback(trial=trial)
    for made in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        framework.fit(made, tmp_path / "out", 2)
    trial.finish()

    (stored,) = track.fetch(uri)
    assert (stored.name, stored.status) == ("mine", Status.Completed)
    assert list(stored.metrics[framework.METRIC]) == framework.expected(2)


def test_training_that_goes_on_from_a_checkpoint_goes_on_with_its_trial(
    framework: Framework, uri: str, tmp_path: Path
) -> None:
    """The steps after the checkpoint are those of the second training, in the trial of the first."""
    if framework.RESUMED_BY is None:
        pytest.skip("it has no checkpoints of its own")

    def crash(step: int) -> None:
        if step == framework.expected(4)[2]:
            raise ArithmeticError("no loss today")

    # CatBoost makes another exception of it.
    with pytest.raises(Exception, match="no loss today"):
        framework.fit(framework.callback(name="long", **framework.RESUMED_BY), tmp_path / "out", 4, crash)
    framework.fit(framework.callback(**framework.RESUMED_BY), tmp_path / "out", 4, resume=True)

    (stored,) = track.fetch(uri)
    assert (stored.name, stored.status) == ("long", Status.Completed)
    assert list(stored.metrics[framework.METRIC]) == framework.expected(4)


_ENDS_LATER = {
    "early": {"catboost", "lightgbm"},
    "crash": {"accelerate", "catboost", "fastai", "keras", "lightgbm", "transformers", "xgboost"},
}
"""Of whose ends the framework says nothing, so that the trial ends with the next training or the program."""


@pytest.mark.parametrize("way", _ENDS_LATER)
def test_end_that_the_program_survives_is_known_at_once_or_later(
    way: str, framework: Framework, name: str, uri: str, tmp_path: Path
) -> None:
    """As the guide says of each framework: an early stopping, and an exception that the program handles."""

    def crash(step: int) -> None:
        raise ArithmeticError("no loss today")

    callback = framework.callback()
    with pytest.raises(Exception, match="no loss today") if way == "crash" else contextlib.nullcontext():
        framework.fit(callback, tmp_path / "out", 32, crash if way == "crash" else None, early=way == "early")

    (stored,) = track.fetch(uri)
    known = Status.Completed if way == "early" else Status.Exception
    assert stored.status is (Status.Running if name in _ENDS_LATER[way] else known)


@pytest.mark.parametrize("kind", ["best", "last"])
def test_checkpoint_is_an_artifact_where_that_was_asked_for(
    kind: str, framework: Framework, uri: str, tmp_path: Path
) -> None:
    """The best or the last one, by its name, whole, once."""
    name = framework.__name__.rpartition(".")[2]
    if name == "lightning":
        pytest.skip("it has tests of its own")

    # Of these nobody says that they were stopped, or what the model is, before the trial ends.
    client = TrackClient(uri)
    with client.new_trial() if name in {"catboost", "lightgbm"} else contextlib.nullcontext():
        framework.fit(framework.callback(checkpoints=kind), tmp_path / "out", 4, early=kind == "best")

    (stored,) = track.fetch(uri)
    assert stored.status is Status.Completed
    assert [artifact["name"] for artifact in stored.artifacts] == [f"checkpoint-{kind}"]
    kept = track.artifacts.find(uri, f"checkpoint-{kind}")
    assert kept.size > 1000


@dataclasses.dataclass
class _Config:
    lr: float = 0.5
    layers: list[int] = dataclasses.field(default_factory=lambda: [8, 8])


def _as_object(kind: str) -> Any:
    """Return a configuration as an object of one of the packages that make such."""
    plain = dataclasses.asdict(_Config())
    if kind == "omegaconf":
        return pytest.importorskip("omegaconf").OmegaConf.create(plain)
    if kind == "pydantic":
        return pytest.importorskip("pydantic").create_model("Config", lr=(float, 0.5), layers=(list[int], [8, 8]))()
    if kind == "transformers":
        return pytest.importorskip("transformers").PretrainedConfig(**plain)
    if kind == "training":
        # One that has fields which are objects, as a device.
        arguments = pytest.importorskip("transformers").TrainingArguments
        made = dataclasses.make_dataclass(
            "Arguments", [("lr", float), ("layers", list)], bases=(arguments,), kw_only=True
        )
        return made(output_dir="out", use_cpu=True, report_to="none", **plain)
    return argparse.Namespace(**plain) if kind == "argparse" else _Config()


@pytest.mark.parametrize("kind", ["argparse", "dataclass", "omegaconf", "pydantic", "training", "transformers"])
def test_configuration_is_an_object(kind: str, framework: Framework, uri: str, tmp_path: Path) -> None:
    """Whatever the program keeps its configuration in, its fields are parameters, beside those of the framework."""
    framework.fit(framework.callback(parameters=_as_object(kind)), tmp_path / "out", 2)

    (stored,) = track.fetch(uri)
    assert (stored.parameters["lr"], list(stored.parameters["layers"])) == (0.5, [8, 8])


def test_pruned_by_optuna(framework: Framework, uri: str, tmp_path: Path) -> None:
    """What its pruning callbacks raise in a framework ends the block of a trial as pruned, and reaches Optuna."""
    optuna = pytest.importorskip("optuna")
    if framework.__name__.endswith("catboost"):
        pytest.skip("it makes exceptions its own: Optuna's callback for it stops the training, and raises afterwards")

    def prune(step: int) -> None:
        if step == framework.expected(4)[1]:
            # fastai looks into the arguments of an exception.
            raise optuna.TrialPruned("it does badly")

    client = TrackClient(uri)
    with pytest.raises(optuna.TrialPruned), client.new_trial(name="mine"):
        framework.fit(framework.callback(), tmp_path / "out", 4, prune)

    (stored,) = track.fetch(uri)
    assert (str(stored.status), stored.errors) == ("pruned", [])


def test_pruning_callback_of_optuna(framework: Framework, uri: str, tmp_path: Path) -> None:
    """With the framework's callback of ``optuna-integration``, a trial that Optuna prunes is pruned, recorded once."""
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("optuna_integration", reason="optuna-integration is not installed")
    if not hasattr(framework, "pruned_by"):
        pytest.skip("there is none for it that observes its numbers")
    from track.integrations.optuna import TrackCallback, track_objective

    client = TrackClient(uri)

    @track_objective(client, name="live")
    def objective(trial: Any) -> float:
        framework.fit(framework.callback(), tmp_path / "out", 4, more=[framework.pruned_by(trial)])
        return 0.0

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=-1.0))
    study.optimize(objective, n_trials=1, callbacks=[TrackCallback(client)])

    (stored,) = track.fetch(uri)
    assert study.trials[0].state is optuna.trial.TrialState.PRUNED
    assert (stored.name, str(stored.status), stored.errors) == ("live", "pruned", [])
    assert set(stored.metrics["intermediate"]) == set(study.trials[0].intermediate_values)
    assert framework.METRIC in stored.metrics


def test_hook_that_prunes_ends_the_trial_as_pruned(
    framework: Framework, uri: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A hook of `track.monitor` counts as the framework does, and ends the training; the trial is no failure."""
    if not framework.HOOKED_BY:
        pytest.skip("the loop is the program's own: it has a monitor for it")
    seen: list[dict[str, Any]] = []

    class Prunes(Hook):
        def __call__(self, var_dict: Any, monitor: Any) -> None:
            seen.append(dict(var_dict))
            raise Pruned("it does badly")

    hook = Prunes(f"^{re.escape(framework.METRIC)}$@2{framework.HOOKED_BY}")
    with pytest.raises(Exception, match="it does badly"):
        framework.fit(framework.callback(hooks=[hook]), tmp_path / "out", 4)

    (stored,) = track.fetch(uri)
    assert (str(stored.status), stored.errors) == ("pruned", [])
    assert [list(one) for one in seen] == [[framework.METRIC]]
    assert list(stored.metrics[framework.METRIC]) == framework.expected(4)[:2]


def test_child_that_is_spawned_trains_with_the_callback(
    framework: Framework, name: str, uri: str, tmp_path: Path
) -> None:
    """A callback is sent to another process before the training, which has its trial there."""
    context = multiprocessing.get_context("spawn")
    callback = framework.callback(name="spawned", client=TrackClient(uri))

    child = context.Process(target=trains, args=(name, callback, tmp_path / "out"))
    child.start()
    child.join(100)

    assert child.exitcode == 0
    (stored,) = track.fetch(uri)
    assert (stored.name, stored.status) == ("spawned", Status.Completed)
    assert list(stored.metrics[framework.METRIC]) == framework.expected(2)


def test_field_that_does_not_exist_is_an_error_at_once(framework: Framework) -> None:
    """A misspelt field is told where the callback is made, with the one that is there."""
    with pytest.raises(InvalidCall, match=r"nmae.*name"):
        framework.callback(nmae="first")
    with pytest.raises(InvalidCall, match="TrackClient"):
        framework.callback(client=Protocol)
