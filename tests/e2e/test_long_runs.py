"""The end of a long run: it costs what the last of it costs, and what it shows is true."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import printed_by
from track import TrackClient
from track.em import create_run
from track.logger import TrialLogger
from track.persistence.file.glimpse import MOST
from track.structure import Status

# Few points, and many bytes.
_NAMES = [f"a metric with a very long name, number {number:080}" for number in range(40)]


@pytest.fixture
def trial(tmp_path: Path) -> TrialLogger:
    """Return a trial in a file, of a project with a tag."""
    client = TrackClient(f"file:{tmp_path / 'report.json'}")
    client.set_project(name="p", tags={"team": "vision"})
    return client.new_trial(parameters={"lr": 0.1})


class Reads:
    """Counts the bytes that are read of files from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        pread = os.pread

        def counted(descriptor: int, length: int, offset: int) -> bytes:
            data = pread(descriptor, length, offset)
            self.bytes += len(data)
            return data

        monkeypatch.setattr(os, "pread", counted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Return what counts the bytes that are read."""
    return Reads(monkeypatch)


def _journal_of(trial: TrialLogger) -> Path:
    assert trial.protocol.file is not None
    return Path(f"{trial.protocol.file}.journal")


def _log_much(trial: TrialLogger, size: int = MOST + (1 << 23), first: int = 0) -> int:
    """Log until the journal has so many bytes, and return the next step."""
    journal, values, step = _journal_of(trial), dict.fromkeys(_NAMES, 0.123456789), first
    trial.start()
    while journal.stat().st_size < size:
        for _ in range(100):
            trial.log_metrics({**values, "loss": step / 2}, step=step)
            step += 1
    return step


def _printed(action: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as page:
        action(*arguments, **options)
    return page.getvalue()


def test_end_of_a_long_run_reads_next_to_nothing(trial: TrialLogger, reads: Reads) -> None:
    """`with`, `finish` and closing read no more of a long journal than its head, and leave it as it is."""
    _log_much(trial)
    size = _journal_of(trial).stat().st_size

    with trial:
        trial.add_tags(good=True)
    trial.protocol.close()

    assert reads.bytes < 1 << 20
    assert _journal_of(trial).stat().st_size >= size
    assert not Path(str(trial.protocol.file)).exists()


@pytest.mark.parametrize("show", ["report", "table", "html"])
def test_report_of_a_long_run_reads_its_last_32_mebibytes(trial: TrialLogger, reads: Reads, show: str) -> None:
    """Whatever its style; and the points are not in memory then."""
    shows = {
        "report": trial.report,
        "table": lambda: trial.report(style="table"),
        "html": lambda: print(trial._repr_html_()),
    }
    last = _log_much(trial, 2 * MOST) - 1
    shown = _printed(shows[show])

    assert f"{last / 2:.6g}" in re.sub(r"\s+", " ", shown)
    assert re.search(r"of the journal the last 34 of 6\d MB were read", re.sub(r"\s+", " ", shown))
    # A line that is cut by the end of a piece is read twice.
    assert reads.bytes <= MOST * 1.02
    assert not trial.protocol.store.state._trials[trial._trial.uid].metrics


def test_report_of_a_long_run_shows_what_is_true(trial: TrialLogger) -> None:
    """Facts of all of the run, the last value of each metric, times of this process; points are read when asked for."""
    with trial:
        trial.log_metadata(gpu="V100")
        trial.log_metrics(early=1.0)
        step = _log_much(trial, MOST // 2)
        trial.log_metadata(half=True)
        trial.add_tags(good=True)
        _log_much(trial, 2 * MOST, step)
        with trial.chrono("block"), trial.chrono("other"):
            pass
        trial.log_metrics(step=7, loss=float("nan"))
        trial.log_metrics(step=(1, 2), pair=2**70)
        trial.log_series("curve", [3.0, 4.0, 5.0], times=[3.0, 9.0, 6.0])

    report = json.loads(_printed(trial.report))

    assert report["metrics"].pop("loss") == {"7": None}
    assert report["metrics"].pop("pair") == {"(1, 2)": 2**70}
    assert report["metrics"].pop("curve") == [4.0]
    assert list(report["metrics"]) == _NAMES
    assert report["metadata"] == {"gpu": "V100", "half": True}
    assert report["tags"] == {"good": True, "team": "vision"}
    assert set(report["chronos"]) == {"runtime", "block", "other"}
    assert report["status"]["name"] == "Completed"
    assert report["chronos"]["runtime"] > 0
    assert "early" not in report["metrics"]
    assert f"track.fetch('{trial.protocol.uri}', '{trial._trial.uid[:12]}')" in report["not read"]
    assert list(trial.trial.metrics["early"]) == [1.0]
    assert "not read" not in json.loads(_printed(trial.report))


def test_whole_report_of_a_long_run_is_read(trial: TrialLogger) -> None:
    """Who asks for everything gets it, as a table too."""
    trial.log_metrics(early=1.0)
    _log_much(trial)
    pytest.importorskip("rich")

    shown = _printed(lambda: trial.report(short=False, style="table"))

    assert "early" in shown
    assert "not read" not in shown


def test_report_of_a_long_run_hides_what_a_resume_hides(trial: TrialLogger) -> None:
    """A last value that is computed again is not shown."""
    _log_much(trial)
    trial.log_metrics(step=900, gone=1.0)
    trial.log_metrics(step=3, kept=2.0)
    trial.resume_from(10)
    _log_much(trial, 2 * MOST + (1 << 23), 10)
    metrics = json.loads(_printed(trial.report))["metrics"]

    assert "gone" not in metrics


def test_report_of_a_short_run_is_whole(trial: TrialLogger) -> None:
    """Nothing is left out while the journal is short."""
    for step in range(3):
        trial.log_metrics(step=step, loss=step / 2)

    report = json.loads(_printed(trial.report))

    assert report["metrics"] == {"loss": {"0": 0.0, "1": 0.5, "2": 1.0}}
    assert "not read" not in report


_LEAVES = """
import sys
from tests.e2e.test_long_runs import _log_much
from track import TrackClient

_log_much(TrackClient(f"file:{sys.argv[1]}").new_trial(parameters={"lr": 0.1}))
"""


def test_long_run_that_is_left_is_whole(tmp_path: Path) -> None:
    """A process that ends without `finish` leaves a long journal, which has all of it; saving makes one file of it."""
    path = tmp_path / "report.json"

    printed_by(_LEAVES, path)

    assert not path.exists()
    (trial,) = track.fetch(f"file:{path}")
    steps = len(trial.metrics["loss"])
    assert (trial.status, steps % 100, steps > 0) == (Status.Completed, 0, True)
    TrackClient(f"file:{path}").save()
    assert len(track.fetch(f"file:{path}")[0].metrics["loss"]) == steps


def test_end_of_a_long_run_of_em_reads_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    """Its labels, parameters and artifacts are told of without reading what was logged."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path / 'report.json'}")
    em = create_run(name="r", folder_path=str(tmp_path / "runs"))
    logger = em._record.trial
    _log_much(logger)
    reads.bytes = 0

    em.labels.append("good")
    em.hparams["lr"] = 0.2
    em.finish()

    assert reads.bytes < 1 << 20
