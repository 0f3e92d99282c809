"""Sweeps in which a sampler chooses the next trial."""

from __future__ import annotations

import gc
import logging
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from track.errors import BackendUnavailable, InvalidCall, MissingExtra
from track.manager import ExperimentManager, sampling
from track.manager.sampling import next_sampled, samplings
from track.persistence.protocol import Protocol
from track.structure import CustomStatus, Status, Trial, TrialGroup

optuna = pytest.importorskip("optuna")
SPACE = "{b: 1e-5 .. 1e-1 log, a: 1 .. 8, text: adam | sgd, flag: true, pair: [1, 2] | [3, 4]}"


class Sampler:
    """A sampler of somebody's own, that extends nothing of Optuna."""

    def __init__(self, seed: int | None = None) -> None:
        self._chance = random.Random(seed)
        self.asked = 0

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Return what is chosen at once: nothing."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        """Return the least."""
        self.asked += 1
        if hasattr(distribution, "choices"):
            return self._chance.choice(distribution.choices)
        return distribution.low

    def reseed_rng(self) -> None:
        """Begin anew."""

    def before_trial(self, study: Any, trial: Any) -> None:
        """Do nothing."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Do nothing."""


SHARED = Sampler()


class Sweep:
    """A set, asked as a worker asks it."""

    def __init__(self, manager: ExperimentManager) -> None:
        self.manager = manager
        self.protocol, _, self.group = manager._set.store()

    def declare(self, trials: int = 5, text: str = SPACE, **options: Any) -> None:
        """Declare a sweep."""
        self.manager.register(string_params=text, trials=trials, **{"sampler": "tpe", "goal": "min:loss", **options})

    def next(self) -> Trial | None:
        """Return the next trial."""
        return next_sampled(self.protocol, self.group, self.manager.root)

    def drain(self) -> list[Trial]:
        """Return all that there are to be."""
        found = []
        while (trial := self.next()) is not None:
            found.append(trial)
        return found

    def end(
        self, trial: Trial, loss: float | None = None, status: Any = Status.Completed, messages: Any = None
    ) -> None:
        """Let a trial run and end."""
        self.protocol.log_trial_start(trial)
        if loss is not None:
            self.protocol.log_trial_metrics(trial, loss=loss)
        named: Any = {f"messages.{name}": value for name, value in (messages or {}).items()}
        self.protocol.log_trial_metadata(trial, **named)
        self.protocol.set_trial_status(trial, status)
        self.protocol.log_trial_finish(trial, None, None, None)

    def forget(self) -> None:
        """Forget what is kept, as another process that begins now."""
        sampling._kept.clear()

    def known(self) -> list[Any]:
        """Return Optuna's trials of the first sweep."""
        trials: list[Any] = sampling._kept[self.protocol][self.group.uid, "0"]._study.trials
        return trials


@pytest.fixture
def sweep(manager: ExperimentManager) -> Sweep:
    """Give a set."""
    return Sweep(manager)


def test_nothing_is_made_before_a_worker_asks(sweep: Sweep) -> None:
    """And nothing of a set without a sampler."""
    assert sweep.next() is None
    sweep.declare()

    assert sweep.protocol.fetch_trials() == []
    assert sweep.manager.experiments == []


def test_there_are_as_many_as_were_asked_for(sweep: Sweep) -> None:
    """Each within the space, with all other parameters as by default, and waiting in the set's group."""
    sweep.declare(trials=5)

    found = sweep.drain()

    assert len(found) == 5
    assert len(sweep.protocol.fetch_trials({"group_id": sweep.group.uid, "status": "registered"})) == 5
    for number, trial in enumerate(found):
        values = trial.parameters
        assert 1e-5 <= values["b"] <= 0.1
        assert values["a"] in range(1, 9)
        assert values["text"] in {"adam", "sgd"}
        assert values["pair"] in ([1, 2.0], [3, 4.0])
        assert (values["flag"], values["none"]) == (True, None)
        assert (trial.name or "").startswith(f"t{number:04}__b={values['b']}__a={values['a']}__text={values['text']}")
        assert trial.metadata["path"] == f"{sweep.manager.root}/{trial.name}"
        assert trial.metadata["overrides"].keys() == {"a", "b", "text", "flag", "pair"}


def test_the_same_again_makes_the_budget_greater(sweep: Sweep) -> None:
    """The numbers go on; another space is another sweep."""
    sweep.declare(trials=2)
    first = sweep.drain()

    sweep.declare(trials=3)
    sweep.declare(trials=1, text="a: 1 .. 3")
    rest = sweep.drain()

    assert [trial.name[:5] for trial in rest if trial.name] == ["t0002", "t0003", "t0004", "t1.00"]
    assert len({trial.uid for trial in (*first, *rest)}) == 6
    group = sweep.protocol.get_trial_group(sweep.group)
    assert group is not None
    assert {key: one["budget"] for key, one in samplings(group).items()} == {"0": 5, "1": 1}


def test_another_process_goes_on(sweep: Sweep) -> None:
    """What is kept is only kept: all stands in the store."""
    sweep.declare(trials=4)
    first = [sweep.next(), sweep.next()]
    sweep.forget()

    rest = sweep.drain()

    assert len({trial.uid for trial in (*first, *rest) if trial is not None}) == 4
    assert len(rest) == 2


def test_two_that_ask_at_once_get_two_answers(sweep: Sweep) -> None:
    """A number that another worker has stored meanwhile is not asked for again, and what comes next is another one."""
    sweep.declare(trials=6)
    others: list[Trial | None] = []
    other = sampling.Study(sweep.group, "0", samplings(sweep.protocol.get_trial_group(sweep.group) or sweep.group)["0"])
    sweep.next()
    mine = sampling._kept[sweep.protocol][sweep.group.uid, "0"]
    make = mine._make

    def slowly(protocol: Protocol, number: int, root: str) -> Trial | None:
        # The other one asks after this one has learned what there is, and is faster.
        if not others:
            others.append(other.next_trial(protocol, 6, root))
        return make(protocol, number, root)

    mine._make = slowly  # type: ignore[method-assign]

    found = sweep.drain()

    stored = sweep.protocol.fetch_trials()
    assert len(found) == 4
    assert len(stored) == 6
    assert len({repr(trial.parameters) for trial in stored}) == 6
    assert others[0] is not None


def test_a_seed_makes_the_same_trials_in_one_set_only(sweep: Sweep) -> None:
    """Two sweeps of one seed in one group begin differently; the first suggestion is one of chance."""
    sweep.declare(trials=1)
    sweep.declare(trials=1, seed=1)

    first, second = sweep.drain()

    assert first.parameters != second.parameters


def test_it_learns(program: Path, tmp_path: Path) -> None:
    """Later suggestions are better than those of chance, on the whole."""
    (tmp_path / "root" / ".track").mkdir(parents=True)
    # Chance depends on the group.
    (tmp_path / "root" / ".track" / "set.json").write_text('{"uid": "one", "name": "root", "project": "x"}')
    manager = ExperimentManager(tmp_path / "root", headless=True)
    manager.initialise()
    sweep = Sweep(manager)
    sweep.declare(trials=60, text="b: 0 .. 1", goal="max:score")
    losses = []
    while (trial := sweep.next()) is not None:
        losses.append(abs(trial.parameters["b"] - 0.7))
        sweep.end(trial, messages={"score": -losses[-1]})

    assert sum(losses[40:]) / 20 < 0.6 * sum(losses[:10]) / 10


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_is_told_is_how_trials_have_ended(sweep: Sweep, is_kept: bool) -> None:
    """The kept message counts, else the last value; a failed one is FAIL; one that waits, runs or is broken runs."""
    sweep.declare(trials=9)
    ends: list[dict[str, Any]] = [
        {"loss": 3.0},
        {"loss": 3.0, "messages": {"loss": 1.0}},
        {"loss": 2.0, "status": Status.Exception},
        {},
        {"loss": float("nan")},
        {"messages": {"loss": "high"}},
        {"loss": 5.0, "status": CustomStatus("pruned", 303)},
        {"loss": 2.0, "status": CustomStatus("requeue", 205)},
    ]
    for end in ends:
        trial = sweep.next()
        assert trial is not None
        sweep.end(trial, end.get("loss"), end.get("status", Status.Completed), end.get("messages"))
    if not is_kept:
        sweep.forget()

    sweep.next()

    found = [(trial.state.name, trial.value) for trial in sweep.known()]
    assert found == [
        ("COMPLETE", 3.0), ("COMPLETE", 1.0), ("FAIL", None), ("FAIL", None), ("FAIL", None), ("FAIL", None),
        ("COMPLETE", 5.0), ("RUNNING", None), ("RUNNING", None),
    ]  # fmt: skip


def test_slip_in_a_goal_is_told(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing would be learned in the whole sweep: what was said by a name near to it is named."""
    sweep.declare(trials=3, text="a: 1 .. 8")
    trial = sweep.next()
    assert trial is not None
    sweep.end(trial, None, messages={"losss": 1.0})

    sweep.next()

    assert "no 'loss' that is a number (did you mean 'losss'?)" in caplog.text


def test_what_a_person_has_changed_is_learned_as_it_ran(sweep: Sweep) -> None:
    """Not what was suggested; what is outside of the space teaches nothing."""
    sweep.declare(trials=3, text="a: 1 .. 8")
    for value in (8, 100):
        trial = sweep.next()
        assert trial is not None
        sweep.protocol.log_trial_arguments(trial, a=value)
        sweep.end(trial, loss=1.0)

    sweep.next()

    complete = [trial.params for trial in sweep.known() if trial.state.name == "COMPLETE"]
    assert complete == [{"a": 8}] or (complete == [] and sweep.known()[0].params == {"a": 8})


def test_one_that_is_hidden_keeps_its_number(sweep: Sweep) -> None:
    """It was paid for: no other trial takes its place."""
    sweep.declare(trials=3)
    first = sweep.next()
    assert first is not None
    sweep.protocol.delete_trial(first)
    sweep.forget()

    assert len(sweep.drain()) == 2


def test_a_sampler_of_ones_own_is_asked(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    """Any object with the interface, which need not extend anything; what other processes ask is said."""
    mine = Sampler()
    sweep.declare(trials=2, sampler=mine, text="a: 3 .. 8")

    found = sweep.drain()

    assert [trial.parameters["a"] for trial in found] == [3, 3]
    assert mine.asked == 2
    assert f"{__name__}:Sampler()" in caplog.text


def test_a_sampler_by_its_name_is_that_of_every_process(sweep: Sweep) -> None:
    """An object with its settings, or a class, which is given a seed."""
    sweep.declare(trials=2, sampler=f"{__name__}:SHARED", text="a: 3 .. 8")
    sweep.declare(trials=1, sampler="optuna.samplers:RandomSampler", text="a: 3 .. 8")
    before = SHARED.asked

    assert len(sweep.drain()) == 3
    assert SHARED.asked == before + 2


@pytest.mark.parametrize("sampler", ["os:system", "no.such:Thing", "random", "tpe ", 3, object(), "os:path.join", "x"])
def test_what_is_no_sampler_is_refused(sweep: Sweep, sampler: Any) -> None:
    """Nothing is called by its name, and nothing is declared."""
    with pytest.raises(InvalidCall):
        sweep.declare(sampler=sampler)

    assert sweep.drain() == []


@pytest.mark.parametrize("goal", [None, "loss", "least:loss", "min:", "min: ", 3])
def test_a_goal_that_is_none_is_refused(sweep: Sweep, goal: Any) -> None:
    """It says which way, and of what."""
    with pytest.raises(InvalidCall, match="min:NAME"):
        sweep.declare(goal=goal)


def test_a_space_of_one_point_is_refused(sweep: Sweep) -> None:
    """There is nothing to search."""
    with pytest.raises(InvalidCall, match="something to search"):
        sweep.declare(text="a: 1, b: 2")


def test_without_optuna_it_says_what_to_install(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named when the sweep is declared, not once a worker asks; random search needs none."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(MissingExtra, match=r"\[sweep\]"):
        sweep.declare()
    sweep.manager.register(string_params="b: 0 .. 1", trials=2)

    assert len(sweep.manager.experiments) == 2


def test_a_number_made_while_the_store_is_away_does_not_count(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the store knows which one is free: the worker waits for it, and the trial is hidden."""
    sweep.declare(trials=2)
    kind = type(sweep.protocol)
    new_trial = kind.new_trial

    def away(self: Protocol, trial: Trial, auto_increment: bool = False) -> Trial | None:
        trial.revision = -5
        return new_trial(self, trial, auto_increment)

    monkeypatch.setattr(kind, "new_trial", away)
    with pytest.raises(BackendUnavailable, match="next one"):
        sweep.next()
    monkeypatch.undo()

    assert sweep.protocol.fetch_trials() == []
    assert len(sweep.drain()) == 2


def test_optuna_says_nothing_by_itself(sweep: Sweep, capfd: pytest.CaptureFixture[str]) -> None:
    """And speaks as before afterwards."""
    level = optuna.logging.get_verbosity()
    sweep.declare(trials=12)
    while (trial := sweep.next()) is not None:
        sweep.end(trial, loss=1.0)

    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == level != logging.WARNING


def test_the_kept_study_goes_with_its_store(manager: ExperimentManager) -> None:
    """What is kept does not keep a store alive."""
    sweep = Sweep(manager)
    sweep.declare()
    sweep.next()
    before = len(sampling._kept)
    manager._set.close()

    del sweep
    gc.collect()

    assert len(sampling._kept) < before


def test_what_others_say_of_the_group_is_no_sweep(sweep: Sweep) -> None:
    """Metadata that only looks like a sweep is passed over."""
    sweep.protocol.set_group_metadata(sweep.group, **{"sampling.x": 1, "sampling.7": "text", "sampling.8": {}})
    sweep.declare(trials=1)

    assert len(sweep.drain()) == 1


def test_the_group_that_is_not_stored_has_no_sweep(sweep: Sweep) -> None:
    """Nothing is to be made."""
    assert next_sampled(sweep.protocol, TrialGroup("none", name="x", project_id="y"), "/") is None
    assert isinstance(optuna, ModuleType)
