"""A run on a disk that is full, and an upload to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.disks import full
from track import em
from track.em.session import current_store


@pytest.mark.root
def test_training_goes_on(small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Metrics, parameters and labels are said to wait, and are all in the files when there is room."""
    monkeypatch.setenv("EM_RUN_PARENT_DIR", str(small_disk / "runs"))
    run = em.create_run(name="cnn")
    with full(small_disk):
        for step in range(200):
            run.log("train", {"loss": 0.123456789}, step=step)
        run.log("val", {"loss": 0.5}, step=0)
        run.hparams.lr = 0.1
        run.labels = ["a" * 5000]

    run.finish()

    loaded = em.load_run(run.local)
    assert [item["sequence"]["step"] for item in loaded.metrics["train"]] == list(range(200))
    assert (len(loaded.metrics["val"]), loaded.status) == (1, "Complete")
    assert (loaded.hparams, loaded.labels) == ({"lr": 0.1}, ["a" * 5000])
    assert caplog.text.count("No space left on device") == len(caplog.records)
    assert len(caplog.records) <= 3


@pytest.mark.root
def test_end_tells_the_truth(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When there is no room to the end, `finish` says how much is not stored, and does not raise."""
    monkeypatch.setenv("EM_RUN_PARENT_DIR", str(small_disk / "runs"))
    run = em.create_run(name="cnn")
    with full(small_disk):
        for step in range(200):
            run.log("train", {"loss": 0.123456789}, step=step)
        run.finish()
        stored = len(run.metrics["train"])

    assert run.status == "Complete"
    assert f"{200 - stored} items of metrics and " in caplog.text


@pytest.mark.root
def test_upload_to_a_full_disk(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, nothing is visible, and it succeeds when there is room."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    Path("model").write_bytes(b"x" * 100_000)
    artifact = em.create_artifact("model")
    artifact.add_file("model")
    em.login(f"file://{small_disk}/store?user=ann")
    current_store().folder("default")
    with full(small_disk):
        with pytest.raises(OSError, match="No space left on device"):
            artifact.upload()
        visible = current_store().children("default")

    artifact.upload()
    em.logout()

    assert visible == []
    assert [entry["path"] for entry in artifact.remote] == ["/ann/default/model"]
