"""``track watch``: a table that is shown again when a trial changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.waiting import happens
from track import TrackClient
from track.cli import main


@pytest.fixture(params=["file", "sqlite"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackClient:
    """Give a client of a store."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return TrackClient(f"{request.param}:{tmp_path}/runs")


def _steps(monkeypatch: pytest.MonkeyPatch, *actions: Callable[[], object]) -> None:
    happens(monkeypatch, "track.cli.watch.time.sleep", *actions)


def test_table_is_shown_again_when_something_changes(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that run come first; nothing is said where nothing changed; it ends once nothing runs."""
    with client.new_trial(name="old", parameters={"lr": 1}) as old:
        old.log_metrics(step=0, loss=1.0)
    trial = client.new_trial(name="live", parameters={"lr": 2}, force=True)
    trial.start()
    with client.new_trial(name="last", parameters={"lr": 3}, force=True):
        pass

    def log() -> None:
        trial.log_metrics(step=0, loss=0.25)
        client.protocol.flush()

    _steps(monkeypatch, lambda: None, log, lambda: None, trial.finish)
    assert main(["watch", client.protocol.uri, "-c", "lr,loss", "--until-done"]) == 0
    out, err = capsys.readouterr()
    tables = [[line.split()[1:3] for line in table.splitlines()[1:]] for table in out.split("\n\n")]

    assert [table[0] for table in tables] == [["live/0", "running"], ["live/0", "running"], ["last/0", "completed"]]
    assert " 0.25" in out.split("\n\n")[1]
    assert err.splitlines()[0] == "3 of 3 trials, 1 running"


def test_terminal_is_drawn_over(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the table keeps its place, and an interrupt is exit code 130."""
    trial = client.new_trial(name="live\x1b[2J", parameters={"lr": 2})
    trial.start()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    _steps(monkeypatch, lambda: trial.log_metrics(step=0, loss=1.0))

    assert main(["watch", client.protocol.uri]) == 130
    out = capsys.readouterr().out
    trial.finish()
    assert out.startswith("\x1b[2J\x1b[H")
    assert out.count("\x1b[2J") == 1
    assert out.count("\x1b[H") >= 2


def test_changed_trials_as_lines(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For programs: each trial that has changed, in a line; a filter chooses."""
    trial = client.new_trial(name="live", parameters={"lr": 2})
    trial.start()
    with client.new_trial(name="other", parameters={"lr": 3}, force=True):
        pass
    _steps(monkeypatch, trial.finish)

    assert main(["watch", client.protocol.uri, "name:live", "--jsonl", "--until-done"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["name"], one["status"]) for one in found] == [("live", "running"), ("live", "completed")]
    assert main(["watch", client.protocol.uri, "-i", "0"]) == 2
