"""A set in a root: declared, changed, moved, removed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from tests.sweeps import LOG, bodies, python_set, shell_set
from track.config import GlobalExperimentManager
from track.errors import (
    AlreadyExists,
    AlreadyRuns,
    BackendUnavailable,
    IncompatibleYmlException,
    InvalidCall,
    InvalidExperimentRoot,
    SetExists,
)
from track.experiment import Experiment, param
from track.experiment_utils import load_param
from track.manager import ExperimentManager, work
from track.manager.child import own_environment
from track.manager.members import matching, trials_of
from track.manager.registering import folder_of
from track.manager.sets import ExperimentSet
from track.structure import Trial
from track.yaml12 import load


class Train(Experiment):
    """Trains."""

    lr: float = param(0.1, help="step")
    depth: int = param(2)

    def run(self) -> None:
        """Say something."""
        self.message({"loss": self.lr})


def names(manager: ExperimentManager) -> list[str]:
    """Return the names of what is managed."""
    return [os.path.basename(path) for path in manager.experiments]


def statuses(manager: ExperimentManager) -> dict[str, str]:
    """Return the status of each experiment, as the store has it."""
    return {row["name"]: row["status"] for row in manager.list()}


def start(manager: ExperimentManager, name: str) -> Trial:
    """Let this process run an experiment."""
    trial = trials_of(manager._set)[name]
    manager._set.protocol.log_trial_start(trial)
    return trial


# beginning


def test_the_package_shows_it() -> None:
    """``track.ExperimentManager`` is there, and so are the others, without an import of their own."""
    assert track.ExperimentManager is ExperimentManager
    assert {"Experiment", "Root", "Monitor"} <= set(dir(track))


def test_a_root_is_made(tmp_path: Path) -> None:
    """The folder is there afterwards, and holds no set yet."""
    manager = ExperimentManager(tmp_path / "a" / "b")

    assert os.listdir(manager.root) == []
    assert (manager.defaults, manager.script, manager.created, manager.experiments) == (None, None, None, [])
    with pytest.raises(InvalidExperimentRoot, match=r"experiment\.yml, script\.sh, defaults\.yml"):
        manager.check_initialised()


def test_without_a_root_it_is_here(program: Path) -> None:
    """The working directory is the root, whose files are the set's, and stays it wherever the process goes."""
    manager = ExperimentManager()
    manager.initialise()
    os.chdir("/")

    manager.register("one")

    manager.check_initialised()
    assert manager.root == str(program)
    assert (program / "one" / "params.yml").exists()


def test_a_program_is_copied(manager: ExperimentManager) -> None:
    """The set has its own defaults, with their comments, and a script that can be run."""
    assert manager.load_defaults().comments["a"] == "a: int=1 ~ how many"
    assert os.access(manager.script or "", os.X_OK)
    assert (manager.purpose, manager.type) == ("to see", None)
    assert manager.created is not None


def test_experiment_yml_has_the_keys_of_the_original(manager: ExperimentManager) -> None:
    """Other programs find what they know, in its order."""
    manager.register(string_params="a: 1 | 2")

    content = load(Path(manager.root, "experiment.yml").read_text())

    assert list(content) == [
        "root", "defaults", "script", "experiments", "overides", "created", "purpose", "notes", "type",
    ]  # fmt: skip
    assert content["experiments"] == manager.experiments == [f"{manager.root}/a=1", f"{manager.root}/a=2"]
    assert content["overides"] == manager.overides == [{"a": 1}, {"a": 2}]
    assert content["script"] == f"{manager.root}/script.sh"


def test_a_class_writes_its_files(tmp_path: Path) -> None:
    """A class of experiments is given as it is, or by its name."""
    first, second = ExperimentManager(tmp_path / "1"), ExperimentManager(tmp_path / "2")

    first.initialise(name=Train)
    second.initialise(name=f"{__name__}.Train")

    first.check_initialised()
    assert first.type == second.type == "Train"
    assert first._set.place.project == "Train"
    assert first.load_defaults()["lr"] == 0.1


@pytest.mark.parametrize("name", ["Train", "no.such.Train", "os.path.join", "track.manager:Nothing"])
def test_a_name_that_is_no_experiment_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written for it."""
    manager = ExperimentManager(tmp_path / "root")

    with pytest.raises(InvalidCall, match="experiment"):
        manager.initialise(name=name)
    assert not manager._set.exists()


@pytest.mark.parametrize("missing", ["defaults.yml", "script.sh"])
def test_a_program_that_is_not_there_is_refused(program: Path, tmp_path: Path, missing: str) -> None:
    """Both files are needed."""
    (program / missing).unlink()

    with pytest.raises(InvalidCall, match=missing):
        ExperimentManager(tmp_path / "root").initialise()


def test_a_set_is_not_initialised_twice(manager: ExperimentManager) -> None:
    """The second time is an error that both kinds of ``except`` catch, and changes nothing."""
    before = Path(manager.root, "experiment.yml").read_bytes()

    for kind in (FileExistsError, AlreadyExists, ValueError, SetExists):
        with pytest.raises(kind):
            ExperimentManager(manager.root).initialise(purpose="another")

    assert Path(manager.root, "experiment.yml").read_bytes() == before


# registering


def test_an_experiment_has_a_folder_and_a_trial(manager: ExperimentManager) -> None:
    """Both say the same: what was overridden, what for, and that it waits."""
    manager.register(string_params="{a: 2, text: yes}", purpose="first")

    params = manager.load_params("a=2__text=yes", experiment_name=True)
    trial = trials_of(manager._set)["a=2__text=yes"]
    assert (params["a"], params["text"], params["b"], params["none"]) == (2, "yes", 0.5, None)
    assert params.comments["a"] == "a: int=1 ~ how many"
    assert (params["_status"], params["_purpose"], params["_root"]) == ("registered", "first", manager.experiments[0])
    assert params["_trial"] == trial.uid
    assert (trial.name, str(trial.status), trial.description) == ("a=2__text=yes", "registered", "first")
    assert trial.metadata["overrides"] == {"a": 2, "text": "yes"}
    assert trial.parameters == {key: value for key, value in params.items() if not key.startswith("_")}


def test_the_purpose_is_that_of_the_set(manager: ExperimentManager) -> None:
    """Unless another one is given."""
    manager.register("one")

    assert manager.load_params("one", experiment_name=True)["_purpose"] == "to see"


def test_repeats_and_names_that_are_taken_get_numbers(manager: ExperimentManager) -> None:
    """Each has a folder of its own."""
    manager.register(string_params="a: 2 | 3", repeats=2)
    manager.link("a=2")

    assert names(manager) == ["a=2", "a=2_1", "a=3", "a=3_1", "a=2_2"]
    assert len({trial.uid for trial in trials_of(manager._set).values()}) == 5


def test_the_hundred_and_first_of_a_name_is_refused(manager: ExperimentManager) -> None:
    """Nothing is made of those that would have had a name."""
    manager.register("one", repeats=99)

    with pytest.raises(AlreadyExists, match="99 experiments 'one'"):
        manager.register("one", repeats=2)

    assert len(names(manager)) == len(trials_of(manager._set)) == 99
    assert not Path(manager.root, "one_99").exists()


@pytest.mark.parametrize(
    "text",
    ["a: 1 | x", "a: 1 | 2, pair: [1, 2] | [1]", "a: 1, nothing: 2", "opt: {x: 1} | {z: 1}", "b: 0 .. 1"],
)
def test_all_is_checked_before_there_is_a_folder(manager: ExperimentManager, text: str) -> None:
    """One combination that cannot be leaves nothing of the others."""
    before = sorted(os.listdir(manager.root))

    with pytest.raises(ValueError, match=r"is not|elements|no parameter|has no z|is a range"):
        manager.register(string_params=text)

    assert sorted(os.listdir(manager.root)) == before
    assert trials_of(manager._set) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"string_params": "a: 1", "repeats": 0},
        {"string_params": "a: 1", "trials": 0},
        {"string_params": "a: 1", "trials": True},
        {"string_params": "a: 1", "goal": "min:x"},
        {"string_params": "a: 1", "sampler": "random"},
        {"string_params": "a: 1 .. 2", "sampler": "tpe", "goal": "min:x"},
        {"string_params": "a: 1 .. 2", "sampler": "tpe", "goal": "min:x", "trials": 2, "repeats": 2},
    ],
)
def test_arguments_without_a_sense_are_refused(manager: ExperimentManager, arguments: dict[str, Any]) -> None:
    """What register cannot mean is a ValueError."""
    with pytest.raises(InvalidCall):
        manager.register(**arguments)


def test_random_trials_are_there_at_once(manager: ExperimentManager) -> None:
    """So many as were asked for, each by its parameters."""
    manager.register(string_params="{b: 1e-5 .. 1e-1 log, a: 1 .. 8}", trials=10, seed=1)

    assert len(names(manager)) == 10
    assert all(1e-5 <= one["b"] <= 0.1 and 1 <= one["a"] <= 8 for one in manager.overides)


HOSTILE = (
    "yes", "1e-3", "012", "12:30:45", "a | b", "x\ny", "x" * 300, "..", "../../up", "$(touch pwned)", "`touch pwned`",
    "'; touch pwned; '", '"', "a\0b", "\x1b[31m", "é" * 150, "# no comment", "- x", "{a: 1}", "null", "", " ",
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(manager: ExperimentManager, value: str) -> None:
    """Any text is a value, whose folder is in the root, and whose script runs as it says, and nothing else."""
    quoted = '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'

    manager.register(string_params=f"text: {quoted}")

    (path,) = manager.experiments
    assert os.path.dirname(path) == manager.root
    assert os.path.isdir(path)
    assert len(os.path.basename(path).encode()) <= 255
    assert manager.overides == [{"text": value}]
    assert load_param(path)["text"] == value
    assert trials_of(manager._set)[os.path.basename(path)].parameters["text"] == value
    ran = subprocess.run([f"{path}/run.sh"], capture_output=True, check=True, cwd=manager.root)
    assert ran.stdout == Path(path, "params.yml").read_bytes() + b"EXPERIMENT FINISHED!\n"
    assert not list(Path(manager.root).rglob("pwned"))


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_in_the_root(manager: ExperimentManager, name: str) -> None:
    """Any text is a name, of a folder in the root, twice."""
    around = sorted(os.listdir(os.path.dirname(manager.root)))

    manager.register(name, repeats=2)

    assert [os.path.dirname(path) for path in manager.experiments] == [manager.root] * 2
    assert all(load_param(path)["_root"] == path for path in manager.experiments)
    assert sorted(os.listdir(os.path.dirname(manager.root))) == around
    assert {folder_of(manager._set, trial) for trial in trials_of(manager._set).values()} == set(manager.experiments)
    assert ExperimentManager(manager.root).experiments == manager.experiments


def test_the_script_keeps_its_exit_code(manager: ExperimentManager, program: Path) -> None:
    """``run.sh`` begins with the header, and ends as the script does."""
    (program / "header").write_text("#SBATCH --time=10\necho header\n")
    Path(manager.script or "").write_text("#!/bin/bash\nexit 7\n")

    manager.register("one", header=str(program / "header"))
    manager.register("two", header="echo text")

    ran = [
        subprocess.run([f"{path}/run.sh"], capture_output=True, text=True, check=False) for path in manager.experiments
    ]
    assert [one.returncode for one in ran] == [7, 7]
    assert [one.stdout.split("\n")[0] for one in ran] == ["header", "text"]
    assert Path(manager.experiments[0], "run.sh").read_text().startswith("#!/bin/bash\n#SBATCH --time=10\n")


def test_those_that_are_done_stay_when_it_is_interrupted(
    manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losing patience loses no experiment that is whole, and lists none that is not."""
    from track.manager import registering

    write, count = registering.write_folder, iter(range(10))

    def impatient(*arguments: Any) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(registering, "write_folder", impatient)
    with pytest.raises(KeyboardInterrupt):
        manager.register(string_params="a: 1 | 2 | 3 | 4")

    found = ExperimentManager(manager.root)
    assert names(found) == ["a=1", "a=2"]
    monkeypatch.setattr(registering, "write_folder", write)
    for trial in trials_of(found._set).values():
        folder_of(found._set, trial)
    assert sorted(names(ExperimentManager(manager.root))) == ["a=1", "a=2", "a=3", "a=4"]
    assert found.load_params("a=4", experiment_name=True)["a"] == 4


def test_what_fails_in_the_middle_leaves_nothing_that_would_run(
    manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gets full is an error, and no folder, no experiment and no trial that waits; again is as at first."""
    from track.manager import registering

    write, count = registering.write_folder, iter(range(10))

    def full(*arguments: Any) -> None:
        if next(count) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(registering, "write_folder", full)
        with pytest.raises(OSError, match="No space left"):
            manager.register(string_params="a: 1 | 2 | 3 | 4")

    found = ExperimentManager(manager.root)
    assert names(found) == []
    assert not list(Path(manager.root).glob("a=*"))
    assert all(trial.deleted for trial in trials_of(found._set).values())
    assert work(manager.root) == 0
    manager.register(string_params="a: 1 | 2")
    assert names(manager) == ["a=1", "a=2"]


def test_what_a_worker_has_begun_stays_when_others_fail(
    manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was registered, and runs: it is listed, with its folder."""
    from track.manager import registering

    write = registering.write_folder

    def full(experiments: ExperimentSet, name: str, trial: Trial, comments: Any) -> None:
        write(experiments, name, trial, comments)
        if name == "a=2":
            experiments.protocol.fetch_and_update_trial({"name": "a=1"}, "log_trial_start")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(registering, "write_folder", full)
    with pytest.raises(OSError, match="No space left"):
        manager.register(string_params="a: 1 | 2 | 3")

    assert names(ExperimentManager(manager.root)) == ["a=1"]
    assert [path.parent.name for path in Path(manager.root).glob("a=*/params.yml")] == ["a=1"]


def test_what_cannot_be_taken_back_is_said_with_the_way_out(
    manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store takes nothing more either, the error names what would run, and what lets it go does so."""
    from track.manager import registering

    def full(*arguments: Any, **more: Any) -> None:
        raise BackendUnavailable("the store cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(registering, "write_folder", full)
        patch.setattr(type(manager._set.protocol), "fetch_and_update_trial", full)
        with pytest.raises(
            BackendUnavailable, match=r"cannot be written; what was registered .*: exp unlink a=1; exp unlink a=2"
        ):
            manager.register(string_params="a: 1 | 2")

    assert [name for pattern in ("a=1", "a=2") for name in manager.unlink(pattern)] == ["a=1", "a=2"]
    assert work(manager.root) == 0


def test_workers_start_from_what_is_folded(manager: ExperimentManager) -> None:
    """What is registered is in the snapshot at once, though who has registered it goes on."""
    manager.register("lr: " + " | ".join(map(str, range(1, 61))))
    store = Path(manager.root) / ".track" / "report.json"
    assert all(trial.uid in store.read_text() for trial in trials_of(manager._set).values())


def test_a_worker_that_is_faster_is_not_overwritten(
    manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take a trial once that is stored, and has ended it before the folder is written."""
    from track.manager import registering

    store_all = registering.store_all

    def taken_at_once(experiments: ExperimentSet, trials: list[Trial]) -> None:
        store_all(experiments, trials)
        folder = folder_of(experiments, trials[0])
        manager.save_params({**load_param(folder), "_status": "finished"}, folder)

    monkeypatch.setattr(registering, "store_all", taken_at_once)
    manager.register(string_params="a: 2 | 3")

    assert [load_param(path)["_status"] for path in manager.experiments] == ["finished", "registered"]
    assert names(manager) == ["a=2", "a=3"]


# what is there


def test_a_folder_that_is_gone_is_made_of_its_trial(manager: ExperimentManager) -> None:
    """As after a crash before it was written, and on a machine with the store alone."""
    manager.register(string_params="{a: 2, text: x | y}", header="echo hello")
    manager.note("a=2__text=y", "mind this")
    before = manager.load_params("a=2__text=y", experiment_name=True)
    shutil.rmtree(manager.experiments[1])

    folder = folder_of(manager._set, trials_of(manager._set)["a=2__text=y"])

    after = manager.load_params(folder)
    assert folder == manager.experiments[1]
    assert {**after, "_timestamps": None} == {**before, "_timestamps": None}
    assert "echo hello" in Path(folder, "run.sh").read_text()


def test_a_long_name_that_has_a_number_is_that_of_its_folder(manager: ExperimentManager) -> None:
    """What is longer than a name that is made anew is not cut again."""
    manager.register("x" * 300, repeats=2)
    before = sorted(os.listdir(manager.root))

    folders = [folder_of(manager._set, trial) for trial in trials_of(manager._set).values()]

    assert sorted(folders) == sorted(manager.experiments)
    assert sorted(os.listdir(manager.root)) == before


def test_a_machine_that_only_works_has_no_defaults(manager: ExperimentManager) -> None:
    """A folder is made of its trial, without comments."""
    manager.register("one")
    shutil.rmtree(manager.experiments[0])
    Path(manager.root, "defaults.yml").unlink()

    folder = folder_of(manager._set, trials_of(manager._set)["one"])

    assert manager.load_params(folder)["a"] == 1


@pytest.mark.parametrize("path", ["../../up", "/etc/x", "..", ".", "/", "a/../..", ""])
def test_a_folder_made_of_a_trial_is_in_the_root(manager: ExperimentManager, path: str) -> None:
    """Whatever a store says where it was."""
    trial = Trial(name=path, parameters={"a": 1}, metadata={"path": path})

    assert os.path.dirname(os.path.realpath(folder_of(manager._set, trial))) == os.path.realpath(manager.root)


def test_patterns_are_those_of_a_shell() -> None:
    """``all`` is all; a name means itself; brackets are sets only where nothing is called so."""
    found = ["a=[1, 2]", "a=1", "a=2", "b"]

    assert matching("all", found) == matching("*", found) == found
    assert matching("a=?", found) == ["a=1", "a=2"]
    assert matching("a=[1, 2]", found) == ["a=[1, 2]"]
    assert matching("*[1, 2]", found) == ["a=[1, 2]"]
    assert matching("a=[12]", found) == ["a=1", "a=2"]
    assert matching("c", found) == []


def test_the_list_says_what_there_is(manager: ExperimentManager, capsys: pytest.CaptureFixture[str]) -> None:
    """It is returned, and printed unless headless."""
    manager.register(string_params="a: 2 | 3")

    assert [(row["name"], row["status"], row["overrides"]) for row in manager.list("a=2")] == [
        ("a=2", "registered", {"a": 2})
    ]
    assert capsys.readouterr().out == ""
    ExperimentManager(manager.root).list()
    assert capsys.readouterr().out.split()[:4] == ["name", "status", "purpose", "notes"]


def test_the_list_says_nothing_to_a_terminal(program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What people have named is on one line, without control characters."""
    manager = ExperimentManager(tmp_path / "root")
    manager.initialise(purpose="red \x1b[31m\nand more")
    manager.register("one")

    manager.list()

    assert len(capsys.readouterr().out.split("\n")) == 3
    manager.list()
    assert "\x1b" not in capsys.readouterr().out


def test_who_may_only_read_may_list(manager: ExperimentManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written for it, not even where a folder has no trial."""
    manager.register(string_params="a: 2 | 3")
    folder = Path(manager.root, "mine")
    shutil.copytree(manager.experiments[0], folder)
    (folder / "params.yml").write_text("_status: finished\n_notes: [old]\na: 7\n")
    with manager._set.changing() as state:
        state.experiments |= {"mine": {"a": 7}, "gone": {}}
    for method in ("_record", "apply"):
        monkeypatch.setattr(manager._set.protocol, method, None)

    found = [(row["name"], row["status"], row["notes"]) for row in manager.list()]

    assert found == [
        ("a=2", "registered", []), ("a=3", "registered", []), ("mine", "finished", ["old"]), ("gone", "missing", []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "action",
    [
        lambda manager: manager.list(),
        lambda manager: manager.note("all", "x"),
        lambda manager: manager.annotate("x"),
        lambda manager: manager.reset("all"),
        lambda manager: manager.update_meta(),
        lambda manager: manager.unlink(),
        lambda manager: manager.relink(),
        lambda manager: manager.clean(),
        lambda manager: manager.rm(),
        lambda manager: manager.move(manager.root + "2"),
        lambda manager: manager.register("one"),
        lambda manager: manager.run("all", "bash"),
    ],
)
def test_what_is_no_set_is_told(tmp_path: Path, action: Callable[[ExperimentManager], Any]) -> None:
    """Before anything is done, and nothing is made in the folder."""
    manager = ExperimentManager(tmp_path / "root")

    with pytest.raises(InvalidExperimentRoot, match=r"experiment\.yml"):
        action(manager)

    assert [name for name in os.listdir(manager.root) if name != ".track"] == []


def test_notes_are_in_the_store_and_in_the_file(manager: ExperimentManager) -> None:
    """They are added to what matches, and removed again."""
    manager.register(string_params="a: 2 | 3")

    manager.note("a=2", "  good ")
    manager.note("all", "second")
    manager.note("all", "second", remove=True)

    assert [row["notes"] for row in manager.list()] == [["good"], []]
    assert [load_param(path)["_notes"] for path in manager.experiments] == [["good"], None]
    assert load_param(manager.experiments[0]).comments["a"] == "a: int=1 ~ how many"


def test_the_set_has_notes_of_its_own(manager: ExperimentManager) -> None:
    """They are in ``experiment.yml``."""
    manager.annotate("whole")
    manager.annotate("wrong")
    manager.annotate("wrong", remove=True)

    assert ExperimentManager(manager.root).notes == ["whole"]


def test_what_has_ended_is_run_again_after_a_reset(manager: ExperimentManager) -> None:
    """The store and the file say so, and only of what matches."""
    manager.register(string_params="a: 2 | 3")
    for name in names(manager):
        trial = start(manager, name)
        manager._set.protocol.log_trial_metadata(trial, deaths=3)
        manager._set.protocol.log_trial_finish(trial, None, None, None)

    manager.reset("a=2")

    assert statuses(manager) == {"a=2": "registered", "a=3": "finished"}
    assert manager.load_params("a=2", experiment_name=True)["_status"] == "registered"
    assert trials_of(manager._set)["a=2"].metadata["deaths"] == 0


def test_an_unknown_status_is_refused(manager: ExperimentManager) -> None:
    """With the one that is meant."""
    with pytest.raises(InvalidCall, match="did you mean 'finished'"):
        manager.reset("all", "finishd")


def test_one_that_runs_is_not_reset(manager: ExperimentManager) -> None:
    """Nothing is changed, unless that is forced."""
    manager.register(string_params="a: 2 | 3")
    start(manager, "a=3")

    with pytest.raises(ValueError, match="run: a=3"):
        manager.reset("all", "stopped")
    assert statuses(manager) == {"a=2": "registered", "a=3": "running"}

    manager.reset("all", "stopped", force=True)
    assert statuses(manager) == {"a=2": "stopped", "a=3": "stopped"}


def test_meta_is_that_of_this_machine(manager: ExperimentManager) -> None:
    """In the defaults, which keep their comments, in the files and in the store."""
    manager.register("one")
    manager.save_params({**manager.load_params("one", experiment_name=True), "_meta": {"host": "other"}}, "one")

    manager.update_meta()

    meta = manager.load_defaults()["_meta"]
    assert meta == manager.load_params("one", experiment_name=True)["_meta"]
    assert meta == trials_of(manager._set)["one"].metadata["meta"]
    assert manager.load_defaults().comments["a"] == "a: int=1 ~ how many"


# linking


def test_what_is_let_go_is_not_run_and_comes_back(manager: ExperimentManager) -> None:
    """Folders stay; overrides stay with their experiments; the trial is the same afterwards."""
    manager.register(string_params="a: 2 | 3 | 4")
    uid = trials_of(manager._set)["a=3"].uid

    assert manager.unlink("a=3") == ["a=3"]

    assert (names(manager), manager.overides) == (["a=2", "a=4"], [{"a": 2}, {"a": 4}])
    assert Path(manager.root, "a=3", "params.yml").exists()
    group = manager._set.place.group
    assert group is not None
    assert len(manager._set.protocol.fetch_trials({"group_id": group.uid})) == 2
    assert manager.relink("a=*") == ["a=3"]
    assert (names(manager), manager.overides) == (["a=2", "a=4", "a=3"], [{"a": 2}, {"a": 4}, {"a": 3}])
    assert trials_of(manager._set)["a=3"].uid == uid
    assert not trials_of(manager._set)["a=3"].deleted


def test_what_is_let_go_is_shown_nowhere(
    manager: ExperimentManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the list, nor an answer, nor `@last`, nor `find` has it, until it is asked for what is hidden."""
    monkeypatch.setenv("TRACK_HOME", str(tmp_path / "home"))
    manager.register(string_params="a: 2 | 3")
    manager.unlink("a=3")
    uri = manager._set.place.uri
    assert uri is not None

    assert [row["name"] for row in manager.list()] == ["a=2"]
    assert [trial.name for trial in track.fetch(uri)] == ["a=2"]
    assert [trial.name for trial in track.fetch(uri, "@last")] == ["a=2"]
    assert [trial.name for trial in track.fetch(uri, {"deleted": True})] == ["a=3"]
    ExperimentManager(manager.root).annotate("known to the user")
    for load_defaults in (False, True):
        assert GlobalExperimentManager().find(load_defaults=load_defaults)["_name"] == ["a=2"]
    assert manager.run("*", "bash") == [0]


def test_to_relink_again_changes_nothing(manager: ExperimentManager) -> None:
    """Not even the time of a file."""
    manager.register(string_params="a: 2 | 3")
    manager.unlink()
    manager.relink()
    before = {path: path.read_bytes() for path in Path(manager.root).rglob("*.yml")}
    trials = {name: trial.uid for name, trial in trials_of(manager._set).items()}

    assert manager.relink() == []

    assert {path: path.read_bytes() for path in Path(manager.root).rglob("*.yml")} == before
    assert {name: trial.uid for name, trial in trials_of(manager._set).items()} == trials


def test_an_end_that_was_not_shown_is_shown(manager: ExperimentManager) -> None:
    """Whoever runs a script may be killed after its end is stored, and before its file says so."""
    manager.register(string_params="a: 2")
    before = load_param(os.path.join(manager.root, "a=2"))
    assert manager.run("*", "bash") == [0]
    manager.save_params(before, "a=2")

    assert manager.relink() == []

    found = load_param(os.path.join(manager.root, "a=2"))
    assert (found["_status"], found["_timestamps"]["stopped"] is None, found["a"]) == ("finished", False, 2)


def test_a_copy_of_a_folder_is_another_trial(manager: ExperimentManager) -> None:
    """The copied one keeps its own; a folder that was renamed keeps it, too."""
    manager.register(string_params="a: 2 | 3")
    uids = {name: trial.uid for name, trial in trials_of(manager._set).items()}
    shutil.copytree(manager.experiments[0], Path(manager.root, "copy"))
    os.rename(manager.experiments[1], Path(manager.root, "renamed"))

    assert manager.relink() == ["copy", "renamed"]
    manager.relink()

    found = {name: trial.uid for name, trial in trials_of(manager._set).items()}
    assert found["renamed"] == uids["a=3"]
    assert found["a=2"] == uids["a=2"]
    assert found["copy"] not in uids.values()
    assert len(found) == 3
    copied = manager.load_params("copy", experiment_name=True)
    assert (copied["_root"], copied["_trial"], copied["a"]) == (f"{manager.root}/copy", found["copy"], 2)


def test_a_folder_that_does_not_fit_is_left_alone(manager: ExperimentManager, caplog: pytest.LogCaptureFixture) -> None:
    """It has other parameters, or no YAML; a link is no folder of the set."""
    for name, text in {"other": "z: 1\n", "broken": "{", "tagged": "a: !!python/name:os.system\n"}.items():
        Path(manager.root, name).mkdir()
        Path(manager.root, name, "params.yml").write_text(text)
    Path(manager.root, "link").symlink_to(Path(manager.root, "other"))

    assert manager.relink() == []

    assert names(manager) == []
    assert "there is no z in the defaults" in caplog.text


OLD = """\
_root: /somewhere/else
_name: a:2
_status: {status}
_created: 07:41PM September 16, 2019
_purpose: an old one
_messages: {{loss: 0.5}}
_version: {{module: /m.py, class: Old, git: {{local_path: /r, remote_url: x, hash: abc}}}}
a: 2  # how many
"""


def test_a_set_of_the_original_is_taken(program: Path, tmp_path: Path) -> None:
    """With its names, its own spellings and its aliases, each experiment has one trial, however often it is done."""
    root = tmp_path / "old"
    shutil.copytree(program, root)
    for name, status in {"a:2": "finished", "a:2_1": "running"}.items():
        (root / name).mkdir()
        (root / name / "params.yml").write_text(OLD.format(status=status))
    (root / "a:3").mkdir()
    (root / "a:3" / "params.yml").write_text("_name: a:3\n_version:\n_messages:\n_notes: seen\na: 3\npair: [1, 2.0]\n")
    (root / "experiment.yml").write_text(
        "root: /somewhere/else\ndefaults: /somewhere/else/defaults.yml\nscript: /somewhere/else/script.sh\n"
        "experiments:\n- /somewhere/else/a:2\n- /somewhere/else/a:2_1\n"
        "overides:\n- &id001\n  a: 2\n- *id001\ncreated: 07:41PM September 16, 2019\n"
    )

    manager = ExperimentManager(root)
    assert statuses(manager) == {"a:2": "finished", "a:2_1": "stopped"}
    manager.note("a:2", "before it is linked")
    manager.note("a:2", "before it is linked", remove=True)
    assert manager.relink() == ["a:3"]
    assert manager.relink() == []

    assert manager.experiments == [f"{root}/a:2", f"{root}/a:2_1", f"{root}/a:3"]
    assert manager.overides == [{"a": 2}, {"a": 2}, {"a": 3}]
    assert statuses(manager) == {"a:2": "finished", "a:2_1": "stopped", "a:3": "registered"}
    trials = trials_of(manager._set)
    assert len(manager._set.protocol.fetch_trials()) == 3
    assert trials["a:3"].metadata["notes"] == ["seen"]
    assert trials["a:2"].metadata["messages.loss"] == 0.5
    assert trials["a:2"].metadata["version"]["git"] == {"local": "/r", "remote": "x", "commit": "abc"}
    assert manager.load_params("a:2", experiment_name=True)["_trial"] == trials["a:2"].uid
    assert "&id" not in (root / "experiment.yml").read_text()


# removing


def test_only_what_is_not_managed_is_cleaned(manager: ExperimentManager, tmp_path: Path) -> None:
    """What has no ``params.yml`` stays, so do links and where they lead; another working directory changes nothing."""
    manager.register(string_params="a: 2 | 3 | 4")
    outside = tmp_path / "outside"
    shutil.copytree(manager.experiments[0], outside)
    manager.unlink("a=3")
    root = Path(manager.root)
    (root / "link").symlink_to(outside)
    (root / "mine").mkdir()
    (root / "pipe").mkdir()
    (root / "pipe" / "params.yml").symlink_to(outside / "params.yml")
    (root / "a=3" / "inside").symlink_to(outside)
    os.chdir(outside)

    assert manager.unmanaged() == ["a=3"]
    assert manager.clean() == ["a=3"]

    assert {"a=2", "a=4", "link", "mine", "pipe"} <= set(os.listdir(root))
    assert not (root / "a=3").exists()
    assert (outside / "params.yml").exists()
    assert (outside / "run.sh").exists()


def test_what_is_being_registered_is_not_cleaned(manager: ExperimentManager) -> None:
    """A folder with a trial that stands in no file yet belongs to somebody."""
    manager.register(string_params="a: 2 | 3")
    with manager._set.changing() as state:
        del state.experiments["a=3"]

    assert manager.clean() == []
    assert manager.relink() == ["a=3"]


def test_one_that_runs_is_not_cleaned(manager: ExperimentManager) -> None:
    """Though it was let go; a copy of it is."""
    manager.register("one")
    start(manager, "one")
    manager.unlink()
    shutil.copytree(Path(manager.root, "one"), Path(manager.root, "copy"))

    assert manager.clean() == ["copy"]

    assert Path(manager.root, "one").exists()


def test_a_set_is_removed_and_nothing_else(manager: ExperimentManager, tmp_path: Path) -> None:
    """What else is in the root stays, and so does what links lead to."""
    manager.register(string_params="a: 2 | 3")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    root = Path(manager.root)
    (root / "a=2" / "link").symlink_to(outside)
    (root / "notes.txt").touch()

    manager.rm()

    assert os.listdir(root) == ["notes.txt"]
    assert (outside / "kept").exists()
    assert manager.experiments == []


def test_the_root_goes_where_nothing_else_is_in_it(tmp_path: Path) -> None:
    """A set of a class has a program, too, which is removed."""
    manager = ExperimentManager(tmp_path / "root")
    manager.initialise(name=Train)
    manager.register(string_params="lr: 1 | 2")

    manager.rm()

    assert not (tmp_path / "root").exists()


def test_a_set_that_runs_is_not_removed(manager: ExperimentManager) -> None:
    """Nothing is deleted."""
    manager.register("one")
    start(manager, "one")

    with pytest.raises(AlreadyRuns, match="one"):
        manager.rm()
    assert Path(manager.root, "one", "params.yml").exists()


def test_what_is_no_set_is_not_removed(tmp_path: Path) -> None:
    """A folder that somebody names by mistake stays."""
    (tmp_path / "file").touch()

    with pytest.raises(InvalidExperimentRoot):
        ExperimentManager(tmp_path).rm()
    assert (tmp_path / "file").exists()


# moving


def _check_moved(manager: ExperimentManager, old: str, new: Path, uids: dict[str, str]) -> None:
    assert not os.path.exists(old)
    assert manager.root == str(new)
    for path in new.rglob("*"):
        assert not path.is_file() or path.parent.name == ".track" or old.encode() not in path.read_bytes(), path
    found = trials_of(manager._set)
    assert {name: trial.uid for name, trial in found.items()} == uids
    assert {trial.metadata["path"] for trial in found.values()} == set(manager.experiments)
    for path in manager.experiments:
        ran = subprocess.run([f"{path}/run.sh"], capture_output=True, text=True, check=True, env=own_environment())
        assert "EXPERIMENT FINISHED!" in ran.stdout


@pytest.fixture(params=["program", "class"])
def filled(request: pytest.FixtureRequest, program: Path, tmp_path: Path) -> ExperimentManager:
    """Give a set with two experiments."""
    made = ExperimentManager(tmp_path / "it's a $(root)", headless=True)
    made.initialise(**({"name": Train} if request.param == "class" else {}))
    made.register(string_params="lr: 1 | 2" if request.param == "class" else "a: 2 | 3")
    return made


def test_a_set_is_moved(filled: ExperimentManager, tmp_path: Path) -> None:
    """Its files name the new place, its scripts run there, and its trials are the same."""
    old, uids = filled.root, {name: trial.uid for name, trial in trials_of(filled._set).items()}

    filled.move(tmp_path / "deep" / "new's $HOME")

    _check_moved(filled, old, tmp_path / "deep" / "new's $HOME", uids)


def test_a_set_is_moved_to_another_disk(
    filled: ExperimentManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is copied, and has its new name once it is whole."""
    old, uids = filled.root, {name: trial.uid for name, trial in trials_of(filled._set).items()}
    rename: Callable[..., None] = os.rename

    def of_one_disk(source: Any, target: Any) -> None:
        if str(source) == old:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "rename", of_one_disk)
    filled.move(tmp_path / "new")

    _check_moved(filled, old, tmp_path / "new", uids)


def test_a_set_that_somebody_has_moved_is_found(filled: ExperimentManager, tmp_path: Path) -> None:
    """After ``mv``, the next `relink` lets everything name the new place."""
    old, uids = filled.root, {name: trial.uid for name, trial in trials_of(filled._set).items()}
    filled._set.close()
    os.rename(old, tmp_path / "new")

    moved = ExperimentManager(tmp_path / "new", headless=True)
    assert moved.experiments == [f"{tmp_path}/new/{name}" for name in uids]
    assert moved.relink() == []

    _check_moved(moved, old, tmp_path / "new", uids)


def test_a_copy_of_a_set_is_another_set(filled: ExperimentManager, tmp_path: Path) -> None:
    """After ``cp -r`` and `relink` both have trials of their own."""
    uids = {name: trial.uid for name, trial in trials_of(filled._set).items()}
    filled._set.protocol.flush()
    shutil.copytree(filled.root, tmp_path / "copy")

    copy = ExperimentManager(tmp_path / "copy", headless=True)
    copy.relink()

    found = {name: trial.uid for name, trial in trials_of(copy._set).items()}
    assert found.keys() == uids.keys()
    assert not set(found.values()) & set(uids.values())
    assert {name: trial.uid for name, trial in trials_of(filled._set).items()} == uids


def test_a_set_that_runs_is_not_moved(manager: ExperimentManager, tmp_path: Path) -> None:
    """It stays where it is, whole."""
    manager.register("one")
    start(manager, "one")

    with pytest.raises(AlreadyRuns, match="one"):
        manager.move(tmp_path / "new")
    manager.check_initialised()
    assert not (tmp_path / "new").exists()


def test_a_set_is_not_moved_where_something_is(manager: ExperimentManager, tmp_path: Path) -> None:
    """Neither onto another set, nor onto anything else, nor into itself."""
    other = ExperimentManager(tmp_path / "other")
    other.initialise()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(manager.root)

    for place in (other.root, tmp_path / "file", tmp_path / "dangling", tmp_path):
        with pytest.raises(SetExists):
            manager.move(place)
    for place in (manager.root, f"{manager.root}/below", tmp_path / "link", tmp_path / "link" / "below"):
        with pytest.raises(InvalidCall, match="into itself"):
            manager.move(place)
    with pytest.raises(InvalidCall, match="is a link"):
        ExperimentManager(tmp_path / "link").move(tmp_path / "new")
    manager.check_initialised()


def test_a_set_knows_its_group_wherever_it_is(manager: ExperimentManager, tmp_path: Path) -> None:
    """Two sets of one name are two groups; one that was moved is the same."""
    (tmp_path / "elsewhere").mkdir()
    other = ExperimentManager(tmp_path / "elsewhere" / os.path.basename(manager.root))
    other.initialise()
    uid = manager._set.place.group

    manager.move(tmp_path / "new")

    assert ExperimentSet(str(tmp_path / "new")).place.group == uid
    assert other._set.place.group != uid


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("experiments: [", "is no YAML"),
        ("experiments: a=1", "'experiments' should be a list, not str"),
        ("experiments: {a: b}", "'experiments' should be a list, not"),
        ("experiments: []\noverides: 3", "'overides' should be a list, not int"),
        ("experiments: [[1]]", r"\[1\] in 'experiments' is no folder"),
        ("experiments: ['..']", r"'\.\.' in 'experiments' is no folder"),
        ("experiments: ['']", "'' in 'experiments' is no folder"),
        ("experiments: [/]", "'/' in 'experiments' is no folder"),
        ("experiments: [null]", "None in 'experiments' is no folder"),
        ("root: /runs\ndefaults: /runs/def", "it lacks 'experiments'"),
    ],
)
def test_damaged_list_of_a_set_is_said_with_the_way_out(manager: ExperimentManager, text: str, complaint: str) -> None:
    """A person may have edited ``experiment.yml``: nothing is guessed, and emptied it is made again of the folders."""
    manager.register(string_params="{a: 1 | 2}")
    file = Path(manager.root, "experiment.yml")
    file.write_text(text)

    with pytest.raises(IncompatibleYmlException, match=complaint) as raised:
        ExperimentManager(manager.root, headless=True)
    file.write_text("")
    ExperimentManager(manager.root, headless=True).relink("*")

    assert "exp relink -e '*'" in str(raised.value)
    assert [row["name"] for row in ExperimentManager(manager.root, headless=True).list()] == ["a=1", "a=2"]


def test_nothing_is_run_of_a_set_that_was_moved_by_other_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts its experiments names the old place: no experiment is an error for that, and the way out is said."""
    monkeypatch.setenv(LOG, str(tmp_path / "bodies"))
    manager = python_set(tmp_path / "old set", "{number: 1 | 2}")
    shell = shell_set(tmp_path / "old shell", "{number: 1 | 2}")
    for made in (manager, shell):
        os.rename(made.root, f"{made.root}, moved")
    moved, of_shell = (ExperimentManager(f"{made.root}, moved") for made in (manager, shell))

    with pytest.raises(InvalidCall, match=r"exp relink -r '.*old set, moved'"):
        work(moved.root)
    for one in (moved, of_shell):
        with pytest.raises(InvalidCall, match="exp relink -r"):
            one.run("*", "bash")
    before = [row["status"] for row in [*moved.list(), *of_shell.list()]]
    for one in (moved, of_shell):
        one.relink(None)

    assert before == ["registered"] * 4
    assert work(moved.root).failed == 0
    assert [row["status"] for row in moved.list()] == ["finished"] * 2


@pytest.mark.parametrize("copied", ["a=1", ""], ids=["experiment", "set"])
@pytest.mark.parametrize("root", ["runs", "it's a \n$set"])
def test_a_copy_is_not_run_in_place_of_what_was_copied(tmp_path: Path, root: str, copied: str) -> None:
    """``run.sh`` of a copy names the other folder: that is an error until it was taken hold of."""
    manager = _saying_where(tmp_path / root)
    there = Path(manager.root, copied)
    here = there.with_name(f"{there.name}, copied")
    shutil.copytree(there, here)
    copy = manager if copied else ExperimentManager(here, headless=True)
    if not copied:
        with pytest.raises(InvalidCall, match=r"(?s)names .* which is another .*exp relink -r"):
            copy.run("*", "bash")

    copy.relink("*")

    assert copy.run("*", "bash") == [0] * len(copy.experiments)
    assert all(Path(folder, "here").read_text() == folder for folder in copy.experiments)
    assert Path(manager.root, "a=1", "here").exists() == bool(copied)


def test_an_experiment_that_was_renamed_is_run_where_it_is(tmp_path: Path) -> None:
    """Once it was taken hold of under its new name, it is given the parameters that are there."""
    manager = _saying_where(tmp_path / "runs")
    Path(manager.root, "a=1").rename(Path(manager.root, "renamed"))
    manager.relink("renamed")

    assert manager.run("renamed", "bash") == [0]

    assert Path(manager.root, "renamed", "here").read_text() == f"{manager.root}/renamed"


def _saying_where(root: Path) -> ExperimentManager:
    """Return a set of two experiments that write down in which folder they found their parameters."""
    sources = root.with_name("sources")
    sources.mkdir()
    (sources / "defaults.yml").write_text("a: 1\n")
    (sources / "script.sh").write_text('folder=$(dirname "$1")\nprintf %s "$folder" > "$folder/here"\n')
    manager = ExperimentManager(root, headless=True)
    manager.initialise(defaults=str(sources / "defaults.yml"), script=str(sources / "script.sh"))
    manager.register(string_params="a: 1 | 2")
    return manager


def test_workers_of_a_script_go_on_in_a_set_that_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script of somebody is where the root is: a worker needs nothing of the old place."""
    monkeypatch.setenv(LOG, str(tmp_path / "bodies"))
    made = shell_set(tmp_path / "old shell", "{number: 1 | 2}")
    os.rename(made.root, tmp_path / "moved")

    assert (work(tmp_path / "moved"), len(bodies(tmp_path / "bodies"))) == (2, 2)


def test_a_trial_with_no_path_is_in_nobodys_way(manager: ExperimentManager) -> None:
    """What a store says is not believed: a path that cannot be one does not keep a set from being taken again."""
    manager.register(string_params="{a: 1 | 2}")
    trial = trials_of(manager._set)["a=1"]
    manager._set.protocol.log_trial_metadata(trial, path="a\0b")

    manager.relink("*")
    manager.clean()

    assert [row["name"] for row in manager.list()] == ["a=1", "a=2"]
