"""The end of what a trial prints."""

from __future__ import annotations

import io
import sys

import pytest

from track import TrackClient
from track.front.output import OutputCapture
from track.logger import TrialLogger


@pytest.fixture
def log() -> TrialLogger:
    """Give the logger of a trial that has not begun."""
    return TrackClient("ephemeral:").new_trial(parameters={})


def test_output_is_kept_and_still_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Both streams are teed until the end, and given back."""
    before = (sys.stdout, sys.stderr)
    capture = OutputCapture()
    print("out")
    print("err", file=sys.stderr)

    kept = capture.close()

    assert kept == {"stdout": "out\n", "stderr": "err\n"}
    assert capsys.readouterr() == ("out\n", "err\n")
    assert (sys.stdout, sys.stderr) == before


def test_silence_is_not_kept() -> None:
    """A stream that said nothing is left out."""
    assert OutputCapture().close() == {}


def test_one_stream_for_both_is_teed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both streams are one object, a line is written once."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)

    capture = OutputCapture()
    print("line", file=sys.stderr)
    print("line")
    kept = capture.close()

    assert stream.getvalue() == "line\nline\n"
    assert kept == {"stdout": "line\n"}
    assert sys.stdout is stream


def test_stream_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream put in place of ours is not replaced at the end."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    capture = OutputCapture()
    theirs = io.StringIO()
    monkeypatch.setattr(sys, "stdout", theirs)

    capture.close()

    assert sys.stdout is theirs


def test_last_writes_are_kept() -> None:
    """Of much output the end is kept; `print` writes twice a line."""
    capture = OutputCapture(4)
    for line in range(10):
        print(line)

    assert capture.close() == {"stdout": "8\n9\n"}


def test_options_win_over_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is kept can be set from outside."""
    monkeypatch.setenv("TRACK_LOG_STDOUT_CAPTURE", "2")
    capture = OutputCapture(50)
    print("first")
    print("second")

    assert capture.close() == {"stdout": "second\n"}


def test_captured_output_is_in_the_metadata(log: TrialLogger) -> None:
    """What a trial printed is stored with it, and the streams are given back when it ends."""
    before = sys.stdout

    with log.capture_output():
        print("epoch 1")

    assert log.trial.metadata["stdout"] == "epoch 1\n"
    assert sys.stdout is before


def test_capturing_twice_does_not_stack(log: TrialLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A second call changes nothing, and each is the logger."""
    assert log.capture_output() is log.capture_output(5)
    print("once")
    log.finish()

    assert capsys.readouterr().out == "once\n"
    assert log.trial.metadata["stdout"] == "once\n"


def test_streams_are_attributes(log: TrialLogger) -> None:
    """While output is captured the tees can be read; otherwise there are none."""
    before = (log.stdout, log.stderr)
    log.capture_output()
    print("line")
    raw = log.stdout.raw()
    log.finish()

    assert before == (None, None)
    assert raw == ["line", "\n"]
    assert (log.stdout, log.stderr) == (None, None)
