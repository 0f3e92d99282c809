"""Uploading runs and artifacts, now or in the background, and loading them on another machine."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from track import em
from track.em.session import current_store
from track.em.uploader import Uploader
from track.errors import FileChanged, NothingThere, NotLoggedIn, UploadConflict, UploadFailed

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a directory with a file, and log out at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    Path("1.png").write_bytes(b"one")
    yield
    if _is_logged_in():
        em.logout()


def _is_logged_in() -> bool:
    try:
        return bool(current_store())
    except NotLoggedIn:
        return False


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Log in to a store as ann, and give its URL."""
    url = f"file://{tmp_path}/store"
    if request.param == "s3":
        pytest.importorskip("s3fs")
        url = f"s3://{request.getfixturevalue('moto_bucket')}/prefix"
    em.login(ais_host=f"{url}?user=ann")
    return url


def _finished_run(name: str = "cnn") -> em.Run:
    """Return a run that read an artifact, made another, and logged something."""
    run = em.create_run(name=name, hparams={"lr": 0.1}, labels=["x"])
    data, model = em.create_artifact("data"), em.create_artifact("model")
    data.add_reference("s3://bucket/data.tar")
    model.add_file("1.png", "weights/")
    run.mark_input(data)
    run.mark_output(model)
    run.log("train", {"loss": 0.5}, step=1)
    run.finish()
    return run


def _on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what is here."""
    shutil.rmtree(".em")
    name = f"other-{next(_numbers)}"
    Path(name).mkdir()
    monkeypatch.chdir(name)


class TestRuns:
    """`Run.upload` and `load_run`."""

    def test_run_with_its_artifacts(self, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """On another machine there is the same run, and the artifacts that it is associated with."""
        run = _finished_run()
        run.upload(folder="cv/mnist", make_folder=True)
        before = run.to_dict()
        _on_another_machine(monkeypatch)

        loaded = em.load_run("cv/mnist/cnn")

        after = loaded.to_dict()
        for data in (before, after):
            del data["metadata"]["local"], data["metadata"]["remote"]
        assert after == before
        (model,) = loaded.associations["outputs"]
        artifact = em.load_artifact(model["path"])
        assert (artifact.name, artifact.alternative_name) == ("model", model["alternative_name"])
        with artifact.open("weights/1.png") as file:
            assert file.read() == b"one"
        (data,) = em.load_artifact("/ann/cv/mnist/data").objects
        assert data["reference"] == "s3://bucket/data.tar"

    def test_history(self, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Uploads and downloads are remembered: where, what and when."""
        run = _finished_run()
        run.upload()
        (entry,) = em.load_run(run.local).remote
        assert (entry["path"], entry["action"]) == ("/ann/default/cnn", "upload")
        assert entry["host"].endswith(store.removeprefix("file:"))
        assert entry.keys() == {"host", "path", "id", "action", "timestamp"}

        _on_another_machine(monkeypatch)
        loaded = em.load_run("default/cnn")

        assert [entry["action"] for entry in loaded.remote][-1] == "download"
        assert loaded.remote[-1]["id"] == entry["id"]

    def test_artifact_is_uploaded_once(self, store: str) -> None:
        """An artifact that is there as it is now is not uploaded again; one that has changed is."""
        run = _finished_run()
        run.upload()
        run.upload()
        model = em.load_artifact(run.associations["outputs"][0]["local"])
        assert len(model.remote) == 1

        model.add_file("1.png", "more")
        run.upload()

        assert len(em.load_artifact(model.local).remote) == 2
        assert [node.record["name"] for node in current_store().children("default")] == ["cnn", "data", "model"]
        found = current_store().find("/ann/default/model")
        assert found is not None
        assert {"more", "weights/1.png"} <= {file["name"] for file in found.files}

    def test_same_run_again_takes_its_place(self, store: str) -> None:
        """Whatever the strategy."""
        run = em.create_run(name="cnn")
        run.upload(conflict_strategy="error")
        run.log("train", {"loss": 0.5}, step=1)
        run.finish()
        run.upload(conflict_strategy="error")

        (node,) = current_store().children("default")
        assert "metrics/train.yaml" in {file["name"] for file in node.files}

    def test_strategies(self, store: str, caplog: pytest.LogCaptureFixture) -> None:
        """Skip leaves no trace, error raises, new takes the alternative name, replace replaces."""
        for _ in range(3):
            run = em.create_run(name="cnn")
            run.finish()
            run.upload(conflict_strategy="replace")
        skipped = em.create_run(name="cnn")
        skipped.finish()

        caplog.set_level("INFO")
        assert skipped.upload(conflict_strategy="skip") is None
        assert (skipped.remote, "the name is taken" in caplog.text) == ([], True)
        with pytest.raises(UploadConflict, match="is taken by a Run"):
            skipped.upload(conflict_strategy="error")
        skipped.upload()

        names = [node.path for node in current_store().children("default")]
        assert names == ["/ann/default/cnn", f"/ann/default/{skipped.alternative_name}"]

    def test_refused_run_uploads_no_artifacts(self, store: str) -> None:
        """A run that cannot be uploaded leaves nothing in the store."""
        em.create_run(name="cnn").upload()
        run = _finished_run()

        with pytest.raises(UploadConflict):
            run.upload(conflict_strategy="error")
        run.upload(conflict_strategy="skip")

        assert [node.record["name"] for node in current_store().children("default")] == ["cnn"]

    def test_what_cannot_be(self, store: str) -> None:
        """Unknown strategies, missing folders and missing runs are errors that say what to do."""
        run = _finished_run()

        with pytest.raises(ValueError, match="conflict_strategy 'old' must be one of skip"):
            run.upload(conflict_strategy="old")
        with pytest.raises(RuntimeError, match="give make_folder=True"):
            run.upload(folder="nowhere")
        with pytest.raises(NothingThere, match="there is nothing at /ann/nowhere"):
            em.load_run("nowhere")

    def test_loading_again_fetches_nothing(self, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is here already is used as it is; a directory that differs is kept beside."""
        run = _finished_run()
        run.upload()
        same = em.load_run("/ann/default/cnn")
        Path(run.local, "hyperparameters.yaml").write_text("lr: 2\n")
        other = em.load_run("/ann/default/cnn")

        assert same.local == run.local
        assert other.local != run.local
        assert (other.hparams, em.load_run(run.local).hparams) == ({"lr": 0.1}, {"lr": 2})
        assert other.alternative_name == run.alternative_name

    def test_changed_object_is_not_uploaded(self, store: str) -> None:
        """A file in the artifact's directory that somebody changed is not passed off as what was added."""
        artifact = em.create_artifact("data")
        artifact.add_file("1.png")
        Path(artifact.local, "1.png").write_bytes(b"changed")

        with pytest.raises(FileChanged, match="add it again"):
            artifact.upload()
        assert (artifact.remote, current_store().children("default")) == ([], [])


class TestUpload:
    """`em.upload`."""

    def test_one(self, store: str) -> None:
        """The directory of a run is that run."""
        run = _finished_run()

        em.upload(path=run.local, folder="image_classification/mnist", make_folder=True)

        names = [node.record["name"] for node in current_store().children("image_classification/mnist")]
        assert names == ["cnn", "data", "model"]

    def test_all_of_a_directory(self, store: str) -> None:
        """What is directly below, by its name; other directories are left alone."""
        _finished_run()
        Path(".em/artifacts/notes").mkdir()
        Path(".em/artifacts/x_220823_194728_4e48t2").mkdir()

        em.upload(".em/artifacts")

        assert [node.record["name"] for node in current_store().children("default")] == ["data", "model"]

    def test_one_failure_does_not_stop_the_others(self, store: str) -> None:
        """They are uploaded, and the error at the end says which was not."""
        run = _finished_run()
        data, model = (em.load_artifact(run.associations[side][0]["local"]) for side in ("inputs", "outputs"))
        Path(model.local, "weights", "1.png").unlink()

        with pytest.raises(UploadFailed, match=rf"1 of 2 are not uploaded: {model.alternative_name}: .*add it again"):
            em.upload(".em/artifacts")
        assert [node.record["name"] for node in current_store().children("default")] == [data.name]

    @pytest.mark.parametrize("path", ["nowhere", "."])
    def test_nothing_there(self, store: str, path: str) -> None:
        """It is an error."""
        with pytest.raises(NothingThere, match="holds no run and no artifact"):
            em.upload(path)


def test_without_login() -> None:
    """Everything that needs a store says so; creating and logging do not."""
    run, artifact = em.create_run(), em.create_artifact("a")
    for needs_store in (
        run.upload,
        artifact.upload,
        lambda: em.upload(run.local),
        lambda: em.create_run(auto_upload=True),
        lambda: em.load_run(run.local, auto_upload=True),
    ):
        with pytest.raises(NotLoggedIn, match="call login"):
            needs_store()
    assert len(list(Path(".em/runs").iterdir())) == 1
    run.finish()


class TestAutoUpload:
    """A run that uploads itself."""

    def test_whole_run_is_there_at_the_end(self, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """After `finish` the store has what was logged, and what was changed in the course of it."""
        run = em.create_run(name="cnn", auto_upload=True, folder="cv/mnist", make_folder=True)
        for step in range(100):
            run.log("train", {"loss": 1 / (step + 1)}, step)
        run.hparams.lr = 0.1
        model = em.create_artifact("model")
        model.add_file("1.png")
        run.mark_output(model)
        run.finish()
        _on_another_machine(monkeypatch)

        loaded = em.load_run("cv/mnist/cnn")

        assert (loaded.status, loaded.hparams) == ("Complete", {"lr": 0.1})
        assert [item["sequence"]["step"] for item in loaded.metrics["train"]] == list(range(100))
        assert em.load_artifact("cv/mnist/model").objects[0]["size"] == 3

    def test_run_is_there_from_the_start(self, store: str) -> None:
        """Others can look at it while it goes on."""
        run = em.create_run(name="cnn", auto_upload=True)

        found = current_store().find("/ann/default/cnn")
        run.finish()

        assert found is not None
        assert len(run.remote) == 1

    def test_conflict_is_known_at_once(self, store: str) -> None:
        """With the strategy to raise, it raises; with the one to skip, the run is only here."""
        em.create_run(name="cnn").upload()

        with pytest.raises(UploadConflict):
            em.create_run(name="cnn", auto_upload=True, conflict_strategy="error")
        with em.create_run(name="cnn", auto_upload=True, conflict_strategy="skip") as skipped:
            skipped.log("train", {"loss": 0.5}, step=1)

        assert skipped.remote == []
        assert [node.record["name"] for node in current_store().children("default")] == ["cnn"]

    def test_name_that_is_taken(self, store: str) -> None:
        """The run keeps the alternative name it was given."""
        em.create_run(name="cnn").upload()
        with em.create_run(name="cnn", auto_upload=True) as run:
            run.log("train", {"loss": 0.5}, step=1)

        found = current_store().find(f"/ann/default/{run.alternative_name}")
        assert found is not None
        assert "metrics/train.yaml" in {file["name"] for file in found.files}
        assert len(current_store().children("default")) == 2

    def test_loaded_run_goes_on(self, store: str) -> None:
        """`load_run` can upload from then on, too."""
        run = em.create_run(name="cnn")
        again = em.load_run(run.local, auto_upload=True)
        again.log("train", {"loss": 0.5}, step=1)
        again.finish()

        found = current_store().find("/ann/default/cnn")
        assert found is not None
        assert "metrics/train.yaml" in {file["name"] for file in found.files}


class TestUploader:
    """The thread behind it."""

    def test_many_changes_are_few_uploads(self) -> None:
        """What changes while an upload goes on is in the next one."""
        gate, calls = threading.Event(), []

        def upload() -> None:
            calls.append(1)
            gate.wait(60)

        uploader = Uploader("run", upload)
        for _ in range(1000):
            uploader.notify()
        wait_until(lambda: len(calls) == 1)
        uploader.notify()
        gate.set()
        uploader.close()

        assert uploader.is_done
        assert len(calls) == 2

    def test_failing_store_is_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """A failure is said once, and the next try has everything."""
        failures = [ConnectionError("away"), ConnectionError("still away")]
        done = threading.Event()

        def upload() -> None:
            if failures:
                raise failures.pop()
            done.set()

        uploader = Uploader("run", upload)
        uploader.notify()

        assert done.wait(60)
        uploader.close()
        assert uploader.is_done
        assert caplog.text.count("and tried again") == 1

    def test_end_gives_up_on_a_store_that_is_away(self, caplog: pytest.LogCaptureFixture) -> None:
        """The program ends, and is told what is not uploaded."""

        def upload() -> None:
            raise ConnectionError("away")

        uploader = Uploader("run 'cnn'", upload)
        uploader.notify()
        uploader.close()

        assert not uploader.is_done
        assert "run 'cnn' is not all uploaded: away" in caplog.text

    def test_end_does_not_wait_for_ever(self, caplog: pytest.LogCaptureFixture) -> None:
        """A store that never answers holds the program up for the time that is given."""
        gate = threading.Event()
        uploader = Uploader("run", gate.wait)
        uploader.notify()

        uploader.close(0.05)
        gate.set()

        assert "is not all uploaded within 0 s" in caplog.text

    def test_conflict_ends_it(self, caplog: pytest.LogCaptureFixture) -> None:
        """What cannot succeed is not tried again."""
        calls = []

        def upload() -> None:
            calls.append(1)
            raise UploadConflict("taken")

        uploader = Uploader("run", upload)
        uploader.notify()
        wait_until(lambda: uploader.has_ended)
        uploader.notify()
        uploader.close()

        assert len(calls) == 1
        assert "is not uploaded any more: taken" in caplog.text


def test_logging_does_not_wait_for_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an upload hangs, a run is logged to all the same."""
    em.login(f"file://{tmp_path}/store?user=ann")
    run = em.create_run(name="cnn", auto_upload=True)
    gate, put = threading.Event(), current_store().objects.put
    hanging = threading.Event()

    def slow(name: str, chunks: Any) -> None:
        hanging.set()
        gate.wait(60)
        put(name, chunks)

    monkeypatch.setattr(current_store().objects, "put", slow)
    run.log("train", {"loss": 0.5}, step=0)
    assert hanging.wait(60)
    for step in range(1, 100):
        run.log("train", {"loss": 0.5}, step=step)
    run.hparams.lr = 1

    assert len(run.metrics["train"]) == 100
    gate.set()
    run.finish()
    assert run.remote


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_store_that_may_not_be_written_to(tmp_path: Path) -> None:
    """It is said at the login."""
    (tmp_path / "locked").mkdir(mode=0o500)

    with pytest.raises(ConnectionError, match="cannot be used"):
        em.login(f"file://{tmp_path}/locked/store")
