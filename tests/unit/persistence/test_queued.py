"""A tool that is slow, away or broken costs a log call a place in a queue, and nothing else."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from tests.children import run
from track import TrackClient
from track.persistence import register, unregister
from track.persistence.sinks import queued
from track.persistence.sinks.queued import QueuedSink
from track.structure import Trial


class _Tool(QueuedSink):
    """Notes what it is told, once it is let."""

    made: list[_Tool]
    patience = 60.0

    def __init__(self, uri: str) -> None:
        super().__init__(uri, self.patience)
        self.may_go = threading.Event()
        self.may_go.set()
        self.told: list[Any] = []
        self.fails = False
        _Tool.made.append(self)

    def _note(self, *said: Any) -> None:
        self.may_go.wait()
        if self.fails:
            raise ConnectionError("no route to host")
        self.told.append(said)

    def run_open(self, trial: Trial) -> Any:
        self._note("open", dict(trial.parameters))
        return trial.name

    def run_numbers(self, run: Any, values: dict[str, Any], step: Any) -> None:
        self._note(run, values, step)
        assert self.at > 1e9

    def run_facts(self, run: Any, kind: str, values: dict[str, Any]) -> None:
        pass

    def run_status(self, run: Any, status: Any, error: str | None) -> None:
        self._note(run, status.name, (error or "").partition("\n")[0])

    def run_flush(self, run: Any) -> None:
        pass

    def run_end(self, run: Any) -> None:
        self._note(run, "end")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a client whose trials the tool is told of, beside a store in memory."""
    monkeypatch.setattr(_Tool, "made", [], raising=False)
    register("tool", _Tool)
    yield TrackClient("multi:?to=tool:&to=ephemeral:", environment="none")
    unregister("tool")
    for tool in _Tool.made:
        tool.may_go.set()


def test_tool_is_told_everything_in_order(client: TrackClient) -> None:
    """Once the block is left it has the numbers and how the trial ended."""
    with client.new_trial(name="a", parameters={"lr": 0.1}) as trial:
        trial.log_metrics(step=0, loss=0.5)
        trial.log_metrics(acc=1)

    assert _Tool.made[0].told == [
        ("open", {"lr": 0.1}),
        ("a", "Running", ""),
        ("a", {"loss": 0.5}, 0),
        ("a", {"acc": 1}, None),
        ("a", "Completed", ""),
        ("a", "end"),
    ]


def test_end_is_carried_over(client: TrackClient) -> None:
    """A crash is told with its error, and an end that the program has set is the last one that is told."""
    with pytest.raises(ValueError, match="no"), client.new_trial(name="a"):
        raise ValueError("no")
    with client.new_trial(name="b", force=True) as trial:
        trial.set_status("pruned")

    said = [told for told in _Tool.made[0].told if len(told) == 3]
    assert said[:2] == [("a", "Running", ""), ("a", "Exception", "ValueError: no")]
    assert said[2:] == [("b", "Running", ""), ("b", "pruned", ""), ("b", "pruned", "")]


def test_slow_tool_keeps_no_log_call_waiting(client: TrackClient) -> None:
    """While the tool does not return, trials begin and log."""
    tool = _Tool.made[0]
    tool.may_go.clear()
    trial = client.new_trial(name="a")
    trial.start()
    for step in range(1000):
        trial.log_metrics(step=step, loss=1.0)

    assert tool.told == []
    tool.may_go.set()
    trial.finish()
    assert len(tool.told) == 1000 + 4
    assert tool.unsaved() == 0


def test_end_does_not_wait_for_ever(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tool that hangs holds the end for its patience, once is said so, and the trial is completed."""
    tool = _Tool.made[0]
    tool.may_go.clear()
    monkeypatch.setattr(tool, "_patience", 0.01)

    with client.new_trial(name="a") as trial:
        trial.log_metrics(step=0, loss=1.0)

    assert client.protocol.fetch_trials()[0].status.name == "Completed"
    assert [record.levelno for record in caplog.records if "has not taken everything" in record.message] == [
        logging.WARNING
    ]


def test_what_has_no_room_is_counted(
    client: TrackClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue does not grow for ever: what is lost to the tool is counted, and said once."""
    monkeypatch.setattr(queued, "_MOST", 10)
    tool = _Tool("tool:")
    tool.may_go.clear()
    trial = Trial("ab", name="a")
    tool.new_trial(trial)
    for step in range(50):
        tool.log_trial_metrics(trial, step=step, loss=1.0)

    assert tool.unsaved() >= 50 - 10
    assert len([record for record in caplog.records if "too slow" in record.message]) == 1


def test_tool_that_fails_disturbs_nobody(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Its failures are counted, said once, and the store has everything."""
    tool = _Tool.made[0]
    tool.fails = True

    with client.new_trial(name="a") as trial:
        for step in range(10):
            trial.log_metrics(step=step, loss=1.0)

    assert dict(client.protocol.fetch_trials()[0].metrics["loss"]) == dict.fromkeys(range(10), 1.0)
    assert len([record for record in caplog.records if "does not take something" in record.message]) == 1
    assert tool.unsaved() >= 10


def test_trial_that_goes_on_is_a_run_again(client: TrackClient) -> None:
    """What is logged after the end begins the run anew."""
    with client.new_trial(name="a") as trial:
        pass
    trial.log_metrics(step=0, loss=1.0)
    client.protocol.flush()

    told = _Tool.made[0].told
    assert [said[0] for said in told].count("open") == 2
    assert told[-1] == ("a", {"loss": 1.0}, 0)


def test_forked_child_has_a_queue_of_its_own(client: TrackClient) -> None:
    """The thread stays with the parent; a child that logs has another, and its run."""
    tool = _Tool.made[0]
    with client.new_trial(name="a") as trial:
        trial.log_metrics(step=0, loss=1.0)

        def log() -> None:
            tool.told.clear()
            tool.log_trial_metrics(trial.trial, step=1, loss=2.0)
            tool.flush()
            assert [said[0] for said in tool.told] == ["open", "a"]

        assert run(log) == 0
