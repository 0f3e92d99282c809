"""What `report` prints: the seed's JSON, or a table."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from track import TrackClient
from track.aggregators.aggregator import RingAggregator, StatAggregator, ValueAggregator
from track.errors import MissingExtra
from track.logger import TrialLogger
from track.report import report_text, write_report
from track.structure import Status, Trial

KEYS = [
    "revision",
    "name",
    "description",
    "version",
    "tags",
    "parameters",
    "metadata",
    "metrics",
    "chronos",
    "errors",
    "status",
]


@pytest.fixture
def client() -> TrackClient:
    """Give a client with a trial that is stored and has not begun."""
    client = TrackClient("ephemeral:")
    client.new_trial(name="final_trial_2", description="almost graduating", version="a8c3", parameters={"lr": 0.1})
    return client


@pytest.fixture
def log(client: TrackClient) -> TrialLogger:
    """Give the trial's logger."""
    assert client.logger is not None
    return client.logger


def _printed(client: TrackClient | TrialLogger, capsys: pytest.CaptureFixture[str], **style: Any) -> dict[str, Any]:
    client.report(**style)
    text = capsys.readouterr().out

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    report: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert text == json.dumps(report, indent=2) + "\n"
    return report


# the JSON


def test_report_is_the_sample_of_the_seed(
    client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keys, their order and their kinds are those of the documented sample."""
    client.add_tags(workers=8, hpo="byopt")
    with log:
        for step in range(2):
            with log.chrono("batch_time"):
                pass
            log.log_metrics(step=step, epoch_loss=2.5)

    report = _printed(client, capsys)

    assert list(report) == KEYS
    assert list(report["chronos"]) == ["runtime", "batch_time"]
    assert list(report["chronos"]["batch_time"]) == ["avg", "min", "max", "sd", "count", "unit"]
    assert report["metrics"] == {"epoch_loss": {"0": 2.5, "1": 2.5}}
    assert list(report["status"].items()) == [("value", 302), ("name", "Completed")]
    assert (report["tags"], report["errors"], report["metadata"]) == ({"workers": 8, "hpo": "byopt"}, [], {})


def test_chrono_counts_in_whole_numbers_of_seconds(
    client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first block is left out, the count is an integer, the unit is seconds, the run time a bare number."""
    for _ in range(4):
        with log.chrono("batch_time"):
            pass

    chronos = _printed(client, capsys)["chronos"]

    assert (chronos["batch_time"]["count"], chronos["batch_time"]["unit"]) == (3, "s")
    assert type(chronos["batch_time"]["count"]) is int
    assert type(chronos["runtime"]) is float


def test_single_block_has_no_statistics(
    client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """One block, which is left out, counts zero; a minimum of nothing is null."""
    with log.chrono("batch_time"):
        pass

    stat = _printed(client, capsys)["chronos"]["batch_time"]

    assert (stat["count"], stat["avg"], stat["sd"]) == (0, 0, 0)


def test_report_finishes_and_shows_what_is_stored(
    client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A running trial is finished by its report, and a second report is the same."""
    log.log_metrics(cost=1.0)
    log.log_metadata(gpu="V100")

    first, second = _printed(client, capsys), _printed(log, capsys)

    assert (first["status"]["name"], first["metadata"]) == ("Completed", {"gpu": "V100"})
    assert first == second


def test_error_is_in_the_report(client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that failed says so, and why."""
    with pytest.raises(ValueError, match="too large"), log:
        raise ValueError("too large")

    report = _printed(client, capsys)

    assert report["status"] == {"value": 202, "name": "Exception"}
    assert report["errors"][0].startswith("ValueError: too large")


def test_numbers_that_json_lacks_are_null(
    client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN and infinities print as null, wherever they are, and are stored as they are."""
    log.log_metrics(step=0, loss=math.nan)
    log.log_metrics(cost=math.inf)
    log.log_metrics(aggregator=ValueAggregator.lazy(), best=-math.inf)
    log.log_metadata(bound=math.inf)

    report = _printed(client, capsys)

    assert report["metrics"] == {"loss": {"0": None}, "cost": [None], "best": None}
    assert report["metadata"] == {"bound": None}
    assert math.isnan(log.trial.metrics["loss"][0])


def test_metrics_of_every_kind(client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A series shows its last 20 values, a value itself, a ring a list, statistics their summary."""
    for value in range(25):
        log.log_metrics(cost=value)
        log.log_metrics(aggregator=ValueAggregator.lazy(), last=value)
        log.log_metrics(aggregator=RingAggregator.lazy(2, "q"), ring=value)
        log.log_metrics(aggregator=StatAggregator.lazy(0), stat=value)

    metrics = _printed(client, capsys)["metrics"]

    assert (metrics["cost"], metrics["last"], metrics["ring"]) == (list(range(5, 25)), 24, [23, 24])
    assert list(metrics["stat"]) == ["avg", "min", "max", "sd", "count", "unit"]


def test_dotted_parameters_are_nested(capsys: pytest.CaptureFixture[str]) -> None:
    """Flattened parameters are shown as the configuration they came from."""
    client = TrackClient("ephemeral:")
    client.new_trial(parameters={"opt.lr": 0.1, "opt.name": "sgd", "seed": 0})

    assert _printed(client, capsys)["parameters"] == {"opt": {"lr": 0.1, "name": "sgd"}, "seed": 0}


def test_full_report_has_everything(client: TrackClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The long form adds the identity."""
    report = _printed(client, capsys, short=False)

    assert list(report)[:7] == ["dtype", "uid", "revision", "hash", "name", "description", "version"]


def test_report_returns_its_object(client: TrackClient, log: TrialLogger) -> None:
    """`report` may be chained."""
    assert client.report() is client
    assert log.report() is log


def test_events_that_are_not_stored_are_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The report tells the truth about what was lost."""
    write_report(Trial("ab"), unsaved=3)

    assert json.loads(capsys.readouterr().out)["errors"] == ["track: 3 events are not stored"]


def test_huge_numbers_are_exact() -> None:
    """An integer of any size is printed in full."""
    assert json.loads(report_text(Trial("ab", parameters={"seed": 2**80})))["parameters"] == {"seed": 2**80}


# the table


def test_table_is_readable(client: TrackClient, log: TrialLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A table has the name, the status, and the last of many values."""
    for step in range(3):
        log.log_metrics(step=step, loss=1 / (step + 1))
        log.log_metrics(cost=step)
        with log.chrono("batch"):
            pass

    client.report(style="table")

    table = capsys.readouterr().out
    for text in ("final_trial_2, revision 0", "Completed", "almost graduating", "0.1", "0.333333 at 2 (3 steps)"):
        assert text in table
    assert "2 (last of 3)" in table
    assert "s, 2 times" in table


def test_table_shows_errors_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """Tags given as a list and errors have their rows."""
    trial = Trial("ab", tags=["vision"], errors=["ValueError: too large"], status=Status.Exception)

    write_report(trial, style="table")

    table = capsys.readouterr().out
    assert "vision" in table
    assert "ValueError: too large" in table


def test_table_shows_files(capsys: pytest.CaptureFixture[str]) -> None:
    """What a trial has logged is there by name and size; of a reference the size may be unknown."""
    files = [{"name": "model.bin", "size": 5708}, {"name": "data", "size": None}]
    record: dict[str, Any] = {"uri": "objects/ab", "digest": None, "at": 1.0}

    write_report(Trial("ab", artifacts=[{**record, **file} for file in files]), style="table")

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["artifacts", "model.bin", "5,708", "bytes"] in lines
    assert ["data", "?", "bytes"] in lines


def test_table_needs_rich(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich the message says what to install."""
    monkeypatch.setitem(sys.modules, "rich.console", None)

    with pytest.raises(MissingExtra, match=r'pip install "\.\[rich\]"'):
        client.report(style="table")


def test_unknown_style_is_refused(client: TrackClient) -> None:
    """A style is JSON or a table."""
    with pytest.raises(ValueError, match="style 'html' is unknown; use 'json' or 'table'"):
        client.report(style="html")


# the seed's overview


OVERVIEW = """
from track import TrackClient

client = TrackClient('file://client_test.json')
client.set_project(name='test_client')

trial = client.new_trial()
trial.log_arguments(batch_size=256)

with trial:
    trial.log_metrics(step=1, epoch_loss=1)
    trial.log_metrics(accuracy=0.98)

client.save()
client.report()
"""


def test_overview_of_the_seed_runs(tmp_path: Path) -> None:
    """The first program of the documentation prints the documented shape, and nothing else, anywhere."""
    done = python("-W", "error", "-c", OVERVIEW, cwd=tmp_path, PATH="")

    assert (done.stderr, done.returncode) == ("", 0)
    report = json.loads(done.stdout)
    assert list(report) == KEYS
    assert report["parameters"] == {"batch_size": 256}
    assert report["metrics"] == {"epoch_loss": {"1": 1}, "accuracy": [0.98]}
    assert report["status"] == {"value": 302, "name": "Completed"}
    assert report["chronos"]["runtime"] > 0


def test_overview_again_is_the_next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program run twice leaves two trials of one hash in the file."""
    monkeypatch.chdir(tmp_path)

    for _ in range(2):
        exec(compile(OVERVIEW, "train.py", "exec"), {})

    trials = track.fetch("file://client_test.json")
    assert [trial.revision for trial in trials] == [0, 1]
    assert trials[0].hash == trials[1].hash
