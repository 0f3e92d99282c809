"""A hook that ends trials which do worse than others did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from track import Experiment, ExperimentManager, TrackClient, fetch
from track.errors import BackendUnavailable, InvalidSpec, MissingExtra, Pruned
from track.experiment_utils import load_param
from track.manager import sampling, work
from track.monitor import Monitor, Pruner

optuna = pytest.importorskip("optuna")
pytest.importorskip("yaml")


class Train(Experiment):
    """Its loss is the number, at each epoch."""

    number: int = 0  # @p the loss
    epochs: int = 3  # @p how many

    def run(self) -> None:
        m = Monitor(hooks=[Pruner("^val_loss$@1e", optuna.pruners.MedianPruner(n_startup_trials=2))])
        for epoch in m(range(self.epochs)):
            for _ in m(range(2)):
                pass
            val_loss = float(self.number)
            self.message({"val_loss": val_loss, "epoch": epoch}, keep="min", leader="val_loss")
        self.message({"end": True})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a set of three, of which the last is the worst."""
    manager = ExperimentManager(tmp_path / "runs", headless=True)
    manager.initialise(name=Train)
    manager.register(string_params="{number: 1 | 2 | 9}")
    manager.close()
    return tmp_path / "runs"


def _trials(root: Path) -> dict[str, Any]:
    return {trial.name: trial for trial in fetch(f"file:{root}/.track/report.json")}


@pytest.mark.parametrize("isolate", [True, False])
def test_the_worst_ends_early_and_is_no_error(root: Path, isolate: bool) -> None:
    """In a process of its own or in the worker's: it is pruned, counts as run, and its folder says so."""
    assert work(root, isolate=isolate, stop_after_errors=1) == 3

    found = _trials(root)
    assert {name: str(trial.status) for name, trial in found.items()} == {
        "number=1": "completed",
        "number=2": "completed",
        "number=9": "pruned",
    }
    pruned = found["number=9"]
    assert (pruned.status.value, pruned.errors, pruned.metadata["pruned_at"]) == (303, [], 1)
    assert dict(pruned.metrics["val_loss_by_epoch"]) == {1: 9.0}
    shown = load_param(root / "number=9")
    assert (shown["_status"], shown["_messages"].get("end"), shown["_timestamps"]["stopped"] is None) == (
        "pruned",
        None,
        False,
    )
    assert work(root) == 0


def test_the_sampler_is_told(root: Path) -> None:
    """As Optuna tells its own: pruned, at which count, with the value of the goal."""
    manager = ExperimentManager(root, headless=True)
    work(root, isolate=False)
    manager.register(string_params="{number: 5 .. 9}", trials=2, sampler="tpe", goal="min:val_loss")
    assert work(root, isolate=False) == 2

    protocol, _, group = manager._set.store()
    assert sampling.next_sampled(protocol, group, manager.root) is None
    known = sampling._kept[protocol][group.uid, "0"]._study.trials
    told = [(trial.state.name, trial.intermediate_values) for trial in known if trial.state.name != "FAIL"]
    assert told == [("PRUNED", {1: trial.params["number"]}) for trial in known if trial.state.name == "PRUNED"]
    assert len(told) == 2
    manager.close()


def test_a_block_of_a_client_ends_there(tmp_path: Path) -> None:
    """What is pruned leaves its own block, and goes no further; the block around it goes on."""
    client = TrackClient(f"file:{tmp_path}/store.json")
    client.set_project(name="p")
    client.set_group(name="g")
    seen = []
    for number in (1, 2, 9):
        with TrackClient(f"file:{tmp_path}/outer.json").new_trial(parameters={"outer": number}):
            with client.new_trial(parameters={"number": number}) as trial:
                pruner = Pruner("^loss$@1s", optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2))
                m = Monitor(hooks=[pruner], trial=trial)
                for step in m(range(4)):
                    loss = number - step  # noqa: F841
            seen.append(m.step)

    assert seen == [4, 4, 2]
    assert [str(trial.status) for trial in fetch(f"file:{tmp_path}/store.json")] == ["completed", "completed", "pruned"]
    assert {str(trial.status) for trial in fetch(f"file:{tmp_path}/outer.json")} == {"completed"}


def test_more_is_better_where_that_is_said(tmp_path: Path) -> None:
    """``direction="max"`` prunes the least; by hand, too, by `to_hooks`."""
    client = TrackClient(f"file:{tmp_path}/store.json")
    client.set_project(name="p")
    client.set_group(name="g")
    for accuracy in (0.8, 0.9, 0.1):
        with client.new_trial(parameters={"accuracy": accuracy}):
            m = Monitor(hooks=[Pruner("^accuracy$", optuna.pruners.MedianPruner(2), direction="max")])
            for _ in m(range(2)):
                pass
            m.to_hooks(accuracy=accuracy)

    assert [str(trial.status) for trial in fetch(f"file:{tmp_path}/store.json")] == ["completed", "completed", "pruned"]


def test_what_a_pruner_notes_is_known_to_others(tmp_path: Path) -> None:
    """Successive halving notes how far a trial has come, which others of its kind, in other processes, compare with."""
    client = TrackClient(f"file:{tmp_path}/store.json")
    client.set_project(name="p")
    client.set_group(name="g")
    for loss in (1.0, 2.0, 3.0, 4.0):
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        with client.new_trial(parameters={"loss": loss}):
            for _ in Monitor(hooks=[Pruner("^loss$@1s", halving)])(range(4)):
                pass

    found = fetch(f"file:{tmp_path}/store.json")
    assert found[0].metadata["pruning"]
    assert [str(trial.status) for trial in found] == ["completed", "pruned", "pruned", "pruned"]


@pytest.mark.parametrize("has_group", [True, False])
def test_who_is_alone_is_not_pruned(tmp_path: Path, has_group: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a trial, without a group, or where the store is away, a loop goes to its end."""
    m = Monitor(hooks=[Pruner("^loss$@1s", _Always())])
    for loss in m(range(2)):  # noqa: B007
        pass
    client = TrackClient(f"file:{tmp_path}/store.json")
    if has_group:
        client.set_project(name="p")
        client.set_group(name="g")

    def away(*_: Any, **__: Any) -> Any:
        raise BackendUnavailable("as asked")

    with client.new_trial(parameters={}) as trial:
        if has_group:
            monkeypatch.setattr(trial.protocol, "brief_trials", away)
        m = Monitor(hooks=[Pruner("^loss$@1s", _Always())])
        for loss in m(range(2)):  # noqa: B007
            pass

    assert m.step == 2
    assert str(fetch(f"file:{tmp_path}/store.json")[0].status) == "completed"


class _Always:
    """A pruner of somebody's own."""

    def prune(self, study: Any, trial: Any) -> bool:
        """Return that it is worth nothing."""
        return True


def test_a_program_may_raise_it_itself(tmp_path: Path) -> None:
    """It ends the innermost block, also of a trial that waits for its parameters."""
    with TrackClient(f"file:{tmp_path}/store.json").new_trial():
        raise Pruned("seen enough")
    assert [str(trial.status) for trial in fetch(f"file:{tmp_path}/store.json")] == ["pruned"]
    experiment = Experiment(tmp_path / "a")
    with experiment:
        raise Pruned("seen enough")
    assert experiment.status == load_param(tmp_path / "a")["_status"] == "pruned"


def test_what_is_no_pruner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object without the method, a direction that is none, two numbers; and without Optuna the extra is named."""
    with pytest.raises(InvalidSpec, match="prune\\(study, trial\\)"):
        Pruner("^loss$@1s", "median")
    with pytest.raises(InvalidSpec, match="min or max"):
        Pruner("^loss$@1s", direction="less")
    with TrackClient("ephemeral:").new_trial(parameters={}), pytest.raises(InvalidSpec, match="not 2: a1, a2"):
        Monitor(hooks=[Pruner("a")]).to_hooks(a1=1, a2=2)
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtra, match="sweep"):
        Pruner("^loss$@1s")
