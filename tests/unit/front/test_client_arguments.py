"""Trials that wait for their parameters, and every way to give them."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

import pytest

from track import TrackClient
from track.logger import TrialLogger
from track.structure import Status


@pytest.fixture
def pending(client: TrackClient) -> TrialLogger:
    """Give the logger of a trial that waits for its parameters."""
    return client.new_trial(name="final", description="almost")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    return parser


# waiting


def test_trial_without_parameters_waits(client: TrackClient, pending: TrialLogger) -> None:
    """Nothing is stored before the parameters are known."""
    assert pending.is_pending
    assert client.protocol.fetch_trials() == []


@pytest.mark.parametrize("through", ["client", "logger"])
def test_parameters_create_the_trial(client: TrackClient, pending: TrialLogger, through: str) -> None:
    """Parameters given to the client or to the logger create the trial with all that was remembered."""
    giver: Any = client if through == "client" else pending

    giver.log_arguments(lr=0.1)

    trial = client.protocol.fetch_trials()[0]
    assert (trial.name, trial.description, trial.parameters) == ("final", "almost", {"lr": 0.1})


def test_logger_of_a_pending_trial_stays_valid(client: TrackClient, pending: TrialLogger) -> None:
    """The logger returned at first is the client's logger, and refers to the created trial."""
    client.log_arguments(lr=0.1)
    client.log_metrics(step=0, loss=1.0)

    assert pending is client.logger
    assert pending.trial.hash == client.protocol.fetch_trials()[0].hash
    assert dict(pending.trial.metrics["loss"]) == {0: 1.0}


def test_tags_and_metadata_of_a_pending_trial_are_merged(client: TrackClient, pending: TrialLogger) -> None:
    """What is said of a pending trial, in several calls, is in the created one."""
    client.add_tags(a=1, b=1)
    client.add_tags(b=2)
    pending.log_metadata(gpu="V100")
    pending.log_metadata(cpus=2)

    client.log_arguments(lr=0.1)

    trial = pending.trial
    assert (trial.tags, trial.metadata["gpu"], trial.metadata["cpus"]) == ({"a": 1, "b": 2}, "V100", 2)


def test_output_of_a_pending_trial_is_captured(
    client: TrackClient, pending: TrialLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Capturing may begin while the trial waits for its parameters."""
    pending.capture_output()
    print("before")
    client.log_arguments(lr=0.1)
    with pending:
        print("during")

    assert pending.trial.metadata["stdout"] == "before\nduring\n"
    assert capsys.readouterr().out == "before\nduring\n"


@pytest.mark.parametrize(
    "touch",
    [
        lambda log: log.log_metrics(step=0, loss=1.0),
        lambda log: log.start(),
        lambda log: log.chrono("batch"),
        lambda log: log.set_status("running"),
        lambda log: log.trial,
        lambda log: log.report(),
    ],
    ids=["metrics", "start", "chrono", "status", "trial", "report"],
)
def test_pending_trial_that_is_used_is_created_without(
    client: TrackClient, pending: TrialLogger, touch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial used before its parameters are given is created without any, and a warning says so, once."""
    touch(pending)
    pending.finish()

    assert [trial.parameters for trial in client.protocol.fetch_trials()] == [{}]
    assert caplog.text.count("a trial without parameters is created") == 1


def test_context_of_a_pending_trial_ends_well(client: TrackClient, pending: TrialLogger) -> None:
    """A ``with`` block of a trial that never got parameters runs and completes."""
    with pending:
        pass

    assert client.protocol.fetch_trials()[0].status is Status.Completed


def test_empty_parameters_create_the_trial(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """``parameters={}`` is a choice, not something that is still to come."""
    log = client.new_trial(parameters={})

    assert not log.is_pending
    assert caplog.text == ""


def test_pending_trial_may_be_replaced(client: TrackClient, pending: TrialLogger) -> None:
    """A trial that was never created stands in nobody's way."""
    assert client.new_trial(parameters={}) is not pending


def test_parameters_are_not_fields(client: TrackClient) -> None:
    """A parameter given as a field of the trial is an error that says where it goes."""
    with pytest.raises(TypeError, match=r"no field 'lr'; parameters go in parameters=\{...\}"):
        client.new_trial(lr=0.1)


def test_same_parameters_make_the_next_revision(client: TrackClient) -> None:
    """Running the same configuration again gives a trial of the same hash and the next revision."""
    trials = [client.new_trial(force=True, parameters={"lr": 0.1}).trial for _ in range(3)]

    assert [trial.revision for trial in trials] == [0, 1, 2]
    assert len({trial.hash for trial in trials}) == 1


def test_version_is_part_of_the_identity(client: TrackClient) -> None:
    """Another version of the code is another trial; a version is asked for when a trial is created."""
    asked: list[int] = []
    client.set_version("a8c3")
    first = client.new_trial(force=True, parameters={}).trial
    client.set_version(version_fun=lambda: asked.append(1) or "b7")  # type: ignore[func-returns-value]
    lazy = list(asked)

    second = client.new_trial(force=True, parameters={}).trial

    assert lazy == []
    assert (first.version, second.version) == ("a8c3", "b7")
    assert first.hash != second.hash


# giving


@pytest.mark.parametrize("verb", ["log_arguments", "get_arguments"])
@pytest.mark.parametrize(
    "arguments", [_parser(), argparse.Namespace(lr=0.1), {"lr": 0.1}], ids=["parser", "namespace", "dict"]
)
def test_arguments_of_every_kind(
    client: TrackClient, pending: TrialLogger, verb: str, arguments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parser, a namespace and a dict are joined with keywords, and all come back as a Namespace."""
    monkeypatch.setattr(sys, "argv", ["train.py"])

    given = getattr(client, verb)(arguments, seed=1)

    assert given == argparse.Namespace(lr=0.1, seed=1)
    assert pending.trial.parameters == {"lr": 0.1, "seed": 1}


def test_keywords_alone_come_back(client: TrackClient, pending: TrialLogger) -> None:
    """Keywords only are a Namespace too."""
    assert client.log_arguments(lr=0.1) == argparse.Namespace(lr=0.1)


def test_arguments_win_over_keywords(client: TrackClient, pending: TrialLogger) -> None:
    """Where both name one, the parsed one counts."""
    assert client.log_arguments({"lr": 0.1}, lr=0.5).lr == 0.1


@pytest.mark.parametrize("arguments", [argparse.Namespace(lr=0.1), {"lr": 0.1}, None])
def test_arguments_are_shown(
    client: TrackClient, pending: TrialLogger, arguments: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """``show`` prints one line an argument between two rules of 80."""
    keywords = {} if arguments else {"lr": 0.1}

    client.log_arguments(arguments, show=True, **keywords)

    rule = "-" * 80
    assert capsys.readouterr().out == f"{rule}\n{'lr':>30}: 0.1\n{rule}\n"


def test_stored_trial_keeps_its_parameters(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """Arguments of a trial that exists change nothing; a warning names those that differ."""
    log = client.new_trial(parameters={"lr": 0.1, "layers": (64, 32)})

    client.log_arguments(lr=0.5, layers=(64, 32))
    log.log_arguments(lr=0.7)

    assert log.trial.parameters == {"lr": 0.1, "layers": [64, 32]}
    assert "not stored: lr" in caplog.text


def test_equal_arguments_are_no_warning(client: TrackClient, caplog: pytest.LogCaptureFixture) -> None:
    """A script that goes on with its trial says its arguments again, silently."""
    client.new_trial(parameters={"lr": 0.1})

    with caplog.at_level(logging.INFO):
        client.log_arguments(lr=0.1)

    assert caplog.text == ""


@pytest.mark.parametrize("name", ["self", "args", "show", "name", "trial", "force"])
def test_parameters_of_any_name(client: TrackClient, name: str) -> None:
    """A parameter may be called like one of ours, when it is given in a dict."""
    client.new_trial()

    client.log_arguments({name: 1})

    assert client.protocol.fetch_trials()[0].parameters == {name: 1}


# tags of the project


def test_tags_of_the_project_are_inherited(caplog: pytest.LogCaptureFixture) -> None:
    """A trial shows its project's tags, which it cannot override, and is told so."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits", tags={"team": "vision"})
    log = client.new_trial(parameters={}, tags={"team": "mine", "own": 1})

    client.add_tags(team="other")

    assert log.trial.tags == {"team": "vision", "own": 1}
    assert "tag 'team' belongs to the project" in caplog.text


def test_list_of_tags_joins_those_of_the_project() -> None:
    """Tags given as a list, as the original allowed, are shown with the project's."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits", tags={"team": "vision"})

    trial = client.new_trial(parameters={}, tags=["0", "1"]).trial

    assert trial.tags == {"0": True, "1": True, "team": "vision"}
