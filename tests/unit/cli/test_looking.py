"""``track show``, ``compare`` and ``metrics``: one trial, what differs between some, and the points of a metric."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.children import python
from track import TrackClient
from track.cli import main
from track.cli.metrics import drawing
from track.dashboard.rows import page_of
from track.metrics import Metrics
from track.reading import environment_in


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store of two runs, the second of which failed."""
    made = f"{request.param}:{tmp_path}/runs"
    client = TrackClient(made)
    client.set_project(name="digits")
    with client.new_trial(name="good", parameters={"lr": 0.1, "opt": {"name": "adam"}}, tags=["paper"]) as trial:
        trial.log_metadata(note="first \x1b[2J")
        with trial.chrono("epoch"):
            pass
        for step in range(30):
            trial.log_metrics(step=step, loss=1 / (step + 1))
    with client.new_trial(name="bad", parameters={"lr": 0.2, "opt": {"name": "adam"}}) as trial:
        trial.log_metrics(step=0, loss=2.0)
        trial.set_status("exception", "ValueError: no\n\x1b[31mno")
    client.protocol.close()
    return made


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def _json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_show_says_all_but_the_points(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, parameters, metrics, times, notes and place; the error whole, a line each."""
    assert main(["show", uri, "good"]) == 0
    lines = _lines(capsys)
    assert lines[0].startswith("good/0 completed ")
    for line in ("project digits", "tags paper", "lr 0.1", "opt.name adam", "note first \\x1b[2J"):
        assert line in lines
    assert any(line.startswith("loss 0.0333333 0.0333333 29 1 0 30 █") for line in lines)
    assert any(line.startswith("host ") for line in lines)

    assert main(["show", uri, "@last"]) == 0
    lines = _lines(capsys)
    assert lines[0].startswith("bad/0 exception ")
    assert lines[lines.index("error") + 1 :][:2] == ["ValueError: no", "\\x1b[31mno"]


def test_what_the_machine_did_is_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It follows the metrics in a table, means and their peaks in a line; listings have it where it is asked for."""
    uri = f"file:{tmp_path}/runs"
    with TrackClient(uri).new_trial(name="good", parameters={"lr": 0.1}) as trial:
        for cpu in (10.0, 30.0, 20.0):
            trial.log_metrics(**{"system/cpu": cpu, "system/cpu.peak": 2 * cpu, "system/odd.peak": 1.0})
        trial.log_metrics(step=0, loss=0.5)
        trial.alert("disk \x1b[2J", "is full")

    assert main(["show", uri, "good"]) == 0
    lines = _lines(capsys)
    assert lines[lines.index("alerts") + 1].endswith(" warning disk \\x1b[2J: is full")
    assert lines[lines.index("metrics") + 2 :][:2] == ["loss 0.5 0.5 0 0.5 0 1", ""]
    assert lines[lines.index("system") + 2 :][:3] == ["system/cpu 20 10 60 3", "system/odd.peak 1 1 1 3", ""]

    assert main(["show", uri, "good", "--json"]) == 0
    assert _json(capsys)["trial"]["alerts"][0]["title"] == "disk \x1b[2J"
    assert main(["ls", uri]) == 0
    assert "system" not in capsys.readouterr().out
    assert main(["ls", uri, "-c", "system/cpu,system/cpu.peak", "system/cpu.max>=30"]) == 0
    assert _lines(capsys)[1].split()[-3:-1] == ["20", "40"]
    assert main(["metrics", uri, "good"]) == 0
    assert any(line.startswith("system/cpu.peak ") for line in _lines(capsys))


def test_command_is_shown_as_a_shell_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words with spaces are quoted, in the terminal and on the page; as data it stays a list of words."""
    uri = f"file:{tmp_path}/runs.json"
    monkeypatch.setattr("sys.argv", ["train.py", "--name", "a run", "--lr=0.1"])
    client = TrackClient(uri, environment="argv")
    with client.new_trial(name="good", parameters={}) as trial:
        pass

    assert main(["show", uri, "good"]) == 0
    assert "command train.py --name 'a run' --lr=0.1" in _lines(capsys)
    assert main(["show", uri, "good", "--json"]) == 0
    assert _json(capsys)["trial"]["environment"]["argv"] == ["train.py", "--name", "a run", "--lr=0.1"]
    found = environment_in(client.protocol, trial.trial)
    assert page_of(trial.trial, str, found)["environment"]["command"] == "train.py --name 'a run' --lr=0.1"


def test_show_says_that_a_killed_trial_said_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no error to show: that its process was killed is said instead; not of one that a person called so."""
    uri = f"file:{tmp_path}/runs.json"
    source = (
        "import os, sys; from track import TrackClient\n"
        "with TrackClient(sys.argv[1]).new_trial(name='killed') as trial:\n"
        "    trial.log_metrics(step=0, loss=1); os._exit(9)"
    )
    assert python("-c", source, uri).returncode == 9
    with TrackClient(uri).new_trial(name="said"):
        pass
    main(["status", uri, "said", "broken"])
    capsys.readouterr()

    assert main(["show", uri, "killed"]) == 0
    assert "ended without a word: its process was killed, or its machine is gone" in _lines(capsys)
    assert main(["show", uri, "said"]) == 0
    assert not any("without a word" in line for line in _lines(capsys))


def test_show_as_json(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``ls`` prints of a trial, and more."""
    assert main(["show", uri, "good", "--json"]) == 0
    document = _json(capsys)

    assert document["schema"] == 1
    trial = document["trial"]
    assert (trial["name"], trial["metrics"]["loss"]["count"], trial["times"]["epoch"]["unit"]) == ("good", 30, "s")
    assert trial["environment"]["packages"]


def test_trial_that_is_not_there(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one sentence and the exit code of nothing found; too few or many words are wrong usage."""
    assert main(["show", uri, "god"]) == 1
    assert "did you mean 'good'?" in capsys.readouterr().err
    client = TrackClient(uri)
    for lr in (1.0, 2.0):
        with client.new_trial(name="twin", parameters={"lr": lr}) as trial:
            pass
    client.protocol.close()
    assert main(["show", uri, "twin"]) == 2
    (last,) = re.findall(r"[0-9a-f]+(?= .twin/0, completed.\. Say which)", capsys.readouterr().err)
    assert len(last) < 12
    assert main(["show", uri, last, "--json"]) == 0
    assert _json(capsys)["trial"]["uid"] == trial.trial.uid
    assert main(["show", uri]) == 2
    assert main(["show", uri, "good", "bad"]) == 2
    assert main(["compare", uri, "good"]) == 2
    assert "which ones? Give TRIAL TRIAL, as" in capsys.readouterr().err
    assert main(["metrics", uri, "good", "los"]) == 1
    assert "did you mean 'loss'?" in capsys.readouterr().err


def test_compare_shows_what_differs(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters and metrics with the change of a number; what is the same only where all is asked for."""
    assert main(["compare", uri, "good", "bad"]) == 0
    lines = _lines(capsys)
    assert "lr 0.1 0.2 +100 %" in lines
    assert "loss 0.0333333 2 +5.9e+03 %" in lines
    assert "loss.max 1 2 +100 %" in lines
    assert not any("opt.name" in line for line in lines)

    assert main(["compare", uri, "good", "bad", "--all"]) == 0
    assert "opt.name adam adam" in _lines(capsys)
    assert main(["compare", uri, "good", "good"]) == 0
    assert capsys.readouterr().err == "nothing differs\n"


def test_compare_keeps_the_machine_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what the machine did the last value and the peak are below all metrics, where both trials have them."""
    client = TrackClient(f"file:{tmp_path}/report.json")
    for name, more in (("one", 0.0), ("two", 1.0)):
        with client.new_trial(name=name, parameters={"lr": more}) as trial:
            for tick in (3.0, 1.0, 2.0):
                trial.log_metrics(
                    **{"system/cpu": tick + more, "system/cpu.peak": 2 * tick + more, "loss": tick + more}
                )
            if more:
                trial.log_metrics(**{"system/gpu0.use": 50.0})
    client.protocol.close()

    assert main(["compare", f"file:{tmp_path}/report.json", "one", "two"]) == 0
    lines = _lines(capsys)
    machine = lines[lines.index("system") + 1 :]
    assert [line.split(" +")[0] for line in machine[:2]] == ["system/cpu 2 3", "system/cpu.peak 6 7"]
    assert not any("gpu0" in line or ".peak.m" in line for line in lines)
    assert lines.index("system") > next(place for place, line in enumerate(lines) if line.startswith("loss.max"))
    assert next(line for line in lines if line.startswith("time ")).split()[1].endswith("s")

    assert main(["compare", f"file:{tmp_path}/report.json", "one", "two", "--json"]) == 0
    assert _json(capsys)["metrics"]["system/cpu.peak.max"] == [6.0, 7.0]


def test_compare_as_json(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value a trial, in their order; packages are there where their versions differ."""
    assert main(["compare", uri, "bad", "good", "--json"]) == 0
    document = _json(capsys)

    assert document["parameters"] == {"lr": [0.2, 0.1]}
    assert document["metrics"]["loss.max"] == [2.0, 1.0]
    assert document["packages"] == {}
    assert len(document["trials"]) == 2


def test_points_of_a_metric(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last ones as a table, all of them as data."""
    assert main(["metrics", uri, "good", "loss", "--tail", "2"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["STEP", "loss"],
        ["28", "0.0344828"],
        ["29", "0.0333333"],
    ]
    assert err == "2 of 30 points\n"
    assert main(["metrics", uri, "good", "loss", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["loss"]) for row in rows] == [1 / (step + 1) for step in range(30)]
    assert main(["metrics", uri, "good", "loss", "--json", "--tail", "1"]) == 0
    assert _json(capsys)["points"][0]["step"] == 29
    assert main(["metrics", uri, "good", "--jsonl"]) == 0
    assert _json(capsys) == {"metric": "loss", "last": 1 / 30, "min": 1 / 30, "max": 1.0, "count": 30}


def test_drawing_loses_no_spike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One value of ten thousand that stands out is drawn, and what is not finite is counted."""
    uri = f"file:{tmp_path}/runs.json"
    with TrackClient(uri).new_trial(parameters={"lr": 1}) as trial:
        values = [float(step % 7) for step in range(10_000)]
        values[5000], values[6000] = 1e6, float("nan")
        trial.log_series("loss", values)

    assert main(["metrics", uri, "@last", "loss", "--plot"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("1e+06 ┤")
    assert out.splitlines()[0].strip()[-1] not in "┤ "
    assert err == "10,000 points of loss, 1 of them not finite\n"


def test_drawing_of_nothing_and_of_one_value() -> None:
    """Values that are all the same are a line at the bottom; without finite ones there is nothing to draw."""
    assert drawing([(float("nan"), float("nan"))], 2) == []
    assert drawing([(1.0, 1.0)] * 4, 2) == ["  ", "⣀⣀"]


def test_looking_decodes_no_points(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a run is, what its metrics come to is enough."""
    decoded: list[str] = []
    real = Metrics.__getitem__
    monkeypatch.setattr(Metrics, "__getitem__", lambda self, name: decoded.append(name) or real(self, name))

    for words in (
        ["show", uri, "good", "--json"],
        ["compare", uri, "@best:loss", "@last"],
        ["metrics", uri, "good", "--csv"],
    ):
        assert main(words) == 0
    assert "loss" not in decoded
