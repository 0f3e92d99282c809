"""What other trackers have to be looked at is read by `trial.media`, as what was logged here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.importing import written
from track.importing import import_runs
from track.importing.writing import _Telling
from track.media import Medium

PNG = b"\x89PNG\r\n\x1a\n-pixels"
BIG = 1.7976931348623157e308


def _wandb(folder: Path) -> Path:
    files = folder / "files" / "media"
    files.mkdir(parents=True)
    table = {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}
    contents = {"1.png": PNG, "2.png": PNG + b"2", "t.table.json": json.dumps(table).encode(), "p.html": b"<b>hi</b>"}
    for name, content in {**contents, "sound.wav": b"RIFF0000WAVE-samples", "no.png": b"no pixels"}.items():
        (files / name).write_bytes(content)
    histogram = {"_type": "histogram", "values": [1, 3], "bins": [0.0, 0.5, 1.0]}
    packed = {"_type": "histogram", "values": [4], "packedBins": {"min": 2.0, "size": 0.5, "count": 1}}
    several = {"_type": "images/separated", "filenames": ["media/1.png", "media/2.png"], "captions": ["one", "two"]}

    def file(kind: str, name: str) -> dict[str, Any]:
        return {"_type": f"{kind}-file", "path": f"media/{name}"}

    written.wandb(
        folder,
        written.wandb_run(),
        written.wandb_row(img=file("image", "1.png") | {"caption": "c"}, weights=histogram, said="one", _step=0),
        written.wandb_row(img=file("image", "2.png"), weights=packed, said="two", _step=1),
        written.wandb_row(tab=file("table", "t.table.json"), page=file("html", "p.html"), many=several, _step=2),
        written.wandb_row(snd=file("audio", "sound.wav"), bad=file("image", "no.png"), _step=3),
        written.wandb_exit(0),
    )
    return folder


def _tensorboard(folder: Path) -> Path:
    written.tfevents(
        folder,
        written.event(1.7e9, 0, written.image("img", PNG)),
        written.event(1.7e9, 0, written.histogram("weights", -0.5, 2.5, [-1.0, 0.0, 1.0, 2.0, BIG], [0, 1, 3, 0, 2])),
        written.event(1.7e9, 1, written.histogram_tensor("weights", [(0, 1, 0), (1, 2, 5), (2, 3, 1)])),
        written.event(1.7e9, 2, written.histogram("weights", 3.0, 3.0, [2.9, 3.1, BIG], [0, 7, 0])),
        written.event(1.7e9, 3, written.histogram("weights", float("nan"), 1.0, [1.0], [1])),
    )
    return folder


def _imported(source: str, place: Path, tmp_path: Path) -> tuple[Any, Any]:
    store = f"file:{tmp_path}/report.json"
    report = import_runs(source, place, store)
    (trial,) = track.fetch(store)
    return trial, report


def _said(media: list[Medium]) -> list[Any]:
    return [(one.kind, one.step, one.caption, one.read_bytes()) for one in media]


def test_media_of_wandb(tmp_path: Path) -> None:
    """Images, histograms, texts, tables, pages and sounds, under their names, at their steps."""
    trial, report = _imported("wandb", _wandb(tmp_path / "wandb" / "run"), tmp_path)

    assert _said(trial.media("img")) == [("image", 0, "c", PNG), ("image", 1, None, PNG + b"2")]
    assert [one.caption for number in range(2) for one in trial.media(f"many/{number}")] == ["one", "two"]
    assert trial.media("weights")[0].histogram == ([1, 3], [0.0, 0.5, 1.0], 4)
    assert trial.media("weights")[1].histogram == ([4], [2.0, 2.5], 4)
    assert [one.text for one in trial.media("said")] == ["one", "two"]
    (table,) = trial.media("tab")
    assert (table.columns, table.rows) == (["a", "b"], [[1, "x"], [2, None]])
    assert [trial.media(name)[0].kind for name in ("page", "snd")] == ["html", "audio"]
    # What is no image is kept as what it is, a file.
    assert [one.reason for one in report.left] == ["is no image that can be shown, and a file here"]
    assert {line["name"]: line.get("media") for line in trial.artifacts}["bad/3.png"] is None


def test_media_of_tensorboard(tmp_path: Path) -> None:
    """Images, and histograms of both forms, whose open ends are the least and the greatest value."""
    trial, report = _imported("tensorboard", _tensorboard(tmp_path / "logs"), tmp_path)

    assert _said(trial.media("img")) == [("image", 0, None, PNG)]
    first, second, third = [one.histogram for one in trial.media("weights")]
    assert first == ([1, 3, 0, 2], [-0.5, 0.0, 1.0, 2.0, 2.5], 6)
    assert second == ([5, 1], [1.0, 2.0, 3.0], 6)
    assert (third.counts, third.size) == ([7], 7)
    assert [one.count for one in report.left if one.kind == "histogram"] == [1]


@pytest.mark.parametrize("after", [1, 3, 6])
def test_media_of_an_import_that_was_broken_off_are_not_there_twice(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one stores those that are missing."""
    place, store = _wandb(tmp_path / "wandb" / "run"), f"file:{tmp_path}/report.json"
    whole = f"file:{tmp_path}/whole.json"
    import_runs("wandb", place, whole)
    left = [after]

    class Killed(BaseException):
        pass

    taken = _Telling.medium

    def until(self: Any, *given: Any) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        taken(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(_Telling, "medium", until)
        with pytest.raises(Killed):
            import_runs("wandb", place, store)

    assert list(import_runs("wandb", place, store).runs) == ["completed"]
    (expected,), (trial,) = track.fetch(whole), track.fetch(store)
    assert sorted((one.name, one.kind, one.step, one.read_bytes()) for one in trial.media()) == sorted(
        (one.name, one.kind, one.step, one.read_bytes()) for one in expected.media()
    )


def test_a_thousand_of_a_name_are_kept_evenly_and_the_others_counted(tmp_path: Path) -> None:
    """As of what is logged here: the first and the last are there."""
    rows = [written.wandb_row(said=f"text {step}", _step=step) for step in range(1200)]
    written.wandb(tmp_path / "wandb", written.wandb_run(), *rows, written.wandb_exit(0))

    trial, report = _imported("wandb", tmp_path / "wandb", tmp_path)

    steps = trial.media("said").steps
    assert (steps[0], steps[-1], len(steps)) == (0, 1199, 601)
    assert [(one.kind, one.count) for one in report.left] == [("text", 599)]


def test_secrets_in_texts_are_masked(tmp_path: Path) -> None:
    """As in parameters and notes; a text of megabytes is read in a moment."""
    rows = [written.wandb_row(said=text, _step=0) for text in ("password=hunter2", "x" * 1_000_000)]
    written.wandb(tmp_path / "wandb", written.wandb_run(), *rows, written.wandb_exit(0))

    trial, _ = _imported("wandb", tmp_path / "wandb", tmp_path)

    assert [one.text[:20] for one in trial.media("said")] == ["password=***", "x" * 20]
