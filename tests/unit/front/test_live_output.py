"""What a trial prints is kept while it lives: line by line, bounded, whoever prints, and also after a kill."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import track
from tests.children import python
from tests.servers import wait_until
from track import TrackClient
from track.aggregators.aggregator import RingAggregator
from track.cli import main
from track.front import OUTPUT
from track.front.live import LiveOutput, visible


@pytest.fixture(params=["file", "sqlite", "ephemeral"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackClient:
    """Give a client of a store."""
    monkeypatch.setenv("TRACK_LOG_SPILL_FOLDER", str(tmp_path / "spill"))
    return TrackClient(f"{request.param}:{'' if request.param == 'ephemeral' else tmp_path / 'runs'}")


def _lines(metadata: Any) -> list[str]:
    kept = metadata.get(OUTPUT)
    return [text for _, _, lines in (kept.val if kept is not None else []) for _, text in lines]


def test_lines_are_stored_while_the_trial_lives(client: TrackClient) -> None:
    """Nobody waits for the end: a line is there soon, a progress bar as it is, and an ended one once."""
    with client.new_trial(name="a", parameters={"lr": 1}).capture_output() as trial:
        print("epoch 1")
        for percent in (0, 50, 100):
            print(f"\r{percent} %", end="", file=sys.stderr)
        wait_until(lambda: "epoch 1" in _lines(trial.trial.metadata))
        wait_until(lambda: trial.trial.metadata.get("_output_line", [""])[-1] == "100 %")
        print(file=sys.stderr)
        print("epoch 2")

    assert _lines(trial.trial.metadata) == ["epoch 1", "100 %", "epoch 2"]
    assert trial.trial.metadata["stdout"] == "epoch 1\nepoch 2\n"


def test_a_report_has_the_output_once(client: TrackClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What is kept for those who follow is in no report."""
    with client.new_trial(parameters={"lr": 1}).capture_output():
        print("epoch 1")
    capsys.readouterr()
    client.report()

    assert OUTPUT not in capsys.readouterr().out


def test_output_before_the_parameters_waits(client: TrackClient) -> None:
    """A trial that waits for its parameters is not created by what is printed."""
    trial = client.new_trial().capture_output()
    print("early")
    client.log_arguments(lr=0.5)
    with trial:
        print("late")

    assert trial.trial.parameters == {"lr": 0.5}
    assert _lines(trial.trial.metadata) == ["early", "late"]


def test_logging_that_was_set_up_before_is_captured(client: TrackClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that has the stream already writes to the trial, too, until its end."""
    handler = logging.StreamHandler(sys.stderr)
    before = handler.stream
    noted = logging.getLogger("noted-before")
    noted.addHandler(handler)
    try:
        with client.new_trial(parameters={"lr": 1}).capture_output() as trial:
            noted.warning("from logging")
        assert handler.stream is before
        noted.warning("after the end")
    finally:
        noted.removeHandler(handler)

    assert _lines(trial.trial.metadata) == ["from logging"]


def test_a_flood_is_bounded() -> None:
    """However much is printed, the end is kept, in short lines, and what is missing is counted."""
    kept: list[Any] = []
    live = LiveOutput(lambda name, value: kept.append((name, value)) or True)
    live.feed("stdout", "".join(f"{number}\n" for number in range(100_000)))
    live.feed("stdout", "x" * 100_000 + "\n")
    live.feed("stdout", "unended")
    live.close()

    pieces = [value for name, value in kept if name == OUTPUT]
    lines = [text for _, _, some in pieces for _, text in some]
    assert lines[-1] == "unended"
    assert max(map(len, lines)) == 1_000
    assert len(lines) + sum(lost for _, lost, _ in pieces) >= 100_002
    assert len(lines) < 3_000
    assert all(sum(len(text) for _, text in some) <= 4_000 for _, _, some in pieces)


def test_who_prints_inside_the_store_waits_for_nobody() -> None:
    """Lines that are printed while the store, or a handler's lock, is held arrive once it is free."""
    holding = threading.RLock()
    kept: list[Any] = []

    def record(name: str, value: Any) -> bool:
        with holding:
            kept.append(value)
        return True

    live = LiveOutput(record)
    with holding:
        for number in range(100):
            live.feed("stderr", f"{number}\n")
        assert kept == []
    live.close()

    assert sum(len(lines) for _, _, lines in kept) == 100


def test_lines_are_recorded_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a program there is none any more: the end records everything."""
    kept: list[Any] = []
    live = LiveOutput(lambda _, value: kept.append(value) or True)
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("shutdown")))
    live.feed("stdout", "a\nb\n")
    live.close()

    assert kept == [[0, 0, [["stdout", "a"], ["stdout", "b"]]]]


def test_what_cannot_be_recorded_stops_nothing() -> None:
    """A store that fails is not heard of by who prints."""
    live = LiveOutput(lambda *_: 1 // 0)
    live.feed("stdout", "a\n")
    live.close()

    assert "track-output" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("line", "shown"), [("a", "a"), ("\rb", "b"), ("a\rb", "b"), ("a\r", "a"), ("a\r\r", "a"), ("", "")]
)
def test_carriage_returns_begin_the_line_again(line: str, shown: str) -> None:
    """What a terminal would show last counts."""
    assert visible(line) == shown


CHILD = """
import os, sys, time
from track import TrackClient
client = TrackClient(sys.argv[1])
trial = client.new_trial(name="a", parameters={"lr": 1}).capture_output()
trial.start()
print("first")
if sys.argv[2] == "fork":
    if os.fork() == 0:
        print("of a child")
        os._exit(0)
    os.wait()
    trial.finish()
    sys.exit()
print("second", file=sys.stderr)
time.sleep(60)
"""


def test_output_of_a_killed_process_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``track output -f`` follows a run of another process, shows what it said before it was killed, and ends."""
    uri = f"file:{tmp_path}/runs.json"
    with subprocess.Popen([sys.executable, "-c", CHILD, uri, "kill"], stdout=subprocess.DEVNULL) as child:
        path = Path(f"{tmp_path}/runs.json.journal")
        wait_until(lambda: path.exists() and b"second" in path.read_bytes())
        os.kill(child.pid, signal.SIGKILL)

    assert main(["output", uri, "@last", "-f"]) == 0
    assert capsys.readouterr().out.splitlines() == ["first", "second"]


def test_what_a_forked_child_prints_is_not_recorded_twice(tmp_path: Path) -> None:
    """The trial is the parent's, and so are its lines."""
    uri = f"file:{tmp_path}/runs.json"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    assert python(script, uri, "fork").returncode == 0

    assert _lines(track.fetch(uri, "@last")[0].metadata) == ["first"]


def test_output_is_followed(client: TrackClient, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """New lines are shown once each, as text or as documents, until the trial ends."""
    uri = client.protocol.uri
    if uri.startswith("ephemeral"):
        pytest.skip("of this process only")
    trial = client.new_trial(parameters={"lr": 1}, name="a")
    trial.start()
    steps = iter(range(10))

    def passing(_: float) -> None:
        number = next(steps)
        if number == 4:
            trial.finish()
        else:
            lines = [["stdout", f"line {number}"], ["stderr", "\x1b[31mred"]]
            trial.note_output(OUTPUT, [number, 3 if number == 2 else 0, lines], ring)

    ring = RingAggregator.lazy(4, "lines")
    monkeypatch.setattr("track.cli.output.time.sleep", passing)
    assert main(["output", uri, "a", "-f"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "line 0",
        "\\x1b[31mred",
        "line 1",
        "\\x1b[31mred",
        "... 3 lines were too many",
        "line 2",
        "\\x1b[31mred",
        "line 3",
        "\\x1b[31mred",
    ]
    assert main(["output", uri, "a", "-n", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == [{"stream": "stderr", "text": "\x1b[31mred"}]


def test_trial_without_output(client: TrackClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What was not captured is exit code 1; what earlier versions kept at the end is shown."""
    uri = client.protocol.uri
    if uri.startswith("ephemeral"):
        pytest.skip("of this process only")
    with client.new_trial(name="a", parameters={"lr": 1}) as trial:
        pass
    assert main(["output", uri, "a"]) == 1
    assert "capture_output()" in capsys.readouterr().err
    trial.log_metadata(stdout="old\nlines\n")
    client.protocol.flush()
    assert main(["output", uri, "a", "-n", "1"]) == 0
    assert capsys.readouterr().out == "lines\n"
