"""Starting a command for each experiment of a set, and workers on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import run_all
from tests.sweeps import bodies, interrupt, python_set, shell_set
from track import fetch
from track.errors import InvalidCall, TrackError
from track.experiment_utils import load_param
from track.manager import ExperimentManager, work, work_in_processes

pytest.importorskip("yaml")
pytestmark = pytest.mark.usefixtures("log")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Give what makes a command of a name, found first, which writes its arguments to a file."""

    def make(name: str, then: str) -> Path:
        written = tmp_path / f"{name}.txt"
        folder = tmp_path / "commands"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >> "{written}"\n{then}\n')
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return written

    return make


def _statuses(root: Path) -> dict[str, str]:
    found = {trial.name: str(trial.status) for trial in fetch(f"file:{root}/.track/report.json")}
    shown = {name: load_param(root / name)["_status"] for name in found}
    names = {"completed": "finished", "exception": "error", "interrupted": "stopped"}
    assert shown == {name: names.get(status, status) for name, status in found.items()}
    return shown


def test_each_registered_one_that_matches_is_run_in_order(root: Path, log: Path) -> None:
    """With their exit codes; a second call runs none."""
    manager = shell_set(root, "{number: 3 | 1 | 2}", '[ "$name" != number=1 ]\n')

    assert manager.run("number=[13]", "bash") == [0, 1]
    assert (manager.run("all"), manager.run("*")) == ([0], [])

    assert list(bodies(log)) == ["number=3", "number=1", "number=2"]
    assert _statuses(root) == {"number=3": "finished", "number=1": "error", "number=2": "finished"}


def test_a_name_with_brackets_matches_itself(root: Path, log: Path) -> None:
    """As that of an experiment with a list."""
    manager = shell_set(root, "{number: 1}")
    manager.register(name="a=[1,2]", string_params="{number: 5}")

    assert manager.run("a=[1,2]") == [0]

    assert list(bodies(log)) == ["a=[1,2]"]


def test_flags_are_words_not_a_line_for_a_shell(root: Path, stand_in: Callable[[str, str], Path]) -> None:
    """What a shell would take for something else arrives as it is."""
    written = stand_in("launcher", "")
    manager = shell_set(root, "{number: 1}")

    assert manager.run("*", "launcher", "a b", "$(touch x); 'y'") == [0]

    assert written.read_text().splitlines() == ["a b", "$(touch x); 'y'", str(root / "number=1" / "run.sh")]


def test_sbatch_is_told_a_name_and_where_the_output_goes(root: Path, stand_in: Callable[[str, str], Path]) -> None:
    """Unless that is said; the job waits until it runs, and is submitted once."""
    written = stand_in("sbatch", "")
    manager = shell_set(root, "{number: 1 | 2}")

    assert manager.run("*1", "sbatch", "--time=1") == [0]
    assert manager.run("*2", "sbatch", "-J", "x", "--output=y") == [0]
    assert manager.run("*", "sbatch") == []

    first, second = (str(root / f"number={number}") for number in (1, 2))
    lines = ["--job-name=number=1", f"--output={first}/slurm.out", "--time=1", f"{first}/run.sh"]
    assert written.read_text().splitlines() == [*lines, "-J", "x", "--output=y", f"{second}/run.sh"]
    assert _statuses(root) == dict.fromkeys(["number=1", "number=2"], "submitted")
    assert work(root) == 0


def test_what_could_not_be_submitted_is_registered_still(root: Path, stand_in: Callable[[str, str], Path]) -> None:
    """A queue that refuses a job, and a command that is not there, change nothing."""
    stand_in("sbatch", "exit 1")
    manager = shell_set(root, "{number: 1}")

    assert manager.run("*", "sbatch") == [1]
    with pytest.raises(InvalidCall, match="cannot be started"):
        manager.run("*", "no-such-command")

    assert _statuses(root) == {"number=1": "registered"}


def test_a_program_says_itself_how_it_ends(root: Path, log: Path) -> None:
    """What is killed before it could is stopped, as the exit code of its script says."""
    manager = python_set(root, "{how: well | raise | kill}")

    assert manager.run("*", parallel=3) == [0, 1, 137]

    assert _statuses(root) == {"how=well": "finished", "how=raise": "error", "how=kill": "stopped"}
    assert {name: len(ran) for name, ran in bodies(log).items()} == dict.fromkeys(_statuses(root), 1)


def test_several_at_once_start_each_once(root: Path, log: Path) -> None:
    """Whoever submits an experiment first starts it."""
    shell_set(root, "{number: 1 | 2 | 3 | 4 | 5 | 6}")

    codes = run_all(lambda: ExperimentManager(root).run("*", parallel=2), [()] * 4)

    assert codes == [0] * 4
    assert {name: len(ran) for name, ran in bodies(log).items()} == dict.fromkeys(_statuses(root), 1)


def test_ctrl_c_ends_what_runs_and_starts_nothing_more(root: Path, log: Path) -> None:
    """The child is terminated, which is stopped then; the others stay registered."""
    manager = shell_set(root, "{number: 1 | 2}", "sleep 60\n")

    interrupt(log, lambda: manager.run("*", "bash"))

    assert list(bodies(log)) == ["number=1"]
    assert _statuses(root) == {"number=1": "stopped", "number=2": "registered"}


def test_workers_of_this_machine_share_the_work(root: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees the GPU that it is given."""
    shell_set(root, "{number: 1 | 2 | 3 | 4}", 'echo "gpu$CUDA_VISIBLE_DEVICES 0 0 0" >> "$TEST_BODIES"\n')

    assert work_in_processes(root, [5, 6]) == 4

    ran = bodies(log)
    assert {name: len(ran[name]) for name in _statuses(root)} == dict.fromkeys(_statuses(root), 1)
    assert {name for name in ran if name.startswith("gpu")} <= {"gpu5", "gpu6"}


def test_workers_none_of_which_can_work_are_an_error(tmp_path: Path) -> None:
    """They have said why."""
    with pytest.raises(TrackError, match="none of 1 workers"):
        work_in_processes(tmp_path, 1)


@pytest.mark.parametrize("is_other", [False, True])
def test_an_environment_need_not_be_activated(
    root: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_other: bool
) -> None:
    """Programs run in the interpreter that launches them, or works; where a person has activated another, in that."""
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python3").write_text("#!/bin/bash\nexit 7\n")
    (other / "bin" / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}/bin{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("CONDA_DEFAULT_ENV", raising=False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    if is_other:
        monkeypatch.setenv("VIRTUAL_ENV", str(other))
    manager = python_set(root, "{number: 1 | 2}")

    codes = manager.run("number=1", "bash")
    done = work(root)

    assert (codes, done, len(bodies(log))) == (([7], 1, 0) if is_other else ([0], 1, 2))
