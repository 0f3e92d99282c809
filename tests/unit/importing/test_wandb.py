"""Runs of wandb as trials."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.importing import written
from track.artifacts import artifacts
from track.importing import import_runs

PNG = b"\x89PNG\r\n\x1a\n-pixels"


def _rows(number: int) -> list[bytes]:
    return [
        written.wandb_row(loss=1 / (step + 1), _step=step, _timestamp=1700000000.5 + step, _runtime=step)
        for step in range(number)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of wandb with one run, as it is written offline."""
    folder = tmp_path / "wandb" / "offline-run-20231114_221320-abc123"
    image = {"_type": "image-file", "path": "media/images/img.png", "caption": "c"}
    nested = {f"img.{name}": value for name, value in image.items()}
    outside = {"_type": "image-file", "path": "../../../outside.png"}
    written.wandb(
        folder,
        written.wandb_run(lr=0.1, api_key="abc", optimizer={"depth": 2}),
        *_rows(3),
        written.wandb_row(**nested, _step=7, _timestamp=1700000009.0, flag=True, deep={"x": 1}, none=None),
        written.wandb_row(out=outside, text="hi", _step=8, _timestamp=1700000010.0, bad=math.nan, inf=math.inf),
        written.wandb_summary(loss=0.25, best=0.2),
        written.wandb_exit(0),
    )
    (folder / "files" / "media" / "images").mkdir(parents=True)
    (folder / "files" / "media" / "images" / "img.png").write_bytes(PNG)
    (folder / "files" / "output.log").write_text("hello\n")
    (tmp_path / "outside.png").write_bytes(PNG)
    (tmp_path / "wandb" / "latest-run").symlink_to(folder)
    return tmp_path / "wandb"


def test_a_run_is_what_wandb_has_written(source: Path, tmp_path: Path) -> None:
    """Points with steps and times, configuration, names, notes, tags, files, summary and end."""
    store = f"file:{tmp_path}/report.json"

    report = import_runs("wandb", source, store)

    (trial,) = track.fetch(store)
    assert trial.metrics["loss"] == {0: 1.0, 1: 0.5, 2: 1 / 3}
    assert list(trial.metrics["loss"].points.times()) == [1700000000.5, 1700000001.5, 1700000002.5]
    assert (trial.metrics["flag"], trial.metrics["deep.x"], trial.metrics["inf"]) == ({7: True}, {7: 1}, {8: math.inf})
    assert math.isnan(trial.metrics["bad"][8])
    assert trial.parameters == {"lr": 0.1, "api_key": "***", "optimizer": {"depth": 2}}
    assert (trial.name, trial.project_id, trial.description, trial.tags) == (
        "baseline",
        "digits",
        "what it is",
        {"paper": True},
    )
    assert track.fetch(store, {"group": "ablation"}) == [trial]
    assert (str(trial.status), trial.timestamps["created"]) == ("completed", 1700000000.5)
    assert trial.metadata["summary"] == {"best": 0.2}
    found = {one.name: (one.step, one.read_bytes()) for one in artifacts(store)}
    assert found == {"img": (7, PNG), "text": (8, b"hi"), "output.log": (None, b"hello\n")}
    assert {(one.kind, one.first) for one in report.left} == {
        ("parameters", "api_key"),
        ("image", "../../../outside.png"),
    }


@pytest.mark.parametrize(("end", "status"), [([written.wandb_exit(3)], "exception"), ([], "broken")])
def test_a_run_ends_as_it_ended(tmp_path: Path, end: list[bytes], status: str) -> None:
    """An exit code is an exception; a run without an end was killed."""
    written.wandb(tmp_path / "wandb", written.wandb_run(), *_rows(2), *end)

    import_runs("wandb", tmp_path / "wandb", f"file:{tmp_path}/report.json")

    (trial,) = track.fetch(f"file:{tmp_path}/report.json")
    assert str(trial.status) == status
    assert trial.timestamps["finished"] == 1700000001.5


def test_a_run_that_was_resumed_is_one(tmp_path: Path) -> None:
    """Each life has a file of its own; the end is that of the last one."""
    for life, (begin, end) in enumerate([(0, []), (3, [written.wandb_exit(0)])]):
        rows = [
            written.wandb_row(loss=float(step), _step=step, _timestamp=1.7e9 + step) for step in range(begin, begin + 3)
        ]
        written.wandb(tmp_path / "wandb" / f"run-2023111{life}_120000-abc123", written.wandb_run(), *rows, *end)

    import_runs("wandb", tmp_path / "wandb", f"file:{tmp_path}/report.json")

    (trial,) = track.fetch(f"file:{tmp_path}/report.json")
    assert trial.metrics["loss"] == {step: float(step) for step in range(6)}
    assert str(trial.status) == "completed"


def test_records_of_many_blocks_are_whole(tmp_path: Path) -> None:
    """A record that is longer than a block is in pieces."""
    rows = [written.wandb_row(loss=float(step), _step=step, note="x" * 50_000) for step in range(5)]
    written.wandb(tmp_path / "wandb", written.wandb_run(), *rows, written.wandb_exit(0))

    report = import_runs("wandb", tmp_path / "wandb", f"file:{tmp_path}/report.json")

    assert (report.taken["points"], report.damages) == (5, 0)


def test_a_damaged_block_is_left_out(tmp_path: Path) -> None:
    """What follows in the next block is taken, and the report says what is missing."""
    path = written.wandb(tmp_path / "wandb", written.wandb_run(), *_rows(2000), written.wandb_exit(0))
    content = bytearray(path.read_bytes())
    content[40_000] ^= 1
    path.write_bytes(content)

    report = import_runs("wandb", tmp_path / "wandb", f"file:{tmp_path}/report.json")

    (trial,) = track.fetch(f"file:{tmp_path}/report.json")
    assert 0 in trial.metrics["loss"]
    assert 1999 in trial.metrics["loss"]
    assert 1000 < report.taken["points"] < 2000
    assert report.damages == 1


def test_a_folder_of_a_run_may_be_given(source: Path, tmp_path: Path) -> None:
    """The same run by its folder, or by its file, is known."""
    store = f"file:{tmp_path}/report.json"
    import_runs("wandb", source, store)
    folder = source / "offline-run-20231114_221320-abc123"
    given: list[Any] = [folder, folder / "run-abc123.wandb"]

    reports = [import_runs("wandb", path, store) for path in given]

    assert [report.runs for report in reports] == [{"present": ["baseline"]}] * 2
