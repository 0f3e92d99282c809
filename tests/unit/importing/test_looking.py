"""What somebody sees who has imported their runs: how long they ran, in which order, and what was no run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import track
from tests.unit.importing import written
from track.cli import main
from track.dashboard.rows import page_of
from track.importing import import_runs
from track.persistence.ephemeral import EphemeralProtocol


def _imported(source: str, place: Path) -> tuple[list[Any], Any]:
    protocol = EphemeralProtocol("ephemeral:")
    report = import_runs(source, place, protocol)
    return protocol.fetch_trials(), report


def test_how_long_a_run_ran_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From its beginning to its end, or to the last of its points, as ``track ls`` shows it."""
    rows = [written.wandb_row(loss=1.0, _step=step, _timestamp=1700000000.5 + 60 * step) for step in range(3)]
    written.wandb(tmp_path / "wandb", written.wandb_run(), *rows, written.wandb_exit(0))
    store = f"file:{tmp_path}/report.json"
    import_runs("wandb", tmp_path / "wandb", store)

    (trial,) = track.fetch(store)
    assert trial.chronos["runtime"].val == trial.timestamps["finished"] - trial.timestamps["created"] > 100
    main(["show", store, trial.uid[:12]])
    assert any(line.split() == ["ran", "2m", "00s"] for line in capsys.readouterr().out.splitlines())


def test_what_an_import_notes_for_itself_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of which points it has taken nobody wants to read: ``track show`` and the page say where the run is from."""
    written.wandb(tmp_path / "wandb", written.wandb_run(), written.wandb_row(loss=1.0), written.wandb_exit(0))
    store = f"file:{tmp_path}/report.json"
    import_runs("wandb", tmp_path / "wandb", store)
    (trial,) = track.fetch(store)

    main(["show", store, trial.uid[:12]])

    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    on_the_page = page_of(trial, lambda _: "", {})["metadata"]
    assert ("alias.wandb" in shown, "alias.wandb" in on_the_page) == (True, True)
    assert not [name for name in shown | set(on_the_page) if "import" in name]


def test_a_run_of_a_sweep_is_in_its_group(tmp_path: Path) -> None:
    """Unless it has another one."""
    run = written.field(17, written.field(1, "a") + written.field(12, "s1"))
    written.wandb(tmp_path / "a", run, written.wandb_exit(0), uid="a")
    protocol = EphemeralProtocol("ephemeral:")
    import_runs("wandb", tmp_path, protocol)

    assert [group.name for group in protocol.fetch_groups()] == ["sweep s1"]


def test_tables_of_wandb_are_not_said_to_be_elsewhere(tmp_path: Path) -> None:
    """An artifact that wandb makes of each table that is logged is no news: the table is taken."""
    artifacts = [written.wandb_artifact("run_table", "run-abc-tab"), written.wandb_artifact("model", "net")]
    written.wandb(tmp_path / "wandb", written.wandb_run(), *artifacts, written.wandb_exit(0))

    _, report = _imported("wandb", tmp_path / "wandb")

    assert [(one.kind, one.count, one.first) for one in report.left] == [("artifact", 1, "net (model)")]


def test_files_that_nothing_was_written_to_are_no_runs(tmp_path: Path) -> None:
    """A process that was killed at once, and the file that TensorBoard begins beside the runs of a search."""
    written.wandb(tmp_path / "wandb" / "one", written.wandb_run(), written.wandb_exit(0))
    (tmp_path / "wandb" / "two").mkdir()
    (tmp_path / "wandb" / "two" / "run-x.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    written.tfevents(tmp_path / "logs")
    written.tfevents(tmp_path / "logs" / "trial", written.event(1.7e9, 0, written.scalar("loss", 1.0)))

    for source, place in (("wandb", "wandb"), ("tensorboard", "logs")):
        trials, report = _imported(source, tmp_path / place)
        assert len(trials) == 1
        assert [one.count for one in report.left if one.kind == "run"] == [1]


def _moved(source: str, place: Path, elsewhere: Path, tmp_path: Path) -> Any:
    store = f"file:{tmp_path}/report.json"
    import_runs(source, place, store)
    shutil.copytree(place, elsewhere)
    return import_runs(source, elsewhere, store)


def _csv(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text("run,step,loss\na,0,0.5\nb,0,0.25\n")
    return folder


def _dvclive_without_times(folder: Path) -> Path:
    written.dvclive(folder)
    (folder / "plots" / "metrics" / "val" / "acc.tsv").unlink()
    return folder


@pytest.mark.parametrize(
    ("source", "make"), [("csv", _csv), ("dvclive", written.dvclive), ("dvclive", _dvclive_without_times)]
)
def test_a_folder_that_was_moved_is_known(source: str, make: Any, tmp_path: Path) -> None:
    """Runs without an id are known by how they begin, not by where their files are."""
    report = _moved(source, make(tmp_path / "here"), tmp_path / "deep" / "there", tmp_path)

    assert list(report.runs) == ["present"]


def test_runs_that_begin_alike_are_two(tmp_path: Path) -> None:
    """Files of one name in two folders, with the same seed."""
    for name, end in (("a", 0.25), ("b", 0.75)):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "metrics.csv").write_text(f"step,loss\n0,0.5\n1,{end}\n")
    protocol = EphemeralProtocol("ephemeral:")

    first, second = (import_runs("csv", tmp_path / "logs", protocol) for _ in range(2))

    assert sorted(trial.metrics["loss"][1] for trial in protocol.fetch_trials()) == [0.25, 0.75]
    assert (list(first.runs), list(second.runs)) == (["imported"], ["present"])


def test_a_table_of_the_same_size_with_other_numbers_has_changed(tmp_path: Path) -> None:
    """It is named: what is stored are the numbers of before."""
    path = tmp_path / "runs.csv"
    protocol = EphemeralProtocol("ephemeral:")
    path.write_text("run,step,loss\na,0,0.5\na,1,0.25\n")
    import_runs("csv", path, protocol)
    path.write_text("run,step,loss\na,0,0.5\na,1,0.75\n")

    assert list(import_runs("csv", path, protocol).runs) == ["changed"]
