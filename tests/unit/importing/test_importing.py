"""What all sources have alike: once, completed after a kill, counted, and nothing is written where nothing is to be."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.importing import written
from track.cli import main
from track.errors import InvalidCall, NothingThere
from track.importing import SOURCES, import_runs
from track.persistence import get_protocol
from track.persistence.ephemeral import EphemeralProtocol

SCHEMES = ("file:{}/report.json", "sqlite:{}/runs.db")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with two runs of 10,000 points."""
    path = tmp_path / "runs.csv"
    lines = [f"{run},{step},{1700000000 + step},{step / 7}" for run in "ab" for step in range(10_000)]
    path.write_text("\n".join(["run,step,time,loss", *lines, ""]))
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_again_adds_nothing(source: Path, tmp_path: Path, scheme: str) -> None:
    """Every run is there once, whatever the store."""
    store = scheme.format(tmp_path)
    import_runs("csv", source, store)
    before = [(trial.uid, len(trial.metrics["loss"])) for trial in track.fetch(store)]

    report = import_runs("csv", source, store)

    assert report.runs == {"present": ["a", "b"]}
    assert not any(report.taken.values())
    assert [(trial.uid, len(trial.metrics["loss"])) for trial in track.fetch(store)] == before
    assert [count for _, count in before] == [10_000, 10_000]


class _Killed(BaseException):
    """The end of the program."""


def _import_killed(source: Path, store: str, calls: int) -> None:
    """Import until something was sent to the store so often."""
    protocol = get_protocol(store)
    told = protocol.receive
    left = calls

    def receive(*args: Any, **kwargs: Any) -> None:
        nonlocal left
        if not left:
            raise _Killed
        left -= 1
        told(*args, **kwargs)

    protocol.receive = receive  # type: ignore[method-assign]
    try:
        import_runs("csv", source, protocol)
    finally:
        protocol.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("calls", range(4))
def test_an_import_that_was_killed_is_completed_by_the_next(
    source: Path, tmp_path: Path, scheme: str, calls: int
) -> None:
    """Wherever it ends: each point is there once."""
    store = scheme.format(tmp_path)
    with pytest.raises(_Killed):
        _import_killed(source, store, calls)

    report = import_runs("csv", source, store)

    found = track.fetch(store)
    assert sorted(trial.name for trial in found) == ["a", "b"]
    assert all(list(trial.metrics["loss"].points.values()) == [step / 7 for step in range(10_000)] for trial in found)
    assert all(str(trial.status) == "completed" for trial in found)
    assert report.is_complete


def test_a_dry_run_counts_the_same_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    """Not the store, nor its lock; the source is as it was."""
    before = sorted(os.listdir(tmp_path))

    dry = import_runs("csv", source, f"file:{tmp_path}/report.json", dry_run=True)

    assert sorted(os.listdir(tmp_path)) == before
    report = import_runs("csv", source, f"file:{tmp_path}/report.json")
    assert (dry.taken, dry.runs) == (report.taken, report.runs)


def test_a_run_that_has_changed_is_named(source: Path, tmp_path: Path) -> None:
    """What was imported is other there now: it is not touched, and the import says that something is left."""
    store = f"file:{tmp_path}/report.json"
    import_runs("csv", source, store)
    source.write_text(source.read_text().replace("b,5,1700000005", "b,5,1700000004.5") + "b,10000,1700010000,1.5\n")

    report = import_runs("csv", source, store)

    assert (report.runs, any(report.taken.values())) == ({"present": ["a"], "changed": ["b"]}, False)
    assert not report.is_complete
    assert [len(trial.metrics["loss"]) for trial in track.fetch(store)] == [10_000, 10_000]


_MORE = [f"b,{step},{1700000000 + step},{step / 7},{step}" for step in range(10_000, 25_000)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("calls", [0, 2, 3, 5, None])
def test_what_a_run_has_logged_since_is_added_once(
    source: Path, tmp_path: Path, scheme: str, calls: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points after those that are there, and a metric that is new; wherever an import of them was killed."""
    monkeypatch.setattr("track.importing.writing._BATCH", 5000)
    store = scheme.format(tmp_path)
    source.write_text(source.read_text().replace("loss", "loss,acc"))
    import_runs("csv", source, store)
    source.write_text("\n".join([source.read_text().rstrip(), *_MORE, ""]))
    if calls is not None:
        with pytest.raises(_Killed):
            _import_killed(source, store, calls)

    report = import_runs("csv", source, store)

    again = import_runs("csv", source, store)
    assert report.runs == {"present": ["a"], "continued": ["b"]}
    assert (again.runs, any(again.taken.values())) == ({"present": ["a", "b"]}, False)
    trials = {trial.name: trial for trial in track.fetch(store)}
    assert [len(trial.metrics["loss"].points.values()) for trial in trials.values()] == [10_000, 25_000]
    assert trials["b"].metrics["loss"] == {step: step / 7 for step in range(25_000)}
    assert trials["b"].metrics["acc"] == {step: step for step in range(10_000, 25_000)}
    assert trials["b"].chronos["runtime"].val == pytest.approx(24_999)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_that_has_ended_since_ends_here(tmp_path: Path, scheme: str) -> None:
    """Its status, its end, what it has logged and its files; what somebody has said of it here stays."""
    store = scheme.format(tmp_path)
    path = written.mlflow(tmp_path / "there")
    with closing(sqlite3.connect(path)) as there:
        there.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = 'aaa'")
        there.commit()
        import_runs("mlflow", path, store)
        main(["tag", store, "parent", "team=mine"])
        there.execute("UPDATE runs SET status = 'FINISHED', end_time = 1700000200000 WHERE run_uuid = 'aaa'")
        there.execute("INSERT INTO metrics VALUES ('loss', 0.125, 1700000150000, 'aaa', 9, 0)")
        there.execute("INSERT INTO tags VALUES ('later', 'y', 'aaa')")
        there.commit()
    (tmp_path / "there" / "mlruns" / "1" / "aaa" / "artifacts" / "model.bin").write_text("weights")

    report = import_runs("mlflow", path, store)

    again = import_runs("mlflow", path, store)
    assert report.runs == {"present": ["child", "failed"], "continued": ["parent"]}
    assert (report.taken["points"], report.taken["files"], report.taken["tags"]) == (1, 1, 1)
    assert (again.runs, any(again.taken.values())) == ({"present": ["parent", "child", "failed"]}, False)
    trial = track.fetch(store, "parent")[0]
    assert (str(trial.status), trial.tags) == ("completed", {"team": "mine", "later": "y"})
    assert trial.metrics["loss"][9] == 0.125
    assert trial.timestamps["finished"] == 1_700_000_200
    assert sorted(one["name"] for one in trial.artifacts) == ["img/deep", "model.bin", "note.txt"]


def test_a_deleted_run_stays_deleted(source: Path, tmp_path: Path) -> None:
    """An import does not bring back what somebody has removed."""
    store = f"file:{tmp_path}/report.json"
    import_runs("csv", source, store)
    main(["delete", store, "a"])

    report = import_runs("csv", source, store)

    assert report.runs == {"deleted": ["a"], "present": ["b"]}
    assert [trial.name for trial in track.fetch(store)] == ["b"]


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    """A name with a letter off, a path that is not there, a folder without runs."""
    with pytest.raises(InvalidCall, match="did you mean 'wandb'"):
        import_runs("wanb", tmp_path, "ephemeral:")
    with pytest.raises(NothingThere, match="does not exist"):
        import_runs("csv", tmp_path / "none.csv", "ephemeral:")
    with pytest.raises(NothingThere, match="no run of tensorboard"):
        import_runs("tensorboard", tmp_path, "ephemeral:")


@pytest.mark.parametrize("source", SOURCES)
def test_a_server_is_no_source(source: str) -> None:
    """One error says so, and what to do; without the password."""
    with pytest.raises(InvalidCall, match=r"https://me:\*\*\*@host/x is no path, and files are what is read: \w"):
        import_runs(source, "https://me:secret@host/x", "ephemeral:")


def test_a_store_of_an_open_client_stays_open(source: Path) -> None:
    """A backend may be given as well as its URI."""
    protocol = EphemeralProtocol("ephemeral:")

    import_runs("csv", source, protocol)

    assert len(protocol.fetch_trials()) == 2


def test_a_path_of_another_kind_is_told_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a store, and with a folder of MLflow's other store, the error is what to type."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()

    assert main(["import", "mlflow", "mlruns"]) == 2
    assert "which store? Give its URI, as --to file://runs.json" in capsys.readouterr().err
    assert main(["import", "mlflow", "mlruns", "--to", "report.json"]) == 1
    assert "no run of mlflow is in mlruns: give mlflow.db" in (said := capsys.readouterr().err)
    assert "track import mlruns" in said


def test_the_command_says_what_was_taken_and_what_was_not(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In lines, and as one document of JSON."""
    source.write_text("run,step,loss,note\na,0,0.5,hello\n")
    store = f"file:{tmp_path}/report.json"

    codes = [main(["import", "csv", str(source), "--to", store, *more]) for more in (["--dry-run"], [], ["--json"])]

    assert codes == [0, 0, 0]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"would be stored in {store}: 1 trial, 1 metric, 1 point",
        "  1 run would be imported: a",
        "not taken, or not as it was:",
        "  1  cell: is no number (note: hello)",
    ]
    assert lines[4:6] == [f"stored in {store}: 1 trial, 1 metric, 1 point", "  1 run imported: a"]
    assert json.loads(lines[-1])["runs"] == {"present": ["a"]}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_runs_stand_where_they_began(
    source: Path, tmp_path: Path, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was imported later is not newer: the list and ``@last`` go by when a run began."""
    store = scheme.format(tmp_path)
    with track.TrackClient(store).new_trial(name="own", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(loss=0.5)
    import_runs("csv", source, store)

    code = main(["ls", store, "--jsonl"])

    listed = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert (code, listed) == (0, ["own", "b", "a"])
    assert track.fetch(store, "@last")[0].name == "own"
    assert [trial.name for trial in track.fetch(store, sort="timestamps.created")] == ["a", "b", "own"]


def test_links_and_pipes_of_a_source_are_not_followed(tmp_path: Path) -> None:
    """Whoever has made the folder does not choose what is read elsewhere."""
    (tmp_path / "outside.csv").write_text("run,step,loss\nsecret,0,0.5\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "more").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.csv")
    (folder / "own.csv").write_text("run,step,loss\na,0,0.5\n")

    report = import_runs("csv", folder, f"file:{tmp_path}/report.json")

    assert report.runs == {"imported": ["a"]}
    assert {one.reason: one.count for one in report.left} == {
        "is a link, and none is followed": 2,
        "is a pipe, a socket or a device": 1,
    }
