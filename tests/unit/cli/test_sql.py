"""``track sql``: questions to a store, answered by DuckDB; files and other machines are out of reach."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.cli import main
from track.persistence.registry import get_protocol


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a store of three runs."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    made = f"sqlite:{tmp_path}/runs.db"
    client = TrackClient(made)
    client.set_project(name="digits")
    for lr in (0.1, 0.2, 0.4):
        with client.new_trial(name=f"run {lr}", parameters={"lr": lr}, tags=["paper"], force=True) as trial:
            for step in range(3):
                trial.log_metrics(step=step, loss=lr * step)
    client.protocol.close()
    return made


def test_without_duckdb_the_extra_is_named(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to install."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["sql", uri, "select 1"]) == 2
    assert "[sql]" in capsys.readouterr().err


def test_questions_are_answered(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials, parameters, tags, what metrics come to, and points."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    for question, rows in (
        ("select name from trials where project = 'digits' order by name limit 1", [["run 0.1"]]),
        ("select max(number) from parameters where name = 'lr'", [[0.4]]),
        ("select count(*) from tags where name = 'paper'", [[3]]),
        ("select max(last), min(count) from briefs", [[0.8, 3]]),
        ("select metric, count(*), max(value) from metrics group by 1", [["loss", 9, 0.8]]),
        ('select name, min(value), count(*) from metrics where "at" = time group by 1', [["loss", 0.0, 9]]),
    ):
        assert main(["sql", uri, question, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == rows
    assert main(["sql", uri, "select name, seconds from trials", "-n", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["name", "seconds"]
    assert err == "2 of 3 rows\n"
    assert main(["sql", uri, "select 1 as a where false", "--csv"]) == 1


def test_points_are_read_only_where_they_are_asked_for(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question about trials reads no long run."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(type(get_protocol(uri)), "fetch_trials", lambda *_: pytest.fail("the points are read"))

    assert main(["sql", uri, "select count(*) from trials"]) == 0


@pytest.mark.parametrize(
    "question",
    [
        "select * from read_csv('/etc/passwd')",
        "copy trials to '{}/stolen.csv'",
        "attach '{}/other.db' as other",
        "set enable_external_access = true",
        "select nothing from trials",
        "select",
    ],
)
def test_files_are_out_of_reach(uri: str, tmp_path: Path, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A question that was copied from somewhere reads no file and writes none; what is wrong is one sentence."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    assert main(["sql", uri, question.format(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.glob("*.csv"))
    assert not (tmp_path / "other.db").exists()
