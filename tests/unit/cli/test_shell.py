"""The verbs agree: how a store is named, what goes to which stream, and what an exit code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.children import printed_by
from track import TrackClient
from track.cli import main
from track.cli.grid import Column, cell, column_of, duration, fitted, sparkline, table, wide
from track.errors import BackendUnavailable
from track.persistence.sqlite import SqliteProtocol


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    monkeypatch.chdir(tmp_path)


def _stored(uri: str, name: str) -> str:
    client = TrackClient(uri)
    with client.new_trial(name=name, parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=0.5)
    client.protocol.close()
    return uri


def _names(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [one["name"] for one in json.loads(capsys.readouterr().out)["trials"]]


def test_store_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the one that is configured, else report.json here; a URI or the path of a file wins."""
    assert main(["ls", "--json"]) == 2
    assert "which store?" in capsys.readouterr().err

    _stored(f"file:{tmp_path}/report.json", "here")
    assert (main(["ls", "--json"]), _names(capsys)) == (0, ["here"])

    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", _stored(f"sqlite:{tmp_path}/runs.db", "configured"))
    assert (main(["ls", "lr<1", "--json"]), _names(capsys)) == (0, ["configured"])
    assert (main(["ls", "report.json", "lr<1", "--json"]), _names(capsys)) == (0, ["here"])
    assert (main(["ls", "--json", "file:report.json", "-n", "3", "lr<1"]), _names(capsys)) == (0, ["here"])
    assert main(["delete", "configured"]) == 0
    assert main(["restore", "configured"]) == 0
    assert main(["gc"]) == 0
    assert main(["compact", "report.json"]) == 0
    assert main(["artifacts", "list"]) == 0


def test_error_names_the_stores_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none is named, a store that lies here is the example, and no other file."""
    (tmp_path / "configuration.json").write_text("{}", encoding="utf-8")
    assert main(["ls"]) == 2
    assert "file://runs.json" in capsys.readouterr().err

    _stored(f"file:{tmp_path}/digits.json", "here")
    assert main(["ls"]) == 2
    assert "as `track ls digits.json`" in capsys.readouterr().err


def test_no_command_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Who types the name alone reads what there is, on standard error; it is wrong usage all the same."""
    with pytest.raises(SystemExit, match="2"):
        main([])
    said = capsys.readouterr()
    assert said.out == ""
    assert "list trials" in said.err


def test_error_without_a_trial_says_how_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last and the best one have names that need not be looked up."""
    _stored(f"file:{tmp_path}/report.json", "here")
    assert main(["show"]) == 2
    assert "Give TRIAL, as @last or @best:loss" in capsys.readouterr().err


def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """0 well, 1 nothing found, 2 wrong usage, 3 the store is not there or away; messages are no output."""
    uri = _stored(f"sqlite:{tmp_path}/runs.db", "a")

    assert main(["ls", uri]) == 0
    capsys.readouterr()
    assert main(["ls", uri, "lr>1"]) == 1
    assert main(["ls", uri, "lrr>1"]) == 1
    assert main(["ls", uri, "lr>"]) == 2
    assert main(["ls", "sqlite3:x", "--json"]) == 2
    assert main(["ls", f"file:{tmp_path}/none.json"]) == 3
    monkeypatch.setattr(SqliteProtocol, "brief_trials", lambda *_: (_ for _ in ()).throw(BackendUnavailable("away")))
    assert main(["ls", uri]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "did you mean 'lr'?" in err
    assert all(line for line in err.splitlines())


def test_every_verb_takes_the_path_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store is named by the path of its file, also where it is made, or is one argument of several."""
    client = TrackClient(f"file:{tmp_path}/report.json")
    (tmp_path / "note.txt").write_text("kept")
    with client.new_trial(name="a", parameters={"lr": 0.1}) as trial:
        trial.log_file("note.txt")
    client.protocol.close()

    assert main(["artifacts", "download", "report.json", "note.txt", "--to", "brought.txt"]) == 0
    assert (tmp_path / "brought.txt").read_text() == "kept"
    assert main(["artifacts", "list", "report.json", "--json"]) == 0
    assert main(["copy", "report.json", "copied.db"]) == 0
    (tmp_path / "points.csv").write_text("step,loss\n0,1.0\n")
    assert main(["import", "csv", "points.csv", "--to", "new.json"]) == 0
    capsys.readouterr()
    assert main(["ls", "copied.db", "--json"]) == 0
    assert _names(capsys) == ["a"]
    assert main(["ls", "new.json", "--json"]) == 0


def test_path_where_no_store_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that no store is there; where it may be a word to look for, that it was taken for one."""
    _stored(f"file:{tmp_path}/report.json", "a")

    for words in (["doctor", "no.json"], ["ui", "no.json", "--no-browser"], ["show", "no.json", "@last"]):
        assert main(words) == 3
        assert "there is no store 'no.json'" in capsys.readouterr().err
    assert main(["ls", "no.json"]) == 1
    assert "none of 1 trials; 'no.json' is no store here" in capsys.readouterr().err


def test_help_imports_no_verb() -> None:
    """What the program can do is said without importing what does it."""
    script = """
import sys
from track.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
print(sorted(name for name in sys.modules if name.startswith("track.")))
"""
    out = printed_by(script)

    assert "ls" in out
    assert out.splitlines()[-1] == "['track.cli']"


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """``track ls | head -1`` says nothing of a broken pipe."""
    uri = _stored(f"file:{tmp_path}/runs.json", "a")
    script = f"""
import os, sys
from track.cli import main
read, write = os.pipe()
os.close(read)
kept = os.dup(1)
os.dup2(write, 1)
code = main(["ls", {uri!r}])
os.write(kept, str(code).encode())
"""
    assert printed_by(script) == "0"


def test_tables_fit() -> None:
    """Texts are cut first, then extra columns go from the last one on; numbers stand to the right."""
    columns = [
        Column("NAME", ["a" * 30, "b"], least=8),
        column_of("lr", [0.1, 10.0]),
        column_of("loss", [1.0, 2.0], extra=1),
        column_of("acc", [1.0, 2.0], extra=1),
    ]

    whole, hidden = table(columns)
    assert hidden == []
    assert whole[2].split() == ["b", "10", "2", "2"]
    cut, hidden = table(columns, 30)
    assert (max(map(wide, cut)), hidden) == (30, [])
    narrow, hidden = table(columns, 16)
    assert hidden == ["loss", "acc"]
    assert narrow == ["NAME       lr", "aaaaaaa…  0.1", "b          10"] or max(map(wide, narrow)) <= 16


def test_hostile_texts_do_nothing_to_a_terminal() -> None:
    """Control characters, marks of direction and endless texts become what can be read."""
    for text in ("\x1b[2J", "a\nb", "a\rb", "\u202egnp.exe", "x" * 10_000, "\x9b31m", "\x00"):
        shown = cell(text)
        assert shown.isprintable()
        assert wide(shown) <= 60


def test_wide_letters_take_two_columns() -> None:
    """Columns are aligned as a terminal shows letters."""
    assert (wide("学习"), wide("e\u0301"), fitted("学习率", 5)) == (4, 1, "学习…")


def test_short_forms() -> None:
    """Times and curves are short, whatever their values are."""
    assert [duration(one) for one in (0.5, 59.94, 60, 3600, 1e6, float("nan"), None)] == [
        "500ms",
        "59.9s",
        "1m 00s",
        "1h 00m",
        "11d 13h",
        "",
        "",
    ]
    assert (sparkline([]), sparkline([1.0, float("nan"), 1.0]), sparkline([-1e308, 1e308])) == ("", "▁▁", "▁▁")


def test_no_colour_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal is painted, a pipe and ``NO_COLOR`` are not."""
    uri = _stored(f"file:{tmp_path}/runs.json", "a")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    main(["ls", uri])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    main(["ls", uri])
    assert "\x1b[32mcompleted" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["ls", uri])
    assert "\x1b" not in capsys.readouterr().out
