"""A run is a trial, too, in the configured store."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path

import pytest

import track
from track import TrackClient, em
from track.artifacts import find, gc, versions
from track.errors import CorruptArtifact, NotFound
from track.structure import Status


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configure a store, and give its URI."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"{request.param}:{tmp_path}/runs.db")
    return f"{request.param}:{tmp_path}/runs.db"


def test_run_is_a_trial(uri: str) -> None:
    """It has the run's name, parameters, labels, description, metrics, surroundings and end."""
    with em.create_run(name="cnn", hparams={"lr": 0.1}, labels=["Keras"], description="about") as run:
        run.log("training", {"loss": 0.5, "acc": math.nan}, step=100, epoch=1)
        run.log("val", {"loss": 0.25}, step=100)

    (trial,) = track.fetch(uri)
    assert (trial.name, trial.description, trial.status) == ("cnn", "about", Status.Completed)
    assert (trial.parameters, trial.tags) == ({"lr": 0.1}, {"Keras": True})
    metrics = {name: dict(series) for name, series in trial.metrics.items() if name != "runtime"}
    assert repr(metrics) == repr(
        {"train/loss": {100: 0.5}, "train/acc": {100: math.nan}, "train/epoch": {100: 1}, "val/loss": {100: 0.25}}
    )
    assert trial.metadata["run"]["local"] == run.local
    assert trial.metadata["platform"] == run.platform
    assert track.fetch(uri, {"metadata.alias.run": run.alternative_name}) == [trial]


def test_trial_is_kept_current(uri: str) -> None:
    """While the run goes on, the store has what was changed."""
    run = em.create_run(name="cnn", hparams={"lr": 0.1, "old": 1})
    artifact = em.create_artifact("model")
    run.hparams.update(lr=0.2, new=2)
    del run.hparams["old"]
    run.labels = ["a"]
    run.labels = ["b"]
    run.description = "other"
    run.mark_output(artifact)

    assert run.trial is not None
    run.trial.protocol.flush()
    (trial,) = track.fetch(uri)
    assert trial.status is Status.Running
    assert trial.parameters == {"lr": 0.2, "old": None, "new": 2}
    assert trial.tags == {"a": False, "b": True}
    assert trial.metadata["description"] == "other"
    assert trial.metadata["associations"] == run.associations
    run.finish()


def test_outputs_are_artifacts_of_the_trial(uri: str, tmp_path: Path) -> None:
    """What a run made is in the store beside the record, under its name, as it was at the end; versions are counted."""
    for content in (b"one", b"two"):
        (tmp_path / "model.bin").write_bytes(content)
        with em.create_run(name="cnn") as run:
            model = em.create_artifact("model")
            run.mark_output(model)
            model.add_file("model.bin", "weights/")

    old, new = track.fetch(uri)
    assert [entry["name"] for trial in (old, new) for entry in trial.artifacts] == ["model", "model"]
    for version, content in (("model:v0", b"one"), ("model:latest", b"two")):
        find(uri, version, "default").download(tmp_path / "again")
        assert (tmp_path / "again" / "weights" / "model.bin").read_bytes() == content


def test_output_is_there_once(uri: str, tmp_path: Path) -> None:
    """The trial refers to the files in the artifact's directory: its own store holds none of them."""
    (tmp_path / "model.bin").write_bytes(b"the only copy")
    with em.create_run(name="cnn") as run:
        model = em.create_artifact("model")
        model.add_file("model.bin", "weights/")
        model.add_reference("s3://bucket/data.tar")
        run.mark_output(model)
    (tmp_path / "model.bin").unlink()

    copies = [path for path in tmp_path.rglob("*") if path.is_file() and b"the only copy" in path.read_bytes()]
    found = find(uri, "model", "default")
    assert copies == [Path(model.local, "weights", "model.bin")]
    assert (found.digest, found.size, found.is_directory, found.is_reference) == (model.digest, 13, True, False)
    assert found.read_bytes("weights/model.bin") == b"the only copy"
    with found.open("weights/model.bin") as file:
        assert file.read() == b"the only copy"
    assert find(uri, f"model@{model.digest[:12]}", "default").uri == found.uri


def test_versions_are_the_same_in_both(uri: str, tmp_path: Path) -> None:
    """Two artifacts of the same files have one digest, and are one version of the trials; another one is the next."""
    made = []
    for content in (b"one", b"two", b"one"):
        (tmp_path / "model.bin").write_bytes(content)
        with em.create_run(name="cnn") as run:
            made.append(em.create_artifact("model"))
            run.mark_output(made[-1])
            made[-1].add_file("model.bin")

    assert [version.digest for version in versions(uri, "model", "default")] == [made[0].digest, made[1].digest]
    assert made[2].digest == made[0].digest


def test_output_that_was_changed(uri: str, tmp_path: Path) -> None:
    """What is not the file that the run made any more is not passed off as it."""
    (tmp_path / "model.bin").write_bytes(b"one")
    with em.create_run(name="cnn") as run:
        model = em.create_artifact("model")
        model.add_file("model.bin")
        run.mark_output(model)
    found = find(uri, "model", "default")

    Path(model.local, "model.bin").write_bytes(b"two")
    with pytest.raises(CorruptArtifact, match="is not what was stored"):
        found.download(tmp_path / "out")
    Path(model.local, "model.bin").unlink()
    with pytest.raises(NotFound, match=r"the content of 'model\.bin' is not at"):
        found.download(tmp_path / "out")
    shutil.rmtree(model.local)
    with pytest.raises(NotFound, match="was the folder moved or removed"):
        found.entries()


def test_clean_up_leaves_what_is_referred_to(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`gc` of the trial's store neither removes it nor warns of it."""
    (tmp_path / "model.bin").write_bytes(b"one")
    with em.create_run(name="cnn") as run:
        model = em.create_artifact("model")
        model.add_file("model.bin")
        run.mark_output(model)

    assert gc(uri) == ([], 0, 0)
    assert find(uri, "model", "default").read_bytes("model.bin") == b"one"
    assert "trials name content in" not in caplog.text


def test_output_is_stored_where_files_are_kept_elsewhere(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the trial keeps its files in a bucket or such, others find the model there."""
    pytest.importorskip("fsspec")
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"{uri}?artifacts=memory://em-{tmp_path.name}")
    (tmp_path / "model.bin").write_bytes(b"one")
    with em.create_run(name="cnn") as run:
        model = em.create_artifact("model")
        model.add_file("model.bin")
        run.mark_output(model)

    shutil.rmtree(model.local)
    assert find(uri, "model", "default").read_bytes("model.bin") == b"one"


def test_artifact_that_is_gone_does_not_stop_the_end(uri: str) -> None:
    """The run finishes, and its association stays."""
    with em.create_run(name="cnn") as run:
        model = em.create_artifact("model")
        run.mark_output(model)
        shutil.rmtree(model.local)

    (trial,) = track.fetch(uri)
    assert (trial.status, run.status, len(run.associations["outputs"])) == (Status.Completed, "Complete", 1)


def test_project_and_group_come_from_the_folder(uri: str) -> None:
    """The first part is the project, the rest the group; by default the project is `default`."""
    em.create_run(name="one", folder="cv/image-classification/mnist").finish()
    em.create_run(name="two").finish()

    one, two = track.fetch(uri)
    groups = TrackClient(uri).protocol.fetch_groups()
    assert (one.project_id, [group.name for group in groups]) == ("cv", ["image-classification/mnist"])
    assert groups[0].trials == {one.uid}
    assert (two.project_id, two.group_id) == ("default", None)


def test_failed_run(uri: str) -> None:
    """The trial has the exception."""
    with pytest.raises(ZeroDivisionError), em.create_run(name="cnn"):
        1 / 0  # noqa: B018

    (trial,) = track.fetch(uri)
    assert trial.status is Status.Exception
    assert trial.errors[0].startswith("ZeroDivisionError: division by zero")


def test_runs_of_one_configuration_are_several_trials(uri: str) -> None:
    """A run is named by its alternative name, not by its parameters."""
    for _ in range(2):
        em.create_run(name="cnn", hparams={"lr": 0.1}).finish()

    assert [trial.revision for trial in track.fetch(uri)] == [0, 0]


def test_loading_makes_no_trial(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a run changes nothing; going on with one goes on with its trial."""
    monkeypatch.delenv("TRACK_LOG_BACKEND_NAME")
    unknown = em.create_run(name="unknown")
    unknown.finish()
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    known = em.create_run(name="known")
    known.log("train", {"loss": 0.5}, step=1)
    assert known.trial is not None
    known.trial.protocol.flush()

    em.load_run(unknown.local)
    again = em.load_run(known.local)
    again.log("train", {"loss": 0.25}, step=2)
    again.finish()

    (trial,) = track.fetch(uri)
    assert dict(trial.metrics["train/loss"]) == {1: 0.5, 2: 0.25}
    assert trial.status is Status.Completed


def test_trial_that_was_chosen_by_another_program(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in a program that was started for a trial is that trial."""
    client = TrackClient(uri)
    client.set_project(name="sweep")
    chosen = client.new_trial(name="chosen", parameters={"lr": 0.1})
    monkeypatch.setenv("TRACK_PROJECT", "sweep")
    monkeypatch.setenv("TRACK_TRIAL_ID", chosen.trial.uid)

    with em.create_run(name="cnn") as run:
        run.log("train", {"loss": 0.5}, step=1)

    (trial,) = track.fetch(uri)
    assert (trial.name, dict(trial.metrics["train/loss"])) == ("chosen", {1: 0.5})


def test_without_a_store_nobody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run without a configured store has its files, and says nothing about stores."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)

    with em.create_run(name="cnn") as run:
        run.log("train", {"loss": 0.5}, step=1)

    assert not caplog.records
    assert [path.name for path in tmp_path.iterdir()] == [".em"]
