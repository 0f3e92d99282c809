"""Comma-separated values as trials."""

from __future__ import annotations

import math
from pathlib import Path

import track
from track.importing import import_runs

WIDE = """\
run,step,time,loss,acc,params.lr,params.api_key,tags.set
a,0,1700000000,0.5,0.1,0.01,sk-1234567890abcdefghij,train
b,0,2023-11-14T22:13:22+00:00,nan,inf,0.02,,
a,1,1700000001.5,0.25,,,,
a,2,1700000003,0.125,0.3,,,
"""


def test_columns_become_metrics_with_their_steps_and_times(tmp_path: Path) -> None:
    """Lines of two runs between each other, a date and a number as a time, and numbers that are not finite."""
    (tmp_path / "runs.csv").write_text(WIDE)
    store = f"file:{tmp_path}/report.json"

    report = import_runs("csv", tmp_path / "runs.csv", store)

    a, b = (track.fetch(store, {"name": name})[0] for name in "ab")
    assert a.metrics["loss"] == {0: 0.5, 1: 0.25, 2: 0.125}
    assert a.metrics["acc"] == {0: 0.1, 2: 0.3}
    assert math.isnan(b.metrics["loss"][0])
    assert b.metrics["acc"] == {0: math.inf}
    assert a.timestamps == {"created": 1700000000.0, "started": 1700000000.0, "finished": 1700000003.0}
    assert b.timestamps["created"] == 1700000002.0
    assert (a.parameters, a.tags, b.parameters) == ({"lr": 0.01, "api_key": "***"}, {"set": "train"}, {"lr": 0.02})
    assert (report.taken["trials"], report.taken["points"], report.is_complete) == (2, 7, True)
    assert [(one.kind, one.count) for one in report.left] == [("parameters", 1)]


def test_what_export_writes_is_read(tmp_path: Path) -> None:
    """A line a point: uid, name, metric, step, value, time."""
    from track.cli import main

    store = f"file:{tmp_path}/report.json"
    with track.TrackClient(store).new_trial(name="first", parameters={}) as trial:
        trial.log_series("loss", [0.5, 0.1 + 0.2], steps=[10, 20], times=[1.5, 2.5])
    assert main(["export", store, "--csv", f"{tmp_path}/out.csv"]) == 0

    import_runs("csv", tmp_path / "out.csv", f"file:{tmp_path}/other.json")

    found = track.fetch(f"file:{tmp_path}/other.json")[0]
    assert (found.name, found.metrics["loss"]) == ("first", {10: 0.5, 20: 0.1 + 0.2})
    assert found.timestamps["created"] == 1.5


def test_one_run_without_its_name_is_called_like_the_file(tmp_path: Path) -> None:
    """A file of Lightning's CSVLogger has no column of runs, and cells that are empty."""
    (tmp_path / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.7\n1,19,0.4,\n")
    store = f"file:{tmp_path}/report.json"

    import_runs("csv", tmp_path / "metrics.csv", store)

    found = track.fetch(store)[0]
    assert found.name == "metrics"
    assert found.metrics["train_loss"] == {9: 0.5, 19: 0.4}
    assert (found.metrics["val_loss"], found.metrics["epoch"]) == ({9: 0.7}, {9: 0, 19: 1})


def test_cells_that_are_no_numbers_and_lines_that_are_too_long_are_counted(tmp_path: Path) -> None:
    """What is not taken is in the report, with an example; the other lines are taken."""
    (tmp_path / "runs.csv").write_text("run,step,loss\na,0,low\na,1,0.5\na,2,0.25,7\n")

    report = import_runs("csv", tmp_path / "runs.csv", f"file:{tmp_path}/report.json")

    assert report.taken["points"] == 1
    assert {one.kind: (one.count, one.first) for one in report.left}["cell"] == (1, "loss: low")
    assert report.damages == 1
