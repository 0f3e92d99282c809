"""Experiments: what they are given, where they are kept, how they run and end."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import track
from track import Experiment, TrackClient, fetch
from track.errors import IncompatibleYmlException
from track.experiment import folder
from track.experiment_utils import load_param, save_param
from track.parameters import param
from track.structure import CustomStatus, Status
from track.utils import machine

pytest.importorskip("yaml")


class Train(Experiment):
    """Train."""

    lr: float = 0.1  # @p the step
    layers: list[int] = [64, 10]  # @p widths  # noqa: RUF012
    name = "x"  # @p a name
    other = 3

    def run(self, factor: float = 1.0) -> float:
        """Train."""
        self.message({"loss": self.lr * factor})
        return self.lr * factor


class Failing(Experiment):
    """Fail."""

    error: Any = None  # @p what is raised

    def run(self) -> None:
        """Fail."""
        raise self.error


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configure a store, and give its URI."""
    uri = f"file:{tmp_path}/store.json"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    return uri


def _kill_self(number: int) -> None:
    """Send a signal to this process, and wait until it is delivered."""
    os.kill(os.getpid(), number)
    threading.Event().wait(5)


# what it is given


def test_defaults_are_copied_for_each() -> None:
    """No two experiments share a list, unless they are told to."""
    one, other, shared = Train(), Train(), Train(copy_params=False)
    one.layers.append(1)

    assert other.layers == Train.layers == [64, 10]
    assert shared.layers is Train.layers
    assert Train(None, "", False).layers is Train.layers


def test_keywords_and_updates_are_checked() -> None:
    """A parameter that does not exist, or is special, is an error that names the near one; nothing is changed."""
    experiment = Train(lr=0.5)

    for wrong in ({"lrr": 1}, {"lr": 1, "_status": "x"}, {"other": 1}, {"root": "x"}):
        with pytest.raises(ValueError, match="has no parameter"):
            experiment.update(wrong)
    with pytest.raises(ValueError, match="did you mean 'lr'"):
        Train(lrr=1)

    assert (experiment.lr, experiment.status) == (0.5, "default")


def test_keywords_win_over_init() -> None:
    """What is assigned in ``__init__`` gives way to what is given, and to what a subclass says."""

    class Made(Experiment):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.depth: int = 3  # @p levels

    class Deeper(Made):
        depth = 5

    class Own(Deeper):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.depth = 7  # @p own

    assert (Made().depth, Made(depth=4).depth) == (3, 4)
    assert (Deeper().depth, Deeper(depth=6).depth) == (5, 6)
    assert (Own().depth, Own(depth=8).depth) == (7, 8)


def test_init_of_a_subclass_need_not_call_ours() -> None:
    """An experiment that forgets ``super().__init__()`` is one all the same."""

    class Made(Experiment):
        a: int = 1  # @p one

        def __init__(self) -> None:
            self.b = 2  # @p two

    made = Made()
    made.register("runs/a")

    assert load_param("runs/a")["b"] == 2
    assert made.status == "registered"


@pytest.mark.parametrize(
    "name",
    [
        "root",
        "directory",
        "status",
        "purpose",
        "messages",
        "notes",
        "version",
        "user",
        "host",
        "created",
        "registered",
        "start",
        "stopped",
        "last",
    ],
)
def test_what_the_library_says_cannot_be_set(name: str) -> None:
    """Assigning it is an error, not ignored."""
    with pytest.raises(AttributeError):
        setattr(Train(), name, "x")


def test_what_is_returned_is_a_copy() -> None:
    """Changing messages, notes or version that were asked for changes nothing."""
    experiment = Train("runs/a")
    experiment.messages["x"] = 1
    experiment.notes.append("x")
    experiment.version["class"] = "x"

    assert (experiment.messages, experiment.notes, experiment.version["class"]) == ({}, [], "Train")


def test_parameters_stay_once_registered() -> None:
    """They can be changed before, and not afterwards; other attributes can be set at any time."""
    experiment = Train()
    experiment.lr = 1.0
    experiment.register("runs/a")

    with pytest.raises(AttributeError, match="'lr' is a parameter"):
        experiment.lr = 2.0
    with pytest.raises(ValueError, match="stay as they are"):
        experiment.update({"lr": 2.0})
    experiment.other = 4

    assert (experiment.lr, experiment.other) == (1.0, 4)


def test_help_names_special_parameters_too() -> None:
    """All lines of help are there."""
    helps = Train().get_param_helps()

    assert helps["lr"] == "lr: float=0.1 ~ the step"
    assert {
        "_root",
        "_status",
        "_purpose",
        "_messages",
        "_version",
        "_meta",
        "_user",
        "_host",
        "_notes",
        "_timestamps",
    } < {*helps}


def test_repr_lists_parameters() -> None:
    """Special values come first, then the parameters, indented."""
    assert repr(Train(lr=0.5)).splitlines() == [
        "root: None",
        "status: 'default'",
        "purpose: ''",
        "notes: []",
        "parameters:",
        "  lr: 0.5",
        "  layers: [64, 10]",
        "  name: 'x'",
    ]


# its folder


def test_registering_makes_a_folder() -> None:
    """``params.yml`` has the special keys in their order, then the parameters, with their help."""
    experiment = Train(lr=0.5)
    experiment.register("runs/a", purpose="to see")

    text = Path("runs/a/params.yml").read_text()
    found = load_param("runs/a")
    assert list(found) == [
        "_root",
        "_status",
        "_purpose",
        "_notes",
        "_user",
        "_host",
        "_timestamps",
        "_messages",
        "_version",
        "_meta",
        "lr",
        "layers",
        "name",
    ]
    assert found["_root"] == experiment.root == experiment.directory == os.path.abspath("runs/a")
    assert (found["_status"], found["_purpose"], found["_notes"], found["lr"]) == ("registered", "to see", None, 0.5)
    assert list(found["_timestamps"]) == ["created", "start", "stopped", "last", "registered"]
    assert found["_timestamps"]["registered"] == experiment.registered is not None
    assert found["_version"]["class"] == "Train"
    assert "lr: 0.5  # lr: float=0.1 ~ the step\n" in text


def test_folder_that_is_taken_gets_a_number() -> None:
    """Of one name there are as many as are allowed, then none."""
    roots = [os.path.basename(str(Train("runs/a").root)) for _ in range(3)]

    assert roots == ["a", "a_0", "a_1"]
    with pytest.raises(ValueError, match=r"already \(.*a_0 to .*a_1, too\)"):
        Train().register("runs/a", same_names=2)
    with pytest.raises(ValueError, match="already"):
        Train().register("runs/a", force=False)


def test_folder_without_an_experiment_is_taken() -> None:
    """A folder that somebody has made is the experiment's."""
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/data.txt").write_text("x")

    assert Train("runs/a").root == os.path.abspath("runs/a")


def test_link_joins_root_and_name() -> None:
    """A name is one folder, whatever is in it."""
    made = []
    for name in ("a=1__b=2", "x/../../y", "..", "$(touch owned)", "é" * 300, "a\nb\0c", ""):
        experiment = Train()
        experiment.link("runs", name)
        made.append(Path(str(experiment.root)))

    assert {path.parent for path in made} == {Path("runs").resolve()}
    assert made[0].name == "a=1__b=2"
    assert all(len(path.name.encode()) <= 200 for path in made)
    assert {path.name for path in Path("runs").iterdir()} == {path.name for path in made}


def test_registering_twice_is_an_error() -> None:
    """An experiment has one folder."""
    experiment = Train("runs/a")

    with pytest.raises(ValueError, match="registered already"):
        experiment.register("runs/b")
    assert not Path("runs/b").exists()


def test_unknown_arguments_of_register_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """They are accepted, as they always were."""
    Train().register("runs/a", headless=True)

    assert "register knows nothing of headless" in caplog.text


def test_a_store_that_cannot_be_used_leaves_nothing_half(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the trial cannot be made, the experiment is not registered, and can be, later."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "file:/proc/no/store.json")
    experiment = Train()

    with pytest.raises(ConnectionError):
        experiment.register("runs/a")
    assert (experiment.status, experiment.root) == ("default", None)

    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", store)
    experiment.register("runs/a")
    assert experiment.status == "registered"


# running


def test_a_run_is_recorded() -> None:
    """It starts, ends, and returns what `run` returns."""
    experiment = Train("runs/a")

    assert experiment(2.0) == 0.2
    found = load_param("runs/a")
    assert experiment.status == found["_status"] == "finished"
    assert experiment.messages == found["_messages"] == {"loss": 0.2}
    assert None not in found["_timestamps"].values()
    assert found["_meta"]["system"]["system"] == os.uname().sysname


def test_short_ones_measure_the_machine_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors, memory and disks are those of the second; variables are those of each beginning."""
    folder._measured.cache_clear()
    asked: list[None] = []

    def cpu(is_live: bool) -> dict[str, int]:
        asked.append(None)
        return {"total": len(asked)}

    monkeypatch.setattr(machine, "cpu", cpu)
    monkeypatch.setattr(folder, "_clock", lambda: 100.5)
    found = []
    for number in range(3):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(number))
        if number == 2:
            monkeypatch.setattr(folder, "_clock", lambda: 101.0)
        experiment = Train(f"runs/{number}")
        experiment()
        meta = load_param(f"runs/{number}")["_meta"]
        found.append((meta["cpu"]["total"], meta["environ"]["CUDA_VISIBLE_DEVICES"]))

    assert found == [(1, "0"), (1, "1"), (2, "2")]


def test_one_that_is_not_registered_does_not_run() -> None:
    """It has nowhere to write to."""
    with pytest.raises(ValueError, match="not registered"):
        Train()()
    with pytest.raises(NotImplementedError, match="define run"):
        Experiment("runs/a")()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "error"),
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(3), "error"),
        (SystemExit(0), "finished"),
        (SystemExit(143), "stopped"),
        (GeneratorExit(), "error"),
    ],
)
def test_an_exception_says_how_it_ended(store: str, error: BaseException, status: str) -> None:
    """The status is that of the trial, and the exception goes on."""
    experiment = Failing("runs/a", error=error)

    with pytest.raises(type(error)):
        experiment()

    assert experiment.status == load_param("runs/a")["_status"] == status


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", "stopped"), ("SIGINT", "stopped"), ("SIGUSR1", "timeout")])
def test_a_signal_says_how_it_ended(store: str, name: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals become exceptions of the block, and the handlers of before are back after it."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    number = getattr(signal, name)
    before = signal.getsignal(number)
    experiment = Train("runs/a")

    with pytest.raises((KeyboardInterrupt, SystemExit)), experiment:
        _kill_self(number)

    assert experiment.status == load_param("runs/a")["_status"] == status
    assert signal.getsignal(number) is before
    if status == "timeout":
        assert fetch(store)[0].status == CustomStatus("timeout", 204)


def test_a_job_whose_time_is_over_is_put_back(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under Slurm it is asked for again, unless that is switched off or refused."""
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    statuses = []

    for requeue in ("1", "0"):
        monkeypatch.setenv("TRACK_EXPERIMENT_REQUEUE", requeue)
        experiment = Train("runs/a")
        with pytest.raises(KeyboardInterrupt), experiment:
            _kill_self(signal.SIGUSR1)
        statuses.append(experiment.status)

    assert statuses == ["requeue", "timeout"]
    assert (tmp_path / "asked").read_text() == "requeue 42\n"


def test_time_is_over_inside_of_another_trial(store: str) -> None:
    """That the library notes the signal for a trial outside is no reason to die of it."""
    with TrackClient(store).new_trial(name="outside"):
        before = signal.getsignal(signal.SIGUSR1)
        experiment = Train("runs/a")
        with pytest.raises(KeyboardInterrupt), experiment:
            _kill_self(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) is before

    assert experiment.status == "timeout"


def test_a_handler_of_the_program_stays(store: str) -> None:
    """SIGUSR1 that a program uses for itself ends nothing."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with Train("runs/a") as experiment:
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert heard == [signal.SIGUSR1]
    assert experiment.status == "finished"


def test_runs_in_another_thread() -> None:
    """Handlers are for the main thread only; a run elsewhere goes without."""
    experiment = Train("runs/a")
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(experiment()))
    thread.start()
    thread.join()

    assert (found, experiment.status) == ([0.1], "finished")


def test_a_full_folder_does_not_stop_a_run(caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be written is said; the run goes on."""
    experiment = Train("runs/a")
    os.rename("runs/a", "runs/b")

    assert experiment() == 0.1
    assert "is not written" in caplog.text
    assert not Path("runs/a").exists()


# the trial


def test_the_trial_has_everything(store: str) -> None:
    """Parameters, status, version, purpose, place, messages, notes; numbers among the messages are metrics."""
    experiment = Train("runs/a", "to see", lr=0.5)
    with experiment:
        assert experiment.trial is not None
        experiment.trial.log_metrics(step=0, curve=1.0)
        Path("model.txt").write_text("weights")
        experiment.trial.log_file("model.txt")
        experiment.message({"best": 0.25, "text": "x", "yes": True, "none": None})
        experiment.note("one")
        experiment.note("two")
        experiment.note("one", remove=True)

    (trial,) = fetch(store)
    assert (trial.name, trial.project_id, trial.description, trial.status) == ("a", "Train", "to see", Status.Completed)
    assert trial.parameters == {"lr": 0.5, "layers": [64, 10], "name": "x"}
    assert trial.metadata["overrides"] == {"lr": 0.5}
    assert trial.metadata["path"] == experiment.root
    assert trial.metadata["version"]["class"] == "Train"
    assert trial.metadata["meta"]["host"] == experiment.host
    assert trial.metadata["notes"] == experiment.notes == load_param("runs/a")["_notes"] == ["two"]
    assert trial.metadata["messages.text"] == "x"
    assert trial.metrics["best"].val == 0.25
    assert dict(trial.metrics["curve"]) == {0: 1.0}
    assert [artifact["name"] for artifact in trial.artifacts] == ["model.txt"]
    assert load_param("runs/a")["_trial"] == trial.uid


def test_messages_are_found_by_query(store: str) -> None:
    """A message is a fact about a trial, which can be asked for."""
    for lr in (0.1, 0.5):
        Train(f"runs/{lr}", lr=lr)()

    found = fetch(store, {"metadata.messages.loss": {"$gt": 0.2}})

    assert [trial.name for trial in found] == ["0.5"]


def test_trials_of_a_set_are_in_its_store() -> None:
    """Where nothing is configured, the folder of a set has a store in the root of it."""
    Path("set").mkdir()
    Path("set/experiment.yml").write_text("root: x\n")
    Train("set/a")()
    Train("set/a")()

    trials = fetch("file:set/.track/report.json")
    client = TrackClient("file:set/.track/report.json")
    (group,) = client.protocol.fetch_groups({})
    assert [(trial.name, trial.status) for trial in trials] == [("a", Status.Completed), ("a_0", Status.Completed)]
    assert group.name == os.path.abspath("set")
    assert group.trials == {trial.uid for trial in trials}


def test_a_set_says_which_group_it_is(store: str) -> None:
    """Its file names the group and the project, also in a store that is configured."""
    Path("set/.track").mkdir(parents=True)
    Path("set/.track/set.json").write_text('{"uid": "abc", "name": "sweep", "project": "Digits"}')
    Train("set/a")()

    (group,) = TrackClient(store).protocol.fetch_groups({})
    assert (group.uid, group.name, group.project_id) == ("abc", "sweep", "Digits")
    assert not Path("set/.track/report.json").exists()


def test_without_a_store_the_folder_is_all(caplog: pytest.LogCaptureFixture) -> None:
    """A run says nothing of it, unless more is logged than messages."""
    with Train("runs/a") as experiment:
        experiment.message({"a": 1})
    assert not caplog.records
    assert sorted(os.listdir("runs/a")) == [".lock", "params.yml"]

    assert experiment.trial is not None
    experiment.trial.log_metadata(x=1)
    assert "nothing will be stored" in caplog.text


def test_the_current_trial_is_that_of_the_run(store: str) -> None:
    """What runs inside finds the trial, and trials that are begun inside have it as parent."""
    with Train("runs/a") as experiment:
        assert experiment.trial is not None
        assert track.structure.get_current_trial() == experiment.trial.trial
        with TrackClient(store).new_trial(name="inside"):
            pass

    inside = fetch(store, {"name": "inside"})[0]
    assert inside.metadata["parent"] == experiment.trial.trial.uid


def test_environment_of_another_trial_is_no_obstacle(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that another one has started, with a trial of its own, makes trials for its experiments."""
    monkeypatch.setenv("TRACK_PROJECT", "nowhere")
    monkeypatch.setenv("TRACK_TRIAL_ID", "ab_0")

    Train("runs/a")()

    assert [trial.name for trial in fetch(store)] == ["a"]


# loading


def test_a_file_becomes_the_experiment(store: str) -> None:
    """It has everything that the one had that wrote it, its status, its messages and its trial."""
    Train("runs/a", "to see", lr=0.5)()
    loaded = Train()
    loaded.from_yml("runs/a/params.yml")

    assert (loaded.lr, loaded.status, loaded.purpose, loaded.messages) == (0.5, "finished", "to see", {"loss": 0.5})
    assert loaded.trial is not None
    assert loaded.trial.trial.uid == fetch(store)[0].uid
    with pytest.raises(AttributeError):
        loaded.lr = 1.0
    loaded.note("later")
    assert fetch(store)[0].metadata["notes"] == load_param("runs/a")["_notes"] == ["later"]


def test_parameters_alone_are_copied() -> None:
    """With ``copy=True`` nothing else is taken."""
    Train("runs/a", "to see", lr=0.5)()
    loaded = Train()
    loaded.from_yml("runs/a/params.yml", copy=True)

    assert (loaded.lr, loaded.status, loaded.purpose, loaded.root) == (0.5, "default", "", None)


def test_a_folder_that_was_moved_is_where_it_is(store: str) -> None:
    """The root is that of the file, and the trial the same one."""
    Train("runs/a")()
    os.rename("runs", "moved")
    loaded = Train()
    loaded.from_yml("moved/a/params.yml")
    loaded.note("here")

    assert loaded.root == os.path.abspath("moved/a")
    assert len(fetch(store)) == 1
    assert not Path("runs").exists()


def test_parameters_that_were_edited_are_used_and_recorded(store: str) -> None:
    """A person may change the file of an experiment that waits; what begins with ``_`` is the library's."""
    Train("runs/a", "to see", lr=0.5)
    file = Path("runs/a/params.yml")
    file.write_text(file.read_text().replace("lr: 0.5", "lr: 2.0").replace("_messages: {}", "_messages: {loss: 1}"))
    loaded = Train()
    loaded.from_yml(file)

    assert loaded() == 2.0
    (trial,) = fetch(store)
    assert (trial.parameters["lr"], trial.metadata["overrides"]) == (2.0, {"lr": 2.0})
    assert load_param("runs/a")["lr"] == 2.0
    assert load_param("runs/a")["_messages"] == {"loss": 2.0}


def test_text_in_the_place_of_a_number_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What a person has edited into the file runs as it stands there, with a warning where it is no number."""
    Train("runs/a")
    file = Path("runs/a/params.yml")
    file.write_text(file.read_text().replace("lr: 0.1", "lr: 0.1x").replace("name: x", "name: y"))
    loaded = Train()

    loaded.from_yml("runs/a/params.yml")

    assert (loaded.lr, loaded.name) == ("0.1x", "y")
    assert [text for text in caplog.messages if "is a text" in text] == [
        "the parameter lr is a text in the file, '0.1x', and no float"
    ]


def test_an_experiment_is_taken_by_one_process(store: str) -> None:
    """Two that have loaded the same one: the second is told that it is taken, and nothing of it is changed."""
    Train("runs/a")
    one, other = Train(), Train()
    one.from_yml("runs/a/params.yml")
    other.from_yml("runs/a/params.yml")

    assert one() == 0.1
    with pytest.raises(ValueError, match="finished by now: another process has taken it"):
        other()

    assert fetch(store)[0].attempt == 1
    assert load_param("runs/a")["_status"] == "finished"


@pytest.mark.parametrize("status", ["submitted", "requeue"])
def test_what_waits_can_be_run(store: str, status: str) -> None:
    """An experiment that was handed to a scheduler, or put back by it, is taken as a registered one is."""
    made = Train("runs/a")
    assert made._folder is not None
    made._folder.set_status(status)
    loaded = Train()
    loaded.from_yml("runs/a/params.yml")

    assert loaded.status == status
    assert loaded() == 0.1
    assert loaded.status == "finished"


def test_running_again_keeps_messages(store: str, caplog: pytest.LogCaptureFixture) -> None:
    """The experiment in the folder is run again, with its own parameters, as the same trial."""
    Train("runs/a", lr=0.5)()
    again = Train(lr=0.7)
    again.register("runs/a", restart=True)

    assert (again.lr, again.status, again.messages) == (0.5, "registered", {"loss": 0.5})
    assert "keeps its own parameters; these were asked for: lr" in caplog.text
    assert fetch(store)[0].status == CustomStatus("registered", 1)
    assert again(4.0) == 2.0
    assert [trial.status for trial in fetch(store)] == [Status.Completed]
    assert load_param("runs/a")["_messages"] == {"loss": 2.0}


def test_running_again_what_runs_is_refused(store: str) -> None:
    """An experiment that another process runs stays as it is, and so does the one that asked."""
    with Train("runs/a", lr=0.5) as running:
        again = Train(lr=0.7)
        with pytest.raises(ValueError, match="is running"):
            again.register("runs/a", restart=True)
        assert (again.status, again.root, again.lr) == ("default", None, 0.7)
        again.register("runs/b")

    assert (running.status, again.status) == ("finished", "registered")


def test_trial_that_is_gone_is_made_again(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder whose trial is in another store gets one of the same identity, with what the file says."""
    Train("runs/a", lr=0.5)()
    uid = load_param("runs/a")["_trial"]
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/other.json")
    loaded = Train()
    loaded.from_yml("runs/a/params.yml")
    loaded.note("x")

    (trial,) = fetch(f"file:{tmp_path}/other.json")
    assert trial.uid == uid
    assert (trial.parameters["lr"], trial.metadata["messages.loss"], trial.status) == (0.5, 0.5, Status.Completed)


def test_files_of_earlier_versions_are_read() -> None:
    """Names, dates and versions of git, in each of their spellings; keys that nobody knows are passed over."""
    Path("old").mkdir()
    save_param(
        {
            "_root": "/x",
            "_name": "a:1",
            "_status": "finished",
            "_created": "06:58PM September 16, 2019",
            "_messages": None,
            "_version": {"module": "m", "class": "C", "git": {"local_path": "/r", "remote_url": "u", "hash": "80dcfd"}},
            "_notes": "one",
            "lr": 0.25,
            "gone": 3,
        },
        "old",
    )
    loaded = Train()
    loaded.from_yml("old/params.yml")

    assert (loaded.lr, loaded.status, loaded.created, loaded.notes) == (
        0.25,
        "finished",
        "06:58PM September 16, 2019",
        ["one"],
    )
    assert loaded.version["git"] == {"local": "/r", "remote": "u", "commit": "80dcfd"}
    save_param({"_version": {"path": "/p", "git_local": "/r", "git_commit": "8", "git_remote": None}}, "old")
    other = Train()
    other.from_yml("old/params.yml")
    assert other.version == {"path": "/p", "git": {"local": "/r", "commit": "8", "remote": None}}


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "1e-3",
        "012",
        "12:30:45",
        "a | b",
        "one\ntwo",
        "..",
        "$(touch owned)",
        "x" * 300,
        "",
        " ",
        "~",
        "é\x00",
        "#",
        "null",
    ],
)
def test_hostile_values_stay_what_they_are(store: str, value: str) -> None:
    """In the file, for whoever reads it, in the trial, and when the experiment is loaded."""
    yaml = pytest.importorskip("yaml")
    Train("runs/a", name=value, layers=[value])()
    loaded = Train()
    loaded.from_yml("runs/a/params.yml")

    text = Path("runs/a/params.yml").read_text()
    assert (loaded.name, loaded.layers) == (value, [value])
    assert yaml.safe_load(text)["name"] == load_param("runs/a")["name"] == value
    assert fetch(store)[0].parameters["name"] == value
    assert not Path("owned").exists()


def test_third_argument_of_another_init_is_its_own() -> None:
    """Whether defaults are copied is said by our third argument only."""

    class Made(Experiment):
        layers = [1]  # @p widths  # noqa: RUF012

        def __init__(self, a: int, b: int, c: int) -> None:
            super().__init__()

    assert Made(0, 0, 0).layers is not Made.layers


def test_keys_that_are_not_known_stay(store: str) -> None:
    """The parameters of an earlier version of a program are not read, and not removed, nor is what is said of them."""
    Path("old").mkdir()
    save_param({"_root": "/x", "_status": "registered", "_own": 1, "lr": 0.25, "gone": [1, 2], 3: "x"}, "old")
    written = Path("old/params.yml").read_text()
    Path("old/params.yml").write_text(written.replace("gone: [1, 2]", "gone: [1, 2]  # as it was"))
    loaded = Train()
    loaded.from_yml("old/params.yml")
    loaded()

    found = load_param("old")
    assert (found["_status"], found["lr"], found["gone"], found["_own"], found[3]) == ("finished", 0.25, [1, 2], 1, "x")
    assert found.comments["gone"] == "as it was"
    assert "gone" not in fetch(store)[0].parameters


def test_types_of_defaults_come_back() -> None:
    """A tuple, a path and a number that is whole in the file have the type of the default."""

    class Made(Experiment):
        shape: tuple[int, ...] = (1, 2)  # @p shape
        path = Path("a")  # @p path
        lr = 1.0  # @p step
        act = len  # @p function

    Made("runs/a", shape=(3,), path=Path("/b"), lr=2.0)
    loaded = Made()
    loaded.from_yml("runs/a/params.yml")

    assert (loaded.shape, loaded.path, loaded.lr, loaded.act) == ((3,), Path("/b"), 2.0, len)


def test_a_file_that_is_no_yaml_is_one_error() -> None:
    """Nothing of it is taken."""
    Path("params.yml").write_text("lr: !!python/object/apply:os.system [touch owned]\n")
    experiment = Train()

    with pytest.raises(IncompatibleYmlException, match="apply:os"):
        experiment.from_yml("params.yml")
    assert (experiment.lr, experiment.status) == (0.1, "default")
    assert not Path("owned").exists()


def test_defaults_are_written_and_read() -> None:
    """``defaults.yml`` has who, where, and the parameters; an experiment that reads it is not registered."""
    Train(lr=0.25).to_defaults("made")
    loaded = Train()
    loaded.from_yml("made/defaults.yml")

    found = load_param("made", "defaults.yml")
    assert list(found) == ["_user", "_host", "_version", "_meta", "lr", "layers", "name"]
    assert found.comments["lr"] == "lr: float=0.1 ~ the step"
    assert (loaded.lr, loaded.status, loaded.root) == (0.25, "default", None)


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_defaults_are_those_of_one_that_is_not_registered(kind: type[Exception]) -> None:
    """Otherwise it is an error, of both kinds that programs expect."""
    with pytest.raises(kind, match="not registered"):
        Train("runs/a").to_defaults("made")
    with pytest.raises(kind, match="not registered"):
        Train("runs/b").to_root("made")


# in other processes


def test_a_copy_is_the_same_experiment(store: str) -> None:
    """Pickled, as for a worker that is spawned, it finds its folder and its trial."""
    experiment = Train("runs/a", lr=0.5)

    for other in (pickle.loads(pickle.dumps(experiment)), copy.deepcopy(experiment)):
        other.message({"from": "there"})
        assert (other.lr, other.status, other.root) == (0.5, "registered", experiment.root)

    assert fetch(store)[0].metadata["messages.from"] == "there"


def test_a_parameter_may_have_the_name_of_a_property() -> None:
    """``user`` and ``host`` are names that people use."""

    class Made(Experiment):
        user: str = "ann"  # @p whose
        host: str = param("here", "where")

        def run(self) -> str:
            return self.user

    made = Made("runs/a", user="ben")

    assert made() == "ben"
    assert load_param("runs/a")["user"] == "ben"


def test_warnings_are_none(store: str, caplog: pytest.LogCaptureFixture) -> None:
    """An ordinary run says nothing."""
    with caplog.at_level(logging.INFO):
        Train("runs/a")()

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
