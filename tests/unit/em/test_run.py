"""`track.em.Run`: its files, its life, and its data."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.children import printed_by, room_for
from tests.children import run as run_child
from track import em
from track.em.environment import git_facts
from track.em.folders import make_directory
from track.em.metrics import MetricsFile, read_items
from track.em.run import Run
from track.errors import NothingThere

yaml = pytest.importorskip("yaml")


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, and leave standard output to pytest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")


@pytest.fixture
def run() -> Any:
    """Give a run that goes on."""
    run = em.create_run(name="cnn", hparams={"lr": 0.1}, labels=["Keras"], description="about")
    yield run
    if run.status == "Running":
        run.finish()


def _snapshot(folder: str) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


class TestFolders:
    """Where runs are, and how their folders are called."""

    def test_default_folder(self, run: Run, tmp_path: Path) -> None:
        """It is `.em/runs` in the working directory, and the name tells when it was made."""
        assert Path(run.local).parent == tmp_path / ".em" / "runs"
        assert re.fullmatch(r"cnn_\d{6}_\d{6}_[a-z0-9]{6}", run.alternative_name)
        assert os.path.basename(run.local) == run.alternative_name

    def test_environment_is_read_at_each_creation(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`EM_RUN_PARENT_DIR` chooses another folder, now."""
        monkeypatch.setenv("EM_RUN_PARENT_DIR", str(tmp_path / "elsewhere"))

        with em.create_run() as run:
            assert Path(run.local).parent == tmp_path / "elsewhere"
        assert run.name == "default"

    @pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a\0b", "..", ".hidden", "a\nb", "x" * 201])
    def test_name_that_cannot_be_a_folder(self, tmp_path: Path, name: str) -> None:
        """It is refused, and nothing is made."""
        with pytest.raises(ValueError, match="name"):
            em.create_run(name=name)
        assert list(tmp_path.iterdir()) == []

    def test_clash_of_names_is_tried_again(self, tmp_path: Path) -> None:
        """A folder that is there already belongs to somebody else."""
        names = iter(["same", "same", "other"])

        folders = [make_directory(str(tmp_path), "a", lambda name: next(names)) for _ in range(2)]

        assert [os.path.basename(folder) for folder in folders] == ["same", "other"]

    def test_files(self, run: Run) -> None:
        """Each part is a file; the table of contents has those that there are."""
        run.log("train", {"loss": 0.5}, step=1)
        run.log("a/b", {"loss": 0.5}, step=1)
        run.log("Train", {"loss": 0.5}, step=1)

        found = {str(path.relative_to(run.local)) for path in Path(run.local).rglob("*") if path.is_file()}
        index = yaml.safe_load(Path(run.local, "index.yaml").read_text())
        metrics = {"train": "metrics/train.yaml", "a/b": "metrics/a%2Fb.yaml", "Train": "metrics/Train-2.yaml"}
        parts = {"hyperparameters": "hyperparameters.yaml", "platform": "platform.yaml", "git": "git.yaml"}
        assert index == {**parts, "metrics": metrics}
        assert found == {"metadata.yaml", "index.yaml", *parts.values(), *metrics.values()}

    def test_any_yaml_reader_sees_the_run(self, run: Run) -> None:
        """PyYAML's safe loader finds what was logged."""
        run.hparams.epochs = 3
        run.log("train", {"loss": 1e-07, "nan": math.nan}, step=500, epoch=1)

        files = {name: yaml.safe_load(Path(run.local, name).read_text()) for name in ("metadata.yaml",
                 "hyperparameters.yaml", "metrics/train.yaml")}  # fmt: skip
        assert files["hyperparameters.yaml"] == {"lr": 0.1, "epochs": 3}
        assert files["metadata.yaml"]["labels"] == ["Keras"]
        (item,) = files["metrics/train.yaml"]
        assert repr(item["value"]) == "{'loss': 1e-07, 'nan': nan}"
        assert (item["sequence"]["step"], item["sequence"]["epoch"]) == (500, 1)


class TestLog:
    """`Run.log`."""

    @pytest.mark.parametrize(
        ("kinds", "name"),
        [
            (("train", "training"), "train"),
            (("val", "validate", "validation"), "val"),
            (("test", "testing", "eval", "evaluate", "evaluation"), "test"),
            (("Training", ), "Training"),
            (("my type", ), "my type"),
        ],
    )  # fmt: skip
    def test_types(self, run: Run, kinds: tuple[str, ...], name: str) -> None:
        """Words for the same are one type; any other word is its own."""
        for step, kind in enumerate(kinds):
            run.log(kind, {"loss": 0.5}, step)

        assert [item["sequence"]["step"] for item in run.metrics[name]] == list(range(len(kinds)))
        assert list(run.metrics) == [name]

    def test_item(self, run: Run) -> None:
        """It has values and, in its sequence, step, epoch when given, and time with offset."""
        run.log(type="train", metrics={"loss": 0.5, "acc": 1}, step=500, epoch=1)
        run.log("train", {"loss": 0.25}, 500)

        first, second = run.metrics["train"]
        assert first["value"] == {"loss": 0.5, "acc": 1.0}
        assert {**first["sequence"], "timestamp": None} == {"step": 500, "epoch": 1, "timestamp": None}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", first["sequence"]["timestamp"])
        assert second["value"] == {"loss": 0.25}
        assert "epoch" not in second["sequence"]

    @pytest.mark.parametrize(
        "value", [0.1, -0.5, 0.0, -0.0, 1e-05, 1e300, 5e-324, 1e16, 9999999999999998.0, math.nan, math.inf, 3, True]
    )
    def test_any_number_comes_back_exactly(self, run: Run, value: float) -> None:
        """Whatever its size, as a float."""
        run.log("train", {"x": value}, step=1)

        assert repr(run.metrics["train"][0]["value"]["x"]) == repr(float(value))

    @pytest.mark.parametrize("name", ["a b", "a%d", '"', "é\u2028", "", "a: b", "x" * 100])
    def test_any_name(self, run: Run, name: str) -> None:
        """A metric may be called anything."""
        run.log("train", {name: 0.5}, step=1)

        assert run.metrics["train"][0]["value"] == {name: 0.5}
        assert yaml.safe_load(Path(run.local, "metrics", "train.yaml").read_bytes())[0]["value"] == {name: 0.5}

    def test_arrays_of_one_element(self, run: Run) -> None:
        """Scalars, arrays and tensors with one element are numbers."""
        numpy = pytest.importorskip("numpy")
        tensor = SimpleNamespace(shape=(1, 1), numpy=lambda: numpy.float32(0.5))

        run.log("train", {"a": numpy.float32(0.25), "b": numpy.array([[2]]), "c": tensor}, step=numpy.int64(3))

        assert run.metrics["train"][0]["value"] == {"a": 0.25, "b": 2.0, "c": 0.5}
        assert run.metrics["train"][0]["sequence"]["step"] == 3

    @pytest.mark.parametrize("bad", ["0.5", None, [0.5], 1j])
    def test_what_is_no_number(self, run: Run, bad: Any) -> None:
        """It is refused, and nothing is recorded."""
        with pytest.raises(TypeError, match="metric 'bad' is of type"):
            run.log("train", {"good": 0.5, "bad": bad}, step=1)
        assert run.metrics.get("train", []) == []

    @pytest.mark.parametrize(("step", "epoch"), [("1", None), (1.5, None), (None, None), (1, "2"), (1, 0.5)])
    def test_steps_are_whole_numbers(self, run: Run, step: Any, epoch: Any) -> None:
        """Anything else is refused."""
        with pytest.raises(TypeError, match="must be a whole number"):
            run.log("train", {"loss": 0.5}, step=step, epoch=epoch)

    def test_type_must_be_text(self, run: Run) -> None:
        """A step in its place is an error that says so."""
        with pytest.raises(TypeError, match="the type of metrics is a str, not int"):
            run.log(1, {"loss": 0.5}, 1)  # type: ignore[arg-type]

    def test_threads(self, run: Run) -> None:
        """Items of several threads do not mix."""

        def log(thread: int) -> None:
            for step in range(200):
                run.log("train", {"thread": float(thread)}, step=step)

        threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        steps = {number: [] for number in range(4)}
        for item in run.metrics["train"]:
            steps[item["value"]["thread"]].append(item["sequence"]["step"])
        assert steps == {number: list(range(200)) for number in range(4)}

    def test_after_the_end(self, run: Run) -> None:
        """A run that has finished takes no more."""
        run.log("train", {"loss": 0.5}, step=1)
        run.finish()

        with pytest.raises(RuntimeError, match="has ended"):
            run.log("train", {"loss": 0.5}, step=2)
        with pytest.raises(RuntimeError, match="has ended"):
            run.log("val", {"loss": 0.5}, step=2)
        assert len(run.metrics["train"]) == 1


class TestFileOfMetrics:
    """What happens to the file between calls."""

    def test_torn_item_does_not_exist(self, tmp_path: Path) -> None:
        """A process that was killed in the middle of a write loses that item only."""
        path = str(tmp_path / "train.yaml")
        MetricsFile(path).append({"loss": 0.5}, 1, None)
        with open(path, "ab") as file:
            file.write(b'- {"value": {"lo')

        assert [item["sequence"]["step"] for item in read_items(path)] == [1]
        MetricsFile(path).append({"loss": 0.25}, 2, None)
        assert [item["sequence"]["step"] for item in yaml.safe_load(Path(path).read_bytes())] == [1, 2]

    def test_full_disk(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Items wait in memory, half written ones too, and are in order in the file when there is room."""
        path = tmp_path / "train.yaml"

        def log() -> None:
            metrics = MetricsFile(str(path))
            metrics.append({"loss": 0.5}, 0, None)
            with room_for(path, 30):
                for step in range(1, 6):
                    metrics.append({"loss": 0.5}, step, None)
                assert metrics.unsaved() == 5
            assert metrics.unsaved() == 0
            assert caplog.text.count("File too large; metrics wait in memory") == 1

        assert run_child(log) == 0
        assert [item["sequence"]["step"] for item in yaml.safe_load(path.read_bytes())] == list(range(6))

    def test_file_of_another_program(self, tmp_path: Path) -> None:
        """Block style is read, too."""
        path = tmp_path / "train.yaml"
        path.write_text("- value:\n    loss: 0.5\n  sequence:\n    step: 1\n")

        assert read_items(str(path)) == [{"value": {"loss": 0.5}, "sequence": {"step": 1}}]


class TestLife:
    """How a run begins and ends."""

    def test_beginning(self, run: Run) -> None:
        """It runs from the start; nobody can set that."""
        assert (run.status, run.end_timestamp, run.name, run.description) == ("Running", None, "cnn", "about")
        assert (run.associations, run.remote) == ({"inputs": [], "outputs": []}, [])
        with pytest.raises(AttributeError):
            run.status = "Complete"  # type: ignore[misc]

    def test_finish(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """It is complete, in the file too; a second call only warns; arguments are taken."""
        run.finish("whatever", key=1)
        before = _snapshot(run.local)
        run.finish()

        assert run.status == "Complete"
        assert run.end_timestamp >= run.start_timestamp
        assert em.load_run(run.local).status == "Complete"
        assert _snapshot(run.local) == before
        assert "has finished already" in caplog.text

    def test_block_ends_it(self) -> None:
        """Leaving the block finishes it; an exception passes through, and makes it failed."""
        with em.create_run() as well:
            pass
        with pytest.raises(ZeroDivisionError), em.create_run() as badly:
            1 / 0  # noqa: B018

        assert (well.status, badly.status) == ("Complete", "Failed")

    def test_labels_and_description_can_change(self, run: Run) -> None:
        """Assigning is enough."""
        run.labels = ["a", "b"]
        run.description = "other"

        loaded = em.load_run(run.local)
        assert (loaded.labels, loaded.description) == (["a", "b"], "other")

    def test_parameters_of_the_published_example(self, run: Run) -> None:
        """`run.update`, `run.params` and `run.hparams` are the same parameters."""
        run.update({"batch_size": 32, "epochs": 10})
        run.params["batch_size"] = 64
        run.params.epochs = 1

        assert run.hparams.as_dict() == {"lr": 0.1, "batch_size": 64, "epochs": 1}
        assert em.load_run(run.local).hparams == run.hparams

    def test_parameter_that_json_cannot_hold(self, run: Run) -> None:
        """It is converted as a trial's parameters are, and the file has what the run has."""
        run.hparams.update(model=range(3), digest=b"x", seed=10**5000)

        assert em.load_run(run.local).hparams == run.hparams.as_dict()
        assert run.hparams.as_dict() == {"lr": 0.1, "model": [0, 1, 2], "digest": "eA==", "seed": hex(10**5000)}

    def test_platform_and_git(self, run: Run) -> None:
        """They say where it ran, and are copies."""
        run.platform["hostname"] = "x"

        assert run.platform["hostname"] not in ("", "x")
        assert run.platform["python"] == ".".join(map(str, sys.version_info[:3]))
        assert set(run.git) in (set(), {"local_path", "remote_url", "branch", "commit", "is_dirty", "entrypoint"})

    def test_logged_beyond_the_working_directory(self, run: Run, tmp_path: Path) -> None:
        """A program that goes elsewhere goes on logging to the same folder."""
        (tmp_path / "elsewhere").mkdir()
        os.chdir(tmp_path / "elsewhere")

        run.log("train", {"loss": 0.5}, step=1)
        run.hparams.a = 1

        assert list(Path.cwd().iterdir()) == []


class TestOutput:
    """What the program prints is kept."""

    def test_output_is_kept_until_the_end(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        """Several runs have it each; standard output has it too, and is given back."""
        monkeypatch.setenv("EM_CAPTURE_STDOUT", "1")
        before = sys.stdout
        one = em.create_run(name="one")
        print("first é")
        two = em.create_run(name="two")
        print("both")
        one.finish()
        print("second")
        two.finish()
        print("nobody")

        assert Path(one.local, "stdout.log").read_text(encoding="utf-8") == "first é\nboth\n"
        assert Path(two.local, "stdout.log").read_text(encoding="utf-8") == "both\nsecond\n"
        assert capsys.readouterr().out == "first é\nboth\nsecond\nnobody\n"
        assert sys.stdout is before
        assert yaml.safe_load(Path(one.local, "index.yaml").read_text())["log"] == "stdout.log"

    def test_given_back_after_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An exception does not leave the tee behind."""
        monkeypatch.setenv("EM_CAPTURE_STDOUT", "1")
        before = sys.stdout

        with pytest.raises(ZeroDivisionError), em.create_run():
            1 / 0  # noqa: B018

        assert sys.stdout is before


class TestLoad:
    """`load_run` from a directory."""

    def test_loading_changes_nothing(self, run: Run) -> None:
        """No file, no time, no status; and the data are the same."""
        run.log("train", {"loss": 0.5}, step=1)
        run.finish()
        before = _snapshot(run.local)

        loaded = em.load_run(run.local)

        assert loaded.to_dict() == run.to_dict()
        assert _snapshot(run.local) == before

    def test_going_on_with_a_run(self, run: Run) -> None:
        """A run that was not finished can be logged to by another process, and finished."""
        run.log("train", {"loss": 0.5}, step=1)
        again = em.load_run(run.local)
        again.log("training", {"loss": 0.25}, step=2)
        again.finish()

        assert [item["value"]["loss"] for item in em.load_run(run.local).metrics["train"]] == [0.5, 0.25]
        assert em.load_run(run.local).status == "Complete"

    def test_nothing_there(self, tmp_path: Path) -> None:
        """The error says what is missing, and is a RuntimeError."""
        artifact = em.create_artifact("a")

        with pytest.raises(NothingThere, match="no directory of this machine"):
            em.load_run("nowhere")
        with pytest.raises(RuntimeError, match=r"holds no run: there is no metadata\.yaml"):
            em.load_run(artifact.local)
        with pytest.raises(RuntimeError, match="holds no artifact"):
            em.load_artifact(str(tmp_path))

    def test_damaged_file_is_named(self, run: Run) -> None:
        """A run whose files are no YAML is not loaded as something else."""
        Path(run.local, "metadata.yaml").write_text("[")

        with pytest.raises(ValueError, match=r"metadata\.yaml cannot be read"):
            em.load_run(run.local)

    def test_table_of_contents_leads_nowhere_else(self, run: Run) -> None:
        """A path out of the folder of metrics is not followed."""
        Path(run.local, "index.yaml").write_text('metrics: {"train": "../../secret.yaml"}\n')

        with pytest.raises(ValueError, match="not in their folder"):
            _ = em.load_run(run.local).metrics


class TestConfig:
    """`create_run` from a file."""

    def test_file_wins(self, tmp_path: Path) -> None:
        """What the file says comes before the arguments; what it does not say stays."""
        (tmp_path / "run_config.yaml").write_text(
            "kind: run\nname: cnn_keras\nhparams:\n  batch_size: 32\nlabels:\n- Keras\nfolder: a/b\n"
        )

        with em.create_run("run_config.yaml", name="other", description="mine", hparams={"x": 1}) as run:
            assert (run.name, run.labels, run.description) == ("cnn_keras", ["Keras"], "mine")
            assert run.hparams == {"batch_size": 32}

    def test_unknown_key(self, tmp_path: Path) -> None:
        """It is named."""
        (tmp_path / "run_config.yaml").write_text("nmae: x\n")

        with pytest.raises(ValueError, match="unknown key 'nmae'"):
            em.create_run(config_path="run_config.yaml")

    def test_missing_file(self) -> None:
        """It is no default run."""
        with pytest.raises(FileNotFoundError):
            em.create_run("nowhere.yaml")

    def test_unknown_strategy(self) -> None:
        """It is an error, uploading or not."""
        with pytest.raises(ValueError, match="'old' must be one of skip, error, new, replace"):
            em.create_run(conflict_strategy="old")
        assert not os.path.exists(".em")


class TestData:
    """`to_dict`, `parse_from_dict` and direct construction."""

    def test_round_trip(self, run: Run) -> None:
        """The data are JSON, and another object becomes the same run; what it does not know is kept."""
        run.log("train", {"loss": 0.5}, step=1)
        run.finish()
        data = {**json.loads(json.dumps(run.to_dict())), "of the future": 1}
        data["metadata"]["team"] = "vision"

        other = Run({"name": "other"})
        other.parse_from_dict(data)

        assert other.to_dict() == data
        assert em.load_run(run.local).to_dict()["metadata"]["team"] == "vision"

    def test_data_of_another_machine(self, run: Run, tmp_path: Path) -> None:
        """A directory that is not here is made, with all files."""
        run.log("train", {"loss": 0.5, "nan": math.nan}, step=1)
        run.finish()
        data = run.to_dict()
        data["metadata"] |= {"local": "/not/here", "alternative_name": "cnn_220823_194728_4e48t2"}

        made = Run(**{key: data[key] for key in ("metadata", "hparams", "metrics", "platform", "git")})

        assert made.local == str(tmp_path / ".em" / "runs" / "cnn_220823_194728_4e48t2")
        assert repr(em.load_run(made.local).metrics) == repr(run.metrics)
        assert em.load_run(made.local).status == "Complete"

    def test_data_are_copies(self, run: Run) -> None:
        """Changing them changes nothing."""
        data = run.to_dict()
        data["hparams"]["lr"] = 2
        data["metadata"]["labels"].append("x")

        assert (run.hparams.lr, run.labels) == (0.1, ["Keras"])

    @pytest.mark.parametrize("data", [{}, {"type": "Artifact", "metadata": {"name": "a"}}, {"metadata": {}}])
    def test_what_is_no_run(self, run: Run, data: dict[str, Any]) -> None:
        """Missing parts are named."""
        with pytest.raises(ValueError, match=r"needs 'metadata'|need a 'name'"):
            run.parse_from_dict(data)

    def test_no_name(self) -> None:
        """A run needs one."""
        with pytest.raises(ValueError, match="need a 'name'"):
            Run({})


class TestLineage:
    """`mark_input` and `mark_output`."""

    def test_artifacts(self, run: Run) -> None:
        """They are noted once each, in the file too."""
        data, model = em.create_artifact("data"), em.create_artifact("model")
        run.mark_input(data)
        run.mark_input(em.load_artifact(data.local))
        run.mark_output(model)

        found = em.load_run(run.local).associations
        assert [entry["alternative_name"] for entry in found["inputs"]] == [data.alternative_name]
        assert found["outputs"] == [
            {"type": "Artifact", "name": "model", "alternative_name": model.alternative_name, "local": model.local}
        ]

    def test_not_on_both_sides(self, run: Run) -> None:
        """What goes in does not come out."""
        artifact = em.create_artifact("data")
        run.mark_input(artifact)

        with pytest.raises(ValueError, match="is among the inputs of this run already"):
            run.mark_output(artifact)

    def test_resources_of_other_systems(self, run: Run) -> None:
        """What has a kind and a path, or id, is accepted as it is."""

        class Dataset:
            path, id = "/ann/mnist", 7

        run.mark_input(Dataset())
        run.mark_input(SimpleNamespace(kind="commit", id="abc"))

        assert run.associations["inputs"] == [
            {"type": "Dataset", "name": "/ann/mnist", "path": "/ann/mnist", "id": "7"},
            {"type": "Commit", "name": "abc", "id": "abc"},
        ]

    @pytest.mark.parametrize("thing", ["path/to/file", None, 3, SimpleNamespace(kind="Model")])
    def test_anything_else(self, run: Run, thing: Any) -> None:
        """It is refused."""
        with pytest.raises(TypeError, match="cannot be marked"):
            run.mark_output(thing)


def test_import_writes_nothing(tmp_path: Path) -> None:
    """No folder appears, and no heavy package is imported."""
    script = "import sys, track.em; print(sorted({'fsspec', 'numpy', 'yaml', 's3fs', 'requests'} & set(sys.modules)))"
    said = printed_by(script, cwd=tmp_path)

    assert said == "[]"
    assert list(tmp_path.iterdir()) == []


def test_git_facts(tmp_path: Path) -> None:
    """Branch, commit and remote of a repository; credentials are cut out."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "-q", "-b", "work"],
        ["remote", "add", "origin", "https://ann:secret@example.org/x.git"],
        [*identity, "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    on_branch = git_facts(str(tmp_path))
    subprocess.run(["git", "-C", tmp_path, "checkout", "-q", "--detach"], check=True, capture_output=True)
    detached = git_facts(str(tmp_path))

    assert (on_branch["branch"], detached["branch"]) == ("work", None)
    assert len(on_branch["commit"]) == 40
    assert (on_branch["remote_url"], on_branch["is_dirty"]) == ("https://example.org/x.git", False)
