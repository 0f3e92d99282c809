"""Sets of experiments among processes, in every store: nothing is lost, and nothing is made twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

import pytest

from tests.children import die, fork, run, run_all, wait
from tests.e2e.deliveries import rounds
from tests.e2e.served import shared_store
from tests.servers.track import Process
from track.errors import BackendUnavailable, SetExists
from track.experiment_utils import load_param
from track.manager import ExperimentManager, registering
from track.manager.linking import relink
from track.manager.members import trials_of
from track.manager.registering import folder_of
from track.manager.sampling import next_sampled
from track.manager.sets import ExperimentSet
from track.structure import Trial

_COUNT = 500
_BUDGET = rounds(24, 100)
_KILLS = rounds(4, 30)
_PATIENCE = 50.0
Result = TypeVar("Result")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the working directory, with a program in it."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "defaults.yml").write_text("a: 0  # how many\nb: 0.5\nc:\n")
    (folder / "script.sh").write_text("#!/bin/bash\nexit 0\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(params=["root", "file", "sqlite", "postgresql", "socket", "mongodb"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Give the URI that is configured, '' for none: then the set keeps its trials in its root."""
    if request.param == "root":
        monkeypatch.delenv("TRACK_LOG_BACKEND_NAME", raising=False)
        yield ""
        return
    with shared_store(request, request.param, tmp_path) as uri:
        monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
        yield uri


@pytest.fixture
def root(program: Path, store: str, tmp_path: Path) -> str:
    """Give the root of a set."""
    path = str(tmp_path / "the set")
    assert run(_initialise, path) == 0
    return path


def _initialise(root: str) -> None:
    manager = ExperimentManager(root)
    manager.initialise()
    manager.close()


def _register(root: str, text: str) -> None:
    manager = ExperimentManager(root)
    manager.register(string_params=text)
    manager.close()


def _trials(root: str) -> dict[str, Trial]:
    """Return the trials of a set, read by a process that begins now."""
    experiments = ExperimentSet(root)
    found = trials_of(experiments)
    experiments.close()
    return found


def _check(root: str, count: int) -> None:
    """Check that a set has so many experiments, each with a folder, a trial and a place in ``experiment.yml``."""
    content = load_param(root, "experiment.yml")
    names = sorted(map(os.path.basename, content["experiments"]))
    trials = _trials(root)
    assert len(names) == len(set(names)) == len(content["overides"]) == count
    assert sorted(trials) == names
    assert sorted(one.name for one in os.scandir(root) if one.is_dir() and one.name != ".track") == names
    for path, overrides in zip(content["experiments"], content["overides"], strict=True):
        params = load_param(path)
        trial = trials[os.path.basename(path)]
        assert params["_trial"] == trial.uid
        assert {name: params[name] for name in overrides} == overrides == trial.metadata["overrides"]


def test_two_processes_register_into_one_set(root: str) -> None:
    """Nothing of a thousand combinations is lost, whoever writes at the same time, the same names too."""
    half = _COUNT // 2
    own = [" | ".join(str(number) for number in range(first, first + half)) for first in (0, half)]
    shared = " | ".join(str(number) for number in range(-half, 0))

    codes = run_all(_register, [(root, f"a: {one} | {shared}") for one in own])

    assert codes == [0, 0]
    _check(root, 2 * _COUNT)


def _register_often(root: str, first: int) -> None:
    for number in range(first, first + 10):
        _register(root, f"a: {number}")


def test_many_calls_of_many_processes_lose_nothing(root: str) -> None:
    """``experiment.yml`` is read anew under the lock each time."""
    assert run_all(_register_often, [(root, first) for first in (0, 10, 20)]) == [0, 0, 0]

    _check(root, 30)


def test_one_process_initialises(program: Path, store: str, tmp_path: Path) -> None:
    """Of those that begin at once exactly one has made the set; the others are told."""
    path = str(tmp_path / "the set")

    def begin() -> int:
        try:
            _initialise(path)
        except SetExists:
            os._exit(3)
        return 0

    codes = run_all(begin, [()] * 4)

    assert sorted(codes) == [0, 3, 3, 3]
    ExperimentManager(path).check_initialised()


def _register_and_die(root: str, seconds: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: die())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _register(root, f"a: {' | '.join(map(str, range(60)))}, b: {seconds}")


def test_a_killed_registration_leaves_only_what_can_be_run(root: str, tmp_path: Path) -> None:
    """Killed at any moment: a trial without its folder gets it from the record, and all that is whole is linked."""
    chance = random.Random(4)
    for _ in range(_KILLS):
        run(_register_and_die, root, chance.uniform(0.01, 0.3))

    experiments = ExperimentSet(root)
    # What they have left on this machine is sent by whoever asks for a trial.
    experiments.require_store()
    for trial in trials_of(experiments).values():
        folder_of(experiments, trial)
    relink(experiments, "*")

    trials = trials_of(experiments)
    listed = {os.path.basename(path) for path in ExperimentManager(root).experiments}
    assert listed == trials.keys()
    for name, trial in trials.items():
        params = load_param(experiments.path(name))
        assert (params["_trial"], params["a"]) == (trial.uid, trial.parameters["a"])
        assert os.access(experiments.path(f"{name}/run.sh"), os.X_OK)
    experiments.close()


def test_a_trial_is_stored_before_its_folder_is_written(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies between both has registered it: the next who takes it makes the folder."""

    def never(*arguments: object) -> None:
        die()

    with monkeypatch.context() as patch:
        patch.setattr(registering, "write_folder", never)
        assert run(_register, root, "a: 1 | 2") == -signal.SIGKILL
    experiments = ExperimentSet(root)
    experiments.require_store()

    trials = trials_of(experiments)

    assert sorted(trials) == ["a=1", "a=2"]
    assert not os.path.exists(f"{root}/a=1/params.yml")
    folder_of(experiments, trials["a=1"])
    assert load_param(f"{root}/a=1")["_trial"] == trials["a=1"].uid
    assert ExperimentManager(root).experiments == [f"{root}/a=1"]
    experiments.close()


def _clean(root: str, stop: str) -> None:
    manager = ExperimentManager(root)
    while not os.path.exists(stop):
        if manager.clean():
            os._exit(4)
    manager.close()


def test_what_is_being_registered_is_not_cleaned_meanwhile(root: str, tmp_path: Path) -> None:
    """Whoever cleans at the same time deletes nothing."""
    stop = tmp_path / "stop"
    cleaner = fork(_clean, root, str(stop))

    codes = [run(_register, root, f"a: {number} | 1{number} | 2{number}") for number in range(rounds(3, 20))]
    stop.touch()

    assert codes == [0] * len(codes)
    assert wait(cleaner) == 0
    _check(root, 3 * len(codes))


def test_a_store_that_is_away_is_no_reason_to_delete(program: Path, tmp_path: Path, own_folders: Path) -> None:
    """What nobody can say is not guessed: no folder is deleted, and none gets a second trial."""
    server = Process(f"file:{tmp_path}/store")
    server.start()
    os.environ["TRACK_LOG_BACKEND_NAME"] = f"socket://127.0.0.1:{server.port}?connect_timeout=1&offline=1"
    try:
        manager = ExperimentManager(tmp_path / "root", headless=True)
        manager.initialise()
        manager.register(string_params="a: 1 | 2")
        manager.unlink("a=1")
        server.kill()

        for action in (manager.clean, manager.relink, lambda: manager.note("all", "x"), manager.rm):
            with pytest.raises(BackendUnavailable):
                action()

        assert {"a=1", "a=2"} <= set(os.listdir(manager.root))
        manager.close()
    finally:
        del os.environ["TRACK_LOG_BACKEND_NAME"]


def _patiently(action: Callable[[], Result]) -> Result:
    """Return ``action()``: a server may hold what a killed process was about to decide, for a while."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return action()
        except BackendUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _ask(root: str) -> None:
    """Take new trials of a sweep until there are no more."""
    experiments = ExperimentSet(root)
    protocol, _, group = experiments.store()
    while (trial := _patiently(lambda: next_sampled(protocol, group, root))) is not None:
        protocol.log_trial_start(trial)
        protocol.log_trial_metrics(trial, loss=abs(trial.parameters["b"] - 0.3) + trial.parameters["a"])
        protocol.log_trial_finish(trial, None, None, None)
    experiments.close()


def test_a_budget_is_exact(root: str) -> None:
    """Workers that ask at once make as many trials as were asked for, and no two of them get one answer."""
    pytest.importorskip("optuna")
    manager = ExperimentManager(root)
    manager.register(
        string_params="{b: 1e-5 .. 1 log, a: 1 .. 8}", trials=_BUDGET, sampler="tpe", goal="min:loss", seed=7
    )
    manager.close()

    codes = run_all(_ask, [(root,)] * 4)

    assert codes == [0] * 4
    trials = _trials(root)
    assert len(trials) == _BUDGET
    assert len({repr(sorted(trial.parameters.items())) for trial in trials.values()}) == _BUDGET
    assert {str(trial.status) for trial in trials.values()} == {"completed"}
    # Whose numbers they are: 0 to the budget, each once.
    assert sorted(name[:5] for name in trials) == [f"t{number:04}" for number in range(_BUDGET)]


def _ask_and_die(root: str, seconds: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: die())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _ask(root)


def test_a_budget_is_exact_though_workers_are_killed(root: str) -> None:
    """What a killed worker has begun is not made again: it waits for the next one."""
    pytest.importorskip("optuna")
    manager = ExperimentManager(root)
    manager.register(string_params="{b: 0 .. 1, a: 1 .. 8}", trials=12, sampler="tpe", goal="min:loss")
    manager.close()

    for seconds in (0.3, 0.5, 0.7):
        run(_ask_and_die, root, seconds)
    assert run(_ask, root) == 0

    trials = _trials(root)
    assert len(trials) == 12
    assert {str(trial.status) for trial in trials.values()} <= {"completed", "broken", "registered"}


@contextmanager
def _counted_calls() -> Iterator[list[None]]:
    """Give a list that has an item for each call that this thread makes in the block, to Python or to C."""
    counted: list[None] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event.endswith("call"):
            counted.append(None)

    sys.setprofile(note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def test_ten_times_as_many_are_registered_with_ten_times_the_work(program: Path, tmp_path: Path) -> None:
    """What registering costs grows with the number of experiments, and no faster: counted in calls, not seconds."""
    calls = []
    for count in (50, 500):
        manager = ExperimentManager(tmp_path / str(count))
        manager.initialise()
        with _counted_calls() as counted:
            manager.register(string_params=f"a: {' | '.join(map(str, range(count)))}")
        calls.append(len(counted))
        assert len(manager.experiments) == count
        manager.close()

    assert 5 * calls[0] < calls[1] < 12 * calls[0]
