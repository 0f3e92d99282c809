"""Runs that the real trackers have written: what is imported is what was logged, and what their own readers say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import track
from tests.trackers.programs import ENDS, FOLDERS, PROGRAMS, SIZES, place
from tests.trackers.readers import READERS, exported
from tests.unit.importing.damage import damaged, flip
from track.errors import NothingThere
from track.importing import import_runs
from track.importing.report import Report
from track.structure import Trial

Made = Callable[[str], Path]

STATUSES = {
    "wandb": ("completed", "exception", "broken"),
    "mlflow": ("completed", "exception", "broken"),
    "mlruns": ("completed", "exception", "broken"),
    "sacred": ("completed", "exception", "broken"),
    "sacred in mongodb": ("completed", "exception", "broken"),
    # Who ends by an exception closes a run of aim's as others do.
    "aim": ("completed", "completed", "broken"),
}
"""How the runs that finished, failed and were killed have ended; the others do not store it."""
TAGS = {"wandb": {"a": True}, "mlflow": {"a": "b"}, "mlruns": {"a": "b"}, "aim": {"a": True}, "csv": {"a": "b"}}
NOTES = ("wandb", "mlflow", "mlruns", "aim")
GROUPS = ("wandb", "trackio")
PROJECTS = {"tensorboard": "logs", "dvclive": "imported", "csv": "work"}
MEDIA = {
    "wandb": {"said": "text", "tab": "table", "page": "html", "img": "image", "hist": "histogram"},
    "mlflow": {"img": "image"},
    "mlruns": {"img": "image"},
    "tensorboard": {"note/text_summary": "text", "img": "image", "hist": "histogram"},
    "trackio": {"img": "image", "said": "text"},
    "aim": {"img": "image", "hist": "histogram", "said/0": "text", "said/1": "text"},
}
FILES = {
    "wandb": ("own.txt", "own"),
    "mlflow": ("deep/note.txt", "hello {}"),
    "mlruns": ("deep/note.txt", "hello {}"),
    "sacred": ("note.txt", "hello {}"),
    "sacred in mongodb": ("note.txt", "hello {}"),
}
ACCURACY = {"aim": "acc"}
"""What the second metric is called there, where that is not its name here."""

sources = pytest.mark.parametrize("source", PROGRAMS)


@pytest.fixture(scope="module")
def imported(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Trial], Report]]:
    """Give what returns the trials of a source by the way that they ended, and the report."""
    known: dict[str, tuple[dict[str, Trial], Report]] = {}

    def imported(source: str) -> tuple[dict[str, Trial], Report]:
        if source not in known:
            tracker, path = place(source, made(source))
            store = f"file:{tmp_path_factory.mktemp(tracker)}/report.json"
            report = import_runs(tracker, path, store)
            assert report.is_complete, report.to_json()
            again = import_runs(tracker, path, store)
            assert (list(again.runs), any(again.taken.values())) == (["present"], False)
            trials = track.fetch(store)
            if tracker == "sacred":
                ends = ("finished", "failed", "killed", "stopped")
                known[source] = {ends[int(trial.name[-1]) - 1]: trial for trial in trials}, report
            else:
                known[source] = {trial.name: trial for trial in trials}, report
        return known[source]

    return imported


@sources
def test_points_are_those_that_were_logged(source: str, imported: Any) -> None:
    """Every value of each run at its step, in full; TensorBoard has four bytes of each."""
    trials, _ = imported(source)

    for mode in ENDS:
        count = SIZES[mode]
        loss = trials[mode].metrics["loss"]
        values = {step: 1 / (step + 7) for step in range(count)}
        assert loss == (values if source != "tensorboard" else pytest.approx(values, rel=1e-7))
        assert trials[mode].metrics["val/acc"] == dict(enumerate(range(count)))


@sources
def test_points_are_those_of_its_own_reader(
    source: str, imported: Any, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, values and times, number by number."""
    trials, _ = imported(source)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    for mode in ENDS:
        for name in ("loss", ACCURACY.get(source, "val/acc")) if source != "dvclive" else ("loss",):
            metric = trials[mode].metrics["val/acc" if name == "acc" else name]
            steps, values, times = (column.tolist() for column in metric.to_numpy(times=True))
            assert list(zip(steps, values, times, strict=True)) == READERS[source](made(source), mode, name)


@sources
def test_parameters_tags_groups_and_notes_are_taken(source: str, imported: Any) -> None:
    """Where the source has them; what is secret is masked."""
    trials, report = imported(source)

    for mode in ENDS:
        trial = trials.get(f"{mode}/hp", trials[mode])
        assert (trial.parameters["lr"], trial.parameters["api_key"]) == (0.1 * len(mode), "***")
        assert trial.tags == TAGS.get(source, {})
        assert trial.description == ("n" if source in NOTES else None)
        assert (trial.group_id is not None) == (source in GROUPS)
        assert trial.project_id == PROJECTS.get(source, "digits")
    assert any(one.reason == "holds a secret, which is masked" for one in report.left)


@sources
def test_runs_end_as_they_ended_there(source: str, imported: Any) -> None:
    """Finished, failed and killed; of a source that does not say, that is counted."""
    trials, report = imported(source)

    assert tuple(str(trials[mode].status) for mode in ENDS) == STATUSES.get(source, ("completed",) * 3)
    assert any(one.kind == "status" for one in report.left) or source == "csv"


@sources
def test_media_and_files_are_taken(source: str, imported: Any) -> None:
    """With their kinds, steps and captions."""
    trials, _ = imported(source)

    for mode in ENDS:
        trial = trials[mode]
        media = {name: trial.media(name)[0] for name in MEDIA.get(source, {})}
        assert {name: one.kind for name, one in media.items()} == MEDIA.get(source, {})
        if source in FILES:
            name, text = FILES[source]
            (found,) = [one for one in trial.artifacts if one["name"] == name]
            assert found["size"] == len(text.format(mode))
        step = {"wandb": SIZES[mode], "trackio": SIZES[mode]}.get(source, 3)
        if "img" in media:
            assert (media["img"].step, media["img"].read_bytes()[:4]) == (step, b"\x89PNG")
            assert media["img"].caption == ("c" if source in ("wandb", "trackio", "aim") else None)
        if "hist" in media:
            assert sum(media["hist"].histogram[0]) == (10 if source == "tensorboard" else 4)


@pytest.mark.parametrize("source", ["wandb"])
def test_what_else_wandb_has(source: str, imported: Any) -> None:
    """Numbers that are none, names in names, tables and summaries; a file that is a link is named."""
    trials, report = imported(source)

    trial = trials["finished"]
    count = SIZES["finished"]
    assert trial.metrics["deep.x"] == dict(enumerate(range(count)))
    assert trial.metrics["inf"] == dict.fromkeys(range(count), float("-inf"))
    assert len(trial.metrics["nan"]) == count
    assert trial.parameters["deep"] == {"x": 1}
    assert (trial.media("said")[0].text, trial.media("tab")[0].rows) == ("hello", [[1], [2]])
    assert trial.media("hist").at_step(count).histogram == ([1, 3], [0.0, 0.5, 1.0], 4)
    assert trial.metadata["summary"]["best"] == 0.5
    assert {"output.log", "requirements.txt"} <= {one["name"] for one in trial.artifacts}
    # wandb.save links to a file that is elsewhere.
    assert {one.reason for one in report.left if one.first.endswith("note.txt")} == {"is a link, and none is followed"}
    assert "exit code 1" in str(trials["failed"].errors)


@pytest.mark.parametrize("source", ["mlflow", "mlruns"])
def test_what_else_mlflow_has(source: str, imported: Any) -> None:
    """Infinite numbers, none, children, and a run that was stopped."""
    trials, _ = imported(source)

    trial, child = trials["finished"], trials["finished-stopped"]
    assert trial.metrics["inf"] == {1: float("-inf")}
    assert [value != value for value in trial.metrics["nan"].points.values()] == [True]
    assert (str(child.status), child.metadata["parent"]) == ("interrupted", trial.uid)


@pytest.mark.parametrize("source", ["sacred", "sacred in mongodb"])
def test_what_else_sacred_has(source: str, imported: Any) -> None:
    """What was said of a run, its output, its error, and one that was interrupted."""
    trials, _ = imported(source)

    assert (trials["finished"].metadata["result"], trials["finished"].metadata["info"]) == (7, {"best": 0.5})
    assert trials["finished"].metadata["comment"] == "n"
    assert "ValueError: boom" in str(trials["failed"].errors)
    assert str(trials["stopped"].status) == "interrupted"
    assert trials["finished"].metadata["host"].keys() >= {"hostname", "os", "python_version"}
    assert [one["size"] > 0 for one in trials["finished"].artifacts if one["name"] == "cout.txt"] == [True]


@pytest.mark.parametrize("source", ["aim"])
def test_a_folder_of_aim_stays_as_it_is(source: str, made: Made, tmp_path: Path) -> None:
    """Its package, which would write to it, reads a copy."""
    before = {path: path.read_bytes() for path in made(source).rglob("*") if path.is_file()}

    import_runs(source, made(source), f"file:{tmp_path}/report.json", dry_run=True)

    assert {path: path.read_bytes() for path in made(source).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("source", [source for source in PROGRAMS if source != "sacred in mongodb"])
def test_bits_that_are_flipped_end_in_the_report(source: str, made: Made, tmp_path: Path) -> None:
    """Also where it is the tracker's own package that reads."""
    folder = shutil.copytree(made(source) / FOLDERS.get(source, ""), tmp_path / "made", symlinks=True)

    for copy in damaged(folder, flip, 4):
        with suppress(NothingThere):
            assert import_runs(source, copy, "ephemeral:").source == source


@pytest.mark.parametrize("source", ["trackio"])
def test_parquet_of_trackio_is_what_its_database_is(source: str, made: Made, imported: Any, tmp_path: Path) -> None:
    """As it stores it in a bucket: the same runs, which are there already where the database was imported."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    trials, _ = imported(source)
    folder = exported(made(source), tmp_path / "exported")
    store = f"file:{tmp_path}/report.json"

    report = import_runs(source, folder, store)

    assert report.is_complete, report.to_json()
    found = {trial.name: trial for trial in track.fetch(store)}
    assert {name: trial.uid for name, trial in found.items()} == {name: trial.uid for name, trial in trials.items()}
    for name, trial in found.items():
        assert (trial.parameters, trial.group_id) == (trials[name].parameters, trials[name].group_id)
        for metric in trials[name].metrics:
            columns = [one.metrics[metric].to_numpy(times=True) for one in (trial, trials[name])]
            assert repr([column.tolist() for column in columns[0]]) == repr([column.tolist() for column in columns[1]])
        assert [one["name"] for one in trial.artifacts] == [one["name"] for one in trials[name].artifacts]
    assert import_runs(source, made(source), store).runs == {"present": list(found)}
