"""Sources that are torn, flipped or hostile end in the report, and never in a traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.importing import written
from tests.unit.importing.damage import cut, damaged, flip
from track.artifacts import artifacts
from track.cli import main
from track.errors import NothingThere
from track.importing import import_runs
from track.importing.report import Report
from track.persistence.ephemeral import EphemeralProtocol

FLIPS, CUTS = 40, 12


def _csv(folder: Path) -> None:
    folder.mkdir()
    lines = [f'a,{step},170000000{step},{step / 7},"x ""y"""' for step in range(9)]
    (folder / "runs.csv").write_text("\n".join(["run,step,time,loss,note", *lines, ""]))


def _tensorboard(folder: Path) -> None:
    events = [
        written.event(1.7e9 + step, step, written.scalar("loss", step), written.scalar("acc", 0.5)) for step in range(5)
    ]
    shown = written.event(1.7e9, 1, written.image("img", b"\x89PNG"), written.hparams(lr=0.1, name="x"))
    written.tfevents(folder, shown, *events)


def _wandb(folder: Path) -> None:
    rows = [written.wandb_row(loss=0.5, deep={"x": 1}, _step=step, _timestamp=1.7e9 + step) for step in range(5)]
    ends = [written.wandb_summary(best=1), written.wandb_exit(0)]
    written.wandb(folder, written.wandb_run(lr=0.1, deep={"a": [1]}), *rows, *ends)


SOURCES: dict[str, Callable[[Path], Any]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": written.mlflow,
    "mlruns": written.mlruns,
    "trackio": written.trackio,
    "dvclive": written.dvclive,
    "sacred": written.sacred,
}


def _read(source: str, folder: Path) -> Report | None:
    try:
        return import_runs(source, folder, EphemeralProtocol("ephemeral:"))
    except NothingThere:
        return None


@pytest.fixture(params=SOURCES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A source, and a folder that it has written."""
    SOURCES[request.param](tmp_path / "made")
    return request.param, tmp_path / "made"


def test_bits_that_are_flipped_end_in_the_report(made: tuple[str, Path]) -> None:
    """Whatever is changed: what cannot be read is counted."""
    source, folder = made

    reports = [_read(source, copy) for copy in damaged(folder, flip, FLIPS)]

    assert len(reports) == FLIPS


def test_files_that_are_cut_off_end_in_the_report(made: tuple[str, Path]) -> None:
    """As a killed program, or a copy that was broken off, leaves them."""
    source, folder = made

    reports = [_read(source, copy) for copy in damaged(folder, cut, CUTS)]

    assert len(reports) == CUTS


@pytest.mark.parametrize("source", ["tensorboard", "wandb"])
def test_a_flipped_bit_is_never_another_number(source: str, tmp_path: Path) -> None:
    """Where there are checksums, a point is right or not there."""
    SOURCES[source](tmp_path / "made")

    for copy in damaged(tmp_path / "made", flip, FLIPS):
        protocol = EphemeralProtocol("ephemeral:")
        try:
            import_runs(source, copy, protocol)
        except NothingThere:
            continue
        for trial in protocol.fetch_trials():
            for step, value in dict(trial.metrics.get("loss", {})).items():
                assert value == (0.5 if source == "wandb" else step)


NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.booleans())
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=20)
POINTS = st.lists(st.tuples(st.integers(0, 50), st.dictionaries(NAMES, NUMBERS, max_size=4)), max_size=12)


@settings(max_examples=60)
@given(rows=POINTS)
def test_any_rows_of_wandb_come_back(rows: list[tuple[int, dict[str, Any]]], tmp_path: Path) -> None:
    """Whatever a metric is called, and whatever number it was: the same number, of the same type, at its step."""
    kept = [(step, {name: value for name, value in row.items() if name[0] != "_"}) for step, row in rows]
    written.wandb(tmp_path, written.wandb_run(), *(written.wandb_row(**row, _step=step) for step, row in kept))
    protocol = EphemeralProtocol("ephemeral:")

    import_runs("wandb", tmp_path, protocol)

    (trial,) = protocol.fetch_trials()
    said: dict[str, dict[int, Any]] = {}
    for step, row in kept:
        for name, value in row.items():
            called = f"{name}_" if name in ("step", "aggregator") else name
            said.setdefault(called, {})[step] = value
    found = {name: dict(trial.metrics[name]) for name in trial.metrics}
    assert repr({name: said[name] for name in sorted(said)}) == repr({name: found[name] for name in sorted(found)})


def test_a_file_of_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Its size is asked first: files may have holes, and cost nothing to make."""
    folder = written.sacred(tmp_path / "runs")
    for name in ("metrics.json", "config.json"):
        os.truncate(folder / "1" / name, 1 << 40)

    report = import_runs("sacred", folder, "ephemeral:", dry_run=True)

    assert report.damages == 2
    assert report.taken["trials"] == 1


@pytest.mark.parametrize("name", ["../../x", "a/../../../x", "x" * 5000, "a\0b"])
def test_a_name_that_leads_elsewhere_is_in_the_report(name: str, tmp_path: Path) -> None:
    """The source of a file is in the folder; what it is called there is what somebody has written."""
    folder = written.sacred(tmp_path / "runs")
    about = json.loads((folder / "1/run.json").read_text())
    about["experiment"]["sources"] = [[name, "_sources/main.py"]]
    (folder / "1/run.json").write_text(json.dumps(about))
    store = f"file:{tmp_path}/report.json"

    report = import_runs("sacred", folder, store)

    assert [one.name for one in artifacts(store)] == ["cout.txt"]
    assert "file" in {one.kind for one in report.left}


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    """A table whose first line, or a later one, never ends."""
    (tmp_path / "runs.csv").write_text("run,step,loss\na,0,0.5\n")
    os.truncate(tmp_path / "runs.csv", 64 << 20)

    tracemalloc.start()
    report = import_runs("csv", tmp_path / "runs.csv", "ephemeral:")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (report.taken["points"], report.damages > 0) == (1, True)
    assert most < 40 << 20


def test_yaml_is_plain_data(tmp_path: Path) -> None:
    """A tag that would make an object is refused, and "a billion laughs" is not read."""
    folder = written.dvclive(tmp_path / "one")
    ran = tmp_path / "ran"
    (folder / "params.yaml").write_text(f"lr: !!python/object/apply:os.mkdir ['{ran}']\n")
    other = written.dvclive(tmp_path / "two")
    laughs = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10))
    (other / "params.yaml").write_text(f"a0: &a0 [lol]\n{laughs}")

    reports = [import_runs("dvclive", path, "ephemeral:") for path in (folder, other)]

    assert not ran.exists()
    assert [report.damages for report in reports] == [1, 1]
    assert [report.taken["points"] for report in reports] == [4, 4]


@pytest.mark.parametrize("at", [-(10**12), 1 << 62])
def test_a_run_that_began_in_no_year_can_be_looked_at(at: int, tmp_path: Path) -> None:
    """It is said, and counts as of 1970."""
    begun = written.field(17, written.field(1, "a") + written.field(17, written.field(1, at)))
    written.wandb(tmp_path / "wandb", begun, written.wandb_exit(0))
    store = f"file:{tmp_path}/report.json"

    report = import_runs("wandb", tmp_path / "wandb", store)

    assert [one.kind for one in report.left] == ["run"]
    assert main(["show", store, "a"]) == 0


@pytest.mark.parametrize("source", ["wandb", "tensorboard"])
def test_what_is_no_file_of_the_tracker_is_no_run(source: str, tmp_path: Path) -> None:
    """A compressed one, perhaps: it is named, and can be imported once that is mended."""
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"\x1f\x8b" + bytes(100))

    report = import_runs(source, path, "ephemeral:")

    assert (report.damages, report.runs) == (1, {})


def test_a_database_in_the_middle_of_a_change_is_not_half_read(tmp_path: Path) -> None:
    """A journal beside it belongs to a change that is not for good yet: as long as that lasts, the report says so."""
    path = written.mlflow(tmp_path)
    writer = sqlite3.connect(path, isolation_level=None)
    with closing(writer):
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN EXCLUSIVE")
        rows = [("loss", 7.0, 1_700_000_000_500 + step, "aaa", step, 0) for step in range(5, 5000)]
        writer.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
        during = import_runs("mlflow", tmp_path, "ephemeral:", dry_run=True)
        writer.execute("ROLLBACK")
    after = import_runs("mlflow", tmp_path, "ephemeral:", dry_run=True)

    assert (during.taken["trials"], during.is_complete) == (0, False)
    assert (after.taken["points"], after.is_complete) == (7, True)


def test_a_run_that_cannot_be_read_on_counts_as_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it ended would have been said later."""
    folder = written.sacred(tmp_path / "runs")
    monkeypatch.setattr("track.importing.sacred._tell_sources", lambda *given: {}["missing"])
    protocol = EphemeralProtocol("ephemeral:")

    report = import_runs("sacred", folder, protocol)

    (trial,) = protocol.fetch_trials()
    assert (str(trial.status), report.is_complete) == ("broken", False)


@pytest.mark.parametrize("source", ["mlflow", "trackio"])
def test_a_pipe_in_the_place_of_a_database_is_not_waited_for(source: str, tmp_path: Path) -> None:
    """SQLite would wait for somebody who writes to it."""
    os.mkfifo(tmp_path / "pipe.db")

    assert import_runs(source, tmp_path / "pipe.db", "ephemeral:").damages == 1


def test_names_and_values_that_no_store_takes_are_counted(tmp_path: Path) -> None:
    """A metric called step, one without a name, a name of megabytes, a time in no year, an integer of 400 digits."""
    rows = [
        written.wandb_row(step=1.0, _step=0, _timestamp=1.7e9),
        written.wandb_row(**{"x" * 5000: 1.0}, _step=1, _timestamp=1e300),
        written.wandb_row(loss=0.5, _step=2, _timestamp=-1e300),
        written.wandb_row(loss=10**400, _step=3, _timestamp=1.7e9),
        written.wandb_row(loss=0.25, _step=10**400, _timestamp=1.7e9),
    ]
    written.wandb(tmp_path / "wandb", written.wandb_run(note="y" * (2 << 20)), *rows)

    protocol = EphemeralProtocol("ephemeral:")
    report = import_runs("wandb", tmp_path / "wandb", protocol)

    (trial,) = protocol.fetch_trials()
    assert trial.metrics["step_"] == {0: 1.0}
    assert {"metric", "point", "parameters"} <= {one.kind for one in report.left}
