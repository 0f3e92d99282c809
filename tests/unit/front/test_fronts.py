"""One store, several fronts: what each writes is a trial like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from track import TrackClient, em
from track.structure import Status
from track.tracking import FsspecResultTracker, TrackResultTracker, import_results


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
def test_one_trial_of_each_front_in_one_store(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`track.fetch` finds a trial of the client, a run, and results of both trackers, complete, with their numbers."""
    uri = f"{scheme}:{tmp_path}/all.db"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.setenv("EM_CAPTURE_STDOUT", "0")
    monkeypatch.chdir(tmp_path)

    client = TrackClient()
    client.set_project(name="by hand")
    with client.new_trial(name="trial", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=1, loss=0.5)
    with em.create_run(name="run", hparams={"lr": 0.1}, folder="by em") as run:
        run.log("train", {"loss": 0.25}, step=1)
    TrackResultTracker(uri)["result"] = {"loss": 0.125}
    FsspecResultTracker("files")["file"] = {"loss": 0.0625}
    import_results("files", uri, project="files")

    found = track.fetch(uri)
    assert [(trial.name, trial.project_id) for trial in found] == [
        ("trial", "by hand"), ("run", "by em"), ("result", "results"), ("file", "files"),
    ]  # fmt: skip
    assert {trial.status for trial in found} == {Status.Completed}
    assert dict(found[0].metrics["loss"]) == {1: 0.5}
    assert dict(found[1].metrics["train/loss"]) == {1: 0.25}
    assert found[2].metrics["loss"].val == 0.125
    assert found[3].metrics["loss"].val == 0.0625
    assert [trial.name for trial in track.fetch(uri, {"parameters.lr": 0.1})] == ["trial", "run"]
