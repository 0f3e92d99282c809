"""All sets of a user: settings in a file, and what is found in sets that were made by hand."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml")

from tests.children import python
from track import TrackClient, fetch, home
from track.config import GlobalExperimentManager
from track.errors import BackendUnavailable, IncompatibleYmlException, InvalidCall, InvalidQuery
from track.experiment import Experiment, param
from track.manager import ExperimentManager
from track.yaml12 import dump


class Train(Experiment):
    """An experiment."""

    lr: float = param(0.1, help="step")
    opt: str = param("sgd", help="of them")

    def run(self) -> None:
        """Say something."""
        self.message({"loss": self.lr * 2, "lr": 1})


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home of its own, which is not there yet."""
    home_of_test = tmp_path / "the home"
    monkeypatch.setenv("TRACK_HOME", str(home_of_test))
    monkeypatch.delenv("XMEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    return home_of_test


def _make_set(root: Path, experiments: Iterable[dict[str, Any]] = (), *, is_stored: bool = True) -> Path:
    """Make a set by hand: its files, and an experiment for each of the overrides, with a trial or a folder only."""
    root.mkdir(parents=True)
    (root / "script.sh").write_text("#!/bin/bash\n")
    (root / "defaults.yml").write_text(dump({"_version": {"class": "Train"}, "lr": 0.1, "opt": "sgd"}))
    overrides = list(experiments)
    names = ["__".join(f"{name}={value}" for name, value in one.items()) for one in overrides]
    content = {
        "root": str(root), "experiments": [str(root / name) for name in names], "overides": overrides,
        "created": "26-01-02-03-04-05-000006", "purpose": "of the set", "notes": ["n"], "type": "Train",
    }  # fmt: skip
    if is_stored:
        (root / ".track").mkdir()
        (root / ".track" / "set.json").write_text(
            json.dumps({"uid": "5e7" * 20, "name": root.name, "project": "Train"})
        )
        (root / "experiment.yml").write_text(dump(content))
    for name, one in zip(names, overrides, strict=True):
        Train(**one).register(root / name)
    (root / "experiment.yml").write_text(dump(content))
    home.remember(str(root), {"type": "Train"})
    return root


# the file


def test_nothing_is_created_until_something_is_changed(place: Path) -> None:
    """Import, reading and finding leave no file; the first change makes it."""
    manager = GlobalExperimentManager()

    assert manager.find()["_name"] == []
    assert not place.exists()

    with manager:
        manager.prompt = False

    assert (place / "experiments.yml").exists()
    assert GlobalExperimentManager().prompt is False


def test_import_needs_no_yaml() -> None:
    """The module is there without YAML, which is imported when a file is read."""
    done = python("-c", "import sys, track.config; print('yaml' in sys.modules)")

    assert (done.stdout, done.stderr) == ("False\n", "")


def test_what_others_change_meanwhile_stays(place: Path) -> None:
    """Two managers that change different things, or different names of one, lose nothing."""
    one, other = GlobalExperimentManager(), GlobalExperimentManager()
    one.header, other.prompt = "#SBATCH --gpus=1", False
    one.experiments["/a"], other.experiments["/b"] = {"type": "A"}, {"type": "B"}

    one.save()
    other.save()

    found = GlobalExperimentManager()
    assert (found.header, found.prompt, found.prompt_for_message) == ("#SBATCH --gpus=1", False, False)
    assert found.experiments == {"/a": {"type": "A"}, "/b": {"type": "B"}} == other.experiments


def test_many_who_remember_at_once_lose_nothing() -> None:
    """Each of several threads notes its sets under the lock, and all of them are there."""
    threads = [
        threading.Thread(target=lambda base=base: [home.remember(f"/{base}/{index}", {}) for index in range(10)])
        for base in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(GlobalExperimentManager().experiments) == 40


def test_block_that_fails_changes_nothing(place: Path) -> None:
    """An exception in a ``with`` block leaves the file as it is."""

    def fail() -> None:
        with GlobalExperimentManager() as manager:
            manager.prompt = False
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()

    assert not place.exists()


@pytest.mark.parametrize("variable", ["XMEN", "HOME"])
def test_files_of_the_original_are_taken_over(
    variable: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old files count until there is a new one, and stay as they are; accounts in them are not kept."""
    monkeypatch.delenv("TRACK_HOME")
    old = tmp_path / "old" if variable == "XMEN" else tmp_path / "old" / ".xmen"
    old.mkdir(parents=True)
    monkeypatch.setenv(variable, str(tmp_path / "old"))
    (old / "config.yml").write_text(
        "prompt_for_message: false\nheader: old\nexperiments:\n  /sets/a: {created: x, type: A}\npython_paths: [/p]\n"
    )
    new_content = "user: ann\npassword: hunter2\nserver_host: example.invalid\nheader: new\nlinked: [/sets/a/b]\n"
    (old / "xmen.yml").write_text(new_content)

    with GlobalExperimentManager() as manager:
        assert (manager.prompt, manager.header, manager.linked) == (False, "new", ["/sets/a/b"])
        assert manager.experiments == {"/sets/a": {"created": "x", "type": "A"}}
        manager.requeue = False

    stored = Path(home.path()).read_text()
    assert "hunter2" not in stored
    assert "ann" not in stored
    assert (old / "xmen.yml").read_text() == new_content
    assert GlobalExperimentManager().header == "new"


def test_home_is_the_variable_or_below_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``$TRACK_HOME`` comes before ``$XMEN``, which comes before ``~/.config/track``."""
    monkeypatch.setenv("XMEN", str(tmp_path / "x"))
    assert home.folder() == str(tmp_path / "the home")

    monkeypatch.delenv("TRACK_HOME")
    assert home.folder() == str(tmp_path / "x")

    monkeypatch.delenv("XMEN")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert home.folder() == str(tmp_path / "nobody" / ".config" / "track")

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "moved"))
    assert home.folder() == str(tmp_path / "moved" / "track")


@pytest.mark.parametrize(("text", "reason"), [("a: [", "is no YAML"), ("prompt: maybe", "prompt should be a bool")])
def test_broken_file_is_named(text: str, reason: str, place: Path) -> None:
    """A file that cannot be read is one sentence that names it; it is not replaced."""
    place.mkdir()
    (place / "experiments.yml").write_text(text)

    with pytest.raises(IncompatibleYmlException, match=reason) as caught:
        GlobalExperimentManager()

    assert "experiments.yml" in str(caught.value)
    assert (place / "experiments.yml").read_text() == text


def test_experiment_runs_whatever_the_settings_are(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that cannot be read are a warning, and those by default: a training goes on."""
    place.mkdir()
    (place / "experiments.yml").write_text("a: [")
    experiment = Train()
    experiment.register(tmp_path / "alone")

    experiment()

    assert experiment.status == "finished"
    assert "the setting save_conda is as by default" in caplog.text


def test_set_is_remembered_or_that_is_said(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A home that cannot be written is one warning, and no error: the set itself is made all the same."""
    place.write_text("a file where a folder should be")

    (tmp_path / "script.sh").touch()
    (tmp_path / "defaults.yml").write_text("lr: 0.1\n")
    manager = ExperimentManager(tmp_path / "root")
    manager.initialise(defaults=str(tmp_path / "defaults.yml"), script=str(tmp_path / "script.sh"))
    manager.register(string_params="{lr: 0.2}")

    assert len(manager.experiments) == 1
    assert "the list of all sets of experiments is not changed" in caplog.text
    assert "TRACK_HOME names another folder" in caplog.text


# sets


def test_find_reads_trials_and_conditions_choose(tmp_path: Path) -> None:
    """Rows are experiments for which all conditions hold; columns are special ones and parameters that match."""
    root = _make_set(tmp_path / "a set", [{"lr": 0.5}, {"lr": 0.25, "opt": "adam"}, {"opt": "adam"}])
    experiment = Train()
    experiment.from_yml(root / "lr=0.25__opt=adam" / "params.yml")
    experiment()
    experiment.note("good")

    found = GlobalExperimentManager().find(param_match=["lr < 0.3", "opt == adam"])

    assert found.special_keys == [
        "_root", "_purpose", "_type", "_notes", "_created", "_meta", "_name", "_version", "_status", "_messages"
    ]  # fmt: skip
    assert {name: found[name] for name in ("_root", "_name", "_status", "lr", "opt")} == {
        "_root": [str(root)] * 2,
        "_name": ["lr=0.25__opt=adam", "opt=adam"],
        "_status": ["finished", "registered"],
        "lr": [0.25, 0.1],
        "opt": ["adam", "adam"],
    }
    assert found["_messages"] == [{"loss": 0.5, "lr": 1}, {}]
    assert found["_notes"] == [["good"], []]
    assert found["_purpose"] == ["of the set"] * 2
    assert found["_type"] == ["Train"] * 2
    assert found["_version"][0]["class"] == "Train"
    assert len(found["_created"][0].split("-")) == 7


def test_find_reads_files_of_folders_without_a_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An experiment that no store knows is found by its ``params.yml``; one without it is a warning."""
    root = _make_set(tmp_path / "old", [{"lr": 0.5}, {"lr": 0.25}, {"lr": 0.75}], is_stored=False)
    (root / "lr=0.75" / "params.yml").unlink()

    found = GlobalExperimentManager().find(param_match="lr")

    assert (found["_name"], found["lr"], found["_status"]) == (["lr=0.5", "lr=0.25"], [0.5, 0.25], ["registered"] * 2)
    assert "lr=0.75" in caplog.text


@pytest.mark.parametrize("condition", ["^lr$ < 0.3", "lr < 0.3"])
def test_server_is_asked_and_folders_without_trial_are_read(
    condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a server leaves out is not looked for in files; a folder that it does not know is read; away, all are."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"sqlite:{tmp_path / 'all.db'}")
    root = _make_set(tmp_path / "one", [{"lr": 0.5}, {"lr": 0.25}, {"lr": 0.125}])
    params = root / "lr=0.125" / "params.yml"
    text = re.sub("^_trial: .*", "_trial:", params.read_text(), flags=re.MULTILINE)
    (trial,) = fetch(f"sqlite:{tmp_path / 'all.db'}", {"parameters.lr": 0.125})
    TrackClient(f"sqlite:{tmp_path / 'all.db'}").delete_trial(trial.uid)
    params.write_text(text.replace("_trial:\n", ""))
    # Only what the store says differs from what this file says.
    edited = root / "lr=0.25" / "params.yml"
    edited.write_text(edited.read_text().replace("_status: registered", "_status: error"))
    manager = GlobalExperimentManager()

    found = manager.find(param_match=condition)

    assert (found["_name"], found["_status"]) == (["lr=0.25", "lr=0.125"], ["registered", "registered"])
    monkeypatch.setattr("track.manager.finding.open_to_read", _away)
    assert manager.find(param_match=condition)["_status"] == ["error", "registered"]
    assert "its store cannot be" in caplog.text


def _away(uri: str) -> Any:
    raise BackendUnavailable("no answer")


def test_find_sees_files_that_were_changed(tmp_path: Path) -> None:
    """What was read before is read again once somebody has written to it."""
    root = _make_set(tmp_path / "old", [{"lr": 0.5}], is_stored=False)
    manager = GlobalExperimentManager()
    manager.find(param_match="lr")
    params = root / "lr=0.5" / "params.yml"

    params.write_text(params.read_text().replace("lr: 0.5", "lr: 0.75"))

    assert manager.find(param_match="lr")["lr"] == [0.75]


def test_broken_set_keeps_nobody_from_seeing_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A set whose file is none is left out, one whose store is none is read from its folders; each is a warning."""
    one, other = _make_set(tmp_path / "one", [{"lr": 0.5}]), _make_set(tmp_path / "other", [{"lr": 0.75}])
    third = _make_set(tmp_path / "third", [{"lr": 0.25}])
    (one / "experiment.yml").write_text("root: [")
    for file in (other / ".track").glob("report*"):
        file.unlink()
    (other / ".track" / "report.json").write_text("no JSON")

    found = GlobalExperimentManager().find(param_match="lr")

    assert (found["_root"], found["lr"]) == ([str(other), str(third)], [0.75, 0.25])
    assert f"the set {one} is left out" in caplog.text
    assert f"the files of {other} are read" in caplog.text


def test_parameter_of_some_rows_has_an_entry_in_all(tmp_path: Path) -> None:
    """Where an experiment has no such parameter the missing entry stands; all columns have the same length."""
    _make_set(tmp_path / "one", [{"lr": 0.5}])
    other = _make_set(tmp_path / "other", [{"lr": 0.75}], is_stored=False)
    params = other / "lr=0.75" / "params.yml"
    params.write_text(f"{params.read_text()}lx: 7\n")

    found = GlobalExperimentManager().find(param_match="l", missing_entry=None)

    assert (found["lr"], found["lx"]) == ([0.5, 0.75], [None, 7])
    assert len({len(column) for column in found.values()}) == 1


def test_no_condition_shows_no_parameters(tmp_path: Path) -> None:
    """Without a condition all experiments are found, without columns of parameters."""
    _make_set(tmp_path / "one", [{"lr": 0.5}, {"lr": 0.75}])

    found = GlobalExperimentManager().find()

    assert found.parameters == []
    assert len(found["_name"]) == 2


def test_special_ones_are_asked_for_by_their_underscore(tmp_path: Path) -> None:
    """``_status == registered`` is a condition on the status."""
    _make_set(tmp_path / "one", [{"lr": 0.5}])
    manager = GlobalExperimentManager()

    assert len(manager.find(param_match="_status == registered")["_name"]) == 1
    assert len(manager.find(param_match=["_status == finished", "lr"])["_name"]) == 0


def test_pattern_types_and_last_choose_sets(tmp_path: Path) -> None:
    """A glob on roots, the types of sets, and an earlier answer say which sets are looked at."""
    one = _make_set(tmp_path / "one", [{"lr": 0.5}, {"lr": 0.75}])
    _make_set(tmp_path / "two", [{"lr": 0.5}])
    manager = GlobalExperimentManager()
    first = manager.find(pattern="*/one", param_match="lr > 0.6")

    assert first["_root"] == [str(one)]
    assert manager.find(last=first)["_name"] == ["lr=0.75"]
    assert manager.find(types_match=["Other"])["_name"] == []
    assert len(manager.find(types_match=["Train"])["_name"]) == 3


def test_mode_set_has_a_row_for_each_set(tmp_path: Path) -> None:
    """The rows are sets, their parameters the defaults, and the paths of their experiments are told."""
    root = _make_set(tmp_path / "one", [{"lr": 0.5}, {"lr": 0.75}])

    found = GlobalExperimentManager().find(mode="set", param_match="lr == 0.1")

    assert found["_experiments"] == [[str(root / "lr=0.5"), str(root / "lr=0.75")]]
    assert (found["lr"], found["_notes"], found["_created"]) == ([0.1], [["n"]], ["26-01-02-03-04-05-000006"])
    assert "_status" not in found
    with pytest.raises(InvalidCall, match="'all' or 'set'"):
        GlobalExperimentManager().find(mode="none")


def test_load_defaults_looks_at_no_experiment(tmp_path: Path) -> None:
    """Defaults and overrides are enough, also when folders and stores are gone; there is no status then."""
    root = _make_set(tmp_path / "one", [{"lr": 0.5}, {"opt": "adam"}], is_stored=False)
    for params in root.glob("*/params.yml"):
        params.unlink()

    found = GlobalExperimentManager().find(load_defaults=True, param_match=".*")

    assert (found["lr"], found["opt"]) == ([0.5, 0.1], ["sgd", "adam"])
    assert "_status" not in found


def test_set_that_was_moved_is_found_where_it_is(tmp_path: Path) -> None:
    """Experiments are looked for in the root where the set is now, whatever its file says."""
    root = _make_set(tmp_path / "before", [{"lr": 0.5}])
    root.rename(tmp_path / "after's $(x)")
    home.remember(str(tmp_path / "after's $(x)"), {})

    found = GlobalExperimentManager().find(param_match="lr")

    assert (found["_root"], found["lr"]) == ([str(tmp_path / "after's $(x)")], [0.5])


def test_linked_folders_are_found_beside_sets(tmp_path: Path) -> None:
    """Experiments without a set that the file names are rows, too."""
    Train(lr=0.5).register(tmp_path / "alone")
    with GlobalExperimentManager() as manager:
        manager.linked.append(str(tmp_path / "alone"))

    found = manager.find(param_match="lr")

    assert (found["_name"], found["_type"], found["lr"]) == (["alone"], ["Train"], [0.5])
    assert manager.find(last=found)["_name"] == ["alone"]


def test_clean_forgets_what_is_gone(tmp_path: Path) -> None:
    """Sets and experiments that are no longer there are forgotten; what is there stays as it is."""
    one, other = _make_set(tmp_path / "one"), _make_set(tmp_path / "other")
    (other / "script.sh").unlink()
    with GlobalExperimentManager() as manager:
        manager.linked.append(str(tmp_path / "nowhere"))

    manager.clean()

    assert list(GlobalExperimentManager().experiments) == [str(one)]
    assert GlobalExperimentManager().linked == []
    assert (other / "experiment.yml").exists()


def test_condition_that_is_none_is_refused(tmp_path: Path) -> None:
    """A condition with too many operators is an error, not an empty answer."""
    with pytest.raises(InvalidQuery, match="3 operators"):
        GlobalExperimentManager().find(param_match="a < b < c < d")


# tables


def test_data_frame_is_flat_and_leaves_the_table(tmp_path: Path) -> None:
    """Names are relative to a prefix, messages and facts are columns of their own, and the table stays as it is."""
    pytest.importorskip("pandas")
    root = _make_set(tmp_path / "deep" / "one", [{"lr": 0.5}, {"lr": 0.75}])
    _make_set(tmp_path / "two", [{"lr": 0.5}])
    experiment = Train()
    experiment.from_yml(root / "lr=0.5" / "params.yml")
    experiment()
    manager = GlobalExperimentManager()
    table = manager.find(param_match="lr")
    before = {name: list(column) for name, column in table.items()}

    frame, prefix = manager.find_to_dataframe(table)

    assert prefix == str(tmp_path)
    assert list(frame["name"]) == ["deep/one/lr=0.5", "deep/one/lr=0.75", "two/lr=0.5"]
    assert list(frame["lr"]) == [0.5, 0.75, 0.5]
    assert frame["loss"][0] == 1.0
    assert math.isnan(frame["loss"][1])
    # A message that is called as a parameter is another column.
    assert frame["messages_lr"][0] == 1
    assert {"created", "status", "purpose", "host", "user"} <= set(frame.columns)
    assert {name: list(column) for name, column in table.items()} == before


def test_data_frame_shows_what_is_chosen(tmp_path: Path) -> None:
    """Without `verbose` only what is asked for is shown, by regular expressions where they are given."""
    pytest.importorskip("pandas")
    _make_set(tmp_path / "one", [{"lr": 0.5}])
    manager = GlobalExperimentManager()
    table = manager.find(param_match=".*")

    frame, _ = manager.find_to_dataframe(table, False, display_status=True, display_meta="ho", display_params="o")

    assert set(frame.columns) == {"name", "status", "home", "host", "opt"}


# experiments in Python


def test_added_experiment_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """A class in a module of the working directory becomes a program, which is forgotten when it is removed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text(
        "from track.experiment import Experiment, param\n\n\nclass Hello(Experiment):\n    a = 'x'  # @p what\n\n"
        "    def run(self):\n        print('hello', self.a)\n"
    )

    path = GlobalExperimentManager().add_experiment("hello", "Hello")

    assert os.path.dirname(path) == str(place / "experiments")
    assert GlobalExperimentManager().python_experiments == {"Hello": path}
    assert python(path, "--execute", "--a", "you").stdout == "hello you\n"

    GlobalExperimentManager().remove_experiment("Hello")

    assert not os.path.exists(path)
    assert GlobalExperimentManager().python_experiments == {}


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [("no_such_module_here", "Hello", "there is no module"), ("json", "Hello", "has no 'Hello' in it")],
)
def test_what_is_not_there_is_not_added(module: str, name: str, reason: str, place: Path) -> None:
    """A module that cannot be found, or does not know the name, is one sentence; nothing is created."""
    with pytest.raises(InvalidCall, match=reason):
        GlobalExperimentManager().add_experiment(module, name)

    assert not place.exists()


def test_removing_an_unknown_experiment_names_the_known(tmp_path: Path) -> None:
    """The error says what there is."""
    with pytest.raises(InvalidCall, match="no experiment in Python is called 'Helo'"):
        GlobalExperimentManager().remove_experiment("Helo")
