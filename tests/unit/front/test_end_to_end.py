"""The documented example, from the first line of a script to a second program that reads its file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from track import Status, TrackClient, fetch
from track.containers.series import Series
from track.persistence.storage import LocalStorage, load_database

BATCHES = 3751


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give a store in a new folder."""
    return f"file://{tmp_path}/report.json"


def _train(uri: str) -> TrackClient:
    client = TrackClient(uri)
    client.set_project(name="paper_78997")
    client.set_group(name="idea_4573")
    trial = client.new_trial(name="final_trial_2", description="almost graduating")
    trial.log_arguments(batch_size=256, lr=0.01, momentum=0.99)
    trial.log_metadata(gpu="V100")
    with trial:
        for epoch in range(2):
            for _ in range(BATCHES // 2 + epoch):
                with trial.chrono("batch_time"):
                    pass
            trial.log_metrics(step=epoch, epoch_loss=2.5 - epoch)
        trial.log_metrics(accuracy=0.98)
    return client


def test_example_prints_its_report(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation gives the report of the documentation."""
    client = _train(uri)

    client.report()

    report = json.loads(capsys.readouterr().out)
    assert report["status"] == {"value": 302, "name": "Completed"}
    assert report["chronos"]["batch_time"]["count"] == BATCHES - 1
    assert report["metadata"] == {"gpu": "V100"}
    assert report["parameters"] == {"batch_size": 256, "lr": 0.01, "momentum": 0.99}
    assert report["metrics"] == {"epoch_loss": {"0": 2.5, "1": 1.5}, "accuracy": [0.98]}


def test_second_client_reads_an_equal_trial(uri: str) -> None:
    """A client on the same file finds the trial, its group and its project."""
    trial = _train(uri).trial
    assert trial is not None

    again = TrackClient(uri).set_trial(uid=trial.uid).trial

    assert again == trial
    assert (again.parameters, again.status) == (trial.parameters, Status.Completed)
    assert (again.project_id, again.group_id) == (trial.project_id, trial.group_id)
    assert again.metrics["accuracy"].val == [0.98]


def test_saved_file_alone_is_complete(uri: str, tmp_path: Path) -> None:
    """After a report the JSON file holds everything; the journal is not needed to read it."""
    client = _train(uri)
    client.save()

    state = load_database(str(tmp_path / "report.json"))

    assert isinstance(state, LocalStorage)
    stored = next(state.find_trials())
    assert stored == client.trial
    assert stored.chronos["batch_time"].count == BATCHES - 1


def test_file_is_json_of_the_documented_layout(uri: str, tmp_path: Path) -> None:
    """The file is one JSON object: format, journal, projects."""
    _train(uri).save()

    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))

    assert list(document)[:3] == ["format", "journal", "projects"]
    assert [project["name"] for project in document["projects"]] == ["paper_78997"]


def test_orphan_is_in_the_file(uri: str) -> None:
    """A trial of no project is saved, in the project ``orphan``."""
    client = TrackClient(uri)
    client.new_trial(parameters={"lr": 0.1})
    client.save()

    assert [trial.project_id for trial in fetch(uri)] == ["orphan"]


def test_copy_of_the_store_is_complete(uri: str, tmp_path: Path) -> None:
    """`save` to another name writes a copy, and the client goes on with its own file."""
    client = _train(uri)
    client.save(str(tmp_path / "copy.json"))
    client.log_metrics(step=2, epoch_loss=0.5)

    lengths = [len(fetch(f"file://{tmp_path}/{name}.json")[0].metrics["epoch_loss"]) for name in ("copy", "report")]

    assert lengths == [2, 3]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**80, -0.0, b"\x00\xff"], ids=repr)
def test_odd_values_come_back_beside_none(uri: str, tmp_path: Path, value: object) -> None:
    """A value that JSON cannot say survives the file, also in the company of None."""
    log = TrackClient(uri).new_trial(parameters={"nothing": None, "odd": value})
    log.log_metadata(nothing=None, odd=value)
    log.save()

    trial = next(load_database(str(tmp_path / "report.json")).find_trials())

    assert repr(trial.parameters["odd"]) == repr(value)
    assert repr(trial.metadata["odd"]) == repr(value)


@pytest.mark.parametrize("step", [math.inf, 2**80, (1, math.inf), True, 0.5], ids=repr)
def test_odd_steps_come_back(uri: str, tmp_path: Path, step: object) -> None:
    """A step that JSON cannot say is the same step after the file is read again."""
    log = TrackClient(uri).new_trial(parameters={})
    log.log_metrics(step=step, loss=1.0)
    log.save()

    trial = next(load_database(str(tmp_path / "report.json")).find_trials())

    assert isinstance(trial.metrics["loss"], Series)
    assert repr(list(trial.metrics["loss"])) == repr([step])


def test_metrics_named_like_a_tag_come_back(uri: str, tmp_path: Path) -> None:
    """Metrics called dtype and value are two metrics, also when one is NaN."""
    log = TrackClient(uri).new_trial(parameters={})
    log.log_metrics(dtype=math.nan, value=1.0)
    log.save()

    metrics = next(load_database(str(tmp_path / "report.json")).find_trials()).metrics

    assert repr({name: metric.val for name, metric in metrics.items()}) == "{'dtype': [nan], 'value': [1.0]}"
