"""Every example of the published documentation of runs and artifacts, with another import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from track import em
from track.em.artifact import Artifact
from track.em.containers import Params
from track.em.run import Run

pytest.importorskip("yaml")

CONFIG = """\
name: cnn_keras
hparams:
  batch_size: 32
  epochs: 1
  learning_rate: 0.001
  conv_channels1: 32
  conv_channels2: 64
  conv_channels3: 64
  conv_kernel_size: 3
  maxpool_size: 2
  linear_features1: 64
labels:
- Keras
description: Train a simple CNN model that classifies images of handwritten digits.
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, logged in to a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    em.login("file:store?user=user")
    yield
    em.logout()


def test_create_run() -> None:
    """Basic usage: a name and a folder."""
    run = em.create_run(name="cnn_keras", folder="cv/image-classification/mnist")

    assert isinstance(run, Run)
    assert Path(run.local).parent == Path(".em/runs").absolute()
    run.finish()


def test_initial_parameters() -> None:
    """Parameters, and the other word for the folder."""
    hparams = {
        "batch_size": 32, "epochs": 1, "learning_rate": 0.001, "conv_channels1": 32, "conv_channels2": 64,
        "conv_channels3": 64, "conv_kernel_size": 3, "maxpool_size": 2, "linear_features1": 64,
    }  # fmt: skip

    run = em.create_run(name="cnn_keras", hparams=hparams, folder_path="cv/image-classification/mnist")

    assert run.hparams.as_dict() == hparams
    run.finish()


def test_config_file() -> None:
    """Everything from a file."""
    Path("run_config.yaml").write_text(CONFIG)

    run = em.create_run(config_path="./run_config.yaml")

    assert (run.name, run.labels, run.hparams.learning_rate) == ("cnn_keras", ["Keras"], 0.001)
    assert run.description == "Train a simple CNN model that classifies images of handwritten digits."
    run.finish()


def test_parameters() -> None:
    """All at once, as items, as attributes."""
    run = em.create_run()
    run.update({
        "batch_size": 32,
        "epochs": 10,
    })  # fmt: skip
    run.params["batch_size"] = 32
    run.params.epochs = 10

    assert isinstance(run.hparams, Params)
    assert run.hparams == {"batch_size": 32, "epochs": 10}
    run.finish()


def test_create_artifact() -> None:
    """A name is enough."""
    tensorboard_artifact = em.create_artifact(name="tensorboard_logs")

    assert isinstance(tensorboard_artifact, Artifact)
    assert Path(tensorboard_artifact.local).parent == Path(".em/artifacts").absolute()


def test_add_dir() -> None:
    """Each way of saying where a directory goes."""
    Path("a").mkdir()
    Path("a/1.png").write_bytes(b"one")
    artifact, deeper = em.create_artifact("a"), em.create_artifact("b")
    artifact.add_dir(dir_path="a/")
    artifact.add_dir(dir_path="a")
    artifact.add_dir(dir_path="a/", obj_path="a")
    deeper.add_dir(dir_path="a/", obj_path="b/")
    deeper.add_dir(dir_path="a/", obj_path="b/a")

    assert Path(artifact.local, "a", "1.png").read_bytes() == b"one"
    assert Path(deeper.local, "b", "a", "1.png").read_bytes() == b"one"
    assert (len(artifact.objects), len(deeper.objects)) == (1, 1)


def test_add_file() -> None:
    """Each way of saying where a file goes."""
    Path("1.png").write_bytes(b"one")
    artifact = em.create_artifact("a")
    artifact.add_file(file_path="1.png")
    artifact.add_file(file_path="1.png", obj_path="1.png")
    artifact.add_file(file_path="1.png", obj_path="a/")
    artifact.add_file(file_path="1.png", obj_path="a/1.png")

    assert Path(artifact.local, "1.png").read_bytes() == Path(artifact.local, "a", "1.png").read_bytes() == b"one"
    assert len(artifact.objects) == 2


def test_load() -> None:
    """By a local path, and by one of the server."""
    run, artifact = em.create_run(name="cnn_keras"), em.create_artifact(name="tensorboard_logs")
    run.mark_output(artifact)
    run.finish()
    run.upload(folder="path/to", make_folder=True)

    assert em.load_run(path=f".em/runs/{run.alternative_name}").name == "cnn_keras"
    assert em.load_run(path="/user/path/to/cnn_keras").name == "cnn_keras"
    assert em.load_artifact(path=f".em/artifacts/{artifact.alternative_name}").name == "tensorboard_logs"
    assert em.load_artifact(path="/user/path/to/tensorboard_logs").name == "tensorboard_logs"


def test_upload() -> None:
    """One run, all artifacts below a directory, and one run into another folder."""
    run, artifact = em.create_run(name="cnn_keras"), em.create_artifact(name="tensorboard_logs")
    run.finish()

    em.upload(path=f".em/runs/{run.alternative_name}")
    em.upload(path=".em/artifacts")
    em.upload(path=f".em/runs/{run.alternative_name}", folder="image_classification/mnist", make_folder=True)

    loaded = [em.load_run(f"{folder}/cnn_keras") for folder in ("default", "image_classification/mnist")]
    assert {found.alternative_name for found in loaded} == {run.alternative_name}
    assert em.load_artifact("default/tensorboard_logs").alternative_name == artifact.alternative_name
