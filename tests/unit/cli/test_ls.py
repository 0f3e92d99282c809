"""``track ls``: what differs, what was measured, how it ended; as a table, as JSON, as lines, as groups."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from track import TrackClient
from track.cli import main
from track.metrics import Metrics


@pytest.fixture(params=["file", "sqlite"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give a store of six runs of two settings, the last of which failed."""
    made = f"{request.param}:{tmp_path}/runs"
    client = TrackClient(made)
    for lr in (0.1, 0.2):
        for seed in range(3):
            fields = {"name": "base", "parameters": {"lr": lr, "seed": seed, "epochs": 4}}
            try:
                with client.new_trial(force=True, **fields) as trial:
                    for step in range(4):
                        trial.log_metrics(step=step, loss=lr + seed - step / 10)
                    if (lr, seed) == (0.2, 2):
                        raise RuntimeError("out of \x1b[31mmemory")
            except RuntimeError:
                pass
    client.protocol.close()
    return made


def test_table_shows_what_differs(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, with a curve and the error; what is the same in all is no column."""
    assert main(["ls", uri]) == 0
    out, err = capsys.readouterr()
    head, first, *others = out.splitlines()

    assert head.split() == ["TRIAL", "NAME", "STATUS", "AGE", "TIME", "lr", "seed", "loss", "ERROR"]
    assert first.split()[1:3] == ["base/0", "exception"]
    assert first.endswith("RuntimeError: out of \\x1b[31mmemory")
    assert "█▆▃▁" in first
    assert len(others) == 5
    assert err == "6 trials\n"


def test_term_that_begins_with_a_dash_stands_after_two(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A term is turned by a dash as by an exclamation mark; what follows two dashes is no option."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", uri)
    assert main(["ls", "--json", "--", "-status:failed", "-lr=0.1"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [trial["parameters"]["lr"] for trial in found["trials"]] == [0.2, 0.2]


def test_a_narrow_terminal_shows_what_counts(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The course, other metrics and ages go first; the first metric and what is sorted by stay."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    for width, names in ((57, "TRIAL NAME STATUS lr seed loss ERROR"), (45, "TRIAL NAME STATUS loss ERROR")):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(["ls", uri]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == names.split()
        assert max(map(len, lines)) <= width


def test_sorted_limited_and_chosen(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A column that is sorted by is shown, and how many there are is said."""
    assert main(["ls", uri, "lr<0.15", "-s", "loss.min", "-n", "2", "-c", "seed"]) == 0
    out, err = capsys.readouterr()

    assert out.splitlines()[0].split() == ["TRIAL", "NAME", "STATUS", "AGE", "TIME", "loss.min", "seed"]
    assert [line.split()[-3:-1] for line in out.splitlines()[1:]] == [["-0.2", "0"], ["0.8", "1"]]
    assert err == "2 of 3 trials, of 6 in the store; -n 0 shows all\n"
    main(["ls", uri, "-s", "loss", "-r", "-n", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["trials"][0]["metrics"]["loss"]["max"] == 2.2


def test_json_is_as_documented(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, whose schema has a number; lines have one each."""
    assert main(["ls", uri, "--json", "-n", "1"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert (document["schema"], document["total"], document["matching"]) == (1, 6, 6)
    (trial,) = document["trials"]
    assert trial["parameters"] == {"lr": 0.2, "seed": 2, "epochs": 4}
    assert trial["metrics"]["loss"]["count"] == 4
    assert trial["error"].startswith("RuntimeError: out of")
    assert main(["ls", uri, "--jsonl"]) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 6


def test_csv_has_every_digit(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters, and last, least and greatest value of each metric."""
    assert main(["ls", uri, "--csv", "lr=0.1", "seed=0"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))

    assert (row["lr"], row["epochs"], row["loss.max"]) == ("0.1", "4", "0.1")
    assert float(row["loss"]) == 0.1 - 3 / 10


def test_seeds_are_grouped(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs that differ in their seed are one row: mean, deviation, and how many."""
    assert main(["ls", uri, "--group", "-s", "loss"]) == 0
    out, err = capsys.readouterr()

    assert out.splitlines()[0].split() == ["NAME", "N", "lr", "loss"]
    assert out.splitlines()[1].split() == ["base", "3", "0.1", "0.8", "±", "1", "(3)"]
    assert err == "2 of 2 settings, 6 trials\n"
    assert main(["ls", uri, "--by", "seed", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [one["columns"] for one in groups] == [{"seed": 2}, {"seed": 1}, {"seed": 0}]
    assert groups[0]["metrics"]["loss"]["n"] == 2


def test_setting_that_has_diverged_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no run of a setting has a finite number there is no mean, nor an empty cell as of one without it."""
    client = TrackClient(f"file:{tmp_path}/runs.json")
    for seed, loss in enumerate((math.nan, math.inf)):
        with client.new_trial(name="wild", parameters={"lr": 9, "seed": seed}, force=True) as trial:
            trial.log_metrics(loss=loss)
    with client.new_trial(name="tame", parameters={"lr": 1, "seed": 0}, force=True) as trial:
        trial.log_metrics(accuracy=1.0)

    assert main(["ls", f"file:{tmp_path}/runs.json", "--group", "-s", "lr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["wild", "2", "9", "not", "finite"]
    assert "not finite" not in lines[1]
    assert main(["ls", f"file:{tmp_path}/runs.json", "--group", "--json"]) == 0
    tame, wild = sorted(json.loads(capsys.readouterr().out)["groups"], key=lambda one: one["n"])
    assert (wild["nan"], wild["metrics"], "nan" in tame) == (["loss"], {}, False)


def test_nan_is_null_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has no NaN: the metric is named instead."""
    uri = f"file:{tmp_path}/runs.json"
    with TrackClient(uri).new_trial(parameters={"lr": float("inf")}) as trial:
        trial.log_metrics(step=0, loss=float("nan"))

    main(["ls", uri, "--json"])

    (found,) = json.loads(capsys.readouterr().out)["trials"]
    assert found["metrics"]["loss"]["last"] is None
    assert found["nan"] == ["loss"]


def test_listing_reads_no_points(uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is listed comes from what metrics come to; no container is decoded for it."""
    decoded: list[str] = []
    monkeypatch.setattr(Metrics, "__getitem__", lambda self, name: decoded.append(name))

    assert main(["ls", uri, "loss.min<5", "-s", "loss", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 6
    assert "loss" not in decoded


def test_names_of_others_do_nothing_to_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, parameters, metrics and errors are shown, not obeyed, in every form; long ones are cut."""
    uri = f"file:{tmp_path}/runs.json"
    bad = "\x1b[2J\r\n\u202e\x07" + "x" * 10_000
    client = TrackClient(uri)
    for number in range(2):
        with client.new_trial(name=bad, parameters={bad: bad + str(number)}, force=True) as trial:
            trial.log_metrics(step=0, **{bad: 0.5})

    for form in ([], ["--group"], ["--json"], ["--jsonl"]):
        assert main(["ls", uri, *form]) == 0
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).splitlines())
        assert form or max(map(len, out.splitlines())) < 400
